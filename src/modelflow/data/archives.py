"""Files out of a .zip or .tar.gz: those of given names alone, each bounded, into files that the caller names.

Nothing else of an archive is read, so that no path within it is ever used. Its directory is read whole: check the
archive's checksum first.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")


def is_archive(path: Path) -> bool:
    """Whether a file is called as archives are; none is opened for it."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpack(archive: Path, wanted: Mapping[str, tuple[Path, int]]) -> Iterator[str]:
    """Writes each member that is `wanted` to its path, and yields its name.

    `wanted` has the path and the most bytes by the member's name. Raises `ValueError` for an archive that cannot be
    read, a member that is missing or no file, or a longer one.
    """
    missing = set(wanted)
    try:
        members = _of_zip if zipfile.is_zipfile(archive) else _of_tar
        for name, stream in members(archive, wanted):
            path, most = wanted[name]
            with path.open("wb") as target:
                shutil.copyfileobj(_Bounded(stream, name, most), target)
            missing.discard(name)
            yield name
    except ValueError:
        raise
    except Exception as error:  # whatever zipfile, tarfile and zlib make of a damaged archive
        raise ValueError(f"{archive.name} cannot be unpacked ({error})") from None
    if missing:
        raise ValueError(f"{archive.name} has no file {', '.join(sorted(missing))}")


class _Bounded:
    """A stream that raises `ValueError` once more than `most` bytes were read."""

    def __init__(self, stream: IO[bytes], name: str, most: int) -> None:
        self._stream, self._name, self._most, self._count = stream, name, most, 0

    def read(self, size: int = -1) -> bytes:
        part = self._stream.read(size)
        self._count += len(part)
        if self._count > self._most:
            raise ValueError(f"{self._name} has more than {self._most:,} bytes")
        return part


def _of_zip(archive: Path, names: Mapping[str, object]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        there = set(opened.namelist())
        for name in (name for name in names if name in there):
            with opened.open(name) as stream:
                yield name, stream


def _of_tar(archive: Path, names: Mapping[str, object]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive, "r|gz") as opened:
        for member in opened:
            if member.name in names and member.isreg() and (stream := opened.extractfile(member)):
                yield member.name, stream
