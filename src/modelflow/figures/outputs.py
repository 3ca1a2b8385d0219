"""What the layers make of some images: the images in the first row, each layer's maps below them."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modelflow.errors import UsageError
from modelflow.figures.style import (
    FAINT,
    GREEN,
    INK,
    TIMES,
    VERMILLION,
    escaped,
    label,
    number,
    one_axes,
    plain,
    styled,
)
from modelflow.figures.tiles import as_rgb, coloured, finite_range, mosaic, resized

COLOURS = "cividis"
MAX_CHANNELS, MAX_ROWS, MAX_UNITS = 16, 32, 48
TILE, GAP, GROUP_GAP = 48, 3, 14
STRIP = 20
NOTE = (
    "What each layer gives out, before the ReLU that follows it; each on a colour scale of its own: "
    "dark is its least value, bright its greatest."
)


@dataclass(frozen=True)
class Group:
    """One layer's rows: tiles for each shown channel and image, and what is said beside them.

    The tiles are rows x images x height x width x 3.
    """

    words: tuple[str, ...]
    tiles: np.ndarray


def layer_group(layer_name: str, outputs: np.ndarray, most_channels: int) -> Group:
    """The maps N x C x H x W of one layer, a row a channel; anything else as strips of its values, a row a layer."""
    n_images = len(outputs)
    flat = outputs.ndim != 4
    maps_NCHW = outputs.reshape(n_images, 1, 1, -1) if flat else outputs
    most = MAX_UNITS if flat else most_channels
    n_all = maps_NCHW.shape[3] if flat else maps_NCHW.shape[1]
    shown_NCHW = maps_NCHW[..., :MAX_UNITS] if flat else maps_NCHW[:, :most_channels]
    low, high = finite_range(shown_NCHW)
    tiles = resized(coloured(shown_NCHW.swapaxes(0, 1), COLOURS, low, high), STRIP if flat else TILE, TILE)
    shape = f"{n_all} units" if flat else TIMES.join(map(str, outputs.shape[1:]))
    left_out = (f"(first {most} shown)",) if n_all > most else ()
    span = f"{number(low)} to {number(high)}" if np.isfinite(shown_NCHW).any() else "nothing finite"
    return Group((label(layer_name, 22), shape, span, *left_out), tiles)


def output_groups(images_NCHW: np.ndarray | None, maps: Mapping[str, np.ndarray], n_images: int) -> list[Group]:
    """The first `n_images` images, when they are given, and what each layer makes of them.

    Raises `UsageError` when their numbers differ.
    """
    n_given = len(next(iter(maps.values()), ()) if images_NCHW is None else images_NCHW)
    if not n_given or n_images < 1:
        raise UsageError("outputs: no image to show; give at least one image and n_images >= 1")
    for name, outputs in maps.items():
        if len(outputs) != n_given:
            raise UsageError(f"outputs of layer {name!r}: {len(outputs)} for {n_given} images; give one an image")
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
    picture, tops = _stacked(groups)
    n_shown = groups[0].tiles.shape[1]
    width = max(3, n_shown) * 0.47 + 1.7
    figure, axes = one_axes(title, (width - 1.7) * picture.shape[0] / max(picture.shape[1], 3 * TILE) + 1.6, width)
    axes.imshow(picture)
    axes.axis("off")
    for group, top in zip(groups, tops, strict=True):
        _describe(axes, group, top)
    _name_columns(axes, _classes(y, "y", n_shown), _classes(yhat, "yhat", n_shown), class_names)
    axes.text(
        0, picture.shape[0] + 8, "\n".join(textwrap.wrap(NOTE, round(width * 14))), va="top", fontsize=8, color=FAINT
    )
    return figure


def _stacked(groups: list[Group]) -> tuple[np.ndarray, list[int]]:
    """All groups as one picture, and the pixel row at which each begins; a group has room for its words at least."""
    parts, tops, top = [], [], 0
    for group in groups:
        part = mosaic(group.tiles, GAP)
        room = max(part.shape[0], 14 * len(group.words)) + GROUP_GAP
        parts.append(np.pad(part, ((0, room - part.shape[0]), (0, 0), (0, 0)), constant_values=255))
        tops.append(top)
        top += room
    return np.concatenate(parts)[:-GROUP_GAP, :-GAP], tops


def _describe(axes: Axes, group: Group, top: int) -> None:
    name, *rest = group.words
    n_rows, height = group.tiles.shape[0], group.tiles.shape[2] + GAP
    axes.text(-22, top, name, ha="right", va="top", fontsize=8, weight="bold")
    axes.text(-22, top + 14, "\n".join(rest), ha="right", va="top", fontsize=7.5, color=FAINT, linespacing=1.3)
    for row in range(n_rows if n_rows > 1 else 0):
        axes.text(-5, top + (row + 0.5) * height, str(row), ha="right", va="center", fontsize=7, color=FAINT)


def _classes(labels: Sequence[int] | np.ndarray | None, what: str, n_images: int) -> list[int] | None:
    if labels is None:
        return None
    if len(labels) < n_images:
        raise UsageError(f"outputs: {what} has {len(labels)} entries for {n_images} shown images; give one an image")
    return [int(k) for k in labels[:n_images]]


def _name_columns(axes: Axes, y: list[int] | None, yhat: list[int] | None, names: Sequence[str] | None) -> None:
    """The predictions right above the images, the true classes above those."""
    rise = 8.0
    if yhat is not None:
        unjudged = [(_folded(k, names), INK) for k in yhat]
        judged = unjudged if y is None else [_judged(*pair, names) for pair in zip(yhat, y, strict=True)]
        _write_above(axes, "predicted", judged, rise)
        rise += 18 if y == yhat else 32
    if y is not None:
        _write_above(axes, "true class", [(_folded(k, names), INK) for k in y], rise)


def _write_above(axes: Axes, heading: str, columns: list[tuple[str, str]], rise: float) -> None:
    look: Any = {"xytext": (0, rise), "textcoords": "offset points", "annotation_clip": False}
    axes.annotate(heading, (-22, 0), ha="right", fontsize=8, weight="bold", **look)
    for i, (words, colour) in enumerate(columns):
        axes.annotate(words, (i * (TILE + GAP) + TILE / 2, 0), ha="center", fontsize=7.5, color=colour, **look)


def _judged(predicted: int, true: int, names: Sequence[str] | None) -> tuple[str, str]:
    """A tick for a right prediction, a cross and the class for a wrong one."""
    return ("✓", GREEN) if predicted == true else (f"✗\n{_folded(predicted, names)}", VERMILLION)


def _folded(k: int, names: Sequence[str] | None) -> str:
    name = plain(names[k]) if names is not None and 0 <= k < len(names) else str(k)
    return escaped("\n".join(textwrap.wrap(name, 8, max_lines=2, placeholder="…")))
