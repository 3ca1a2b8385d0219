"""Which class is taken for which: the confusion matrix, each row as shares of one true class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from modelflow.figures.style import (
    BANNER,
    GREY,
    MARGIN,
    POINTS_PER_INCH,
    SMALLEST,
    Margins,
    escaped,
    folded,
    label,
    placed_axes,
    plain,
    styled,
    text_width,
    theme,
)
from modelflow.figures.tiles import show

MAX_IN_TENTHS, MAX_SLANTED, MAX_NUMBERED, MAX_NAMED = 4, 15, 25, 40
CELL, NUMBERED_CELL, MIN_SIDE, MAX_SIDE = 0.44, 0.3, 3.2, 7.5  # inches
LABEL, SCALES, BAR, LINE = 0.55, 1.15, 0.13, 0.19  # inches
BANNER_SIZE = 10.0
TICKS = (0, 1, 5, 20, 50, 100)


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


def most_common_mistake(counts_KK: np.ndarray, class_names: Sequence[str]) -> str:
    """The class that is taken for another most often, with its share; "" where nothing is."""
    shares_KK = np.nan_to_num(row_shares(counts_KK))
    np.fill_diagonal(shares_KK, 0)
    true, predicted = np.unravel_index(shares_KK.argmax(), shares_KK.shape)
    share = shares_KK[true, predicted]
    if not share:
        return ""
    return f"{cell_text(share)} % of {plain(class_names[true])} predicted as {plain(class_names[predicted])}"


@styled
def plot_confusion_matrix(
    counts_KK: np.ndarray, class_names: Sequence[str], title: str, warning: str | None = None
) -> Figure:
    """The matrix with rows normalised, in percent of the true class; a warning stands above it in a banner.

    Colours grow with the root of the share, so that rare mistakes are seen beside what is right.
    """
    shares_KK = row_shares(counts_KK)
    n_classes, side = len(shares_KK), _side(len(shares_KK))
    shown = range(0, n_classes, 1 + (n_classes - 1) // MAX_NAMED)
    columns = [label(class_names[i], 16) for i in shown]
    rows = [name + ("" if np.any(counts_KK[i]) else " (no images)") for i, name in zip(shown, columns, strict=True)]
    left, turned = LABEL + _longest(rows), _turned(columns, side)
    banner = (
        folded(f"⚠ Warning: {warning}", POINTS_PER_INCH * (side + SCALES - LABEL), 4, BANNER_SIZE) if warning else []
    )
    above = MARGIN + LINE * (len(banner) + 1.5) if banner else MARGIN
    below = LABEL + math.sin(math.radians(turned)) * _longest(columns)
    figure, axes = placed_axes(title, side, side, Margins(left, SCALES, above, below))
    scales = [_scale(hue) for hue in (theme().right, theme().wrong)]
    right, wrong = (scale.to_rgba(100 * np.ma.masked_invalid(shares_KK), bytes=True)[..., :3] for scale in scales)
    colours_KK3 = np.where(np.eye(n_classes, dtype=bool)[..., None], right, wrong)
    show(axes, colours_KK3)
    _name_classes(axes, shown, columns, rows, turned)
    if n_classes <= MAX_NUMBERED:
        _write_numbers(axes, shares_KK, colours_KK3)
    _draw_scales(figure, axes, scales, side)
    if banner:
        _draw_banner(axes, banner)
    return figure


def _side(n_classes: int) -> float:
    """How wide and high the matrix is, in inches."""
    if n_classes > MAX_NUMBERED:
        return MAX_SIDE
    return max(MIN_SIDE, n_classes * (CELL if n_classes <= MAX_SLANTED else NUMBERED_CELL))


def _longest(names: Sequence[str]) -> float:
    """In inches."""
    return max(map(text_width, names)) / POINTS_PER_INCH


def _turned(names: Sequence[str], side: float) -> float:
    """By how many degrees the names below the columns are turned, so that they keep clear of each other."""
    if _longest(names) < side / len(names) - MARGIN:
        return 0
    return 45 if len(names) <= MAX_SLANTED else 90


def _scale(hue: str) -> ScalarMappable:
    colours = LinearSegmentedColormap.from_list("", [theme().soft, hue]).with_extremes(bad=GREY)
    return ScalarMappable(PowerNorm(0.5, 0, 100), colours)


def _name_classes(axes: Axes, shown: range, columns: list[str], rows: list[str], turned: float) -> None:
    slanted: Any = {"rotation_mode": "anchor", "ha": "right"} if turned == 45 else {}
    axes.set_xticks(shown, columns, fontsize=SMALLEST, rotation=turned, **slanted)
    axes.set_yticks(shown, rows, fontsize=SMALLEST)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")


def _draw_scales(figure: Figure, axes: Axes, scales: Sequence[ScalarMappable], side: float) -> None:
    """Both hues beside the matrix, `side` inches wide, with their numbers."""
    right, wrong = (axes.inset_axes((1 + x / side, 0.1, BAR / side, 0.65)) for x in (BAR, 2.4 * BAR))
    figure.colorbar(scales[0], cax=right, ticks=[]).outline.set_visible(False)
    bar = figure.colorbar(scales[1], cax=wrong, ticks=TICKS)
    bar.outline.set_visible(False)
    bar.set_label("% of the images of the true class")
    for place, words in ((right, "right"), (wrong, "wrong")):
        place.set_title(words, fontsize=SMALLEST, rotation=90, pad=5, loc="center")


def _draw_banner(axes: Axes, banner: list[str]) -> None:
    look: Any = {"xytext": (5, BANNER_SIZE), "textcoords": "offset points", "va": "bottom", "color": "white"}
    box = {"facecolor": BANNER, "edgecolor": "none", "boxstyle": "square,pad=0.5"}
    words = escaped("\n".join(banner))
    axes.annotate(words, (0, 1), xycoords="axes fraction", fontsize=BANNER_SIZE, bbox=box, **look)


def _write_numbers(axes: Axes, shares_KK: np.ndarray, colours_KK3: np.ndarray) -> None:
    decimals = 1 if len(shares_KK) <= MAX_IN_TENTHS else 0
    for i, j in zip(*np.nonzero(shares_KK > 0), strict=True):
        ink = "white" if _luminance(colours_KK3[i, j]) < 0.45 else "black"
        axes.text(j, i, cell_text(shares_KK[i, j], decimals), ha="center", va="center", fontsize=SMALLEST, color=ink)


def _luminance(rgb: np.ndarray) -> float:
    red, green, blue = (float(part) / 255 for part in rgb)
    return 0.299 * red + 0.587 * green + 0.114 * blue
