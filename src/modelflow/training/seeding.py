"""Random streams: one seed, several independent streams (weights, order, dropout), each a pure function of its names.

So the initial weights do not depend on whether a learning rate was searched for, nor the order on the size of a layer.

Initial weights and the order come from generators of their own, so that threads never meet. Dropout under autograd, the
user's transforms and modules draw from the global generators. Threads take turns with those, so that each of ours gets
its own numbers; a thread of the user's that draws meanwhile without asking is not kept apart.
"""

import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from modelflow.networks.seeds import stream

RandomState = dict[str, Any]
MT19937_WORDS = 624
SECONDS_OF_A_TURN = 0.001  # the least that another thread has to take it


class _Turns:
    """Whose turn it is with the global generators: a thread's, which may ask again within its turn."""

    def __init__(self) -> None:
        self._held = threading.Condition()
        self._waiting: deque[None] = deque()  # an entry a thread
        self._of_this_thread = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within the block it is this thread's turn; afterwards the generators are as they were."""
        self._wait(self._held.acquire)
        try:
            self._befores.append(random_state())
            try:
                yield
            finally:
                set_random_state(self._befores.pop())
        finally:
            self._held.notify_all()
            self._held.release()

    def give_way(self) -> None:
        """Lets threads that wait have their turn; then this one goes on with its own numbers."""
        if not self._waiting:
            return
        own = random_state()
        set_random_state(self._befores[0])
        self._held.notify_all()
        self._wait(lambda: self._held.wait(SECONDS_OF_A_TURN))
        self._befores[0] = random_state()
        set_random_state(own)

    def _wait(self, until: Callable[[], object]) -> None:
        self._waiting.append(None)
        try:
            until()
        finally:
            self._waiting.pop()

    @property
    def _befores(self) -> list[RandomState]:
        """What this thread has found, once for each time it has asked."""
        kept: list[RandomState] = self._of_this_thread.__dict__.setdefault("befores", [])
        return kept


_turns = _Turns()


def _begin_anew() -> None:
    """In a forked process: no thread is left that could end its turn."""
    global _turns, _lending
    _turns, _lending = _Turns(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def seeded_rng(seed: int, *names: str | int) -> Iterator[Callable[[], None]]:
    """The global generators of torch, numpy and Python set to a stream, and put back afterwards as they were.

    One thread at a time, for what torch gives no generator of its own. What is yielded lets waiting threads go first,
    for a long block to call now and then.
    """
    turns = _turns
    with turns.taken():
        number = stream(seed, *names)
        torch.default_generator.manual_seed(number)
        if (accelerator := _accelerator()) is not None:
            getattr(accelerator, "manual_seed_all", accelerator.manual_seed)(number)
        np.random.seed(number % 2**32)
        random.seed(number)
        yield turns.give_way


def _accelerator() -> Any:
    """torch's module of the accelerator in use, which has generators of its own; None on processors alone."""
    for module in (torch.cuda, torch.xpu):
        if module.is_initialized():
            return module
    return torch.mps if torch.backends.mps.is_available() else None


def _accelerator_states() -> list[Any]:
    accelerator = _accelerator()
    if accelerator is None:
        return []
    return (
        accelerator.get_rng_state_all() if hasattr(accelerator, "get_rng_state_all") else [accelerator.get_rng_state()]
    )


def _set_accelerator_states(states: list[object]) -> None:
    accelerator = _accelerator()
    if accelerator is None or not states:
        return
    if hasattr(accelerator, "set_rng_state_all"):
        accelerator.set_rng_state_all(states)
    else:
        accelerator.set_rng_state(states[0])


def random_state() -> RandomState:
    """The states of the global generators of torch, numpy and Python, as tensors and numbers."""
    _, keys, *numpy_rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": _accelerator_states(),
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), *numpy_rest],
        "python": [version, list(words), gauss],
    }


def check_random_state(state: Any) -> None:
    """Raises `ValueError` unless `set_random_state` can take `state`."""
    try:
        torch.Generator().set_state(state["torch"])
        keys, position, *numpy_rest = state["numpy"]
        if not 0 <= position <= MT19937_WORDS:  # beyond them numpy would read other memory
            raise ValueError("numpy's position")
        np.random.RandomState().set_state(("MT19937", keys.numpy().astype(np.uint32), position, *numpy_rest))
        version, words, gauss = state["python"]
        random.Random().setstate((version, tuple(words), gauss))
        sound = isinstance(state["cuda"], list)
    except Exception:  # each generator refuses in its own way
        sound = False
    if not sound:
        raise ValueError("its random state is none")


def set_random_state(state: RandomState | None) -> None:
    """Puts the global generators where `random_state` found them; None leaves them alone."""
    if state is None:
        return
    torch.set_rng_state(state["torch"])
    _set_accelerator_states(state["cuda"])
    keys, *numpy_rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *numpy_rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


_lending = threading.Lock()
_lent: dict[int, tuple[Any, int]] = {}  # by the owner's id: its own generator, and how many blocks have put in another


@contextmanager
def seeded_order(loader: object, seed: int, *names: str | int) -> Iterator[Any]:
    """The loader's order drawn from a stream; its own generators are put back afterwards, untouched.

    Yields what to go through: the loader, or a view of its own of a loader that has `with_generator`, so that threads
    may share one.
    """
    generator = torch.Generator().manual_seed(stream(seed, *names))
    with ExitStack() as stack:
        for owner in generator_owners(loader):
            stack.callback(_give_back, owner, generator, _lend(owner, generator))
        yield loader.with_generator(generator) if hasattr(loader, "with_generator") else loader


def _lend(owner: Any, generator: torch.Generator) -> Any:
    """Puts `generator` into `owner`; the one before."""
    with _lending:
        before = owner.generator
        own, blocks = _lent.get(id(owner), (before, 0))
        _lent[id(owner)] = own, blocks + 1
        owner.generator = generator
        return before


def _give_back(owner: Any, generator: torch.Generator, before: Any) -> None:
    """Undoes one `_lend`; the last of the threads that share `owner` leaves it with its own, in whichever order."""
    with _lending:
        own, blocks = _lent.pop(id(owner))
        if blocks == 1:
            owner.generator = own
            return
        _lent[id(owner)] = own, blocks - 1
        if owner.generator is generator:
            owner.generator = before


def generator_owners(loader: object) -> list[Any]:
    """Which of a loader, its samplers and its batch sampler have a `generator`: of torch, or None as yet."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    owners = {id(part): part for part in parts if _draws(part)}
    return list(owners.values())


def _draws(part: object) -> bool:
    return hasattr(part, "generator") and (part.generator is None or isinstance(part.generator, torch.Generator))
