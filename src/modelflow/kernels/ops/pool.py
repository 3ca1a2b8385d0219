"""Pooling of windows: the largest, the first of equals, or the mean; and of whole maps.

A mean over windows is a correlation of each channel with one weight. Beyond an edge a largest value looks at the edge
again, which changes nothing: a window of PyTorch's always covers some of the map. Where windows do not overlap, each
place of the input takes the gradient of its window, or none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from modelflow.kernels.activations import REFERENCES, activated, slope
from modelflow.kernels.elementwise import fill, rows
from modelflow.kernels.emit import F32, Code, Num, Operand
from modelflow.kernels.maps import Border, Maps, maps_of
from modelflow.kernels.ops.convolve import reach, sides
from modelflow.kernels.ops.correlation import Correlation, Side, correlate
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.kernels.ops.windows import windows
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.pool import GLOBAL
from modelflow.networks.layers.pool import Pool as Layer
from modelflow.networks.layers.tape import Values

WRITTEN = 16  # places of a window that are written out


@dataclass(frozen=True)
class Windows:
    """Height and width, steps down and to the right, and the places added at each edge."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: int

    def tile(self, maps: Maps) -> bool:
        """Whether each place of maps is in one window."""
        height, width = self.size
        return self.stride == self.size and not self.padding and maps.height % height == 0 == maps.width % width

    def slid(self, x_BCHW: Numbers, output: Values, beyond: float) -> Numbers:
        """Each place's window, B x the output's shape x `size`."""
        return windows(x_BCHW, (*output.shape, 1, 1)[:3], self.size, self.stride, (self.padding, self.padding), beyond)


@dataclass(frozen=True, eq=False)
class Largest(Operation):
    """Of each window. It also writes the layers that are other operations."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Layer,)

    windows: Windows
    activation: str = "none"  # or "relu": where it gives 0, no gradient goes on

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Layer)
        shape = layer.output_shape(x.shape)
        if layer.how == "global_average":
            return writer.add(GlobalAverage, shape, x)
        windows = Windows(layer.window, layer.steps, layer.padding)
        if layer.how == "average":
            return writer.add(Average, shape, x, windows=windows)
        whole = (x.shape[1], x.shape[2])
        return writer.add(cls, shape, x, windows=Windows(whole, whole, 0) if layer.how in GLOBAL else windows)

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        s.per_block(largest, self.windows, source, target, self.activation, source=at, target=to)

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is None:
            return
        (source, at), (output, out) = s.value(self.inputs[0]), s.value(self.output)
        (target, to), (gradient, d) = s.gradient(self.inputs[0]), s.gradient(self.output)
        writes = not adds and self.windows.tile(source)
        if not (adds or writes):
            s.per_block(fill, target, 0.0, target=to)
        sizes = (self.windows, source, output, gradient, target, self.activation, writes)
        s.per_block(to_largest, *sizes, source=at, output=out, gradient=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        largest_of: Numbers = self.windows.slid(inputs[0], self.output, -np.inf).max((4, 5))
        return REFERENCES[self.activation](largest_of.reshape(-1, *self.output.shape))


@dataclass(frozen=True, eq=False)
class Average(Operation):
    """The mean of each window, added zeros included."""

    windows: Windows

    def reach(self) -> Border:
        return reach(maps_of(self.inputs[0].shape), [self._forward(*self._maps())])

    def gradient_reach(self) -> Border:
        source, target = self._maps()
        return reach(target, self._phases(target, source, False))

    def kept(self, lanes: int) -> int:
        return 1

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        height, width = self.windows.size
        s.once(set_share, height * width, share=s.kept(self))
        s.per_block(correlate, s.registers, self._forward(source, target), source=at, target=to, weight=s.kept(self))

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is not None:
            (gradient, d), (target, to) = s.gradient(self.output), s.gradient(self.inputs[0])
            if phases := self._phases(gradient, target, adds):
                s.per_block(correlate, s.registers, *phases, source=d, target=to, weight=s.kept(self))

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        means: Numbers = self.windows.slid(inputs[0], self.output, 0.0).mean((4, 5))
        return means

    def _maps(self) -> tuple[Maps, Maps]:
        return maps_of(self.inputs[0].shape), maps_of(self.output.shape)

    def _forward(self, source: Maps, target: Maps) -> Correlation:
        (height, width), (down, right), pad = self.windows.size, self.windows.stride, -self.windows.padding
        vertical = Side(target.height, down, height, pad, 1, 0, 0)
        return _of_each(source, target, vertical, Side(target.width, right, width, pad, 1, 0, 0), False)

    def _phases(self, gradient: Maps, target: Maps, adds: bool) -> list[Correlation]:
        (height, width), (down, right), pad = self.windows.size, self.windows.stride, self.windows.padding
        both = product(sides(target.height, height, down, pad, 0), sides(target.width, width, right, pad, 0))
        return [_of_each(gradient, target, *of, adds) for of in both if of[0].taps * of[1].taps or not adds]


def _of_each(source: Maps, target: Maps, vertical: Side, horizontal: Side, adds: bool) -> Correlation:
    """Of each channel by itself, with one weight."""
    return Correlation(source, target, source.channels, 1, 1, vertical, horizontal, 0, 0, 0, adds=adds)


@dataclass(frozen=True, eq=False)
class GlobalAverage(Operation):
    """The mean of each map."""

    def forward(self, s: Schedule) -> None:
        (source, at), (_, to) = s.value(self.inputs[0]), s.value(self.output)
        s.per_block(mean, source, source=at, target=to)

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is not None:
            (_, d), (target, to) = s.gradient(self.output), s.gradient(self.inputs[0])
            s.per_block(share_out, target, adds, gradient=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        means: Numbers = inputs[0].mean((2, 3))
        return means


def set_share(k: Code, count: int) -> None:
    """Arguments: share."""
    k.array(k.share)[0] = k.constant(1 / count, F32)


def mean(k: Code, maps: Maps) -> None:
    """Arguments: source, target (features)."""
    source, target = k.vectors(k.source), k.vectors(k.target)
    for c in k.loop(maps.channels):
        total = k.var(k.vector(0.0))
        for y in k.loop(maps.height):
            row, along = source.at(maps.index(c, y, 0)), k.var(k.vector(0.0))
            for x in k.loop(maps.width):
                along.set(along.get() + row[x])
            total.set(total.get() + along.get())
        target[c] = total.get() * (1 / maps.places)


def share_out(k: Code, maps: Maps, adds: bool) -> None:
    """Arguments: gradient (of features), target."""
    given, written = k.vectors(k.gradient), k.vectors(k.target)
    for c, y in rows(k, maps):
        row, share = written.at(maps.index(c, y, 0)), given[c] * (1 / maps.places)
        for x in k.loop(maps.width):
            row[x] = row[x] + share if adds else share


def _within(k: Code, place: Num, step: int, offset: Operand, padding: int, size: int) -> Num:
    """A row of the input under a window, or the nearest one."""
    at: Num = place * step + offset
    if not padding:
        return at
    at = k.where(at < padding, k.integer(0), at - padding)
    return k.where(at > size - 1, k.integer(size - 1), at)


def _windows(k: Code, target: Maps) -> Iterator[tuple[Num, Num, Num]]:
    """Channel, row and column of each window's output."""
    for c, y in rows(k, target):
        for x in k.loop(target.width):
            yield c, y, x


