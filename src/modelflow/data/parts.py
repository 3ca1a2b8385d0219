"""A source of the parts of a data set: what holds of every format is checked here, once. No torch.

source_of_parts("npz:my.npz", {"train": (images_NHW, labels_N)}, ("cat", "dog"), {"my.npz": sha256})
"""

from collections.abc import Mapping, Sequence

import numpy as np

from modelflow.data.idx import MAX_BYTES, by_x
from modelflow.data.source import AS_THEY_ARE, Form, Images, Labels, Parts, Source
from modelflow.data.split import held_out
from modelflow.errors import DataError
from modelflow.io.bounds import MAX_CLASSES
from modelflow.text import shown

TEST_SHARE = 6  # one image of so many is held out for testing where there is no test split
TEST_SEED = 1  # another one than of validation, so that both are drawn apart
CALLED = {"train": "training", "val": "validation", "test": "test"}


def source_of_parts(
    name: str,
    parts: Parts,
    class_names: Sequence[str],
    checksums: Mapping[str, str],
    notes: Sequence[str] = (),
    form: Form = AS_THEY_ARE,
) -> Source:
    """The data set `name` of its `parts`, images N x H x W or N x C x H x W and labels N by "train", "val", "test".

    Without "test", one image of six is held out of "train", the same share of each class and always the same ones,
    which a note says. `checksums` are the SHA-256 of its files by name. Raises `DataError` for parts that do not
    belong together, hold fewer than two classes, or too many bytes.
    """
    _check_sizes(name, parts)
    labels_N = parts["train"][1]
    for part, (images, labels) in parts.items():
        _check_labels(f"{name}: {CALLED[part]}", images, labels, len(class_names))
    if len(np.unique(labels_N)) < 2:
        only = shown(class_names[int(labels_N[0])])
        raise DataError(f"{name}: all training images are of class {only}, expected at least two classes. Add images.")
    if "test" not in parts:
        parts, note = _with_test(name, parts)
        notes = (*notes, note)
    for part in ("val", "test"):
        if part in parts:
            _check_known(name, part, parts[part][1], parts["train"][1], class_names)
    val_images, val_labels = parts.get("val", (None, None))
    return Source(
        name,
        *parts["train"],
        *parts["test"],
        tuple(class_names),
        dict(checksums),
        val_images=val_images,
        val_labels=val_labels,
        notes=tuple(notes),
        form=form,
    )


def _check_sizes(name: str, parts: Parts) -> None:
    if "train" not in parts or not len(parts["train"][0]):
        raise DataError(f"{name}: no training images, expected some. Add images.")
    sizes = parts["train"][0].shape[1:]
    for part, (images, _) in parts.items():
        if not len(images):
            raise DataError(f"{name}: no {CALLED[part]} images, expected some. Add images, or remove that part.")
        if images.shape[1:] != sizes:
            raise DataError(
                f"{name}: {CALLED[part]} images are {by_x(images.shape[1:])}, training images {by_x(sizes)}, expected "
                "the same. Use parts of one data set."
            )
    total = sum(images.nbytes for images, _ in parts.values())
    if total > MAX_BYTES:
        raise DataError(
            f"{name}: its images take {total:,} bytes, expected at most {MAX_BYTES:,}. Use fewer or smaller images."
        )


def _check_labels(where: str, images: Images, labels: Labels, classes: int) -> None:
    if len(labels) != len(images):
        raise DataError(
            f"{where}: {len(labels):,} labels for {len(images):,} images, expected one per image. Use parts of one "
            "data set."
        )
    if classes > MAX_CLASSES:
        raise DataError(f"{where}: {classes:,} classes, expected at most {MAX_CLASSES:,}. Use fewer classes.")
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        raise DataError(
            f"{where}: label {labels[outside[0]]} of image {outside[0]}, expected 0 to {classes - 1}. Number the "
            "classes from 0."
        )


def _with_test(name: str, parts: Parts) -> tuple[Parts, str]:
    """The parts with test images held out of the training images, and what to say of it; a class keeps an image."""
    images, labels_N = parts["train"]
    several = np.flatnonzero(np.bincount(labels_N)[labels_N] > 1)
    count = len(labels_N) // TEST_SHARE
    if not 0 < count < len(several):
        raise DataError(
            f"{name}: no test images, and {len(images):,} training images are too few to hold some out. Add images, "
            "or a test part."
        )
    held_N = several[held_out(labels_N[several], count, TEST_SEED)[1]]
    kept_N = np.setdiff1d(np.arange(len(labels_N)), held_N, assume_unique=True)
    split = {"train": (images[kept_N], labels_N[kept_N]), "test": (images[held_N], labels_N[held_N])}
    note = (
        f"{name} has no test images: {count:,} of its {len(images):,} training images are held out as such, the same "
        "share of each class and always the same ones."
    )
    return {**parts, **split}, note


def _check_known(name: str, part: str, labels: Labels, train_labels: Labels, class_names: Sequence[str]) -> None:
    strange = np.flatnonzero(~np.isin(labels, train_labels))
    if len(strange):
        raise DataError(
            f"{name}: class {shown(class_names[int(labels[strange[0]])])} of {CALLED[part]} image {strange[0]} has no "
            "training image, expected classes of the training images. Remove it, or add such training images."
        )
