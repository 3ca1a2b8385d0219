"""Many small images as one array: a picture with one pair of axes instead of hundreds, which is what makes it quick."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, to_rgb

from modelflow.figures.style import theme

FRAME = 140


def blank(*shape: int) -> np.ndarray:
    """Pixels `shape` x 3 in the colour of the page."""
    surface = [round(255 * part) for part in to_rgb(theme().surface)]
    return np.full((*shape, 3), surface, dtype=np.uint8)


def as_rgb(images_NCHW: np.ndarray) -> np.ndarray:
    """N x H x W x 3 bytes from images of 3 channels, or the first channel of others in grey.

    Bytes are shown as they are; other values are stretched from their least to their greatest over all images.
    """
    images_NHWC = np.moveaxis(images_NCHW if images_NCHW.shape[1] == 3 else images_NCHW[:, :1], 1, -1)
    if images_NHWC.dtype != np.uint8:
        images_NHWC = _to_bytes(images_NHWC, *finite_range(images_NHWC))
    return np.broadcast_to(images_NHWC, (*images_NHWC.shape[:3], 3))


def finite_range(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest of the finite values; 0 and 0 when there are none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def coloured(values: np.ndarray, colour_map: str | Colormap, low: float, high: float) -> np.ndarray:
    """`values` as bytes of a colour map from `low` to `high`; a last axis of 3 is added, what is not finite is grey."""
    colours = np.round(255 * colormaps.get_cmap(colour_map)(np.arange(256))[:, :3]).astype(np.uint8)
    pixels: np.ndarray = colours[_to_bytes(values, low, high)]
    pixels[~np.isfinite(values)] = FRAME
    return pixels


def _to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    shares = (values.astype(float) - low) / (high - low or 1.0)
    return np.round(255 * np.clip(np.nan_to_num(shares), 0, 1)).astype(np.uint8)


def resized(tiles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Tiles ... x H x W x 3 brought to height x width by repeating or leaving out pixels."""
    rows = np.arange(height) * tiles.shape[-3] // height
    columns = np.arange(width) * tiles.shape[-2] // width
    return np.asarray(tiles[..., rows[:, None], columns, :])


def framed(tiles: np.ndarray) -> np.ndarray:
    """Tiles ... x H x W x 3 with a grey line of one pixel around each."""
    edges = [(0, 0)] * (tiles.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    return np.pad(tiles, edges, constant_values=FRAME)


def mosaic(tiles_RChw3: np.ndarray, gap: int, row_gap: int | None = None) -> np.ndarray:
    """Rows x columns of tiles as one picture, the page's colour right of (`gap`) and below (`row_gap`) each tile."""
    n_rows, n_columns, height, width, _ = tiles_RChw3.shape
    padded = blank(n_rows, n_columns, height + (gap if row_gap is None else row_gap), width + gap)
    padded[:, :, :height, :width] = tiles_RChw3
    return padded.swapaxes(1, 2).reshape(n_rows * padded.shape[2], n_columns * (width + gap), 3)
