"""CIFAR-10 and CIFAR-100 in their binary version: records of a label and 3 x 32 x 32 bytes, plane after plane.

Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import os
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from modelflow.data.archives import is_archive
from modelflow.data.idx import MAX_BYTES
from modelflow.data.origins.origin import FileRow, Origin
from modelflow.data.parts import source_of_parts
from modelflow.data.source import Images, Labels, Parts, Source
from modelflow.data.unchanged import while_unchanged
from modelflow.errors import DataError
from modelflow.io.files import read_bounded, sha256
from modelflow.text import shown

PIXELS = 3 * 32 * 32
MAX_NAMES_BYTES = 1 << 16
HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"


class Kind(NamedTuple):
    """One of the two data sets: its files by part, that of its class names, and the labels of a record, the last used.

    `pickled` is a file of its version for Python, `below` the folder that its archive unpacks to.
    """

    classes: int
    parts: dict[str, tuple[str, ...]]
    names: str
    labels: int
    pickled: tuple[str, ...]
    below: str


KINDS = (
    Kind(
        10,
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        1,
        ("data_batch_1", "test_batch"),
        "cifar-10-batches-bin",
    ),
    Kind(
        100,
        {"train": ("train.bin",), "test": ("test.bin",)},
        "fine_label_names.txt",
        2,
        ("train", "test", "meta"),
        "cifar-100-binary",
    ),
)


class Cifar(Origin):
    """`cifar:FOLDER`: the unpacked binary version of CIFAR-10, or of CIFAR-100 with its fine labels."""

    names: ClassVar[tuple[str, ...]] = ("cifar:FOLDER",)
    words: ClassVar[str] = "is read from that folder, which must hold the same files"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and (_found(path) is not None or _is_pickled(path))

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    def read(self, download: bool) -> Source:
        return read_cifar(self.name, self.path)

    def checksums(self) -> dict[str, str]:
        place, (folder, kind) = os.path.abspath(self.path), found_in(self.path)
        files = [folder / name for names in kind.parts.values() for name in names]
        return dict(while_unchanged(("cifar", place), files, lambda: self.read(download=False).checksums))

    def verify(self) -> list[FileRow]:
        folder = str(found_in(self.path)[0])
        return [FileRow(name, folder, of, ok=True) for name, of in self.read(download=False).checksums.items()]


def _found(path: Path) -> tuple[Path, Kind] | None:
    """The folder of the files, here or in the folder that the archive unpacks to, and of which data set they are."""
    for kind in KINDS:
        for folder in (path, path / kind.below):
            if (folder / kind.parts["train"][0]).is_file():
                return folder, kind
    return None


def _is_pickled(path: Path) -> bool:
    folders = (path, path / "cifar-10-batches-py", path / "cifar-100-python")
    return any(all((folder / name).is_file() for name in kind.pickled) for folder in folders for kind in KINDS)


def found_in(path: Path) -> tuple[Path, Kind]:
    """The folder of the files and the kind. Raises `DataError` for the version for Python, an archive, or neither."""
    found = _found(path)
    if found is None:
        binary = f"Get the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz): {HOME}"
        if path.is_dir() and _is_pickled(path):
            raise DataError(f"{path}: is CIFAR's version for Python, whose pickles could run code. {binary}")
        if is_archive(path):
            raise DataError(f"{path}: is an archive, expected its folder. Unpack it: tar xzf {path.name}")
        raise DataError(f"{path}: no data_batch_1.bin or train.bin there, expected CIFAR's binary files. {binary}")
    return found


def read_cifar(name: str, path: Path) -> Source:
    """The data set in a folder. Raises `DataError` for files that are missing, cut, too large or of other labels."""
    folder, kind = found_in(path)
    sums: dict[str, str] = {}
    parts: Parts = {part: _part(folder, files, kind, sums) for part, files in kind.parts.items()}
    names, notes = _class_names(folder / kind.names, kind)
    return source_of_parts(name, parts, names, sums, notes)


def _part(folder: Path, files: tuple[str, ...], kind: Kind, sums: dict[str, str]) -> tuple[Images, Labels]:
    """Images N x 3 x 32 x 32 and labels N of some files, whose SHA-256 goes into `sums`."""
    records: list[Images] = []
    for file in files:
        path = folder / file
        content = _content(path, MAX_BYTES - sum(part.size for part in records))
        sums[file] = sha256(content)
        records.append(_records(path, content, kind))
    rows = np.concatenate(records)
    return rows[:, kind.labels :].reshape(-1, 3, 32, 32), rows[:, kind.labels - 1].astype(np.int64)


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_bounded(path, limit)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file, expected all files of the data set. Unpack its archive again."
        ) from None
    except ValueError as reason:
        raise DataError(f"{path}: {reason}. Unpack its archive again.") from None


def _records(path: Path, content: bytes, kind: Kind) -> Images:
    size = kind.labels + PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{path}: {len(content):,} bytes, expected records of {size:,} bytes ({kind.labels} for labels, {PIXELS:,} "
            "pixels). It is cut, or another file. Unpack its archive again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    outside = np.flatnonzero(rows[:, kind.labels - 1] >= kind.classes)
    if len(outside):
        label = rows[outside[0], kind.labels - 1]
        raise DataError(
            f"{path}: label {label} of image {outside[0]}, expected 0 to {kind.classes - 1}. Unpack its archive again."
        )
    return rows


def _class_names(path: Path, kind: Kind) -> tuple[list[str], list[str]]:
    """The names in the file, and no note; numbers and a note where there is none."""
    if not path.exists():
        note = f"{path.name} is not there. Classes are named by their numbers."
        return [str(k) for k in range(kind.classes)], [note]
    try:
        text = _content(path, MAX_NAMES_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8, expected a class name per line. Unpack its archive again.") from None
    names = [shown(line) for line in text.splitlines() if line.strip()]
    if len(names) != kind.classes or len(set(names)) < len(names):
        raise DataError(
            f"{path}: {len(set(names))} class names, expected {kind.classes}, one per line. Unpack its archive again."
        )
    return names, []
