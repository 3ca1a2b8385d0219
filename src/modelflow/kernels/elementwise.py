"""Going through maps value by value, in the order in which they lie."""

from collections.abc import Iterator

from modelflow.kernels.emit import Code, Num
from modelflow.kernels.maps import Maps

AT_ONCE = 4  # places of a row


def rows(k: Code, maps: Maps) -> Iterator[tuple[Num, Num]]:
    """Channels and rows."""
    for y in k.loop(maps.height):
        for c in k.loop(maps.channels):
            yield c, y


def along(k: Code, width: int) -> Iterator[list[Num]]:
    """The places of a row, some at a time."""
    whole = width // AT_ONCE * AT_ONCE
    for x in k.loop(whole, 0, AT_ONCE):
        yield [x + i for i in range(AT_ONCE)]
    if width > whole:
        yield [k.integer(x) for x in range(whole, width)]


def copy(k: Code, source: Maps, target: Maps, adds: bool = False) -> None:
    """Arguments: source, target. Into the target, or added to it."""
    read, written = k.vectors(k.source), k.vectors(k.target)
    for c, y in rows(k, target):
        out_of, into = read.at(source.index(c, y, 0)), written.at(target.index(c, y, 0))
        for places in along(k, target.width):
            for x in places:
                into[x] = into[x] + out_of[x] if adds else out_of[x]


def fill(k: Code, maps: Maps, value: float) -> None:
    """Arguments: target."""
    written = k.vectors(k.target)
    for c, y in rows(k, maps):
        into = written.at(maps.index(c, y, 0))
        for x in k.loop(maps.width):
            into[x] = k.vector(value)
