"""One process at a time in a folder; a lock left by a dead process counts for nothing. No torch.

The lock is the operating system's on the file `.lock`, which it lets go of when its process dies, however that happens.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from modelflow.errors import UsageError
from modelflow.files import make_folder, read_bounded

LOCK = ".lock"
MAX_SIGNATURE = 4096  # bytes
PATIENCE = 5.0  # seconds: workers of a process that was killed end within one


@contextmanager
def alone_in(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Holds the folder, which is made when it is missing. Raises `UsageError` naming the process that holds it."""
    make_folder(folder)
    if (folder / LOCK).is_symlink():  # it is written into
        raise UsageError(f"{folder / LOCK}: is a symbolic link; take it away")
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise UsageError(
            f"{folder}: another process is at work there ({_holder(folder)}); wait for its end, or give another folder"
        ) from None
    try:
        _sign(folder)
        yield
    finally:
        lock.release()


def _sign(folder: Path) -> None:
    (folder / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()}\n")


def _holder(folder: Path) -> str:
    try:
        return read_bounded(folder / LOCK, MAX_SIGNATURE, links=False).decode()[:200].strip() or "unknown"
    except (OSError, ValueError):
        return "unknown"
