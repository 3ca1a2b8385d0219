"""What every origin of data sets has: how it is found by a name, and how its files are read and checked.

An origin is one file of this folder with one class derived from `Origin`; it is found by the names that it takes.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from modelflow.data.idx import IdxFile
from modelflow.data.source import AS_THEY_ARE, Form, Framing, Images, Labels, Parts, Source
from modelflow.errors import UsageError
from modelflow.networks.data_shape import DataShape

__all__ = ["FileRow", "Form", "Framing", "Images", "Labels", "Origin", "Parts", "Source", "prefix_of", "rows_of"]


class FileRow(NamedTuple):
    """A file of a data set, where it lies, and the SHA-256 of what it holds."""

    file: str
    place: str
    sha256: str
    ok: bool


class Origin(ABC):
    """Where a data set of some `name` comes from, read in some `form`.

    `data_dir` is the folder that was named for its files, if any. Raises `UsageError` for what is asked of a form that
    it does not take.
    """

    names: ClassVar[tuple[str, ...]]  # what may be asked for, such as "digits"; "idx:FOLDER" takes any folder
    fixed: ClassVar[bool] = False  # whether the name alone says which files they are
    takes_form: ClassVar[frozenset[str]] = frozenset()  # the fields of `Form` that it respects
    white: ClassVar[int] = 255  # the value of a white pixel in its files

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
        """What its name leads to, after the prefix; where a folder was named for its files, as `_lies` says."""
        path = Path(os.path.expanduser(self.name.partition(":")[2]))
        return _lies(path, Path(os.path.expanduser(self.data_dir))) if self.data_dir else path

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
    def framing(self) -> Framing | None:
        """How things were put into its images; None where they are whole pictures, or it is not known."""
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


def _lies(path: Path, named: Path) -> Path:
    """Where a data set lies for whose files a folder was named: that folder, or what is called so in it, or its path.

    An absolute path that leads somewhere stays.
    """
    if path.is_absolute() and os.path.exists(path):
        return path
    if path.name in ("", ".."):  # where the data set was the current folder, or one above it
        return named
    places = [*([named] if named.name == path.name else []), named / path.name, path]
    return next((place for place in places if os.path.exists(place)), named)


def prefix_of(origin: type[Origin]) -> str:
    """What the names of an origin begin with, such as "idx:"; empty where they are whole."""
    kind, colon, _ = origin.names[0].partition(":")
    return kind + colon if colon else ""


def rows_of(files: Mapping[str, IdxFile]) -> list[FileRow]:
    """A row for each of some files that were read and are right."""
    return [FileRow(file.path.name, str(file.path.parent), file.sha256, ok=True) for file in files.values()]


def sums_of(files: Mapping[str, IdxFile]) -> dict[str, str]:
    """The SHA-256 of the uncompressed files by their names."""
    return {file.name: file.sha256 for file in files.values()}
