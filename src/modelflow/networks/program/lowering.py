"""A traced network with its weights as operations: one function a kind of layer. No torch.

    lowered(trace(spec), state)  ->  Program(input, operations, output)

A kind that is made of parts needs no function here. One that computes by itself is refused until `LOWERINGS` has it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modelflow.errors import DataError, UsageError
from modelflow.networks.layers.activation import Activation, activation_parts
from modelflow.networks.layers.conv import Convolution
from modelflow.networks.layers.dropout import Dropout
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.kind import LayerKind, Shape, shape_text
from modelflow.networks.layers.linear import Product
from modelflow.networks.layers.norm import Norm
from modelflow.networks.layers.pool import GLOBAL
from modelflow.networks.layers.pool import Pool as PoolLayer
from modelflow.networks.layers.residual import Residual
from modelflow.networks.layers.squeeze import Squeeze
from modelflow.networks.layers.tape import Values
from modelflow.networks.program.operations import (
    ACTIVATIONS,
    CUTS,
    Activate,
    Add,
    Bounds,
    Convolve,
    Dense,
    Floats,
    Operation,
    Pool,
    ScaleShift,
    Weigh,
    Window,
    single,
)
from modelflow.networks.trace import Trace

EPSILON = 1e-5  # of batch norm, PyTorch's default
OTHER = "Are they of another network?"
IN_PYTORCH_ALONE = "run in PyTorch alone, not yet as C or in the report. Export to another format."


@dataclass(frozen=True)
class Program:
    """A network's operations in their order, from the normalised image to the logits."""

    input: Values
    operations: tuple[Operation, ...]
    output: Values

    def readers(self) -> Counter[Values]:
        """How many operations read each value; the output is read once more."""
        read = Counter(value.owner for operation in self.operations for value in set(operation.inputs))
        return read + Counter([self.output.owner])


@dataclass
class Writer:
    """Weights by name, and the operations written so far."""

    state: Mapping[str, np.ndarray]
    operations: list[Operation] = field(default_factory=list)

    def add(self, kind: type[Operation], name: str, shape: Shape, *inputs: Values, **fields: object) -> Values:
        """Writes an operation; returns what it gives."""
        self.operations.append(kind(name, inputs, Values(shape), **fields))
        return self.operations[-1].output

    def weight(self, name: str, what: str, *shape: int) -> Floats:
        """A tensor of a module. Raises `DataError` where it is missing, of another shape or not finite."""
        owner = name if f"{name}.{what}" in self.state else name.rpartition(".")[0]  # the card's own their part's
        if f"{owner}.{what}" not in self.state:
            raise DataError(f"the weights have no {name}.{what}. {OTHER}")
        found = np.ascontiguousarray(self.state[f"{owner}.{what}"], np.float32)
        if found.shape != shape:
            raise DataError(f"{owner}.{what} is {shape_text(found.shape)}, expected {shape_text(shape)}. {OTHER}")
        if not np.isfinite(found).all():
            raise DataError(f"{owner}.{what} has values that are not finite. Train again with a lower learning rate.")
        return found

    def bias(self, name: str, has_bias: bool, features: int) -> Floats:
        return self.weight(name, "bias", features) if has_bias else np.zeros(features, np.float32)


def lowered(traced: Trace, state: Mapping[str, np.ndarray]) -> Program:
    """The operations of a network, batch norm and activations merged into what comes before where possible.

    `state` are the tensors of `GenericCNN`'s state by name. Raises `UsageError` for a layer that has no operations,
    `DataError` for weights that are missing, of another shape or not finite.
    """
    writer, image = Writer(state), Values(traced.input_shape)
    x = image
    for layer in traced.layers:
        x = _lower(writer, layer.name, layer.written, x)
    return merged(Program(image, tuple(writer.operations), x))


def _lower(writer: Writer, name: str, layer: LayerKind, x: Values) -> Values:
    if lower := LOWERINGS.get(type(layer)):
        return lower(writer, name, layer, x)
    parts = list(layer.parts(x.shape))
    if not parts:
        raise UsageError(f"{name}: layers of the kind {layer.key or type(layer).__name__} {IN_PYTORCH_ALONE}")
    return _chain(writer, name, parts, x)


def _chain(writer: Writer, name: str, parts: Iterable[tuple[str, LayerKind]], x: Values) -> Values:
    for part, layer in parts:
        x = _lower(writer, f"{name}.{part}", layer, x)
    return x


