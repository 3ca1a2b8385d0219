"""A folder of the user's in MNIST's IDX format."""

import os
import time
from pathlib import Path
from typing import ClassVar

from modelflow.data.folder import NAME, find_files, read_folder
from modelflow.data.origins.origin import FileRow, Origin, Source, rows_of

SETTLED = 5  # seconds: FAT keeps times to two of them

Signature = tuple[tuple[str, int, int, int, int, int], ...]
_read: dict[Path, tuple[Signature | None, dict[str, str]]] = {}


class IdxFolder(Origin):
    """`idx:FOLDER`: four files, as `data.folder` reads them; classes are called by their numbers."""

    names: ClassVar[tuple[str, ...]] = ("idx:FOLDER",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and any(NAME.fullmatch(entry.name) for entry in path.iterdir())

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    @property
    def words(self) -> str:
        return "is read from that folder, which must hold the same files"

    def read(self, download: bool) -> Source:
        files = read_folder(self.path)
        num_classes = int(files["train-labels"].values.max()) + 1
        return Source.of_files(self.name, files, tuple(map(str, range(num_classes))))

    def checksums(self) -> dict[str, str]:
        """As of any origin; the files are read again only when they may have changed."""
        folder = Path(os.path.abspath(self.path))
        now = signature(folder)
        if now is None or now != _read.get(folder, (None, {}))[0]:
            _read[folder] = now, {file.name: file.sha256 for file in read_folder(folder).values()}
        return dict(_read[folder][1])

    def verify(self) -> list[FileRow]:
        return rows_of(read_folder(self.path))


def signature(folder: Path) -> Signature | None:
    """What tells the files of a folder, unread, from changed ones; None where they are too new for that.

    A file that changes again within the grain of its times looks the same, as git's index has it ("racy git"): times
    tell nothing until they are some seconds old.
    """
    files = [(str(path), path.stat()) for path in find_files(folder).values()]
    if max(max(kept.st_mtime, kept.st_ctime) for _, kept in files) > time.time() - SETTLED:
        return None
    return tuple((path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in files)
