"""What the layers make of some images: the images in the first row, each layer's maps below them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modelflow.errors import UsageError
from modelflow.figures.style import (
    DPI,
    GREEN,
    MARGIN,
    POINTS_PER_INCH,
    SMALLEST,
    TIMES,
    VERMILLION,
    Margins,
    escaped,
    folded,
    label,
    number,
    placed_axes,
    styled,
    text_width,
    theme,
)
from modelflow.figures.tiles import as_rgb, blank, coloured, mosaic, resized, show

MAX_CHANNELS, MAX_ROWS, MAX_UNITS = 16, 32, 48
MIN_COLUMNS = 4
PIXELS = DPI / POINTS_PER_INCH  # of a point
TILE, GAP, GROUP_GAP = 140, 10, 40
STRIP, SCALE = 60, 110
LINE = round(1.3 * SMALLEST * PIXELS)
PAD, BESIDE = 12, 66
NOTE = "What each layer gives out: red above zero, blue below. Each layer has its own scale."


@dataclass(frozen=True)
class Column:
    """What stands above one image."""

    lines: list[str]
    colour: str


@dataclass(frozen=True)
class Group:
    """One layer's rows: tiles for each shown channel and image, what is said beside them, the end of their scale.

    The tiles are rows x images x height x width x 3. The scale is centred on zero; images have none.
    """

    words: tuple[str, ...]
    tiles: np.ndarray
    limit: float | None = None


def layer_group(layer_name: str, outputs: np.ndarray, most_channels: int) -> Group:
    """The maps N x C x H x W of one layer, a row a channel; anything else as strips of its values, a row a layer."""
    n_images = len(outputs)
    flat = outputs.ndim != 4
    maps_NCHW = outputs.reshape(n_images, 1, 1, -1) if flat else outputs
    most = MAX_UNITS if flat else most_channels
    n_all = maps_NCHW.shape[3] if flat else maps_NCHW.shape[1]
    shown_NCHW = maps_NCHW[..., :MAX_UNITS] if flat else maps_NCHW[:, :most_channels]
    finite = np.abs(shown_NCHW[np.isfinite(shown_NCHW)])
    limit = float(finite.max(initial=0.0)) or 1.0
    tiles = coloured(shown_NCHW.swapaxes(0, 1), theme().signed, -limit, limit)
    shape = f"{n_all} units" if flat else TIMES.join(map(str, outputs.shape[1:]))
    left_out = (f"(first {most} shown)",) if n_all > most else ()
    words = (label(layer_name, 22), shape, *left_out, *(() if finite.size else ("nothing finite",)))
    return Group(words, resized(tiles, STRIP if flat else TILE, TILE), limit if finite.size else None)


def output_groups(images_NCHW: np.ndarray | None, maps: Mapping[str, np.ndarray], n_images: int) -> list[Group]:
    """The first `n_images` images, when they are given, and what each layer makes of them.

    Raises `UsageError` when their numbers differ.
    """
    n_given = len(next(iter(maps.values()), ()) if images_NCHW is None else images_NCHW)
    if not n_given or n_images < 1:
        raise UsageError("outputs: no image to show. Give at least one image and n_images >= 1.")
    for name, outputs in maps.items():
        if len(outputs) != n_given:
            raise UsageError(f"outputs of layer {name!r}: {len(outputs)} for {n_given} images, expected one per image")
    most = max(4, min(MAX_CHANNELS, MAX_ROWS // max(1, sum(np.ndim(outputs) == 4 for outputs in maps.values()))))
    layers = [layer_group(name, np.asarray(outputs)[:n_images], most) for name, outputs in maps.items()]
    return layers if images_NCHW is None else [_images(images_NCHW[:n_images]), *layers]


def _images(images_NCHW: np.ndarray) -> Group:
    shape = TIMES.join(map(str, images_NCHW.shape[1:]))
    return Group(("input", shape), resized(as_rgb(images_NCHW), TILE, TILE)[None])


@styled
def plot_outputs(
    images_NCHW: np.ndarray | None,
    maps: Mapping[str, np.ndarray],
    n_images: int = 10,
    y: Sequence[int] | np.ndarray | None = None,
    yhat: Sequence[int] | np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    title: str = "Outputs of the layers",
) -> Figure:
    """Images (unless None) beside each layer's maps, a column an image; labels above, wrong predictions marked."""
    groups = output_groups(images_NCHW, maps, n_images)
    n_shown = groups[0].tiles.shape[1]
    header = _header(_classes(y, "y", n_shown), _classes(yhat, "yhat", n_shown), class_names)
    picture, tops = _stacked(groups)
    note = folded(NOTE, picture.shape[1] / PIXELS, 4)
    above, below = LINE * _lines_above(header) + 2 * PAD, LINE * len(note) + 3 * PAD
    margins = Margins(left=_left(groups), top=above / DPI, bottom=below / DPI)
    figure, axes = placed_axes(title, picture.shape[1] / DPI, picture.shape[0] / DPI, margins)
    show(axes, picture)
    axes.axis("off")
    for group, top in zip(groups, tops, strict=True):
        _describe(axes, group, top)
    _write_above(axes, header)
    axes.text(0, picture.shape[0] + PAD, "\n".join(note), va="top", fontsize=SMALLEST, color=theme().faint)
    return figure


