"""The filters of a run's convolutional layers as squares of an SVG, from its weights. No torch.

for layer in filters_of(folder, run): layer.name, layer.note, layer.svg
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelflow.errors import DataError
from modelflow.figures.filters import FilterGrid, filter_grid
from modelflow.figures.style import number
from modelflow.io.array import Array
from modelflow.results.records import Run
from modelflow.results.weights import ROOM, read_weights

MAX_LAYERS = 6
MAX_BYTES = 64 << 20  # of a file of weights that is read for its filters
LEVELS = 8  # of a colour, on either side of zero
TILE, FINEST, COARSEST = 48, 3, 12  # pixels of a filter, and of a weight
SIGNS = {1: "above", -1: "below"}
ENDING = ".weight"


@dataclass(frozen=True)
class Filters:
    """A layer by its name, what is shown of it in words, and its drawing."""

    name: str
    note: str
    svg: str


def filters_of(folder: Path, run: Run) -> tuple[Filters, ...]:
    """Of the first layers whose filters are more than single weights; none where the weights cannot be read."""
    try:
        state = read_weights(folder, run, min(4 * run.parameters + ROOM, MAX_BYTES))
    except DataError:
        return ()
    layers = {name: values for name, values in state.items() if name.endswith(ENDING) and _has_filters(values)}
    names = sorted(layers, key=_in_order)[:MAX_LAYERS]
    return tuple(_filters(name.removesuffix(ENDING), layers[name]) for name in names)


def _has_filters(values: Array) -> bool:
    return values.ndim == 4 and values.size > 0 and values.shape[2] * values.shape[3] > 1


def _in_order(name: str) -> list[tuple[int, str]]:
    """Numbers in a name by their size: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def _filters(name: str, weights_OIHW: Array) -> Filters:
    grid = filter_grid(weights_OIHW.astype(np.float64))
    return Filters(name, f"{grid.note}, up to ±{number(grid.limit)}", _drawn(grid))


def _drawn(grid: FilterGrid) -> str:
    """Squares of one unit each, a filter a tile, one path for each colour."""
    rows, columns, height, width = grid.weights.shape
    high, wide = rows * (height + 1) - 1, columns * (width + 1) - 1
    cell = max(FINEST, min(COARSEST, TILE // max(height, width)))
    paths = (
        f'<path class="{SIGNS[sign]}" stroke-opacity="{level / LEVELS:.3g}" d="{"".join(lines)}"/>'
        for (sign, level), lines in sorted(_lines(grid).items())
    )
    return (
        f'<svg viewBox="0 0 {wide} {high}" width="{wide * cell}" height="{high * cell}" shape-rendering="crispEdges">'
        f'<path class="zero" d="{_tiles(grid)}"/><g transform="translate(0 .5)">{"".join(paths)}</g></svg>'
    )


def _tiles(grid: FilterGrid) -> str:
    """The ground behind each filter."""
    _, _, height, width = grid.weights.shape
    square = f"h{width}v{height}h-{width}z"
    return "".join(f"M{left} {top}{square}" for top, left, _ in _placed(grid))


def _placed(grid: FilterGrid) -> list[tuple[int, int, Array]]:
    """Each filter (H x W) that there is, and where it stands from above and from the left."""
    rows, columns, height, width = grid.weights.shape
    places = [(r, c) for r in range(rows) for c in range(len(grid.names[r]) if len(grid.names) > 1 else columns)]
    return [(r * (height + 1), c * (width + 1), grid.weights[r, c]) for r, c in places]


def _lines(grid: FilterGrid) -> dict[tuple[int, int], list[str]]:
    """By sign and level, which units of which rows have it: a line through the middle of each run of units."""
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for top, left, weights_HW in _placed(grid):
        levels_HW = np.rint(LEVELS * np.nan_to_num(weights_HW) / grid.limit).clip(-LEVELS, LEVELS).astype(int)
        for y, row in enumerate(levels_HW.tolist()):
            ends = [x for x in range(1, len(row)) if row[x] != row[x - 1]]
            for start, end in zip([0, *ends], [*ends, len(row)], strict=True):
                if level := row[start]:
                    found[1 if level > 0 else -1, abs(level)].append(f"M{left + start} {top + y}h{end - start}")
    return found
