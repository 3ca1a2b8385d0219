"""Whatever is given as images, brought to the form of the training images; what was changed is told. No torch.

given = images_of([Path("shirt.png"), array_HW], (1, 28, 28), white=255)
given.images_NCHW, given.notes
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.errors import DataError
from modelflow.export.pictures import fitted_bytes, fitted_shares, pixels, read_picture
from modelflow.io.arguments import is_picture
from modelflow.io.array import Array
from modelflow.networks.layers.kind import Shape, shape_text

COLOURS = (1, 3)
WHITE = 255  # of bytes once they are given here
MAX_NOTES = 5
FORMS = "images N x H x W, N x C x H x W or N x H x W x C, one image, pictures of Pillow's, or paths"


@dataclass(frozen=True, eq=False)
class Given:
    """Images N x C x H x W, bytes from 0 to 255 or floats from 0 to 1, and what was done to them."""

    images_NCHW: Array
    notes: tuple[str, ...] = ()

    @property
    def shares_NCHW(self) -> Array:  # noqa: N802  # the shape that it gives
        """Floats from 0 to 1."""
        return _shares(self.images_NCHW)


def images_of(given: object, shape: Shape, white: int = WHITE) -> Given:
    """Images of `shape` (C x H x W) from arrays, tensors, lists, pictures of Pillow's, or paths.

    Whole numbers are bytes: up to `white` as in the training files, else up to 255. Floats are shares of white, from 0
    to 1. Images of another size or colour are resized and recoloured, and `notes` say so. Raises `DataError` for
    anything else.
    """
    if isinstance(given, str | os.PathLike) or is_picture(given):
        given = [given]
    if isinstance(given, list | tuple) and given and not all(map(_is_number_or_list, given)):
        return _joined([_single(one, shape, white) for one in given], shape)
    array, notes = _values(_array(given), white)
    joined = _joined([_read(array, shape)], shape)
    return Given(joined.images_NCHW, (*notes, *joined.notes))


def image_of(pixels_HWC: Array, shape: Shape) -> Given:
    """One picture in bytes, as `pictures.pixels` gives it, in the form of images of `shape`."""
    return _joined([_batch(pixels_HWC)], shape)


def _single(one: Any, shape: Shape, white: int) -> Array:
    """One image of a list, 1 x C x H x W."""
    if isinstance(one, str | os.PathLike):
        return _batch(read_picture(Path(one)))
    if is_picture(one):
        return _batch(pixels(one))
    array, _ = _values(_array(one), white)
    found = _read(array, shape)
    if len(found) != 1:
        raise DataError(f"a list holds an array {shape_text(array.shape)}, expected one image each. Give one array.")
    return found


def _batch(pixels_HWC: Array) -> Array:
    return np.moveaxis(pixels_HWC, -1, 0)[None]


def _is_number_or_list(value: object) -> bool:
    return isinstance(value, int | float | list | tuple)


def _array(given: object) -> Array:
    """As an array. Raises `DataError` for what holds no numbers."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, RuntimeError):
        array = np.empty(0, object)
    if array.dtype.kind not in "buif" or not array.size or array.ndim not in (2, 3, 4):
        what = shape_text(array.shape) if array.dtype.kind in "buif" else f"a {type(given).__name__}"
        raise DataError(f"images: got {what or 'no images'}, expected {FORMS}")
    return array


def _values(array: Array, white: int) -> tuple[Array, list[str]]:
    """Bytes from 0 to 255, or floats from 0 to 1. Raises `DataError` for other values."""
    least, most = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (least >= 0 and most <= 1):  # which values that are not numbers are not either
            raise DataError(
                f"images: floats from {least:g} to {most:g}, expected shares from 0 to 1. "
                "Give bytes, divide by the value of white, or undo a normalisation: the run has its own."
            )
        return array, []
    if array.dtype.kind == "b" or least < 0 or most > 255 or (array.dtype != np.uint8 and most <= 1):
        raise DataError(
            f"images: {array.dtype} from {least} to {most}, expected bytes (uint8) or floats from 0 to 1. Convert them."
        )
    if most <= white < WHITE:
        return array / white, []
    notes = [f"bytes up to {most}: read as 0 to 255, the training files have 0 to {white}"] if white < WHITE else []
    return array.astype(np.uint8), notes


def _read(array: Array, shape: Shape) -> Array:
    """N x C x H x W, of images of `shape` where that is possible. Raises `DataError` where it is not clear."""
    readings = list(_readings(array, shape))
    exact = [reading for reading in readings if reading.shape[1:] == shape]
    found = exact or [reading for reading in readings if min(reading.shape[2:]) > max(COLOURS)]
    if len({reading.shape for reading in found}) != 1:
        why = "which can be read in several ways" if found else f"which are no images like {shape_text(shape)}"
        raise DataError(f"images: an array {shape_text(array.shape)}, {why}. Give N x C x H x W.")
    return found[0]


def _readings(array: Array, shape: Shape) -> Iterator[Array]:
    """As N x C x H x W in each way in which its axes may be meant."""
    channels = {*COLOURS, shape[0]}
    if array.ndim == 2:
        yield array[None, None]
    if array.ndim == 3:
        yield array[:, None]
        if array.shape[0] in channels:
            yield array[None]
        if array.shape[2] in channels:
            yield np.moveaxis(array, -1, 0)[None]
    if array.ndim == 4:
        if array.shape[1] in channels:
            yield array
        if array.shape[3] in channels:
            yield np.moveaxis(array, -1, 1)


def _joined(batches: Sequence[Array], shape: Shape) -> Given:
    """All images in one array; those that are not of `shape` made so."""
    unlike = Counter[Shape]()
    done = []
    for batch in batches:
        if (given := batch.shape[1:]) != shape:
            unlike[given] += len(batch)
            fitted = fitted_bytes if batch.dtype == np.uint8 and shape[0] in COLOURS else fitted_shares
            batch = np.stack([fitted(image, shape[0], (shape[1], shape[2])) for image in batch])
        done.append(batch)
    if len({batch.dtype for batch in done}) > 1:
        done = [_shares(batch) for batch in done]
    total = sum(len(batch) for batch in done)
    notes = [_note(count, total, _change(given, shape)) for given, count in unlike.most_common(MAX_NOTES)]
    if len(unlike) > MAX_NOTES:
        notes.append(f"images of {len(unlike) - MAX_NOTES} more sizes were made so too")
    return Given(np.ascontiguousarray(np.concatenate(done)), tuple(notes))


def _shares(image: Array) -> Array:
    """From 0 to 1."""
    return image / np.float32(WHITE) if image.dtype == np.uint8 else image


def _note(count: int, total: int, change: str) -> str:
    return change if total == 1 else f"{count:,} of {total:,} images: {change}"


def _change(given: Shape, shape: Shape) -> str:
    """What is done to an image so that it has another shape, in words."""
    resized = f"resized from {shape_text(given[1:])} to {shape_text(shape[1:])}"
    sides_differ = given[1] * shape[2] != given[2] * shape[1]
    done = [
        *([f"{_colour(given[0])} made {_colour(shape[0])}"] if given[0] != shape[0] else []),
        *([resized] if given[1:] != shape[1:] else []),
        *(["padded with black"] if sides_differ else []),
    ]
    return ", ".join(done)


def _colour(channels: int) -> str:
    return {1: "grey", 3: "RGB"}.get(channels, f"of {channels} channels")
