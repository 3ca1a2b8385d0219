"""How maps lie in memory: vectors over the images of a block, row by row, channel by channel, left to right.

    index(c, y, x) = ((top + y) * channels + c) * pitch + left + x

Around each map lies a border of zeros, as wide as the convolutions reach that read it, so that no reader looks where it
is. Rows come first: what a convolution reads for one row of outputs lies together, and fits a small cache. Features are
maps of one place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from modelflow.kernels.emit import Code, Num, Operand


class Border(NamedTuple):
    """Zeros around a map."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def joined(self, other: "Border") -> "Border":
        """As wide as both at each side."""
        return Border(*map(max, self, other))


NONE = Border()


@dataclass(frozen=True)
class Maps:
    """The maps of one block of images."""

    channels: int
    height: int
    width: int
    border: Border = NONE

    @property
    def pitch(self) -> int:
        """Vectors from one row of a channel to that of the next channel."""
        return self.border.left + self.width + self.border.right

    @property
    def row(self) -> int:
        """Vectors from one row to the next."""
        return self.channels * self.pitch

    @property
    def size(self) -> int:
        return (self.border.top + self.height + self.border.bottom) * self.row

    @property
    def places(self) -> int:
        return self.height * self.width

    def index(self, c: Operand, y: Operand, x: Operand) -> Operand:
        return (y + self.border.top) * self.row + c * self.pitch + (x + self.border.left)

    def bordered(self, border: Border) -> "Maps":
        return replace(self, border=self.border.joined(border))


def maps_of(shape: tuple[int, ...]) -> Maps:
    """Of a shape without the batch."""
    return Maps(*shape) if len(shape) == 3 else Maps(shape[0], 1, 1)


def split(k: Code, count: int, most: int) -> Iterator[tuple[Num, int]]:
    """The beginnings and sizes of pieces of at most `most`, as even as they can be, the larger ones first."""
    size, larger = divmod(count, -(-count // most))
    for start in k.loop(larger * (size + 1), 0, size + 1):
        yield start, size + 1
    for start in k.loop(count, larger * (size + 1), size):
        yield start, size


def pieces(count: int, most: int) -> list[int]:
    """The sizes that `split` gives."""
    size, larger = divmod(count, -(-count // most))
    return [size + (i < larger) for i in range(-(-count // most))]
