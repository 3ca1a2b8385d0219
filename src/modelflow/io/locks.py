"""One process at a time in a folder; a lock left by a dead process counts for nothing. No torch.

The lock is the operating system's on the file `.lock`, which it lets go of when its process dies, however that happens.
A file system without such locks (some NFS and FUSE) gets a file `.lock-held` instead, which its holder takes away: one
that a dead process of this machine has left counts for nothing, one of another machine has to be deleted by hand.
"""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from modelflow.errors import UsageError
from modelflow.io.files import make_folder, read_bounded

LOCK, HELD = ".lock", ".lock-held"
MAX_SIGNATURE = 4096  # bytes
PATIENCE = 5.0  # seconds: workers of a process that was killed end within one
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def folder_lock(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Holds the folder, which is made when it is missing. Raises `UsageError` naming the process that holds it."""
    make_folder(folder)
    for name in (LOCK, HELD):  # they are written into
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name}: is a symbolic link. Remove it.")
    lock = _acquired(folder, patience)
    try:
        yield
    finally:
        lock.release()


def _acquired(folder: Path, patience: float) -> BaseFileLock:
    lock: BaseFileLock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise _refusal(folder, folder / LOCK) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return _acquired_by_a_file(folder, patience)
    with suppress(PermissionError):  # Windows locks what is locked against its own process too
        (folder / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()}\n", "utf-8")
    return lock


def _acquired_by_a_file(folder: Path, patience: float) -> BaseFileLock:
    lock = SoftFileLock(folder / HELD)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        fix = f" This file system has no locks. Delete {folder / HELD} once that process has ended."
        raise _refusal(folder, folder / HELD, fix) from None
    return lock


def _refusal(folder: Path, lock: Path, fix: str = "") -> UsageError:
    return UsageError(
        f"{folder}: another process uses it ({_holder(lock)}). Wait for its end, or give another folder.{fix}"
    )


def _holder(lock: Path) -> str:
    try:
        text = read_bounded(lock, MAX_SIGNATURE, links=False).decode()
    except (OSError, ValueError):
        return "unknown"
    if lock.name == HELD:  # filelock's: a line each for process, machine, and when it began
        text = "process " + " on ".join(text.split()[:2])
    return text[:200].strip() or "unknown"


def set_aside(folder: Path) -> Path | None:
    """Moves a folder that exists to the first free name `FOLDER.old-N`, and says which.

    Raises `UsageError` while another process is at work there, in a folder below it or in its study.
    """
    if not folder.exists():
        return None
    n = 1
    while (aside := folder.with_name(f"{folder.name}.old-{n}")).exists():
        n += 1
    with ExitStack() as held:
        held.enter_context(folder_lock(folder))
        for place in _places_of_work(folder):
            held.enter_context(folder_lock(place, patience=0))
        if os.name == "nt":  # which moves no folder with an open file, as the lock is, in it
            held.close()
        shutil.move(folder, aside)
    return aside


def _places_of_work(folder: Path) -> list[Path]:
    """The folders above and below it that a process may be at work in."""
    below = [path.parent for path in folder.rglob(LOCK) if path.parent != folder]
    return [place for place in (folder.parent, *folder.parents[2:3]) if (place / LOCK).is_file()] + below
