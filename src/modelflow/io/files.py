"""Files written whole or not at all, and read only up to a size that was agreed on before.

Written: a temporary file in the same folder, flushed to disk, then moved into place. What a system or a file system
does not have (flags of POSIX, flushing a folder, renaming over a file) is done without.
"""

import errno
import hashlib
import os
import secrets
import stat
import time
from pathlib import Path

NO_FLUSH = {  # what file systems and Windows answer that cannot flush a file or a folder; EIO, ENOSPC are not of them
    *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF),
    *(errno.EACCES, errno.EPERM, errno.EISDIR),
}
IN_USE = (5, 32)  # Windows: access is denied, or a sharing violation, while somebody reads the file
SMALL = 1 << 20  # bytes that are read at once, whatever size the system says
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries


def write_atomic(path: Path, content: bytes | str) -> None:
    """`content` at `path`; whoever reads it, also after a crash, sees the old file or the new one, never a part.

    Makes the folder when it is missing; who may read the file is as the system's umask says. Of a text, what no UTF-8
    can hold (file names of other encodings) is written as `\\udcff`. Raises `OSError` as the system does, leaving
    nothing half written.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(12)}.part")  # short, so that each name that fits can be written
    try:
        with open(temporary, "xb") as file:
            file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)
            file.flush()
            _flush(file.fileno())
        _move(temporary, path)
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
    `ValueError` with the reason alone for anything else: the caller knows how to fix it.
    """
    if not links and path.is_symlink():
        raise ValueError("is a symbolic link")
    flags = _flags("O_CLOEXEC", "O_NONBLOCK", "O_BINARY", *(() if links else ("O_NOFOLLOW",)))
    try:
        handle = os.open(path, os.O_RDONLY | flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    try:
        kept = os.fstat(handle)
        if not stat.S_ISREG(kept.st_mode):
            raise ValueError("not a file")
        with open(handle, "rb", closefd=False) as file:
            most = min(limit, max(kept.st_size, SMALL))  # what is read makes room for as much
            content = b"" if kept.st_size > limit else file.read(most + 1)
    finally:
        os.close(handle)
    if kept.st_size > limit or len(content) > most:
        raise ValueError(f"larger than {limit:,} bytes, the limit")
    return content


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file of any size, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flags(*names: str) -> int:
    """Those flags of `os.open` that this system has."""
    return sum(getattr(os, name, 0) for name in names)


def _move(temporary: Path, path: Path) -> None:
    """Renames over `path`; takes it away first where a file system cannot; on Windows waits for who reads it."""
    for pause in PAUSES:
        try:
            os.replace(temporary, path)
            return
        except FileExistsError:
            path.unlink()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in IN_USE:
                raise
            time.sleep(pause)
    os.replace(temporary, path)


def _flush_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
        return
    try:
        _flush(handle)
    finally:
        os.close(handle)


def _flush(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
