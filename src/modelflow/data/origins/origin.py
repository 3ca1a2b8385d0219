"""What every origin of data sets has: images and labels as they lie in its files, and how these are checked.

An origin is one file of this folder with one class derived from `Origin`; it is found by the names that it takes.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelflow.data.idx import IdxFile
from modelflow.errors import UsageError
from modelflow.networks.data_shape import DataShape
from modelflow.text import short

Images = NDArray[np.uint8]
Labels = NDArray[Any]
Parts = Mapping[str, tuple[Images, Labels]]  # by "train", "val" and "test"
MAX_SIDE = 512
SIZE = re.compile(r"(\d{1,4})(?:x(\d{1,4}))?", re.ASCII)


class Form(NamedTuple):
    """How files are read where they leave a choice; each field as the option of its name.

    `image_size` is height and width. `skip_bad` leaves out files that cannot be read.
    """

    image_size: tuple[int, int] | None = None
    channels: Literal[1, 3] | None = None
    transpose: bool = False
    skip_bad: bool = False

    @classmethod
    def of(cls, image_size: Any = None, channels: Any = None, transpose: Any = False, skip_bad: Any = False) -> "Form":
        """Of what a user or a record gives: the size as `size_of` takes it. Raises `UsageError` for anything else."""
        try:
            size = None if image_size is None else size_of(image_size)
        except ValueError as expected:
            raise UsageError(f"image_size = {short(image_size)}: expected {expected}") from None
        if channels not in (None, 1, 3):
            raise UsageError(f"channels = {short(channels)}: expected 1 (grey) or 3 (RGB)")
        for name, value in (("transpose", transpose), ("skip_bad", skip_bad)):
            if not isinstance(value, bool):
                raise UsageError(f"{name} = {short(value)}: expected true or false")
        return cls(size, channels, transpose, skip_bad)

    @property
    def asked(self) -> dict[str, str | int | bool]:
        """What is not the default, as records have it: the size as text."""
        given = {**self._asdict(), "image_size": self.image_size and size_text(self.image_size)}
        return {name: value for name, value in given.items() if value not in (None, False)}


AS_THEY_ARE = Form()


def size_of(given: Any) -> tuple[int, int]:
    """Height and width of 32, "32", "32x48" (height first) or (32, 48).

    Raises `ValueError`, which says what is expected, for anything else.
    """
    text = "x".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    match = SIZE.fullmatch(text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"a side, or HEIGHTxWIDTH such as 32x48, of 1 to {MAX_SIDE} pixels")
    return size


def size_text(size: tuple[int, int]) -> str:
    """(32, 48) -> "32x48"."""
    return "x".join(map(str, size))


class FileRow(NamedTuple):
    """A file of a data set, where it lies, and the SHA-256 of what it holds."""

    file: str
    place: str
    sha256: str
    ok: bool


@dataclass(frozen=True, eq=False)
class Source:
    """Images N x H x W (or N x C x H x W) from 0 to `white`, and a label for each.

    Those for validation are None where the data set has no such split of its own. `notes` say what a reader must know
    of how it was read, `form` what was asked for.
    """

    name: str
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)
    class_names: tuple[str, ...]
    checksums: dict[str, str] = field(repr=False)  # file name -> SHA-256 of the uncompressed file
    white: int = 255
    val_images: Images | None = field(default=None, repr=False)
    val_labels: Labels | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    form: Form = AS_THEY_ARE
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
    """Where a data set of some `name` comes from, read in some `form`.

    `data_dir` is the folder that was named for its files, if any. Raises `UsageError` for what is asked of a form that
    it does not take.
    """

    names: ClassVar[tuple[str, ...]]  # what may be asked for, such as "digits"; "idx:FOLDER" takes any folder
    fixed: ClassVar[bool] = False  # whether the name alone says which files they are
    takes_form: ClassVar[frozenset[str]] = frozenset()  # the fields of `Form` that it respects

    def __init__(self, name: str, data_dir: str | Path | None = None, form: Form = AS_THEY_ARE) -> None:
        for field_name in form.asked:
            if field_name not in self.takes_form:
                raise UsageError(f"{field_name}: {self.prefix or name} reads images as they are. Remove it.")
        self.name = name
        self.data_dir = data_dir
        self.form = form

    @classmethod
    def recognises(cls, _path: Path) -> bool:
        """Whether what lies at a path, named without a prefix, is of this format. May raise `OSError`."""
        return False

    @property
    def prefix(self) -> str:
        """What its names begin with, such as "idx:"; empty where the name is whole."""
        return prefix_of(type(self))

    @property
    def path(self) -> Path:
        """What its name leads to, after the prefix."""
        return Path(os.path.expanduser(self.name.partition(":")[2]))

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


def prefix_of(origin: type[Origin]) -> str:
    """What the names of an origin begin with, such as "idx:"; empty where they are whole."""
    kind, colon, _ = origin.names[0].partition(":")
    return kind + colon if colon else ""


def rows_of(files: Mapping[str, IdxFile]) -> list[FileRow]:
    """A row for each of some files that were read and are right."""
    return [FileRow(file.path.name, str(file.path.parent), file.sha256, ok=True) for file in files.values()]
