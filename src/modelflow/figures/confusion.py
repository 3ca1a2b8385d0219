"""Which class is taken for which: the confusion matrix, each row as shares of one true class."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from modelflow.figures.style import BANNER, WIDTH, escaped, heading, label, one_axes, plain, styled

COLOURS = "Blues"
MAX_IN_TENTHS, MAX_TURNED, MAX_NUMBERED = 4, 15, 25
MAX_NAMED = 60
NO_IMAGES = "#d0d7de"


def row_shares(counts_KK: np.ndarray) -> np.ndarray:
    """Each row divided by its sum: of the images of a true class, the share that each class was predicted for.

    A class without images has a row of NaN.
    """
    counts_KK = np.asarray(counts_KK, dtype=float)
    totals_K1 = counts_KK.sum(axis=1, keepdims=True)
    empty_KK = np.full_like(counts_KK, np.nan)
    return np.asarray(np.divide(counts_KK, totals_K1, out=empty_KK, where=totals_K1 > 0))


def cell_text(share: float, decimals: int = 0) -> str:
    """A share in percent; nothing for zero or a class without images; small rests are told from nothing and all."""
    if not share > 0:
        return ""
    least = 10.0**-decimals
    if 100 * share < least / 2:
        return f"<{least:g}"
    if 100 - least / 2 <= 100 * share < 100:
        return f">{100 - least:g}"
    return f"{math.floor(100 * share / least + 0.5) * least:.{decimals}f}"


@styled
def plot_confusion_matrix(
    counts_KK: np.ndarray, class_names: Sequence[str], title: str, warning: str | None = None
) -> Figure:
    """The matrix with rows normalised, in percent of the true class; a warning stands above it in a banner."""
    shares_KK = row_shares(counts_KK)
    n_classes = len(shares_KK)
    width = WIDTH if n_classes <= MAX_TURNED else 9.0
    figure, axes = one_axes(title, width * 0.9 + (0.5 if warning else 0), width)
    colours = colormaps[COLOURS].with_extremes(bad=NO_IMAGES)
    image = axes.imshow(100 * np.ma.masked_invalid(shares_KK), cmap=colours, vmin=0, vmax=100)
    _name_classes(axes, class_names, np.asarray(counts_KK).sum(axis=1))
    if n_classes <= MAX_NUMBERED:
        _write_numbers(axes, shares_KK, colours)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("% of the images of the true class")
    if warning:
        axes.set_title(heading(title, width * 0.62))
        _banner(figure, warning, width)
    return figure


def _name_classes(axes: Axes, class_names: Sequence[str], images_K: np.ndarray) -> None:
    n_classes = len(images_K)
    shown = range(0, n_classes, 1 + (n_classes - 1) // MAX_NAMED)
    size = 9.0 if n_classes <= MAX_TURNED else max(5.5, 9.0 - 0.12 * (n_classes - 15))
    names = [label(class_names[i], 16) for i in shown]
    axes.set_xticks(shown, names, fontsize=size, **_turned(names))
    rows = [name if images_K[i] else f"{name} (no images)" for i, name in zip(shown, names, strict=True)]
    axes.set_yticks(shown, rows, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")


def _turned(names: Sequence[str]) -> dict[str, Any]:
    if max(map(len, names)) * len(names) <= 30:
        return {}
    if len(names) <= MAX_TURNED:
        return {"rotation": 45, "rotation_mode": "anchor", "ha": "right"}
    return {"rotation": 90}


def _write_numbers(axes: Axes, shares_KK: np.ndarray, colours: Colormap) -> None:
    n_classes = len(shares_KK)
    size = min(10.0, (120 if n_classes <= MAX_TURNED else 175) / n_classes)
    for (i, j), share in np.ndenumerate(shares_KK):
        words = cell_text(share, 1 if n_classes <= MAX_IN_TENTHS else 0)
        if words:
            dark = _luminance(colours(share)) < 0.45
            axes.text(j, i, words, ha="center", va="center", fontsize=size, color="white" if dark else "black")


def _luminance(rgba: tuple[float, ...]) -> float:
    red, green, blue = rgba[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _banner(figure: Figure, warning: str, width: float) -> None:
    words = textwrap.wrap(f"⚠ Warning: {plain(warning)}", round(width * 12), max_lines=4, placeholder=" …")
    box = {"facecolor": BANNER, "edgecolor": "none", "boxstyle": "square,pad=0.5"}
    figure.suptitle(escaped("\n".join(words)), x=0.5, ha="center", color="white", fontsize=10, bbox=box)
