"""The filters of one convolutional layer, side by side on one colour scale."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from modelflow.figures.style import MARGIN, SMALLEST, TIMES, label, one_axes, styled, theme
from modelflow.figures.tiles import blank, coloured, framed, mosaic, resized, show
from modelflow.text import counted

MAX_FILTERS, MAX_CHANNELS = 32, 16
A_ROW, MAX_LABELLED = 8, 20
TILE, GAP, CAPTION = 60, 8, 22
SCALE, BAR = 0.74, 0.1  # inches


@dataclass(frozen=True)
class FilterGrid:
    """What the plot shows: weights (rows x columns x height x width), the end of their scale, what is left out."""

    weights: np.ndarray
    names: list[list[str]]
    limit: float
    note: str


def filter_grid(weights_OIHW: np.ndarray) -> FilterGrid:
    """A row for each input channel and a column for each filter; filters of one channel fill rows of eight instead."""
    n_filters, n_channels, height, width = weights_OIHW.shape
    shown_IOHW = np.asarray(weights_OIHW[:MAX_FILTERS, :MAX_CHANNELS], dtype=float).swapaxes(0, 1)
    finite = np.abs(shown_IOHW[np.isfinite(shown_IOHW)])
    limit = float(finite.max(initial=0.0)) or 1.0
    counts = f"{counted(n_filters, 'filter')} {TIMES} {counted(n_channels, 'input channel')}"
    note = f"{counts} of {height}{TIMES}{width} weights"
    if n_filters > MAX_FILTERS or n_channels > MAX_CHANNELS:
        note += f". Shown: the first {counted(shown_IOHW.shape[1], 'filter')}, {counted(len(shown_IOHW), 'channel')}"
    names = [[str(i) for i in range(shown_IOHW.shape[1])]]
    if n_channels > 1:
        return FilterGrid(shown_IOHW, names, limit, note)
    return FilterGrid(*_in_rows(shown_IOHW[0], names[0]), limit, note)


def _in_rows(weights_OHW: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[list[str]]]:
    n_columns = min(A_ROW, len(weights_OHW))
    n_rows = -(-len(weights_OHW) // n_columns)
    weights_RCHW = np.full((n_rows * n_columns, *weights_OHW.shape[1:]), np.nan)
    weights_RCHW[: len(weights_OHW)] = weights_OHW
    rows = [names[i : i + n_columns] for i in range(0, len(names), n_columns)]
    return weights_RCHW.reshape(n_rows, n_columns, *weights_OHW.shape[1:]), rows


@styled
def plot_filters(weights_OIHW: np.ndarray, layer_name: str, title: str, **look: Any) -> Figure:
    """The weights of a layer's filters, red above zero and blue below, all on one scale centred on zero.

    `look` is for `imshow`: another `cmap`, `vmin`, `vmax` or `norm`, or how it draws pixels. Raises as that does.
    """
    scale = _scale(weights_OIHW, look)
    grid = filter_grid(weights_OIHW)
    n_rows, n_columns = grid.weights.shape[:2]
    row_gap = CAPTION if len(grid.names) > 1 else GAP
    height = min(8.0, 5.6 * n_rows * (TILE + row_gap) / (max(n_columns, 5) * (TILE + GAP))) + 2.0
    named = "" if layer_name in title else f"{label(layer_name, 40)}: "
    figure, axes = one_axes(title, height, note=named + grid.note, below=SCALE)
    picture = _picture(grid, row_gap, scale)[: -row_gap or None, :-GAP]
    if look:
        axes.imshow(picture, **{"interpolation": "nearest"} | look)
    else:
        show(axes, picture)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _name(axes, grid, row_gap, weights_OIHW.shape[1] > 1)
    _draw_scale(figure, scale)
    return figure


def _draw_scale(figure: Figure, scale: ScalarMappable) -> None:
    """The colours of the weights, at the lower end of the figure."""
    height = figure.get_figheight()
    bar = figure.add_axes((0.27, (MARGIN + SCALE - 2 * BAR) / height, 0.5, BAR / height))
    figure.colorbar(scale, cax=bar, orientation="horizontal", label="weight")


def _scale(weights_OIHW: np.ndarray, look: dict[str, Any]) -> ScalarMappable:
    """The colours of the weights, by what it takes out of `look`; left out, on both sides of zero alike."""
    limit = None if look.get("norm") is not None else filter_grid(weights_OIHW).limit
    scale = ScalarMappable(copy.copy(look.pop("norm", None)), look.pop("cmap", None) or theme().signed)
    scale.set_clim(look.pop("vmin", None if limit is None else -limit), look.pop("vmax", limit))
    scale.set_array(np.ma.masked_invalid(weights_OIHW.ravel()))
    scale.autoscale_None()
    return scale


def _picture(grid: FilterGrid, row_gap: int, scale: ScalarMappable) -> np.ndarray:
    shares = np.ma.filled(scale.norm(grid.weights.ravel()), np.nan).reshape(grid.weights.shape)
    tiles = coloured(shares, scale.cmap, 0.0, 1.0)
    tiles = framed(resized(tiles, TILE - 2, TILE - 2))
    n_shown = sum(map(len, grid.names))
    if len(grid.names) > 1:
        tiles.reshape(-1, *tiles.shape[2:])[n_shown:] = blank(TILE, TILE)
    return mosaic(tiles, GAP, row_gap)


def _name(axes: Axes, grid: FilterGrid, row_gap: int, by_channel: bool) -> None:
    n_rows, n_columns = grid.weights.shape[:2]
    columns, rows = np.arange(n_columns) * (TILE + GAP) + TILE / 2, np.arange(n_rows) * (TILE + row_gap) + TILE / 2
    every = 1 if n_columns <= MAX_LABELLED else 2
    axes.xaxis.tick_top()
    axes.set_xticks(columns[::every], grid.names[0][::every], fontsize=SMALLEST)
    axes.set_title("filter", fontsize=SMALLEST, loc="center")
    axes.set_yticks(rows if by_channel else [], map(str, range(n_rows if by_channel else 0)), fontsize=SMALLEST)
    if by_channel:
        axes.set_ylabel("input channel", fontsize=SMALLEST)
    for row, names in enumerate(grid.names[1:], start=1):
        for x, name in zip(columns, names, strict=False):
            axes.text(x, row * (TILE + row_gap) - 3, name, ha="center", va="bottom", fontsize=SMALLEST)
