"""What every origin of data sets has: images and labels as they lie in its files, and how these are checked.

An origin is one file of this folder with one class derived from `Origin`; it is found by the names that it takes.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelflow.data.idx import IdxFile
from modelflow.networks.data_shape import DataShape

Images = NDArray[np.uint8]
Labels = NDArray[Any]


class FileRow(NamedTuple):
    """A file of a data set, where it lies, and the SHA-256 of what it holds."""

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
    folder: str | None = None  # as `Origin.folder` gives it; None for a path that no record can hold

    @property
    def shape(self) -> DataShape:
        """What it asks of a network."""
        _, *channels, height, width = self.train_images.shape
        return DataShape(self.name, channels[0] if channels else 1, (height, width), len(self.class_names))

    @classmethod
    def of_files(cls, name: str, files: Mapping[str, IdxFile], class_names: tuple[str, ...]) -> "Source":
        """Of the four files by role, such as "train-images"."""
        train, test = ((files[f"{part}-images"].values, files[f"{part}-labels"].values) for part in ("train", "test"))
        return cls(name, *train, *test, class_names, {file.name: file.sha256 for file in files.values()})


class Origin(ABC):
    """Where a data set of some `name` comes from; `data_dir` is the folder that was named for its files, if any."""

    names: ClassVar[tuple[str, ...]]  # what may be asked for, such as "digits"; "idx:FOLDER" takes any folder
    fixed: ClassVar[bool] = False  # whether the name alone says which files they are
    white: ClassVar[int] = 255  # the value of a white pixel in its files

    def __init__(self, name: str, data_dir: str | Path | None = None) -> None:
        self.name = name
        self.data_dir = data_dir

    @classmethod
    def takes(cls, name: str) -> bool:
        """Whether data sets of this name come from here."""
        return any(
            name == one or (":" in one and name.startswith(one.partition(":")[0] + ":") and not name.endswith(":"))
            for one in cls.names
        )

    @property
    def folder(self) -> str | None:
        """The folder of its files as a path from anywhere; None where none was named."""
        return None

    @property
    @abstractmethod
    def words(self) -> str:
        """What a reader must know to get the same files, as the end of a sentence that begins with the name."""

    @abstractmethod
    def read(self, download: bool) -> Source:
        """Images and labels. Raises `DataError` for files that are damaged, or nowhere (and not to be fetched)."""

    def shape(self) -> DataShape:
        """What the data set asks of a network. Raises `DataError` as `read`."""
        return self.read(download=True).shape

    @abstractmethod
    def checksums(self) -> dict[str, str]:
        """SHA-256 by file name of what `read` would read now, without reading it where it is known."""

    @abstractmethod
    def verify(self) -> list[FileRow]:
        """A row for each file, checked, fetching none. Raises `DataError` for the first bad one."""

    def fetch(self) -> list[FileRow]:
        """As `verify`, after what is missing was fetched."""
        return self.verify()


def rows_of(files: Mapping[str, IdxFile]) -> list[FileRow]:
    """A row for each of some files that were read and are right."""
    return [FileRow(file.path.name, str(file.path.parent), file.sha256, ok=True) for file in files.values()]
