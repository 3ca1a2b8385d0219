"""Pictures for the report: test images as one sprite, a run's own pictures with their pixels alone. No torch.

source = evaluated_source(run.data, labels_N)       # or a DataError that says why there is none
sheet = sprite(as_bytes(source.test_images[:10], source.white))   # one PNG with a tile an image
"""

import base64
import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from modelflow.errors import DataError, ModelFlowError
from modelflow.io.array import Array
from modelflow.io.files import read_bounded
from modelflow.io.signals import raise_if_heard
from modelflow.networks.description import parse_spec
from modelflow.networks.diagram import FAINT, FILLS, INK, LINES, PAPER, RULE, svg
from modelflow.networks.trace import Trace, trace
from modelflow.results.layout import OUTPUTS
from modelflow.results.records import DataRecord, Run

if TYPE_CHECKING:
    from modelflow.data.source import Source

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PNG_BYTES = 4 << 20
MAX_PIXELS = 12_000_000
WIDEST, COLOURS = 1000, 192
MAX_COLOURS = 1 << 15  # of a picture, for a reduction that is slow with many; ours have some thousands
MAX_TILE_SIZE, TILE_COLOURS, A_ROW = 32, 16, 24
LAYERS = ("input", "conv", "pool", "linear")
DRAWN = {PAPER: "surface", INK: "ink", FAINT: "muted", RULE: "line"}  # colours of drawings as variables of the page
DRAWN |= {FILLS[kind]: kind for kind in LAYERS} | {LINES[kind]: f"{kind}-line" for kind in LAYERS[1:]}


@dataclass(frozen=True)
class Picture:
    """A picture as a data address, with its size in pixels."""

    address: str
    width: int
    height: int


@dataclass(frozen=True)
class Sheet:
    """Many small images in one picture, `columns` in a row, each `width` x `height` pixels."""

    picture: Picture
    columns: int
    rows: int
    width: int
    height: int


def evaluated_source(data: DataRecord, labels_N: Array, data_dir: str | Path | None = None) -> "Source":
    """The data set on whose test images these runs were evaluated; nothing is downloaded.

    Raises `DataError` when the data set is not on this machine, or is not the one of the runs.
    """
    from modelflow.data.source import Form
    from modelflow.data.sources import read_source

    try:
        source = read_source(data.name, data_dir or data.data_dir, Form.of(**(data.form or {})), download=False)
    except ModelFlowError as error:
        raise DataError(str(error)) from None
    if source.checksums != data.checksums:
        raise DataError(f"{data.name} on this machine differs by SHA-256 from the data of the runs")
    if not np.array_equal(source.test_labels, labels_N):
        raise DataError("the runs were not evaluated on the test images of this data set")
    return source


def as_bytes(images: Array, white: int) -> Array:
    """Images whose white is `white` as bytes up to 255: N x H x W in grey, or N x H x W x 3.

    Of other numbers of channels it is the first one.
    """
    if images.ndim == 4:
        images = np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images[:, 0]
    if white == 255:
        return images
    return np.round(images.astype(np.float32) * (255 / white)).clip(0, 255).astype(np.uint8)


def sprite(images: Array) -> Sheet:
    """The images (at least one) as one PNG of few colours; larger ones are made smaller."""
    tiles = [_tile(image) for image in images]
    width, height = tiles[0].size
    columns = min(A_ROW, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new(tiles[0].mode, (columns * width, rows * height))
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    return Sheet(_picture(_few_colours(sheet)), columns, rows, width, height)


def _tile(pixels: Array) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((MAX_TILE_SIZE, MAX_TILE_SIZE))
    return image


def _few_colours(sheet: Image.Image) -> Image.Image:
    if sheet.mode != "L":
        return sheet.quantize(256)
    levels = (np.asarray(sheet).astype(np.uint16) * (TILE_COLOURS - 1) + 127) // 255
    few = Image.fromarray(levels.astype(np.uint8), "P")
    few.putpalette([value for i in range(TILE_COLOURS) for value in (255 * i // (TILE_COLOURS - 1),) * 3])
    return few


def _picture(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    few = image.mode == "P" and len(image.getpalette() or []) <= 3 * TILE_COLOURS
    image.save(buffer, "PNG", optimize=True, **({"bits": 4} if few else {}))
    return Picture(_address("image/png", buffer.getvalue()), *image.size)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def drawing(run: Run) -> tuple[str, Trace] | None:
    """The architecture as SVG in the page's colours, from the run's spec, never the file of its folder.

    None for a run without a sound spec.
    """
    if run.spec is None:
        return None
    try:
        traced = trace(parse_spec(run.spec))
    except ModelFlowError:
        return None
    coloured = re.sub(r'"(#[0-9a-f]{6})"', lambda found: f'"var(--{DRAWN[found[1]]})"', svg(traced, run.model_name))
    return coloured, traced


def outputs_picture(folder: Path, root: Path) -> Picture | None:
    """The picture of what a run's layers make of images."""
    return stored_picture(folder / OUTPUTS, root)


def stored_picture(path: Path, root: Path) -> Picture | None:
    """A PNG of the results folder `root`, its pixels drawn anew in few colours; None for what is no such file.

    Colours that are rare, as of the strongest weights, are nearly kept. Links that lead out of the folder are not
    followed; nothing large is unpacked; only pixels come out.
    """
    try:
        content = _bytes_inside(path, root)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=["PNG"]) as stored:
                if stored.width * stored.height > MAX_PIXELS:
                    return None
                image = stored.convert("RGB")
    except Exception:  # whatever the system and Pillow make of a file that is none of ours
        raise_if_heard()
        return None
    if image.width > WIDEST:
        image = image.reduce(math.ceil(image.width / WIDEST))  # which makes few new colours
    method = Image.Quantize.MAXCOVERAGE if image.getcolors(MAX_COLOURS) else Image.Quantize.MEDIANCUT
    return _picture(image.quantize(COLOURS, method=method, dither=Image.Dither.NONE))


def _bytes_inside(path: Path, root: Path) -> bytes:
    """What a PNG file inside the folder `root` holds. Raises `ValueError` or `OSError` for any other file."""
    if not path.parent.resolve(strict=True).is_relative_to(root.resolve()):
        raise ValueError("outside of the results folder")
    content = read_bounded(path, MAX_PNG_BYTES, links=False)
    if not content.startswith(PNG_SIGNATURE):
        raise ValueError("no PNG")
    return content
