"""Random streams: one seed, several independent streams (weights, order, dropout), each a pure function of its names.

So the initial weights do not depend on whether a learning rate was searched for, nor the order on the size of a layer.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

RandomState = dict[str, Any]
MT19937_WORDS = 624


def stream(seed: int, *names: str | int) -> int:
    """The 63-bit seed of the stream that `names` call: SHA-256 of seed and names."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def drawn_from(seed: int, *names: str | int) -> Iterator[None]:
    """The global generators of torch, numpy and Python set to a stream, and put back afterwards as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    numpy_state, python_state = np.random.get_state(), random.getstate()
    number = stream(seed, *names)
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number)
        np.random.seed(number % 2**32)
        random.seed(number)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def random_state() -> RandomState:
    """The states of the global generators of torch, numpy and Python, as tensors and numbers."""
    _, keys, *numpy_rest = np.random.get_state()
    version, words, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
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
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, *numpy_rest = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *numpy_rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


@contextmanager
def ordered_by(loader: Any, seed: int, *names: str | int) -> Iterator[None]:
    """The loader's order drawn from a stream; its own generators are put back afterwards, untouched."""
    generator = torch.Generator().manual_seed(stream(seed, *names))
    with ExitStack() as stack:
        for owner in generator_owners(loader):
            stack.callback(setattr, owner, "generator", owner.generator)
            owner.generator = generator
        yield


def generator_owners(loader: Any) -> list[Any]:
    """Which of a loader, its samplers and its batch sampler have a `generator`: of torch, or None as yet."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    owners = {id(part): part for part in parts if _draws(part)}
    return list(owners.values())


def _draws(part: Any) -> bool:
    return hasattr(part, "generator") and (part.generator is None or isinstance(part.generator, torch.Generator))
