"""Going through maps value by value, in the order in which they lie."""

from collections.abc import Callable, Iterator, Sequence

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


def each(
    k: Code, target: tuple[Maps, Num], sources: Sequence[tuple[Maps, Num]], give: Callable[..., Num], adds: bool = False
) -> None:
    """Writes what `give` makes of the values of the sources, each maps and where they begin, or adds it."""
    to, begin = target
    written, read = k.vectors(begin), [k.vectors(pointer) for _, pointer in sources]
    for c, y in rows(k, to):
        into = written.at(to.index(c, y, 0))
        given = [array.at(maps.index(c, y, 0)) for array, (maps, _) in zip(read, sources, strict=True)]
        for places in along(k, to.width):
            for x in places:
                new = give(*(row[x] for row in given))
                into[x] = into[x] + new if adds else new


def copy(k: Code, source: Maps, target: Maps, adds: bool = False) -> None:
    """Arguments: source, target. Into the target, or added to it."""
    each(k, (target, k.target), [(source, k.source)], lambda value: value, adds)


def fill(k: Code, maps: Maps, value: float) -> None:
    """Arguments: target."""
    written = k.vectors(k.target)
    for c, y in rows(k, maps):
        into = written.at(maps.index(c, y, 0))
        for x in k.loop(maps.width):
            into[x] = k.vector(value)
