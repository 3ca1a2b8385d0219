"""Many small images as one array: a picture with one pair of axes instead of hundreds, which is what makes it quick."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgb
from matplotlib.image import AxesImage

from modelflow.figures.style import theme

FRAME = 140


class Pixels(AxesImage):
    """Bytes H x W x 3, each repeated or left out to fit; matplotlib's own images become floats on the way."""

    def make_image(self, _renderer: object, magnification: float = 1.0, _unsampled: bool = False) -> Any:
        """What of it is seen, as RGBA from the lowest row up, with its left and lowest place on the canvas."""
        box = self.get_window_extent()
        frame = self.axes.bbox if self.get_clip_on() else box
        first = np.round(magnification * np.maximum(box.min, frame.min)).astype(int)
        last = np.round(magnification * np.minimum(box.max, frame.max)).astype(int)
        (left, bottom), (right, top) = magnification * box.get_points()
        pixels_HW = _packed(np.asarray(self.get_array()))
        columns = _nearest(first[0], last[0], left, right, pixels_HW.shape[1])
        rows = -1 - _nearest(first[1], last[1], bottom, top, pixels_HW.shape[0])
        seen_hw4 = pixels_HW.take(columns, axis=1).take(rows, axis=0)[..., None].view(np.uint8)
        return seen_hw4 if seen_hw4.size else None, *(first / magnification), None


def _packed(image_HW3: np.ndarray) -> np.ndarray:
    """Each pixel as one number, which are moved about faster than bytes."""
    pixels_HW4 = np.full((*image_HW3.shape[:2], 4), 255, np.uint8)
    pixels_HW4[..., :3] = image_HW3
    return pixels_HW4.view(np.uint32)[..., 0]


def _nearest(first: int, last: int, start: float, end: float, size: int) -> np.ndarray:
    """Which of `size` pixels, laid from `start` to `end`, is below each place from `first` to `last`."""
    shares = (np.arange(first, last) + 0.5 - start) / (end - start)
    return np.asarray(np.clip(size * shares, 0, size - 1).astype(int))


def show(axes: Axes, image_HW3: np.ndarray, **look: Any) -> None:
    """The bytes as an image in `axes`, as `imshow` has them; `look` is for an `AxesImage`."""
    image = Pixels(axes, **look)
    image.set_data(image_HW3)
    axes.add_image(image)
    image.set_extent(image.get_extent())
    axes.set_aspect("equal")


def blank(*shape: int) -> np.ndarray:
    """Pixels `shape` x 3 in the colour of the page."""
    surface = [round(255 * part) for part in to_rgb(theme().surface)]
    row = np.tile(np.array(surface, np.uint8), shape[-1])
    return np.tile(row, (*shape[:-1], 1)).reshape(*shape, 3)


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
    return np.asarray(tiles.take(columns, axis=-2).take(rows, axis=-3))


def framed(tiles: np.ndarray) -> np.ndarray:
    """Tiles ... x H x W x 3 with a grey line of one pixel around each."""
    edges = [(0, 0)] * (tiles.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
    return np.pad(tiles, edges, constant_values=FRAME)


def mosaic(tiles_RChw3: np.ndarray, gap: int, row_gap: int | None = None) -> np.ndarray:
    """Rows x columns of tiles as one picture, the page's colour right of (`gap`) and below (`row_gap`) each tile."""
    n_rows, n_columns, height, width, _ = tiles_RChw3.shape
    cell_h, cell_w = height + (gap if row_gap is None else row_gap), width + gap
    picture = blank(n_rows * cell_h, n_columns * cell_w)
    cells_RhCw3 = picture.reshape(n_rows, cell_h, n_columns, cell_w, 3)
    cells_RhCw3[:, :height, :, :width] = tiles_RChw3.swapaxes(1, 2)
    return picture
