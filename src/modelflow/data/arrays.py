"""A data set given in Python: arrays, or one that was loaded and then changed. It is known by what lies in memory.

dataset_of_arrays((x_train, y_train, x_test, y_test))        # bytes are normalised, other numbers are left as they are
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from modelflow.data.datasets import Dataset, load_dataset, normalised
from modelflow.data.memory import Held, checksums, is_numbers
from modelflow.data.parts import source_of_parts
from modelflow.data.source import IN_MEMORY, Form
from modelflow.errors import DataError, ModelFlowError, UsageError
from modelflow.io.array import Array
from modelflow.io.bounds import MAX_CLASSES
from modelflow.io.files import sha256
from modelflow.text import short

NAME = "arrays"
EXPECTED = "expected the name or path of a data set, a Dataset, or the arrays (x, y, x_test, y_test)"
DIGITS = 12  # of a SHA-256 that name the arrays
CHANNELS = (1, 3)
TENSORS = ("train_x_NCHW", "train_y_N", "test_x_NCHW", "test_y_N", "val_x_NCHW", "val_y_N")


def dataset_of_arrays(given: object) -> Dataset:
    """Of training images and labels, test images and labels, as arrays or tensors.

    Images are N x H x W or N x C x H x W. Bytes become numbers from 0 to 1, normalised with the mean and std of the
    training images; other numbers are trained on as they are, so that they should be normalised. Labels are whole
    numbers from 0. Raises `DataError` or `UsageError` for anything else.
    """
    if not isinstance(given, list | tuple) or len(given) != 4 or not all(map(is_numbers, given)):
        raise UsageError(f"data = {short(given)}: {EXPECTED}")
    x, y, x_test, y_test = (np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part) for part in given)
    images = {"train": _images("x", x), "test": _images("x_test", x_test)}
    labels = {"train": _labels("y", y), "test": _labels("y_test", y_test)}
    classes = int(max(one.max(initial=0) for one in labels.values())) + 1
    if classes > MAX_CLASSES:
        raise DataError(f"data: label {classes - 1:,}, expected at most {MAX_CLASSES:,} classes. Number them from 0.")
    sums = _sums({part: (images[part], labels[part]) for part in images})
    as_bytes = {part: one if one.dtype == np.uint8 else np.zeros(one.shape, np.uint8) for part, one in images.items()}
    names = [str(k) for k in range(classes)]
    source = source_of_parts(NAME, {part: (as_bytes[part], labels[part]) for part in images}, names, sums)
    if {one.dtype for one in images.values()} == {np.dtype(np.uint8)}:
        return normalised(source)
    return _as_they_are(images, labels, tuple(names), sums)


def _as_they_are(
    images: dict[str, Array], labels: dict[str, Array], names: tuple[str, ...], sums: dict[str, str]
) -> Dataset:
    """Numbers of "train" and "test" as they are. Pictures show the least as black and the greatest as white."""
    x, x_test = (torch.from_numpy(images[part].astype(np.float32)) for part in ("train", "test"))
    y, y_test = (torch.from_numpy(labels[part]) for part in ("train", "test"))
    low, high = float(x.min()), float(x.max())
    if low == high:
        raise DataError("x: all values are the same, expected images. Use other images.")
    return Dataset(NAME, x, y, x_test, y_test, names, -low / (high - low), 1 / (high - low), sums)


def _images(name: str, x: Array) -> Array:
    """N x C x H x W. Raises `DataError` for other shapes, and values that are not finite."""
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in CHANNELS:
        last = " Give x.transpose(0, 3, 1, 2)." if x.ndim == 4 and x.shape[3] in CHANNELS else ""
        raise DataError(f"{name}: shape {short(x.shape)}, expected images N x H x W or N x C x H x W.{last}")
    if x.dtype.kind not in "uif":
        raise DataError(f"{name}: values of type {x.dtype}, expected bytes or numbers")
    if x.dtype.kind == "f" and len(bad := np.flatnonzero(~np.isfinite(x).all((1, 2, 3)))):
        raise DataError(f"{name}: image {bad[0]} has values that are not finite. Fix or remove it.")
    return x


def _labels(name: str, y: Array) -> Array:
    """N. Raises `DataError` for what is no whole number per image."""
    if y.ndim != 1 or y.dtype.kind not in "ui":
        raise DataError(f"{name}: {y.dtype} of shape {short(y.shape)}, expected a whole number for each image")
    return y.astype(np.int64)


def _sums(parts: dict[str, tuple[object, object]]) -> dict[str, str]:
    called = {"train": "training", "val": "validation", "test": "test"}
    return checksums({called[part]: Held(*pair, None, True) for part, pair in parts.items()})


def name_of(data: Dataset) -> str:
    """How settings name a data set that lies in memory, by its checksums."""
    return IN_MEMORY + sha256("\n".join(data.checksums.values()).encode())[:DIGITS]


def is_as_its_files(data: Dataset) -> bool:
    """Whether a loaded data set is what its name and folder give now, so that these stand for it."""
    try:
        prefixed = ":" in data.name
        files = load_dataset(data.name, None if prefixed else data.folder, **Form.of(**(data.form or {}))._asdict())
    except (ModelFlowError, OSError):
        return False
    alike = (files.checksums, files.class_names, files.mean, files.std)
    return alike == (data.checksums, data.class_names, data.mean, data.std) and all(
        _same(getattr(files, name), getattr(data, name)) for name in TENSORS
    )


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def held_in_memory(data: Dataset) -> Dataset:
    """A loaded data set that was changed since: known by its tensors, no longer by files."""
    parts: Sequence[tuple[str, Tensor | None, Tensor | None]] = [
        ("train", data.train_x_NCHW, data.train_y_N),
        ("val", data.val_x_NCHW, data.val_y_N),
        ("test", data.test_x_NCHW, data.test_y_N),
    ]
    sums = _sums({part: (x, y) for part, x, y in parts if x is not None and y is not None})
    return replace(data, name=NAME, checksums=sums, folder=None, form=None)
