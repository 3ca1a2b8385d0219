"""The gradient of a convolution's weight.

    dw[o, i, ky, kx] = sum over the images, y and x of  d[o, y, x] * in[i, y * step + ky, x * step + kx]

A tile of outputs x taps (of input channels, for a window of one place) is summed in registers over a strip of rows that
stays in the first cache. Between strips the sums of a tile's outputs lie in `scratch`, still a vector of images each.
The images of a block are added up in the end.
"""

from dataclasses import dataclass
from itertools import product

from modelflow.kernels.emit import Array, Code, Num
from modelflow.kernels.maps import Maps, split
from modelflow.kernels.ops.correlation import WRITTEN, tiling

STRIP = 24_576  # bytes of a strip
FIRST_TAPS = 7  # columns of a window that are summed at once


@dataclass(frozen=True)
class WeightGradient:
    """Sizes are those of a group; `step` down and to the right, `start` is the first row and column that is read."""

    source: Maps
    gradient: Maps
    groups: int
    outputs: int
    depth: int
    kernel: tuple[int, int]
    step: tuple[int, int]
    start: tuple[int, int]

    @property
    def weights(self) -> int:
        """Of one output."""
        return self.depth * self.kernel[0] * self.kernel[1]

    def scratch(self, lanes: int, registers: int) -> int:
        """Floats."""
        return _up(self.weights, lanes) * _outputs(self, registers) * lanes


def weight_gradient(k: Code, c: WeightGradient, registers: int) -> None:
    """Arguments: source, gradient, weight (its gradient, which is added to), scratch."""
    padded, strip = _up(c.weights, k.lanes), _strip(c, registers, k.lanes)
    scratch = k.vectors(k.scratch)
    for group in k.loop(c.groups):
        for o, outputs in split(k, c.outputs, _outputs(c, registers)):
            for j in k.loop(outputs * padded):
                scratch[j] = k.vector(0.0)
            for y, rows in split(k, c.gradient.height, strip):
                _add_strip(k, c, registers, group, o, outputs, y, rows)
            _add_up(k, c, group * c.outputs + o, outputs)


def _add_up(k: Code, c: WeightGradient, output: Num, outputs: int) -> None:
    """The sums over the images, added to the gradient. What lies behind an output's weights is added zeros."""
    padded = _up(c.weights, k.lanes)
    scratch, grads = k.vectors(k.scratch), k.array(k.weight)
    for o in range(outputs):
        for j in k.loop(padded, 0, k.lanes):
            sums = k.totals([scratch[j + (o * padded + lane)] for lane in range(k.lanes)])
            at = (output + o) * c.weights + j
            grads.put_unaligned(at, grads.unaligned(at) + sums)


def _add_strip(k: Code, c: WeightGradient, registers: int, group: Num, o: Num, outputs: int, y: Num, rows: int) -> None:
    gradient = k.vectors(k.gradient).at(c.gradient.index(group * c.outputs + o, y, 0))
    source = k.vectors(k.source).at(c.source.index(group * c.depth, y * c.step[0] + c.start[0], c.start[1]))
    area, scratch = c.kernel[0] * c.kernel[1], k.vectors(k.scratch)
    for i, depth in split(k, c.depth, _depth_at_once(c, registers)):
        for ky, down in split(k, c.kernel[0], _rows_at_once(c, registers)):
            for kx, right in split(k, c.kernel[1], FIRST_TAPS):
                taps = [
                    (j * area + r * c.kernel[1] + t, j * c.source.pitch + r * c.source.row + t)
                    for j, r, t in product(range(depth), range(down), range(right))
                ]
                corner = source.at(i * c.source.pitch + ky * c.source.row + kx)
                sums = scratch.at(i * area + ky * c.kernel[1] + kx)
                _Sums(k, c, outputs, taps, sums).add(gradient, corner, rows)


@dataclass
class _Sums:
    """The sums of a tile: for each tap its place among an output's weights, and in the source."""

    k: Code
    c: WeightGradient
    outputs: int
    taps: list[tuple[int, int]]
    scratch: Array

    def add(self, gradient: Array, source: Array, rows: int) -> None:
        k, c = self.k, self.c
        padded = _up(c.weights, k.lanes)
        keys = list(product(range(self.outputs), range(len(self.taps))))
        at = {(o, t): o * padded + self.taps[t][0] for o, t in keys}
        sums = {key: k.var(self.scratch[at[key]]) for key in keys}
        for y in k.loop(rows):
            for x, places in split(k, c.gradient.width, max(1, WRITTEN // len(keys))):
                totals = {key: total.get() for key, total in sums.items()}
                d, values = (
                    gradient.at(y * c.gradient.row + x),
                    source.at(y * (c.step[0] * c.source.row) + x * c.step[1]),
                )
                for i in range(places):
                    self._add_products(totals, d.at(i), values.at(i * c.step[1]))
                for key, total in sums.items():
                    total.set(totals[key])
        for key, total in sums.items():
            self.scratch[at[key]] = total.get()

    def _add_products(self, totals: dict[tuple[int, int], Num], gradient: Array, source: Array) -> None:
        """The fewer of gradients and inputs are held in registers, the others loaded one by one."""
        k, outputs, taps = self.k, range(self.outputs), range(len(self.taps))
        if len(outputs) <= len(taps):
            held = [gradient.anew(o * self.c.gradient.pitch) for o in outputs]
            for t in taps:
                vector = source.anew(self.taps[t][1])
                for o in outputs:
                    totals[o, t] = k.fma(held[o], vector, totals[o, t])
            return
        vectors = [source.anew(self.taps[t][1]) for t in taps]
        for o in outputs:
            d = gradient.anew(o * self.c.gradient.pitch)
            for t in taps:
                totals[o, t] = k.fma(d, vectors[t], totals[o, t])


def _outputs(c: WeightGradient, registers: int) -> int:
    """Of a tile, at most."""
    return tiling(c.outputs, _taps(c), registers).channels


def _taps(c: WeightGradient) -> int:
    """How many a tile may have: those of a row, of all rows for a single output, or channels for a window of one."""
    if c.kernel == (1, 1):
        return c.depth
    return min(c.kernel[1], FIRST_TAPS) * (c.kernel[0] if c.outputs == 1 else 1)


def _depth_at_once(c: WeightGradient, registers: int) -> int:
    return tiling(c.outputs, c.depth, registers).width if c.kernel == (1, 1) else 1


def _rows_at_once(c: WeightGradient, registers: int) -> int:
    """Rows of the window in one tile, where a single output leaves registers for them."""
    columns = min(c.kernel[1], FIRST_TAPS)
    return max(1, min(c.kernel[0], (registers - 3) // columns)) if c.outputs == 1 else 1


def _strip(c: WeightGradient, registers: int, lanes: int) -> int:
    """Rows whose gradients and inputs fit the first cache."""
    row = (_outputs(c, registers) * c.gradient.pitch + c.source.pitch * c.step[0]) * lanes * 4
    return max(1, min(c.gradient.height, STRIP // row))


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
