"""Pictures from files, bytes or Pillow, read as those of a training folder are. No torch.

pixels_HWC = picture_file(Path("shirt.png"))                # uint8, 1 or 3 channels
"""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelflow.data.pictures import MAX_PIXELS, read_picture
from modelflow.errors import DataError
from modelflow.io.files import read_bounded
from modelflow.text import ended, one_line

Array = np.ndarray[Any, Any]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
MAX_BYTES = 64 << 20
OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that lose nothing in such a file


def picture_file(path: Path) -> Array:
    """The picture in a file, H x W x 1 or H x W x 3, in bytes. Raises `DataError` naming the file."""
    try:
        content = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataError(f"{one_line(path)}: no such file") from None
    except ValueError as reason:
        raise DataError(f"{one_line(path)}: {reason}") from None
    return parse_picture(content, str(path))


def parse_picture(content: bytes, where: str) -> Array:
    """As `picture_file`, of the content of a file that is called `where`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such a picture is refused
            picture = read_picture(io.BytesIO(content))
    except ValueError as reason:
        raise DataError(f"{one_line(where)}: {ended(reason)} Convert or remove it.") from None
    pixels = np.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def pixels(image: Image.Image) -> Array:
    """A picture of Pillow's as `picture_file` has it. Raises `DataError` for one that is too large, or of floats."""
    if image.width * image.height > MAX_PIXELS:
        raise DataError(f"a picture has {image.width * image.height:,} pixels, expected at most {MAX_PIXELS:,}")
    if image.mode == "F":
        raise DataError("a picture has floats, expected bytes. Give it as an array of floats from 0 to 1.")
    file = io.BytesIO()
    _for_png(image).save(file, "PNG", exif=image.getexif(), compress_level=0)
    return parse_picture(file.getvalue(), "a picture")


def _for_png(image: Image.Image) -> Image.Image:
    if image.mode == "I":  # with the 16 bits of a file in 32
        return Image.fromarray(np.asarray(image).clip(0, 65535).astype(np.uint16))
    return image if image.mode in OF_PNG else image.convert("RGB")
