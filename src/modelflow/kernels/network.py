"""`Network`: the compiled training step of one spec, on flat parameters; what the rest of the package calls.

network = compiled(trace(spec), say=print)
state = State(flat_params, exp_avg, exp_avg_sq, step=0)
done = network.train(images, labels, order, batch_size, state, Settings(lr=3e-4), seed=stream(42, "dropout", 1))
logits = network.logits(images, flat_params)
"""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelflow.kernels import cache
from modelflow.kernels.adam import HYPER, RATES
from modelflow.kernels.layout import Layout, layout
from modelflow.kernels.machine import Library, Machine, host
from modelflow.kernels.step import INTEGERS, LOGITS, PACK, TRAIN, workspace
from modelflow.kernels.threads import BARRIER
from modelflow.networks.trace import Trace

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
EVALUATED_AT_ONCE = 64
MAX_THREADS = 2  # more have not been tried


@dataclass
class AdamState:
    """Flat parameters and Adam's averages, each in the order of `model.parameters()`, and the steps made so far.

    They are changed in place, so parameters of a module that are views of `params` see every update.
    """

    params: Floats
    exp_avg: Floats
    exp_avg_sq: Floats
    step: int = 0


@dataclass(frozen=True)
class AdamSettings:
    """Adam's settings under torch's names; `lr` may be one a step. `weight_decay` is AdamW's, decoupled."""

    lr: float | NDArray[np.float64] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Trained:
    """The loss of each step; `failed` is the index of a step whose loss was not finite, and which was not made."""

    losses: NDArray[np.float64]
    failed: int | None


