"""What was found out about files, kept in this process as long as they stay what they are. No torch."""

import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
SETTLED = 5  # seconds: FAT keeps times to two of them

Signature = tuple[tuple[str, int, int, int, int, int], ...]
_known: dict[Hashable, tuple[Signature | None, Any]] = {}


def while_unchanged(key: Hashable, files: Sequence[Path], find: Callable[[], T]) -> T:
    """What `find` finds out about `files`, anew only when they may have changed; `key` says what it is and of where."""
    now = signature(files)
    if now is None or now != _known.get(key, (None, None))[0]:
        _known[key] = now, find()
    found: T = _known[key][1]
    return found


def signature(files: Sequence[Path]) -> Signature | None:
    """What tells files, unread, from changed ones; None where they are too new for that, or gone.

    A file that changes again within the grain of its times looks the same, as git's index has it ("racy git"): times
    tell nothing until they are some seconds old.
    """
    try:
        found = [(str(path), path.stat()) for path in files]
    except OSError:
        return None
    if max(max(kept.st_mtime, kept.st_ctime) for _, kept in found) > time.time() - SETTLED:
        return None
    return tuple((path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for path, s in found)
