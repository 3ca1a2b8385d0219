"""Fully connected layers.

out[o] = bias[o] + sum over i of w[o, i] in[i]         vectors over the images
din[i] = sum over o of w[o, i] d[o]                    vectors over the images
dw[o, i] = sum over the images of d[o] in[i]           vectors over i, of the inputs transposed
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.emit import F32, Array, Code, Num, Var
from modelflow.kernels.linear import transposed
from modelflow.kernels.maps import split
from modelflow.kernels.ops.correlation import Tile, add_products, tiling
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.linear import Product
from modelflow.networks.layers.tape import Values

AT_ONCE = 8  # inputs, or outputs, that are gone through in one piece


@dataclass(frozen=True, eq=False)
class Dense(Operation):
    """`weight` and `bias` are places in the flat parameters."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Product,)

    weight: int
    bias: int | None

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Product)
        return dense(writer, layer.features, x, layer.bias)

    def scratch(self, lanes: int, registers: int) -> int:
        return -(-self.inputs[0].count // lanes) * lanes * lanes

    def forward(self, s: Schedule) -> None:
        (_, at), (_, to) = s.value(self.inputs[0]), s.value(self.output)
        bias: dict[str, Any] = {} if self.bias is None else {"bias": s.parameter(self.bias)}
        sizes = (self.inputs[0].count, self.output.count, s.registers, self.bias is not None)
        s.per_block(outputs, *sizes, source=at, target=to, weight=s.parameter(self.weight), **bias)

    def backward(self, s: Schedule) -> None:
        (_, at), (_, d) = s.value(self.inputs[0]), s.gradient(self.output)
        sizes = (self.inputs[0].count, self.output.count, s.registers)
        bias: dict[str, Any] = {} if self.bias is None else {"bias": s.gradients(self.bias)}
        weight = s.gradients(self.weight)
        s.per_block(weights, *sizes, bool(bias), source=at, gradient=d, weight=weight, scratch=s.scratch(), **bias)
        adds = s.adds(self.inputs[0])
        if adds is not None:
            _, to = s.gradient(self.inputs[0])
            s.per_block(inputs, *sizes, adds, gradient=d, target=to, weight=s.parameter(self.weight))

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        x_BI = inputs[0].reshape(len(inputs[0]), -1)
        out_BO = x_BI @ given.part(self.weight, self.output.count, x_BI.shape[1]).T
        return out_BO if self.bias is None else out_BO + given.part(self.bias, self.output.count)


def dense(writer: Writer, features: int, x: Values, has_bias: bool) -> Values:
    """A fully connected layer of features, or of maps of one place."""
    weight = writer.parameters(features * x.count)
    bias = writer.parameters(features) if has_bias else None
    return writer.add(Dense, (features,), x, weight=weight, bias=bias)


def outputs(k: Code, inputs: int, outputs: int, registers: int, has_bias: bool) -> None:
    """Arguments: source, target, weight, bias."""
    source, target = k.vectors(k.source), k.vectors(k.target)
    for o, count in split(k, outputs, registers - 3):
        starts = [k.array(k.bias).broadcast(o + r) if has_bias else k.vector(0.0) for r in range(count)]
        sums = [k.var(start) for start in starts]
        _add_products(k, sums, source, inputs, o, strides=(inputs, 1))
        for r, total in enumerate(sums):
            target[o + r] = total.get()


def inputs(k: Code, inputs: int, outputs: int, registers: int, adds: bool) -> None:
    """Arguments: gradient, target, weight."""
    gradient, target = k.vectors(k.gradient), k.vectors(k.target)
    for i, count in split(k, inputs, registers - 3):
        sums = [k.var(target[i + r] if adds else k.vector(0.0)) for r in range(count)]
        _add_products(k, sums, gradient, outputs, i, strides=(1, inputs))
        for r, total in enumerate(sums):
            target[i + r] = total.get()


def _add_products(k: Code, sums: list[Var], read: Array, count: int, first: Num, strides: tuple[int, int]) -> None:
    """Adds `count` vectors to each sum, times the weights of its place, counted from `first`, and of the vector's.

    `strides` are how far the weights of the next place, and of the next vector, lie.
    """
    weight, (of_place, of_vector) = k.array(k.weight), strides
    for begin, at_once in split(k, count, AT_ONCE):
        totals = [total.get() for total in sums]
        for j in range(at_once):
            x = read[begin + j]
            for r in range(len(sums)):
                at = (first + r) * of_place + (begin + j) * of_vector
                totals[r] = k.fma(weight.broadcast(at), x, totals[r])
        for total, value in zip(sums, totals, strict=True):
            total.set(value)


def weights(k: Code, inputs: int, outputs: int, registers: int, has_bias: bool) -> None:
    """Arguments: source, gradient, weight and bias (their gradients, which are added to), scratch.

    What lies behind an output's weights is added zeros.
    """
    gradient = k.vectors(k.gradient)
    for o in k.loop(outputs if has_bias else 0):
        k.array(k.bias)[o] = k.array(k.bias)[o] + k.total(gradient[o])
    columns = -(-inputs // k.lanes)
    _panel(k, inputs)
    tile = tiling(outputs, columns, registers)
    for o, rows in split(k, outputs, tile.channels):
        for column, count in split(k, columns, tile.width):
            _tile(k, inputs, o, column, Tile(rows, count), columns)


def _panel(k: Code, inputs: int) -> None:
    """The inputs of the block, an image after the other, padded with zeros."""
    lanes, columns = k.lanes, -(-inputs // k.lanes)
    source, panel = k.vectors(k.source), k.vectors(k.scratch)
    whole = inputs // lanes
    for column in k.loop(whole):
        for lane, row in enumerate(transposed(k, [source[column * lanes + i] for i in range(lanes)])):
            panel[column + lane * columns] = row
    if columns > whole:
        last = [source[whole * lanes + i] if whole * lanes + i < inputs else k.vector(0.0) for i in range(lanes)]
        for lane, row in enumerate(transposed(k, last)):
            panel[whole + lane * columns] = row


def _tile(k: Code, inputs: int, o: Num, column: Num, tile: Tile, columns: int) -> None:
    """Rows x columns of the weight's gradient. A row's padding is added to the next row: rows one after the other."""
    panel, scalars, grads = k.vectors(k.scratch), k.vectors(k.gradient).of(F32), k.array(k.weight)
    sums = {(r, c): k.vector(0.0) for r in range(tile.channels) for c in range(tile.width)}
    for lane in range(k.lanes):
        add_products(k, tile, sums, scalars.at(o * k.lanes + lane), k.lanes, panel.at(column + lane * columns), 1)
    for (r, c), total in sums.items():
        at = (o + r) * inputs + (column + c) * k.lanes
        grads.put_unaligned(at, grads.unaligned(at) + total)