@dataclass
class Network:
    """The compiled functions of one architecture, and their memory. Not for use by two threads at once."""

    layout: Layout
    library: Library
    _functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    _places: dict[int, Floats] = field(default_factory=dict)
    _memory: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def train(
        self,
        images: Floats,
        labels: Integers,
        order: Integers,
        batch_size: int,
        state: AdamState,
        settings: AdamSettings,
        seed: int,
        start: int = 0,
        threads: int = 1,
    ) -> Trained:
        """One step for each `batch_size` images of `order`, the last batch perhaps smaller; changes `state`.

        `start` counts the epoch's steps before this call: two calls with half the order each give what one call gives.
        `threads` share in large layers (at most `MAX_THREADS`, and one where there are none); the bytes are the same.
        """
        _check(self.layout, images, labels, order, batch_size)
        steps = -(-len(order) // batch_size)
        losses = np.zeros(steps)
        flats = (state.params, state.exp_avg, state.exp_avg_sq)
        packed = [self._packed(i, flat) for i, flat in enumerate(flats)]
        rates, hyper = _rates(settings, state.step, steps), _hyper(settings)
        memory = self._workspace(-(-min(batch_size, max(len(order), 1)) // self.layout.lanes))
        train, barrier = self._function("train", TRAIN, ctypes.c_int64), np.zeros(BARRIER, np.int64)
        threads = min(threads, MAX_THREADS) if self.layout.has_large else 1

        def run(thread: int) -> int:
            made: int = train(
                *_pointers(images, labels, order),
                len(order),
                batch_size,
                *_pointers(*packed, memory, rates, hyper),
                ctypes.c_int64(seed),
                start,
                *_pointers(losses),
                thread,
                threads,
                *_pointers(barrier),
            )
            return made

        done = _together(run, threads)
        for flat, values in zip(flats, packed, strict=True):
            self._function("unpack", PACK, None)(*_pointers(flat, values))
        state.step += done
        failed = done if done < steps else None
        return Trained(losses[: done + (failed is not None)], failed)

    def logits(self, images: Floats, params: Floats, threads: int = 1) -> Floats:
        """Logits of all images, without dropout; each of at most `MAX_THREADS` threads takes a part of the images."""
        _check(self.layout, images, None, None, 1)
        out = np.empty((len(images), self.layout.classes), np.float32)
        blocks = -(-min(EVALUATED_AT_ONCE, max(len(images), 1)) // self.layout.lanes)
        threads = max(1, min(threads, MAX_THREADS, len(images) // EVALUATED_AT_ONCE))
        packed, memories = self._packed(0, params), self._workspace(blocks, threads)
        logits = self._function("logits", LOGITS, None)

        def run(thread: int) -> int:
            part = slice(len(images) * thread // threads, len(images) * (thread + 1) // threads)
            memory = memories[thread]
            logits(*_pointers(images[part]), len(out[part]), *_pointers(packed, memory), blocks, *_pointers(out[part]))
            return len(out[part])

        _together(run, threads)
        return out

    def _packed(self, which: int, flat: Floats) -> Floats:
        """Of parameters and both averages, the one at `which` in the order of the step; its padding stays zero."""
        _check_flat(flat, self.layout.parameters)
        if which not in self._places:
            self._places[which] = aligned(self.layout.packed)
        packed = self._places[which]
        self._function("pack", PACK, None)(*_pointers(flat, packed))
        return packed

    def _workspace(self, blocks: int, threads: int = 1) -> Floats:
        """Memory for batches of `blocks`, a row a thread."""
        size = workspace(self.layout, blocks)
        if self._memory.size < size * threads:
            self._memory = aligned(size * threads)
        return self._memory[: size * threads].reshape(threads, size)

    def _function(self, name: str, arguments: tuple[str, ...], result: Any) -> Callable[..., Any]:
        if name not in self._functions:
            kinds = [ctypes.c_int64 if argument in INTEGERS else ctypes.c_void_p for argument in arguments]
            self._functions[name] = ctypes.CFUNCTYPE(result, *kinds)(self.library.address(name))
        return self._functions[name]


def compiled(trace: Trace, say: Callable[[str], None] | None = None, machine: Machine | None = None) -> Network:
    """The network of a trace, from the cache on disk, or compiled first, of which `say` is told."""
    machine = machine or host()
    places = layout(trace, machine.lanes)
    return Network(places, Library(cache.object_file(trace, places, machine, say), machine))


def _together(run: Callable[[int], int], threads: int) -> int:
    """`run(thread)` by each of the threads at once; what the first gives.

    The first is none of Python's main thread, which Ctrl-C could keep from coming to where the others wait for it.
    """
    if threads == 1:
        return run(0)

    def first() -> int:
        others = [team.submit(run, thread) for thread in range(1, threads)]
        made = run(0)
        for other in others:
            other.result()
        return made

    with ThreadPoolExecutor(threads) as team:
        return team.submit(first).result()


def aligned(count: int) -> Floats:
    """Zeros, beginning at a cache line."""
    raw = np.zeros(count + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    return raw[skip : skip + count]


def _rates(settings: AdamSettings, before: int, steps: int) -> Floats:
    t = np.arange(before + 1, before + steps + 1, dtype=np.float64)
    lr = np.broadcast_to(np.asarray(settings.lr, np.float64), (steps,))
    rates = np.empty((steps, RATES), np.float32)
    rates[:, 0] = lr / (1 - settings.betas[0] ** t)
    rates[:, 1] = 1 / np.sqrt(1 - settings.betas[1] ** t)
    rates[:, 2] = 1 - lr * settings.weight_decay
    return rates


def _hyper(settings: AdamSettings) -> Floats:
    beta1, beta2 = settings.betas
    hyper = np.array([1 - beta1, beta2, 1 - beta2, settings.eps], np.float32)
    assert hyper.size == HYPER
    return hyper


def _pointers(*arrays: NDArray[Any]) -> list[int]:
    return [array.ctypes.data for array in arrays]


def _check_flat(flat: Floats, parameters: int) -> None:
    if flat.dtype != np.float32 or not flat.flags.c_contiguous or flat.shape != (parameters,):
        raise ValueError(f"parameters: expected {parameters} contiguous float32, got {flat.shape} {flat.dtype}")


def _check(places: Layout, images: Floats, labels: Integers | None, order: Integers | None, batch_size: int) -> None:
    """Raises `ValueError` for what the compiled code could not survive."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1")
    if images.dtype != np.float32 or not images.flags.c_contiguous or images[:1].size != places.image * len(images[:1]):
        raise ValueError(f"images: expected contiguous float32 of {places.image} values an image")
    if labels is None or order is None:
        return
    for name, values, limit in (("labels", labels, places.classes), ("order", order, len(images))):
        if values.dtype != np.int64 or not values.flags.c_contiguous:
            raise ValueError(f"{name}: expected contiguous int64")
        if values.size and not (values.min() >= 0 and values.max() < limit):
            raise ValueError(f"{name}: expected values from 0 to {limit - 1}, got {values.min()} to {values.max()}")
    if len(labels) != len(images):
        raise ValueError(f"{len(images)} images and {len(labels)} labels; expected one label an image")
