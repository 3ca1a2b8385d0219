"""Some images of every class of a data set."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from modelflow.figures.style import WIDTH, label, one_axes, styled
from modelflow.figures.tiles import as_rgb, blank, framed, mosaic, resized

MAX_IN_ONE_BLOCK, MAX_CLASSES = 12, 60
EXAMPLES = {1: 10, 2: 5}
TILE, GAP = 112, 8


def sample_rows(labels_N: np.ndarray, n_classes: int, n_examples: int) -> list[np.ndarray]:
    """For each class the places of its first images, `n_examples` at most."""
    return [np.flatnonzero(labels_N == k)[:n_examples] for k in range(n_classes)]


@styled
def plot_samples(images_NCHW_uint8: np.ndarray, labels_N: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """The first images of each class in a row beside its name; many classes stand in two blocks."""
    n_shown = min(len(class_names), MAX_CLASSES)
    n_blocks = 1 if n_shown <= MAX_IN_ONE_BLOCK else 2
    n_rows = -(-n_shown // n_blocks)
    rows = sample_rows(np.asarray(labels_N), n_shown, EXAMPLES[n_blocks])
    blocks = [
        _block(images_NCHW_uint8, rows[i : i + n_rows], n_rows, EXAMPLES[n_blocks]) for i in range(0, n_shown, n_rows)
    ]
    picture = np.concatenate([part for block in blocks for part in (block, blank(len(block), 6 * GAP))], 1)
    height = {1: 5.0, 2: 4.2}[n_blocks] * picture.shape[0] / picture.shape[1] + 0.9
    note = _note(images_NCHW_uint8, len(class_names))
    figure, axes = one_axes(title, height, WIDTH, note)
    axes.imshow(picture[:-GAP, : -7 * GAP], interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    middles = np.arange(n_rows) * (TILE + GAP) + TILE / 2
    names = [
        label(name, 20) if len(row) else f"{label(name, 20)} (none)"
        for name, row in zip(class_names, rows, strict=False)
    ]
    axes.set_yticks(middles, names[:n_rows])
    for y, name in zip(middles, names[n_rows:], strict=False):
        axes.text(picture.shape[1] - 4 * GAP, y, name, va="center")
    return figure


def _note(images_NCHW: np.ndarray, n_classes: int) -> str:
    _, channels, height, width = images_NCHW.shape
    note = f"{height} by {width} pixels"
    if channels not in (1, 3):
        note += f", the first of {channels} channels"
    return note + (f". Shown: the first {MAX_CLASSES} of {n_classes} classes" if n_classes > MAX_CLASSES else "")


def _block(images_NCHW: np.ndarray, rows: list[np.ndarray], n_rows: int, n_examples: int) -> np.ndarray:
    tiles_RChw3 = blank(n_rows, n_examples, TILE, TILE)
    for tiles, row in zip(tiles_RChw3, rows, strict=False):
        tiles[: len(row)] = framed(resized(as_rgb(images_NCHW[row]), TILE - 2, TILE - 2))
    return mosaic(tiles_RChw3, GAP)
