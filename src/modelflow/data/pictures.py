"""A picture file of any kind brought to the form that a network takes. No torch.

with open("cat.jpg", "rb") as file:
    pixels = to_form(read_picture(file), (32, 48), 3)      ->  uint8, 32 x 48 x 3

The same for training images and for pictures that a trained network is shown later.
"""

import re
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Size = tuple[int, int]  # height and width
HEAD = 32  # bytes by which other kinds of files are told
SAVE_AS = "Save it as JPEG or PNG"
OTHERS = {  # what stands in a picture's place, by its first bytes, and what to do
    "a HEIC picture, as iPhones take": (rb"....ftyp(heic|heix|hevc|mif1|msf1)", SAVE_AS),
    "an AVIF picture": (rb"....ftypavi[fs]", SAVE_AS),
    "a TIFF or raw picture": (rb"II\*\0|MM\0\*", SAVE_AS),
    "a drawing in SVG": (rb"\s*(<\?xml|<svg)", SAVE_AS),
    "a web page": (rb"(?i)\s*<(!doctype html|html)", "Download the picture itself"),
    "a pointer of Git LFS": (rb"version https://git-lfs", "Fetch the file: git lfs pull"),
}
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
MAX_PIXELS = 1 << 26  # of the largest cameras 61 million; Pillow's own limit of 89 million takes a gigabyte
MAX_SIDE = 1 << 15  # lines of millions of pixels take half a minute
DEFAULT_SIDE = 64
ORIENTATION = 0x0112  # EXIF's tag
SIDEWAYS = (5, 6, 7, 8)  # its values whose rows are columns
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def size_of_picture(file: BinaryIO) -> Size:
    """Height and width of a picture file as it is shown, from its header. Raises `ValueError` as `read_picture`."""
    image = _opened(file)
    return image.size if _orientation(image) in SIDEWAYS else (image.height, image.width)


def read_picture(file: BinaryIO) -> Image.Image:
    """The picture in a file, of an animation its first frame: upright, in grey (mode L) or RGB.

    It is turned as its EXIF orientation says. Transparency is laid on white. Grey of 16 bits is scaled to 8. Profiles
    of colours are passed over. Raises `ValueError` with the reason alone for a file that is none of `FORMATS`, is
    damaged, or has more than `MAX_PIXELS`, or than `MAX_SIDE` on a side.
    """
    image = _opened(file)
    try:
        image.load()
        return upright(image)
    except MemoryError:
        raise ValueError("does not fit into this machine's memory") from None
    except Exception as error:  # whatever Pillow makes of a damaged file
        raise ValueError(f"is damaged ({_reason(error)})") from None


def upright(image: Image.Image) -> Image.Image:
    """A picture of any mode as `read_picture` gives it. Raises as Pillow does for a mode that is no picture's."""
    flat = _flat(image)
    turn = TURNS.get(_orientation(image))
    return flat if turn is None else flat.transpose(turn)


def to_form(picture: Image.Image, size: Size, channels: int) -> NDArray[np.uint8]:
    """A picture in mode L or RGB as pixels H x W (1 channel) or H x W x 3, of that height and width.

    It is made as large as fits, its aspect kept, and the rest is black, the same on both sides. Colours become grey by
    ITU-R 601 before. Resampled by Pillow's bicubic filter, which is widened where a picture is made smaller (Keys,
    1981; Parmar et al., 2022, https://arxiv.org/abs/2104.11222: those of other libraries alias).
    """
    image = picture.convert("L" if channels == 1 else "RGB")
    height, width = fitted((image.height, image.width), size)
    if (image.height, image.width) != (height, width):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.zeros((*size, *([] if channels == 1 else [3])), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pixels[top : top + height, left : left + width] = np.asarray(image)
    return pixels


def fitted(size: Size, room: Size) -> Size:
    """The largest size of this aspect that fits into `room`, at least one pixel a side."""
    (height, width), (high, wide) = size, room
    if height * wide >= width * high:
        return high, max(1, (2 * width * high + height) // (2 * height))
    return max(1, (2 * height * wide + width) // (2 * width)), wide


def common_size(sizes: Collection[Size]) -> Size:
    """The smallest size that holds pictures of all these sizes, once each is made to fit into 64 x 64.

    Pictures that are smaller than that are not made larger for it.
    """
    room = DEFAULT_SIDE, DEFAULT_SIDE
    held = [size if max(size) <= DEFAULT_SIDE else fitted(size, room) for size in set(sizes)]
    return max(height for height, _ in held), max(width for _, width in held)


def _not_one_of_ours(head: bytes) -> str:
    """What a file is instead, by its first bytes."""
    ours = ", ".join(FORMATS)
    for kind, (start, fix) in OTHERS.items():
        if re.match(start, head, re.S):
            return f"is {kind}, expected one of {ours}. {fix}"
    return f"{'is none of' if head else 'is empty, expected one of'} {ours}, or is damaged"


def _opened(file: BinaryIO) -> Image.Image:
    """The picture, its header read."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        raise ValueError(_not_one_of_ours(file.read(HEAD))) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # of 89 million pixels or more
        raise ValueError(f"has more than {MAX_PIXELS:,} pixels, the limit") from None
    except Exception as error:  # whatever Pillow makes of a damaged file
        raise ValueError(f"is damaged ({_reason(error)})") from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"has {image.width * image.height:,} pixels, expected at most {MAX_PIXELS:,}")
    if not 1 <= min(image.size) <= max(image.size) <= MAX_SIDE:
        raise ValueError(f"is of {image.height} x {image.width} pixels, expected 1 to {MAX_SIDE:,} a side")
    return image


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def _orientation(image: Image.Image) -> int:
    """By EXIF; 1, as it lies, where that says nothing or is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever Pillow makes of damaged EXIF
        return 1


def _flat(image: Image.Image) -> Image.Image:
    """In L or RGB, nothing of it transparent."""
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        layered = image.convert("LA" if image.mode in ("1", "L", "LA", "La") else "RGBA")
        return _on_white(layered, "L" if layered.mode == "LA" else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _on_white(layered: Image.Image, mode: str) -> Image.Image:
    white = Image.new(mode, layered.size, "white")
    white.paste(layered.convert(mode), mask=layered.getchannel("A"))
    return white


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Of whole numbers from 0 to 65535, rounded."""
    scaled = (values.astype(np.int64).clip(0, 65535) * 255 + 32767) // 65535
    return scaled.astype(np.uint8)
