"""Data sets as they lie in their files, by name: "fashion-mnist", "digits", "idx:FOLDER". No torch."""

import difflib
import hashlib
import io
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelflow.data import fetch
from modelflow.data.folder import find_files, read_folder
from modelflow.data.idx import IdxFile
from modelflow.errors import DataError, UsageError

KNOWN_SETS = {known.name: known for known in (fetch.FASHION_MNIST,)}
NAMES = (*KNOWN_SETS, "digits", "idx:FOLDER")
FIXED = (*KNOWN_SETS, "digits")  # whose name says which files they are

DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
DIGITS_WHITE = 16
DIGITS_TEST_EVERY = 5

SETTLED = 5  # seconds: FAT keeps times to two of them

Images = NDArray[np.uint8]
Labels = NDArray[Any]


class FileRow(NamedTuple):
    file: str
    place: str
    sha256: str
    ok: bool


@dataclass(frozen=True, eq=False)
class Source:
    """Images N x H x W (or N x C x H x W) from 0 to `white`, and a label for each."""

    name: str
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)
    class_names: tuple[str, ...]
    checksums: dict[str, str] = field(repr=False)  # file name -> SHA-256 of the uncompressed file
    white: int = 255
    folder: str | None = None  # as `folder_of` gives it; None for a path that no record can hold, such as not UTF-8


def read_source(name: str, data_dir: str | Path | None = None, *, download: bool = True) -> Source:
    """The data set of this name. Raises `DataError` for files that are damaged, or nowhere.

    Files that are nowhere on this machine are fetched, unless `download` is false.
    """
    name = str(name)
    if name == "digits":
        return _digits()
    if name in KNOWN_SETS:
        known = KNOWN_SETS[name]
        found = fetch.fetch(known, data_dir) if download else fetch.find_all(known, data_dir)
        source = _from_files(name, found, known.class_names)
    else:
        files = read_folder(_folder(name))
        num_classes = int(files["train-labels"].values.max()) + 1
        source = _from_files(name, files, tuple(map(str, range(num_classes))))
    folder = folder_of(name, data_dir)
    return replace(source, folder=folder if folder and folder.isprintable() else None)


def folder_of(name: str, data_dir: str | Path | None = None) -> str | None:
    """Where an `idx:` folder lies, or the folder that was named for a known set, whatever the current folder is.

    None where none was named. Raises `UsageError` for an unknown data set.
    """
    if name == "digits":
        return None
    folder = fetch.named_folder(data_dir) if name in KNOWN_SETS else _folder(name)
    return None if folder is None else os.path.abspath(folder)


def checksums_of(name: str) -> dict[str, str]:
    """SHA-256 by file name of what `read_source` would read now; of the known sets it is known.

    The files of an `idx:` folder are read again only when they may have changed. Raises `DataError` as `read_source`.
    """
    if name == "digits":
        return {"digits": DIGITS_SHA256}
    if name in KNOWN_SETS:
        return {file.name: file.sha256 for file in KNOWN_SETS[name].files}
    folder = Path(os.path.abspath(_folder(name)))
    now = signature(folder)
    if now is None or now != _read.get(folder, (None, {}))[0]:
        _read[folder] = now, {file.name: file.sha256 for file in read_folder(folder).values()}
    return dict(_read[folder][1])


Signature = tuple[tuple[str, int, int, int, int, int], ...]
_read: dict[Path, tuple[Signature | None, dict[str, str]]] = {}


def signature(folder: Path) -> Signature | None:
    """What tells the files of an `idx:` folder, unread, from changed ones; None where they are too new for that.

    A file that changes again within the grain of its times looks the same, as git's index has it ("racy git"): times
    tell nothing until they are some seconds old.
    """
    files = [(str(path), path.stat()) for path in find_files(folder).values()]
    if max(max(kept.st_mtime, kept.st_ctime) for _, kept in files) > time.time() - SETTLED:
        return None
    return tuple((path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in files)


def fetch_dataset(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Get what is missing, check all, and say where each file is."""
    return _rows(fetch.fetch(KNOWN_SETS[name], data_dir)) if name in KNOWN_SETS else verify(name)


def verify(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Check the files that are there, fetching none: a row for each, or DataError for the first bad one."""
    if name == "digits":
        _digits()
        return [FileRow("digits", "modelflow", DIGITS_SHA256, ok=True)]
    if name in KNOWN_SETS:
        return _rows(fetch.find_all(KNOWN_SETS[name], data_dir))
    return _rows(read_folder(_folder(name)))


def _rows(files: Mapping[str, IdxFile]) -> list[FileRow]:
    return [FileRow(file.path.name, str(file.path.parent), file.sha256, ok=True) for file in files.values()]


def _folder(name: str) -> Path:
    kind, _, folder = str(name).partition(":")
    if kind == "idx" and folder:
        return Path(os.path.expanduser(folder))
    near = difflib.get_close_matches(str(name).lower(), NAMES, n=1)
    if os.path.isdir(name):
        near = [f"idx:{name}"]
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown data set {name!r}; expected one of {', '.join(NAMES)}.{hint}")


def _from_files(name: str, files: Mapping[str, IdxFile], class_names: tuple[str, ...]) -> Source:
    checksums = {file.name: file.sha256 for file in files.values()}
    return _source(name, {role: file.values for role, file in files.items()}, class_names, checksums)


def _digits() -> Source:
    """Handwritten digits of 43 people; of each class every fifth image is for testing: 1,442 to train, 355 to test.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49, CC BY 4.0:
    the part for testing, which scikit-learn's `load_digits` also gives.
    """
    with np.load(io.BytesIO(resources.files("modelflow.data").joinpath("digits.npz").read_bytes())) as kept:
        images, labels = kept["images"], kept["labels"]
    sha256 = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if sha256 != DIGITS_SHA256:
        raise DataError(f"the digits have SHA-256 {sha256}; expected {DIGITS_SHA256}. Reinstall modelflow.")
    test = every_nth_of_each_class(labels, DIGITS_TEST_EVERY)
    parts = {
        "train-images": images[~test],
        "train-labels": labels[~test],
        "test-images": images[test],
        "test-labels": labels[test],
    }
    return _source("digits", parts, tuple("0123456789"), {"digits": sha256}, DIGITS_WHITE)


def every_nth_of_each_class(labels_N: Labels, n: int) -> NDArray[np.bool_]:
    chosen_N = np.zeros(len(labels_N), np.bool_)
    for label in np.unique(labels_N):
        chosen_N[np.flatnonzero(labels_N == label)[n - 1 :: n]] = True
    return chosen_N


def _source(
    name: str, parts: Mapping[str, Labels], class_names: tuple[str, ...], checksums: dict[str, str], white: int = 255
) -> Source:
    images, labels = (parts["train-images"], parts["test-images"]), (parts["train-labels"], parts["test-labels"])
    return Source(name, images[0], labels[0], images[1], labels[1], class_names, checksums, white)
