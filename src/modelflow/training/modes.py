"""For a while: eval mode, one thread, compiled code run as it was written; then all as before, whatever happens.

Also where several threads of Python are within at once, and leave in whichever order.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

_changing = threading.RLock()  # held by whoever changes a mode that threads share; and during a fork
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)

_evaluated: dict[int, tuple[bool, int]] = {}  # by a module's id: its own mode, and how many blocks it is within


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode within the block; each submodule in its own after the last of the blocks that share it."""
    modules = list(model.modules())
    with _changing:
        for module in modules:
            own, blocks = _evaluated.get(id(module), (module.training, 0))
            _evaluated[id(module)] = own, blocks + 1
        model.eval()
    try:
        yield
    finally:
        with _changing:
            for module in modules:
                _leave(module)


def _leave(module: nn.Module) -> None:
    own, blocks = _evaluated.pop(id(module))
    if blocks > 1:
        _evaluated[id(module)] = own, blocks - 1
    else:
        module.training = own


@contextmanager
def one_thread() -> Iterator[None]:
    """For this thread of Python torch computes on one thread within the block; for others on as many as before."""
    before = _set_threads(1)
    try:
        yield
    finally:
        _set_threads(before)


def _set_threads(count: int) -> int:
    """On how many threads torch computes for this thread of Python from now on; on how many it did.

    `torch.set_num_threads` also changes the number of threads of Python that have not computed yet: another thread,
    which sets its own, puts that back.
    """
    known, changed = threading.Event(), threading.Event()

    def keep() -> None:
        of_new_ones = torch.get_num_threads()
        known.set()
        changed.wait()
        torch.set_num_threads(of_new_ones)

    with _changing:
        before = torch.get_num_threads()
        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            known.wait()
            torch.set_num_threads(count)
        finally:
            changed.set()
            keeper.join()
    return before


_blocks = 0  # of `as_written`, in all threads
_stance = ExitStack()  # torch's, for all threads


@contextmanager
def as_written() -> Iterator[None]:
    """Within the block, code of torch.compile runs as Python has it: what is compiled passes by hooks put on later."""
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled
        yield
        return
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _blocks
    with _changing:
        _blocks += change
        if change > 0 and _blocks == 1:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
        elif not _blocks:
            _stance.close()
