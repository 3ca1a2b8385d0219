"""Denormal numbers flushed to zero while torch trains or evaluates, on each of its threads; the modes come back.

with flushed_to_zero():
    optimizer.step()

As the compiled step does (`kernels.denormals`). Torch's own switch is for the thread that calls it alone, and a thread
of torch's pool that is started meanwhile keeps the mode for good.
"""

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from modelflow.training.openmp import library

ON_EACH = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def flushes() -> bool:
    """Whether this thread takes denormal numbers for zero."""
    half = sys.float_info.min
    half /= 2  # at run time: the compiler of Python would work out a constant
    return half == 0


@contextmanager
def flushed_to_zero() -> Iterator[None]:
    """Within the block, where torch can on this processor."""
    own, before = flushes(), dict[int, bool]()

    def flush() -> None:
        before[threading.get_ident()] = flushes()
        torch.set_flush_denormal(True)

    def restore() -> None:
        torch.set_flush_denormal(before.get(threading.get_ident(), own))

    _by_each_thread(flush)
    try:
        yield
    finally:
        _by_each_thread(restore)


def _by_each_thread(call: Callable[[], None]) -> None:
    """`call()` by this thread, and by each of its pool where torch has GNU's OpenMP; others take over its mode."""
    openmp, threads = library(), torch.get_num_threads()
    if openmp is None or threads == 1:
        call()
    else:
        openmp.GOMP_parallel(ON_EACH(lambda _: call()), None, threads, 0)
