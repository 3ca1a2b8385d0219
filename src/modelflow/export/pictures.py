"""Pictures from files, bytes or Pillow as arrays of bytes, whatever mode they have. No torch.

pixels_HWC = read_picture(Path("shirt.png"))                # uint8, 1 or 3 channels
shares_CHW = fitted(pixels_HWC / 255, channels=1, size=(28, 28))
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from modelflow.errors import DataError
from modelflow.io.files import read_bounded
from modelflow.text import one_line

Array = np.ndarray[Any, Any]
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
MAX_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
GREY = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow has it
SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


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
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return pixels(image)
    except DataError as error:
        raise DataError(f"{one_line(where)}: {error}") from None
    except Exception as error:  # Pillow raises many kinds
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else f"damaged ({error!s:.100})"
        raise DataError(f"{one_line(where)}: {reason}, expected {', '.join(FORMATS)}") from None


def pixels(image: Image.Image) -> Array:
    """A picture of Pillow's, turned upright, H x W x 1 or H x W x 3, in bytes; what is transparent becomes white.

    Raises `DataError` for one that is too large or of a mode that is no picture's.
    """
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS:,}")
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BITS:
        return np.round(np.asarray(image, np.float64).clip(0, 65535) / 257).astype(np.uint8)[:, :, None]
    if image.mode == "F":
        raise DataError("a picture of floats, expected bytes. Give it as an array of floats from 0 to 1.")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        image = white.convert("L" if image.mode in ("LA", "La", "1", "L") else "RGB")
    grey = image.mode in ("1", "L")
    values = np.asarray(image.convert("L" if grey else "RGB"))
    return values[:, :, None] if grey else values


def fitted(shares_CHW: Array, channels: int, size: tuple[int, int]) -> Array:
    """An image with other channels and another size: the whole of it, resized, with black where the sides differ.

    `size` is height and width; values are from 0 to 1. Raises `DataError` for channels that nothing can be made of.
    """
    recoloured = _recoloured(shares_CHW.astype(np.float32), channels)
    if recoloured.shape[1:] == size:
        return recoloured
    maps = [
        ImageOps.pad(Image.fromarray(np.ascontiguousarray(values)), size[::-1], Image.Resampling.BICUBIC, color=0)
        for values in recoloured
    ]
    return np.stack([np.asarray(one) for one in maps]).clip(0, 1)


def _recoloured(image_CHW: Array, channels: int) -> Array:
    given = len(image_CHW)
    if given == channels:
        return image_CHW
    if channels not in (1, 3) or given not in (1, 3):
        raise DataError(f"an image has {given} channels, the network takes {channels}")
    if channels == 3:
        return np.repeat(image_CHW, 3, axis=0)
    return np.tensordot(np.array(GREY, np.float32), image_CHW, 1)[None]
