"""Sums of products of maps and weights over a moving window: a convolution, and its gradient for the input.

    target[o, y, x] = bias[o] + sum over i and taps of  weight(o, i, tap) * source[i, row(y, tap), column(x, tap)]

A tile of channels x places of a row is summed in registers; each weight in every lane serves all places of the tile,
each vector of the source all channels. The taps of a strided convolution's input gradient are those of its phase.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

from modelflow.kernels.activations import activated
from modelflow.kernels.emit import Array, Code, Num, Operand, Var
from modelflow.kernels.maps import Maps, pieces, split

UNROLLED = 640  # multiply-adds written out in one piece
WRITTEN = 96  # as many are, where the window is smaller, by going through several channels
LATENCY, PIPES, LOADS = 4, 2, 2  # cycles until a sum can be added to; multiply-adds and loads that begin in each


@dataclass(frozen=True)
class Side:
    """Rows or columns: that of the source for a place and a tap, and that of the target and the weight."""

    places: int
    step: int
    taps: int
    tap_start: int
    tap_step: int
    weight_start: int
    weight_step: int
    target_start: int = 0
    target_step: int = 1

    @property
    def range(self) -> tuple[int, int]:
        """The first row of the source that is read, and the last."""
        ends = (self.tap_start, self.tap_start + (self.taps - 1) * self.tap_step)
        return min(ends), max(ends) + (self.places - 1) * self.step


@dataclass(frozen=True)
class Correlation:
    """Sizes are those of a group; `adds` to what is in the target."""

    source: Maps
    target: Maps
    groups: int
    outputs: int
    depth: int
    rows: Side
    columns: Side
    output_step: int  # between the weights of two outputs, of two input channels, of two groups
    depth_step: int
    group_step: int
    has_bias: bool = False
    adds: bool = False
    activation: str = "none"

    @property
    def taps(self) -> int:
        return self.rows.taps * self.columns.taps


@dataclass(frozen=True)
class Tile:
    """Channels x places that are summed at once."""

    channels: int
    width: int

    @property
    def sums(self) -> int:
        return self.channels * self.width

    @property
    def cycles(self) -> float:
        """Of one tap."""
        loads = (self.channels + self.width) / LOADS
        return max(self.sums / PIPES, loads, LATENCY if self.sums < LATENCY * PIPES else 0) + 0.25


@lru_cache(maxsize=1024)
def tiling(channels: int, width: int, registers: int) -> Tile:
    """The tile whose pieces take the fewest cycles. Registers hold its sums, its weights or places, and one more."""
    fitting = [
        Tile(c, w)
        for c, w in product(range(1, min(channels, registers) + 1), range(1, min(width, registers) + 1))
        if c * w + min(c, w) + 1 <= registers
    ]

    def cycles(tile: Tile) -> float:
        sizes = product(pieces(channels, tile.channels), pieces(width, tile.width))
        return sum(Tile(c, w).cycles for c, w in sizes)

    return min(fitting, key=cycles)


def correlate(k: Code, registers: int, *phases: Correlation) -> None:
    """Arguments: source, target, weight; bias, if it has one. Group by group, the phases of a target in turn."""
    for group in k.loop(phases[0].groups):
        for c in phases:
            _correlate_group(k, registers, c, group)


def _correlate_group(k: Code, registers: int, c: Correlation, group: Num) -> None:
    tile = tiling(c.outputs, c.columns.places, registers)
    for y in k.loop(c.rows.places):
        for x, width in split(k, c.columns.places, tile.width):
            for o, channels in split(k, c.outputs, tile.channels):
                _Tile(k, c, Tile(channels, width), group, o, y, x).write()


@dataclass
class _Tile:
    """Writes one tile."""

    k: Code
    c: Correlation
    tile: Tile
    group: Num
    o: Num
    y: Num
    x: Num
    sums: dict[tuple[int, int], Var] = field(default_factory=dict)

    def write(self) -> None:
        k, c = self.k, self.c
        rows, columns = c.rows, c.columns
        row, column = self.y * rows.target_step + rows.target_start, self.x * columns.target_step + columns.target_start
        channel = self.group * c.outputs + self.o
        target = k.vectors(k.target).at(c.target.index(channel, row, column))
        place = {(o, w): o * c.target.pitch + w * columns.target_step for o, w in self._places()}
        for o, w in self._places():
            start = target[place[o, w]] if c.adds else k.vector(0.0)
            if c.has_bias:
                start = k.array(k.bias).broadcast(channel + o)
            self.sums[o, w] = k.var(start)
        if c.taps:
            self._sum()
        for at, total in self.sums.items():
            target[place[at]] = activated(k, c.activation, total.get())

    def _places(self) -> list[tuple[int, int]]:
        return list(product(range(self.tile.channels), range(self.tile.width)))

    def _sum(self) -> None:
        """Adds the products: over the channels of the group, and over the taps, written out where they are few."""
        k, c = self.k, self.c
        corner = c.source.index(
            self.group * c.depth,
            self.y * c.rows.step + c.rows.tap_start,
            self.x * c.columns.step + c.columns.tap_start,
        )
        source = k.vectors(k.source).at(corner)
        first = self.o * c.output_step + self.group * c.group_step + (c.rows.weight_start + c.columns.weight_start)
        weights = k.array(k.weight).at(first)
        at_once = max(1, WRITTEN // (c.taps * self.tile.sums))
        for i, depths in split(k, c.depth, at_once):
            maps, weight = source.at(i * c.source.pitch), weights.at(i * c.depth_step)
            row = c.columns.taps * self.tile.sums
            for r in _along(k, c.rows.taps, row * c.rows.taps <= UNROLLED):
                for t in _along(k, c.columns.taps, row <= UNROLLED):
                    self._products(maps, weight, depths, r, t)

    def _products(self, maps: Array, weight: Array, depths: int, rows: list[Operand], columns: list[Operand]) -> None:
        k, c = self.k, self.c
        totals = {at: total.get() for at, total in self.sums.items()}
        for i, r, t in product(range(depths), rows, columns):
            place = r * (c.rows.tap_step * c.source.row) + t * c.columns.tap_step + i * c.source.pitch
            at = r * c.rows.weight_step + t * c.columns.weight_step + i * c.depth_step
            add_products(k, self.tile, totals, weight.at(at), c.output_step, maps.at(place), c.columns.step)
        for key, total in self.sums.items():
            total.set(totals[key])


def add_products(
    k: Code,
    tile: Tile,
    totals: dict[tuple[int, int], Num],
    weights: Array,
    weight_step: int,
    source: Array,
    source_step: int,
) -> None:
    """totals[o, w] += weights[o] * source[w]; the fewer of both are held in registers, the others loaded one by one."""
    outputs, places = range(tile.channels), range(tile.width)
    if tile.channels <= tile.width:
        held = [weights.broadcast(o * weight_step) for o in outputs]
        for w in places:
            vector = source.anew(w * source_step)
            for o in outputs:
                totals[o, w] = k.fma(held[o], vector, totals[o, w])
        return
    vectors = [source.anew(w * source_step) for w in places]
    for o in outputs:
        weight = weights.broadcast(o * weight_step)
        for w in places:
            totals[o, w] = k.fma(weight, vectors[w], totals[o, w])


def _along(k: Code, count: int, unrolled: bool) -> Iterator[list[Operand]]:
    """All numbers below `count` at once, or one by one as they come at run time."""
    if unrolled:
        yield list(range(count))
        return
    for i in k.loop(count):
        yield [i]
