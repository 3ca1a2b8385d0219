"""Any folder in the MNIST IDX format: find its four files, read them, and see that they belong together.

Names as MNIST, EMNIST and their relatives have them: [prefix-]train-images[-idx3-ubyte][.gz], and the same with
train-labels, t10k- (or test-) images and labels. Folders of such names, as Kaggle's archives have beside the files, are
passed over. Images are unsigned bytes, N x H x W or N x C x H x W; labels are whole numbers of any type, N or N x 1, or
QMNIST's eight an image.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelflow.data.archives import is_archive
from modelflow.data.idx import BYTES, MAX_BYTES, WHOLE_NUMBERS, IdxFile, OtherKindError, by_x, read_idx
from modelflow.errors import DataError
from modelflow.io.bounds import MAX_CLASSES

ROLES = ("train-images", "train-labels", "test-images", "test-labels")
NAME = re.compile(
    r"(?P<prefix>(?!\.).*[-_.])?(?P<part>train|test|t10k)-(?P<kind>images|labels)([-.]idx\d?(-(u?byte|short|int|float|double))?)?(?P<gz>\.gz)?"
)
USUAL_CHANNELS = 4  # at most
QMNIST_COLUMNS, QMNIST_CODE = 8, 4  # the class comes first; NIST's own code of it is the fifth
FIX = "Put the four files of one data set there (train- and t10k- images and labels, plain or .gz)."


def read_folder(folder: Path) -> dict[str, IdxFile]:
    """The four files by role, each whole and fitting the others."""
    files: dict[str, IdxFile] = {}
    for role, path in find_files(folder).items():
        files[role] = _read(path, role, MAX_BYTES - sum(file.raw.size for file in files.values()))
    for part in ("train", "test"):
        _check_counts(files[f"{part}-images"], files[f"{part}-labels"])
        _check_channels_first(files[f"{part}-images"])
    _check_same_images(files["train-images"], files["test-images"])
    _check_labels(files["train-labels"], files["test-labels"])
    return files


def find_files(folder: Path) -> dict[str, Path]:
    """The four files by role, unread. Raises `DataError` for a missing one, or a second one."""
    sets: dict[str, dict[str, Path]] = {}
    for path in sorted(_listing(folder), reverse=True):  # reversed: a plain file takes the place of its .gz
        if (match := NAME.fullmatch(path.name)) and not path.is_dir():
            part = "train" if match["part"] == "train" else "test"
            _add(sets.setdefault(match["prefix"] or "", {}), f"{part}-{match['kind']}", path)
    if len(sets) > 1:
        prefixes = ", ".join(repr(prefix) for prefix in sorted(sets))
        raise DataError(f"{folder}: holds several data sets (prefixes {prefixes}), expected one. {FIX}")
    found = next(iter(sets.values()), {})
    missing = [role for role in ROLES if role not in found]
    if missing:
        names = ", ".join(
            f"{role.replace('test', 't10k')}-idx{'3' if 'images' in role else '1'}-ubyte" for role in missing
        )
        fix = _folders_of_files(folder) or FIX
        raise DataError(f"{folder}: no file {names}, expected it plain or as .gz. {fix}")
    return {role: found[role] for role in ROLES}


def _folders_of_files(folder: Path) -> str:
    """What to do where the files lie a folder deeper; empty where there is no such folder."""
    deeper = sorted(path.name for path in _listing(folder) if NAME.fullmatch(path.name) and path.is_dir())
    return f"{', '.join(deeper)} in it are folders. Move the files inside them up into {folder}." if deeper else ""


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        reason = "no such folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read as a folder ({error})"
        if is_archive(folder):
            raise DataError(f"{folder}: is an archive, expected its folder. Unpack it first.") from None
    raise DataError(f"{folder}: {reason}, expected a folder of four IDX files. {FIX}")


def _add(found: dict[str, Path], role: str, path: Path) -> None:
    other = found.get(role)
    if other is not None and other.name != f"{path.name}.gz":
        raise DataError(f"{path}: is a second file of {role} beside {other.name}, expected one. Remove one of them.")
    found[role] = path


def _read(path: Path, role: str, limit: int) -> IdxFile:
    is_labels = role.endswith("labels")
    ndims, types = ((1, 2), WHOLE_NUMBERS) if is_labels else ((3, 4), BYTES)
    try:
        file = read_idx(path, ndims, limit=limit, types=types)
        return replace(file, values=_classes(file.values)) if is_labels else file
    except OtherKindError as reason:
        raise DataError(f"{path}: {reason}. {reason.fix}") from None
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. Replace it with a sound copy.") from None


def _classes(labels: NDArray[Any]) -> NDArray[Any]:
    """One label an image, in this machine's byte order.

    Raises `OtherKindError` for several that are not QMNIST's, and for what numbers no class.
    """
    if labels.ndim == 2 and labels.shape[1] != 1 and not _is_of_qmnist(labels):
        what = f"holds labels {by_x(labels.shape)}, expected one per image"
        raise OtherKindError(what, "For one-hot labels, write labels.argmax(1).")
    labels_N = labels if labels.ndim == 1 else labels[:, 0]
    outside = np.flatnonzero((labels_N < 0) | (labels_N >= MAX_CLASSES))
    if len(outside):
        first = outside[0]
        what = f"label {labels_N[first]} of image {first}, expected 0 to {MAX_CLASSES - 1}"
        raise OtherKindError(what, "Number the classes from 0 in both files of labels.")
    return labels_N.astype(labels.dtype.newbyteorder("="), copy=False)


def _is_of_qmnist(labels: NDArray[Any]) -> bool:
    if labels.shape[1] != QMNIST_COLUMNS or labels.dtype.name != "int32":
        return False
    beyond_N = labels[:, QMNIST_CODE] - labels[:, 0]
    return bool(beyond_N[0] and (beyond_N == beyond_N[0]).all())  # zeros: one-hot without either class


def _check_counts(images: IdxFile, labels: IdxFile) -> None:
    if images.sizes[0] != labels.sizes[0]:
        raise DataError(
            f"{labels.path}: holds {labels.sizes[0]} labels, but {images.path.name} holds {images.sizes[0]} images,"
            " expected one label per image. Use two files of one data set."
        )


def _check_channels_first(images: IdxFile) -> None:
    """Networks take square images, which tells the order of the sizes, but where all are the same."""
    sizes = images.sizes[1:]
    if len(sizes) == 3 and _channels_last(*sizes):
        first = (sizes[2], sizes[0], sizes[1])
        raise DataError(
            f"{images.path}: its images are {by_x(sizes)}, apparently height x width x channels, expected"
            f" channels x height x width, {by_x(first)}. Write images.transpose(0, 3, 1, 2)."
        )
    if len(sizes) == 3 and sizes[0] == sizes[1] == sizes[2] > 1:
        raise DataError(
            f"{images.path}: its images are {by_x(sizes)}, which does not tell where the channels are, expected"
            " channels x height x width. Pad height and width by a pixel and write it again."
        )


def _channels_last(a: int, b: int, c: int) -> bool:
    if a == b != c:
        return c <= USUAL_CHANNELS or a > USUAL_CHANNELS
    return c <= USUAL_CHANNELS < a and b != c


def _check_same_images(train: IdxFile, test: IdxFile) -> None:
    if train.sizes[1:] != test.sizes[1:]:
        raise DataError(
            f"{test.path}: its images are {by_x(test.sizes[1:])}, those of {train.path.name} {by_x(train.sizes[1:])},"
            " expected the same. Use two files of one data set."
        )


def _check_labels(train: IdxFile, test: IdxFile) -> None:
    known = np.bincount(train.values, minlength=MAX_CLASSES) > 0
    if known.sum() < 2:
        raise DataError(
            f"{train.path}: every label is {train.values[0]}, expected at least two classes."
            " Use a file of labels with more than one class."
        )
    strange = np.flatnonzero(~known[test.values])
    if len(strange):
        raise DataError(
            f"{test.path}: label {test.values[strange[0]]} of image {strange[0]} is not among the labels of"
            f" {train.path.name}, expected classes of the training images. Remove them, or add such training images."
        )