def _stacked(groups: list[Group]) -> tuple[np.ndarray, list[int]]:
    """All groups as one picture, and the pixel row at which each begins; a group has room for its words at least."""
    parts = [mosaic(group.tiles, GAP) for group in groups]
    heights = [max(len(part), LINE * _lines(group)) + GROUP_GAP for part, group in zip(parts, groups, strict=True)]
    tops = [sum(heights[:i]) for i in range(len(groups))]
    picture = blank(sum(heights), max(MIN_COLUMNS * (TILE + GAP), parts[0].shape[1]))
    for part, top in zip(parts, tops, strict=True):
        picture[top : top + len(part), : part.shape[1]] = part
    return picture[:-GROUP_GAP, :-GAP], tops


def _lines(group: Group) -> int:
    return len(group.words) + (group.limit is not None)


def _left(groups: list[Group]) -> float:
    """How many inches the words beside the picture take."""
    bold = [text_width(words, 1.15 * SMALLEST) for words in ("true class", *(group.words[0] for group in groups))]
    usual = [text_width(words) for group in groups for words in group.words[1:]]
    scales = [(SCALE + 2 * PAD) / PIXELS + 2 * text_width(number(-group.limit)) for group in groups if group.limit]
    return MARGIN + BESIDE / DPI + max(bold + usual + scales) / POINTS_PER_INCH


def _describe(axes: Axes, group: Group, top: int) -> None:
    name, *rest = group.words
    look: Any = {"ha": "right", "va": "top", "fontsize": SMALLEST}
    axes.text(-BESIDE, top, name, weight="bold", **look)
    for line, words in enumerate(rest, start=1):
        axes.text(-BESIDE, top + line * LINE, words, color=theme().faint, **look)
    if group.limit:
        _draw_scale(axes, group.limit, top + len(group.words) * LINE)
    n_rows, height = group.tiles.shape[0], group.tiles.shape[2] + GAP
    for row in range(n_rows if n_rows > 1 else 0):
        look = {"ha": "right", "va": "center", "fontsize": SMALLEST, "color": theme().faint}
        axes.text(-PAD, top + row * height + group.tiles.shape[2] / 2, str(row), **look)


def _draw_scale(axes: Axes, limit: float, top: int) -> None:
    """The colours from `-limit` to `limit`, between these two numbers."""
    right = -BESIDE - PAD - round(text_width(number(limit)) * PIXELS)
    look: Any = {"ha": "right", "va": "top", "fontsize": SMALLEST, "color": theme().faint}
    axes.text(-BESIDE, top, number(limit), **look)
    axes.text(right - SCALE - PAD, top, number(-limit), **look)
    ends = (right - SCALE, right, top + LINE - PAD, top + PAD)
    values = np.linspace(-1, 1, SCALE)[None]
    ends_of_page = axes.axis()
    show(axes, coloured(values, theme().signed, -1, 1), extent=ends, clip_on=False)
    axes.axis(ends_of_page)


def _classes(labels: Sequence[int] | np.ndarray | None, what: str, n_images: int) -> list[int] | None:
    if labels is None:
        return None
    if len(labels) < n_images:
        raise UsageError(f"outputs: {what} has {len(labels)} entries for {n_images} shown images, expected as many")
    return [int(k) for k in labels[:n_images]]


def _header(y: list[int] | None, yhat: list[int] | None, names: Sequence[str] | None) -> dict[str, list[Column]]:
    """The words above the images, from the top: true classes, then predictions."""
    rows = {}
    if y is not None:
        rows["true class"] = [Column(_folded(k, names), theme().ink) for k in y]
    if yhat is not None:
        unjudged = [Column(_folded(k, names), theme().ink) for k in yhat]
        rows["predicted"] = unjudged if y is None else [_judged(*pair, names) for pair in zip(yhat, y, strict=True)]
    return rows


def _lines_above(rows: dict[str, list[Column]]) -> int:
    return sum(max(len(column.lines) for column in columns) for columns in rows.values())


def _write_above(axes: Axes, rows: dict[str, list[Column]]) -> None:
    look: Any = {"va": "top", "fontsize": SMALLEST}
    top = -PAD - LINE * _lines_above(rows)
    for heading, columns in rows.items():
        axes.text(-BESIDE, top, heading, ha="right", weight="bold", **look)
        for i, column in enumerate(columns):
            for line, words in enumerate(column.lines):
                middle = i * (TILE + GAP) + TILE / 2
                axes.text(middle, top + line * LINE, words, ha="center", color=column.colour, **look)
        top += LINE * max(len(column.lines) for column in columns)


def _judged(predicted: int, true: int, names: Sequence[str] | None) -> Column:
    """A tick for a right prediction, a cross and the class for a wrong one."""
    return Column(["✓"], GREEN) if predicted == true else Column(["✗", *_folded(predicted, names)], VERMILLION)


def _folded(k: int, names: Sequence[str] | None) -> list[str]:
    name = names[k] if names is not None and 0 <= k < len(names) else str(k)
    return [escaped(line) for line in folded(name, TILE / PIXELS)]
