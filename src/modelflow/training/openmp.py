"""GNU's OpenMP, which has torch's threads on Linux: found as torch has loaded it, and of use in forked processes too.

A forked process inherits the pool of threads without the threads, and would wait for them for ever at its first large
computation. So the pool of the thread that forks ends before, and the next computation begins another, in either
process. Where that cannot be, torch has one thread in the forked process, as in the workers of its `DataLoader`.
"""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

END_POOL = "omp_pause_resource_all"  # since OpenMP 5.0
SOFTLY = 1  # omp_pause_soft: OpenMP's settings stay


@cache
def library() -> Any:
    """GNU's OpenMP as torch has loaded it, its own or the system's; None where it has another. Torch must be there."""
    import ctypes

    site = Path(sys.modules["torch"].__file__ or "").parent
    own = [*site.glob("lib/libgomp*"), *site.parent.glob("torch.libs/libgomp*")]
    try:
        return ctypes.CDLL(str(own[0].resolve())) if own else ctypes.CDLL("libgomp.so.1", getattr(os, "RTLD_NOLOAD", 0))
    except OSError:
        return None


def _is_loaded() -> bool:
    return "torch" in sys.modules and library() is not None


def _is_inherited() -> bool:
    """Whether this process was forked from one that had loaded torch: OpenMP lies where it lies in the parent."""
    try:
        ours, theirs = (_places(Path(f"/proc/{process}/maps")) for process in ("self", os.getppid()))
    except OSError:
        return False
    return not ours.isdisjoint(theirs)


def _places(maps: Path) -> set[bytes]:
    name = os.fsencode(library()._name)
    return {line.split()[0] for line in maps.read_bytes().splitlines() if line.endswith(name)}


def _can_end_pool() -> bool:
    return not _forked_before and hasattr(library(), END_POOL)


def _end_pool() -> None:
    if _is_loaded() and _can_end_pool():
        getattr(library(), END_POOL)(SOFTLY)


def _do_without_pool() -> None:
    if _is_loaded() and not _can_end_pool():
        sys.modules["torch"].set_num_threads(1)


_forked_before = False  # before this module was there to end the pool, which then may have lost its threads
if hasattr(os, "register_at_fork"):
    if _is_loaded() and _is_inherited():
        _forked_before = True
        _do_without_pool()
    os.register_at_fork(before=_end_pool, after_in_child=_do_without_pool)
