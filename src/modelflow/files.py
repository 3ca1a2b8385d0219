"""Files written whole or not at all, and read only up to a size that was agreed on before.

Written: a temporary file in the same folder, flushed to disk, then moved into place.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """`content` at `path`; whoever reads it, also after a crash, sees the old file or the new one, never a part.

    Makes the folder when it is missing; who may read the file is as the system's umask says. Raises `OSError` as the
    system does, leaving nothing half written.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def make_folder(folder: Path) -> None:
    """The folder and those above it that are missing, each kept through a crash. Raises `OSError`."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush_folder(folder.parent)


def remove_parts(folder: Path) -> None:
    """Takes away what writers that were killed have left half written in a folder that nobody else writes into."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def read_bounded(path: Path, limit: int, links: bool = True) -> bytes:
    """The content of an ordinary file of at most `limit` bytes; never a device's or a pipe's, which might not end.

    Without `links`, a path that is a symbolic link is refused. Raises `FileNotFoundError` for one that is not there and
    `ValueError` with the reason alone for anything else: the caller knows how to mend it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if not links and path.is_symlink() else f"cannot be read: {error.strerror}"
        raise ValueError(reason) from None
    try:
        kept = os.fstat(handle)
        if not stat.S_ISREG(kept.st_mode):
            raise ValueError("is no file")
        with open(handle, "rb", closefd=False) as file:
            content = b"" if kept.st_size > limit else file.read(limit + 1)
    finally:
        os.close(handle)
    if kept.st_size > limit or len(content) > limit:
        raise ValueError(f"larger than {limit:,} bytes, the most that is read")
    return content


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