def _convolution(writer: Writer, name: str, layer: Convolution, x: Values) -> Values:
    shape = layer.output_shape(x.shape)
    pad = [(k - 1) // 2 if layer.padding == "same" else layer.padding for k in layer.kernel]
    down, right = (0 if at_each_end == "valid" else at_each_end for at_each_end in pad)
    window = Window(_maps(x.shape), _maps(shape), layer.kernel, layer.stride, (down, right), layer.groups)
    weight = writer.weight(name, "weight", layer.features, x.shape[0] // layer.groups, *layer.kernel)
    bias = writer.bias(name, layer.bias, layer.features)
    return writer.add(Convolve, name, shape, x, window=window, weight=weight, bias=bias)


def _product(writer: Writer, name: str, layer: Product, x: Values) -> Values:
    weight = writer.weight(name, "weight", layer.features, x.count)
    bias = writer.bias(name, layer.bias, layer.features)
    return writer.add(Dense, name, (layer.features,), x, weight=weight, bias=bias)


def _norm(writer: Writer, name: str, layer: Norm, x: Values) -> Values:
    scale, bias, mean, variance = (
        writer.weight(name, what, x.shape[0]).astype(np.float64)
        for what in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + EPSILON)
    shift = bias - mean * factor
    return writer.add(ScaleShift, name, x.shape, x, factor=single(factor), shift=single(shift))


def _activation(writer: Writer, name: str, layer: Activation, x: Values) -> Values:
    if layer.name not in ACTIVATIONS:
        raise UsageError(f"{name}: {layer.name} {IN_PYTORCH_ALONE}")
    return writer.add(Activate, name, x.shape, x, activation=layer.name)


def _pool(writer: Writer, name: str, layer: PoolLayer, x: Values) -> Values:
    how, shape = layer.how.removeprefix("global_"), layer.output_shape(x.shape)
    if layer.how in GLOBAL:
        return writer.add(Pool, name, shape, x, window=_whole(x.shape), how=how)
    pad = (layer.padding, layer.padding)
    window = Window(_maps(x.shape), _maps(shape), layer.window, layer.steps, pad, x.shape[0])
    return writer.add(Pool, name, shape, x, window=window, how=how)


def _squeeze(writer: Writer, name: str, layer: Squeeze, x: Values) -> Values:
    channels, units = x.shape[0], x.shape[0] // layer.ratio
    means = writer.add(Pool, name, (channels,), x, window=_whole(x.shape), how="average")
    units_relu = _pointwise(writer, f"{name}.reduce", units, means, Bounds(0.0))
    logits = _pointwise(writer, f"{name}.expand", channels, units_relu, Bounds())
    weights = writer.add(Activate, name, (channels,), logits, activation="sigmoid")
    return writer.add(Weigh, name, x.shape, x, weights)


def _pointwise(writer: Writer, name: str, features: int, x: Values, bounds: Bounds) -> Values:
    weight = writer.weight(name, "weight", features, x.count, 1, 1).reshape(features, -1)
    bias = writer.weight(name, "bias", features)
    return writer.add(Dense, name, (features,), x, weight=weight, bias=bias, bounds=bounds)


def _residual(writer: Writer, name: str, layer: Residual, x: Values) -> Values:
    body = x
    for part, held, _ in layer.held(x.shape):
        body = _lower(writer, f"{name}.{part}", held, body)
    shortcut = x
    if layer.shortcut == "conv":
        shortcut = _lower(writer, f"{name}.shortcut", layer.projection(x.shape, body.shape), x)
    summed = writer.add(Add, name, body.shape, body, shortcut)
    return _chain(writer, name, activation_parts(layer.activation), summed)


def _dropout(writer: Writer, name: str, layer: Dropout, x: Values) -> Values:
    return x


def _flatten(writer: Writer, name: str, layer: Flatten, x: Values) -> Values:
    return Values(layer.output_shape(x.shape), within=x)


LOWERINGS: dict[type[LayerKind], Callable[[Writer, str, Any, Values], Values]] = {
    Convolution: _convolution,
    Product: _product,
    Norm: _norm,
    Activation: _activation,
    PoolLayer: _pool,
    Squeeze: _squeeze,
    Residual: _residual,
    Dropout: _dropout,
    Flatten: _flatten,
}


def _maps(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = shape
    return channels, height, width


def _whole(shape: Shape) -> Window:
    """Over whole maps."""
    channels, height, width = shape
    return Window((channels, height, width), (channels, 1, 1), (height, width), groups=channels)


def merged(program: Program) -> Program:
    """Batch norm becomes part of the convolution before it, ReLU and ReLU6 bounds of the operation before them.

    Only where nothing else reads what comes between. Any other batch norm becomes a 1x1 convolution of each channel.
    """
    readers, done, place = program.readers(), list[Operation](), dict[Values, int]()
    for operation in program.operations:
        before = operation.inputs[0].owner
        at = place.get(before)
        one = None if at is None or readers[before] > 1 else _as_one(done[at], operation)
        if one is None or at is None:
            at = len(done)
            done.append(_by_itself(operation))
        else:
            done[at] = one
        place[operation.output] = at
    return replace(program, operations=tuple(done))


def _as_one(before: Operation, after: Operation) -> Operation | None:
    """Two operations as one, or None where they cannot be."""
    if not isinstance(before, Convolve | Dense | Add) or before.bounds != Bounds():
        return None
    if isinstance(after, Activate) and after.activation in CUTS:
        return replace(before, output=after.output, bounds=CUTS[after.activation])
    if isinstance(after, ScaleShift) and isinstance(before, Convolve):
        factor = after.factor.astype(np.float64)
        weight = single(before.weight * factor[:, None, None, None])
        return replace(before, output=after.output, weight=weight, bias=single(before.bias * factor + after.shift))
    return None


def _by_itself(operation: Operation) -> Operation:
    if not isinstance(operation, ScaleShift):
        return operation
    maps = _maps(operation.output.shape)
    window = Window(maps, maps, (1, 1), groups=maps[0])
    weight = operation.factor.reshape(-1, 1, 1, 1)
    return Convolve(operation.name, operation.inputs, operation.output, window, weight, operation.shift)
