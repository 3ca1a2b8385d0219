"""Any folder in the MNIST IDX format: find its four files, read them, and see that they belong together.

Names as MNIST, EMNIST and their relatives have them: [prefix-]train-images[-idx3-ubyte][.gz], and the same with
train-labels, t10k- (or test-) images and labels.
"""

import re
from pathlib import Path

import numpy as np

from modelflow.data.idx import MAX_BYTES, IdxFile, by_x, read_idx
from modelflow.errors import DataError

ROLES = ("train-images", "train-labels", "test-images", "test-labels")
NAME = re.compile(
    r"(?P<prefix>(?!\.).*[-_.])?(?P<part>train|test|t10k)-(?P<kind>images|labels)([-.]idx\d?(-ubyte)?)?(?P<gz>\.gz)?"
)
MEND = "Put the four files of one data set (train- and t10k- images and labels, plain or .gz) into that folder."


def read_folder(folder: Path) -> dict[str, IdxFile]:
    """The four files by role, each whole and fitting the others."""
    files: dict[str, IdxFile] = {}
    for role, path in _find(folder).items():
        files[role] = _read(path, role, MAX_BYTES - sum(file.raw.size for file in files.values()))
    for part in ("train", "test"):
        _check_counts(files[f"{part}-images"], files[f"{part}-labels"])
    _check_same_images(files["train-images"], files["test-images"])
    _check_labels(files["train-labels"], files["test-labels"])
    return files


def _find(folder: Path) -> dict[str, Path]:
    sets: dict[str, dict[str, Path]] = {}
    for path in sorted(_listing(folder), reverse=True):  # reversed: a plain file takes the place of its .gz
        if match := NAME.fullmatch(path.name):
            part = "train" if match["part"] == "train" else "test"
            _add(sets.setdefault(match["prefix"] or "", {}), f"{part}-{match['kind']}", path)
    if len(sets) > 1:
        prefixes = ", ".join(repr(prefix) for prefix in sorted(sets))
        raise DataError(f"{folder}: holds several data sets (prefixes {prefixes}); expected one. {MEND}")
    found = next(iter(sets.values()), {})
    missing = [role for role in ROLES if role not in found]
    if missing:
        names = ", ".join(
            f"{role.replace('test', 't10k')}-idx{'3' if 'images' in role else '1'}-ubyte" for role in missing
        )
        raise DataError(f"{folder}: no file {names}; expected it plain or as .gz. {MEND}")
    return {role: found[role] for role in ROLES}


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        reason = "no such folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read as a folder ({error})"
    raise DataError(f"{folder}: {reason}; expected a folder of four IDX files. {MEND}")


def _add(found: dict[str, Path], role: str, path: Path) -> None:
    other = found.get(role)
    if other is not None and other.name != f"{path.name}.gz":
        raise DataError(f"{path}: is a second file of {role} beside {other.name}; expected one. Take one of them away.")
    found[role] = path


def _read(path: Path, role: str, limit: int) -> IdxFile:
    try:
        return read_idx(path, ndims=(1,) if role.endswith("labels") else (3, 4), limit=limit)
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. Put a good copy in its place.") from None


def _check_counts(images: IdxFile, labels: IdxFile) -> None:
    if images.sizes[0] != labels.sizes[0]:
        raise DataError(
            f"{labels.path}: holds {labels.sizes[0]} labels, but {images.path.name} holds {images.sizes[0]} images;"
            " expected one label an image. Put the two files that belong together into the folder."
        )


def _check_same_images(train: IdxFile, test: IdxFile) -> None:
    if train.sizes[1:] != test.sizes[1:]:
        raise DataError(
            f"{test.path}: its images are {by_x(test.sizes[1:])}, those of {train.path.name} {by_x(train.sizes[1:])};"
            " expected the same. Put the two files that belong together into the folder."
        )


def _check_labels(train: IdxFile, test: IdxFile) -> None:
    known = np.bincount(train.values, minlength=256) > 0
    if known.sum() < 2:
        raise DataError(
            f"{train.path}: every label is {train.values[0]}; expected at least two classes."
            " Put a file of labels with more than one class in its place."
        )
    strange = np.flatnonzero(~known[test.values])
    if len(strange):
        raise DataError(
            f"{test.path}: label {test.values[strange[0]]} of image {strange[0]} is not among the labels of"
            f" {train.path.name}; expected classes that training has. Take these images away or add them to training."
        )
