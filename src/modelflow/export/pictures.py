"""Pictures from files, bytes or Pillow as arrays of bytes, read as training images are. No torch.

pixels_HWC = read_picture(Path("shirt.png"))                # uint8, 1 or 3 channels
shares_CHW = fitted_shares(pixels_CHW / 255, channels=1, size=(28, 28))
"""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from modelflow.data import pictures
from modelflow.errors import DataError
from modelflow.io.array import Array
from modelflow.io.files import read_bounded
from modelflow.text import one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
MAX_BYTES = 64 << 20
GREY = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow has it


def read_picture(path: Path) -> Array:
    """The picture in a file, H x W x 1 or H x W x 3, in bytes. Raises `DataError` naming the file."""
    try:
        content = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataError(f"{one_line(path)}: no such file") from None
    except ValueError as reason:
        raise DataError(f"{one_line(path)}: {reason}") from None
    return parse_picture(content, str(path))


def parse_picture(content: bytes, where: str) -> Array:
    """As `read_picture`, of the content of a file that is called `where`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a file that is large, cut or odd, which Pillow would read all the same
            return _channels_last(pictures.read_picture(io.BytesIO(content)))
    except ValueError as reason:
        raise DataError(f"{one_line(where)}: {reason}") from None


def pixels(image: Image.Image) -> Array:
    """A picture of Pillow's, turned upright, H x W x 1 or H x W x 3, in bytes; what is transparent becomes white.

    Raises `DataError` for one that is too large or of a mode that is no picture's.
    """
    if image.width * image.height > pictures.MAX_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels, expected at most {pictures.MAX_PIXELS:,}")
    if image.mode == "F":
        raise DataError("a picture of floats, expected bytes. Give it as an array of floats from 0 to 1.")
    return _channels_last(pictures.upright(image))


def _channels_last(picture: Image.Image) -> Array:
    values = np.asarray(picture)
    return values[:, :, None] if values.ndim == 2 else values


def fitted_bytes(image_CHW: Array, channels: int, size: pictures.Size) -> Array:
    """An image in bytes with other channels and another size, by the rule for training images."""
    if len(image_CHW) not in (1, 3):
        raise _other_channels(len(image_CHW), channels)
    values = image_CHW[0] if len(image_CHW) == 1 else np.moveaxis(image_CHW, 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(values))
    made = pictures.to_form(picture, size, channels)
    return made[None] if channels == 1 else np.moveaxis(made, -1, 0)


def fitted_shares(image_CHW: Array, channels: int, size: pictures.Size) -> Array:
    """As `fitted_bytes`, of an image in floats from 0 to 1."""
    recoloured = _recoloured(image_CHW.astype(np.float32), channels)
    height, width = pictures.fitted(recoloured.shape[1:], size)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    made = np.zeros((channels, *size), np.float32)
    for values, room in zip(recoloured, made, strict=True):
        resized = Image.fromarray(np.ascontiguousarray(values)).resize((width, height), Image.Resampling.BICUBIC)
        room[top : top + height, left : left + width] = np.asarray(resized)
    return made.clip(0, 1)


def _recoloured(image_CHW: Array, channels: int) -> Array:
    given = len(image_CHW)
    if given == channels:
        return image_CHW
    if channels not in (1, 3) or given not in (1, 3):
        raise _other_channels(given, channels)
    if channels == 3:
        return np.repeat(image_CHW, 3, axis=0)
    return np.tensordot(np.array(GREY, np.float32), image_CHW, 1)[None]


def _other_channels(given: int, channels: int) -> DataError:
    return DataError(f"an image has {given} channels, the network takes {channels}")