def _offsets(k: Code, w: Windows) -> Iterator[tuple[Operand, Operand]]:
    """Rows and columns of a window, written out or at run time."""
    if w.size[0] * w.size[1] <= WRITTEN:
        yield from product(range(w.size[0]), range(w.size[1]))
        return
    for dy in k.loop(w.size[0]):
        for dx in k.loop(w.size[1]):
            yield dy, dx


def largest(k: Code, w: Windows, source: Maps, target: Maps, activation: str) -> None:
    """Arguments: source, target. NaN stays."""
    read, written = k.vectors(k.source), k.vectors(k.target)
    for c, y, x in _windows(k, target):
        best = k.var(k.vector(float("-inf")))
        for dy, dx in _offsets(k, w):
            row = _within(k, y, w.stride[0], dy, w.padding, source.height)
            column = _within(k, x, w.stride[1], dx, w.padding, source.width)
            value = read[source.index(c, row, column)]
            before = best.get()
            best.set(k.where(k.greater_or_nan(value, before) & before.is_number(), value, before))
        written[target.index(c, y, x)] = activated(k, activation, best.get())


def to_largest(
    k: Code, w: Windows, source: Maps, output: Maps, gradient: Maps, target: Maps, activation: str, writes: bool
) -> None:
    """Arguments: source, output, gradient, target: the gradient of the source, which is written or added to."""
    read, best, given, written = (k.vectors(at) for at in (k.source, k.output, k.gradient, k.target))
    for c, y, x in _windows(k, output):
        value, d = best[output.index(c, y, x)], given[gradient.index(c, y, x)]
        left = k.var(d if activation == "none" else d * slope(k, activation, value))
        for dy, dx in _offsets(k, w):
            row = _within(k, y, w.stride[0], dy, w.padding, source.height)
            column = _within(k, x, w.stride[1], dx, w.padding, source.width)
            won, at = read[source.index(c, row, column)].equals(value), target.index(c, row, column)
            own = k.where(won, left.get(), k.vector(0.0))
            written[at] = own if writes else written[at] + own
            left.set(k.where(won, k.vector(0.0), left.get()))
