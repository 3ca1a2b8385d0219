"""Convolutions, dense, grouped or depthwise, with any stride and padding.

    out[o, y, x] = bias[o] + sum over i, ky, kx of  w[o, i, ky, kx] * in[i, y * sy + ky - py, x * sx + kx - px]
    din[i, y, x] = sum over o, ky, kx of            w[o, i, ky, kx] * d[o, (y + py - ky) / sy, (x + px - kx) / sx]

The second sum goes over the taps for which the quotients are whole: those of the row's and the column's phase.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any, ClassVar

import numpy as np

from modelflow.kernels.activations import REFERENCES
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Border, Maps, maps_of
from modelflow.kernels.ops.activate import through
from modelflow.kernels.ops.correlation import Correlation, Side, correlate
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.kernels.ops.weight_gradient import WeightGradient, weight_gradient
from modelflow.kernels.ops.windows import windows
from modelflow.networks.layers.conv import Convolution
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Convolve(Operation):
    """`weight` and `bias` are places in the flat parameters; `padding` is that above and to the left."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Convolution,)

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    weight: int
    bias: int | None
    activation: str = "none"  # or one whose slope the output tells

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Convolution)
        shape = layer.output_shape(x.shape)
        weight = writer.parameters(shape[0] * (x.shape[0] // layer.groups) * layer.kernel[0] * layer.kernel[1])
        return writer.add(
            cls,
            shape,
            x,
            kernel=layer.kernel,
            stride=layer.stride,
            padding=_before(layer),
            groups=layer.groups,
            weight=weight,
            bias=writer.parameters(shape[0]) if layer.bias else None,
        )

    def reach(self) -> Border:
        return reach(maps_of(self.inputs[0].shape), [self.sums(*self._maps())])

    def gradient_reach(self) -> Border:
        source, target = self._maps()
        return reach(target, self._phases(target, source, False))

    def scratch(self, lanes: int, registers: int) -> int:
        return self._weight_gradient(*self._maps()).scratch(lanes, registers)

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        bias: dict[str, Any] = {} if self.bias is None else {"bias": s.parameter(self.bias)}
        s.per_block(
            correlate, s.registers, self.sums(source, target),
            source=at, target=to, weight=s.parameter(self.weight), **bias,
        )  # fmt: skip

    def backward(self, s: Schedule) -> None:
        (source, at), (gradient, d) = s.value(self.inputs[0]), s.gradient(self.output)
        weights = self._weight_gradient(source, gradient)
        if self.activation != "none":
            output, out = s.value(self.output)
            s.per_block(through, output, gradient, gradient, self.activation, False, source=out, gradient=d, target=d)
        if self.bias is not None:
            s.per_block(add_places, gradient, gradient=d, bias=s.gradients(self.bias))
        s.per_block(
            weight_gradient, weights, s.registers,
            source=at, gradient=d, weight=s.gradients(self.weight), scratch=s.scratch(),
        )  # fmt: skip
        adds = s.adds(self.inputs[0])
        if adds is not None:
            target, to = s.gradient(self.inputs[0])
            if phases := self._phases(gradient, target, adds):
                s.per_block(correlate, s.registers, *phases, source=d, target=to, weight=s.parameter(self.weight))

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        groups, outputs, depth = self.groups, self.output.shape[0] // self.groups, inputs[0].shape[1] // self.groups
        slid = windows(inputs[0], self.output.shape, self.kernel, self.stride, self.padding)
        slid = slid.reshape(len(slid), groups, depth, *slid.shape[2:])
        weight = given.part(self.weight, groups, outputs, depth, *self.kernel)
        summed: Numbers = np.einsum("bgihwyx,goiyx->bgohw", slid, weight, optimize=True)
        summed = summed.reshape(-1, *self.output.shape)
        summed = summed if self.bias is None else summed + given.part(self.bias, groups * outputs, 1, 1)
        return REFERENCES[self.activation](summed)

    def _maps(self) -> tuple[Maps, Maps]:
        return maps_of(self.inputs[0].shape), maps_of(self.output.shape)

    def sums(self, source: Maps, target: Maps) -> Correlation:
        """The forward pass."""
        (height, width), (down, right), (above, left) = self.kernel, self.stride, self.padding
        outputs, depth = target.channels // self.groups, source.channels // self.groups
        return Correlation(
            source,
            target,
            self.groups,
            outputs,
            depth,
            Side(target.height, down, height, -above, 1, 0, width),
            Side(target.width, right, width, -left, 1, 0, 1),
            output_step=depth * height * width,
            depth_step=height * width,
            group_step=outputs * depth * height * width,
            has_bias=self.bias is not None,
            activation=self.activation,
        )

    def _phases(self, gradient: Maps, target: Maps, adds: bool) -> list[Correlation]:
        """Those of the input's gradient; the roles of outputs and input channels are exchanged."""
        (height, width), depth = self.kernel, target.channels // self.groups
        outputs = gradient.channels // self.groups
        rows = sides(target.height, height, self.stride[0], self.padding[0], width)
        columns = sides(target.width, width, self.stride[1], self.padding[1], 1)
        return [
            Correlation(
                gradient,
                target,
                self.groups,
                depth,
                outputs,
                row,
                column,
                output_step=height * width,
                depth_step=depth * height * width,
                group_step=outputs * depth * height * width,
                adds=adds,
            )
            for row, column in product(rows, columns)
            if row.taps * column.taps or not adds
        ]

    def _weight_gradient(self, source: Maps, gradient: Maps) -> WeightGradient:
        start = (-self.padding[0], -self.padding[1])
        outputs, depth = gradient.channels // self.groups, source.channels // self.groups
        return WeightGradient(source, gradient, self.groups, outputs, depth, self.kernel, self.stride, start)


def _before(layer: Convolution) -> tuple[int, int]:
    """Zeros above and to the left, as PyTorch has them."""
    if layer.padding == "same":
        return (layer.kernel[0] - 1) // 2, (layer.kernel[1] - 1) // 2
    return (0, 0) if layer.padding == "valid" else (layer.padding, layer.padding)


def sides(places: int, kernel: int, stride: int, padding: int, weight_step: int) -> Iterator[Side]:
    """For each phase of the rows of the input: which rows of the output's gradient it takes, and with which weights."""
    for phase in range(min(stride, places)):
        first = (phase + padding) % stride
        yield Side(
            places=-(-(places - phase) // stride),
            step=1,
            taps=max(0, -(-(kernel - first) // stride)),
            tap_start=(phase + padding - first) // stride,
            tap_step=-1,
            weight_start=first * weight_step,
            weight_step=stride * weight_step,
            target_start=phase,
            target_step=stride,
        )


def reach(maps: Maps, correlations: list[Correlation]) -> Border:
    """How far beyond the maps they read."""
    borders = [_beyond(maps, c) for c in correlations if c.taps]
    return reduce(Border.joined, borders, Border())


def _beyond(maps: Maps, c: Correlation) -> Border:
    (top, bottom), (left, right) = c.rows.range, c.columns.range
    return Border(max(0, -top), max(0, -left), max(0, bottom - maps.height + 1), max(0, right - maps.width + 1))


def add_places(k: Code, maps: Maps) -> None:
    """Arguments: gradient, bias (its gradient, which is added to)."""
    gradient, bias = k.vectors(k.gradient), k.array(k.bias)
    for c in k.loop(maps.channels):
        total = k.var(k.vector(0.0))
        for y in k.loop(maps.height):
            row, along = gradient.at(maps.index(c, y, 0)), k.var(k.vector(0.0))
            for x in k.loop(maps.width):
                along.set(along.get() + row[x])
            total.set(total.get() + along.get())
        bias[c] = bias[c] + k.total(total.get())
