"""`Network`: the compiled training step of one spec, on flat parameters; what the rest of the package calls.

network = compiled(trace(spec), Adam(), say=print)
state = State(flat_params, [exp_avg, exp_avg_sq], step=0)
options = {"lr": 3e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
done = network.train(images, labels, order, batch_size, state, options, seed=stream(42, "dropout", 1))
logits = network.logits(images, flat_params)
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelflow.kernels import cache
from modelflow.kernels.extras import PLAIN, Extras, Targets, changes_an_image
from modelflow.kernels.functions import INTEGERS, LOGITS, PACK, TRAIN
from modelflow.kernels.graph import graph
from modelflow.kernels.layout import Layout, layout
from modelflow.kernels.machine import Library, Machine, host
from modelflow.kernels.places import Places, placed
from modelflow.kernels.rules.rule import Options, Rule
from modelflow.kernels.threads import BARRIER
from modelflow.networks.family import OutsideFamilyError, family
from modelflow.networks.trace import Trace

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Shares = NDArray[np.float64] | Sequence[float]
EVALUATED_AT_ONCE = 64
MAX_THREADS = 2  # more have not been tried
NO_STATISTICS = np.empty(0, np.float32)
NO_CHANGES = np.empty(0, np.int32)


@dataclass
class State:
    """Flat parameters and the averages that the rule keeps, each in the order of `model.parameters()`; steps made.

    `running` are the running means and variances of batch norms, in the order of `model.buffers()`.
    `average`, where one is kept, is of parameters and running statistics, one after the other.
    They are changed in place, so parameters of a module that are views of `params` see every update.
    """

    params: Floats
    averages: Sequence[Floats] = ()
    step: int = 0
    running: Floats = field(default_factory=NO_STATISTICS.copy)
    average: Floats = field(default_factory=NO_STATISTICS.copy)


@dataclass(frozen=True)
class Trained:
    """The loss of each step; `failed` is the index of a step whose loss was not finite, and which was not made."""

    losses: NDArray[np.float64]
    failed: int | None


@dataclass
class Network:
    """The compiled functions of one architecture, and their memory. Not for use by two threads at once.

    It trains by its update rule; without one it only evaluates.
    """

    layout: Layout | Places
    library: Library
    rule: Rule | None
    extras: Extras = PLAIN
    _functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    _packed: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    _memories: list[Floats] = field(default_factory=list)

    def train(
        self,
        images: Floats,
        labels: Integers,
        order: Integers,
        batch_size: int,
        state: State,
        options: Options,
        seed: int,
        start: int = 0,
        threads: int = 1,
        targets: Targets | None = None,
        shares_S: Shares = (),
        changes: NDArray[np.int32] | None = None,
    ) -> Trained:
        """One step for each `batch_size` images of `order`, the last batch perhaps smaller; changes `state`.

        `options` are those of a parameter group of torch's optimizer; `lr` may be one number a step.
        `start` counts the epoch's steps before this call: two calls with half the order each give what one call gives.
        `threads` share in large layers (at most `MAX_THREADS`, and one where there are none); the bytes are the same.
        Of a network compiled for them: `targets` of the loss, `shares_S` that the average takes of each step's weights,
        `changes` of each image, as `extras.gather_changed` reads them.
        """
        _check(self.layout, images, labels, order, batch_size)
        steps = -(-len(order) // batch_size)
        losses = np.zeros(steps)
        assert self.rule is not None
        if len(state.averages) != len(self.rule.averages):
            raise ValueError(f"{len(state.averages)} averages, expected {self.rule.averages} of {self.rule}")
        flats = [state.params, *state.averages]
        columns = [*_scalars(self.rule, options, state.step, steps)]
        if self.extras.weighted:
            assert targets is not None
            columns.append(targets.factors(labels[order], range(0, len(order), batch_size)))
        if self.extras.averaged:
            flats, columns = [*flats, state.average[: len(state.params)]], [*columns, shares_S]
        packed, scalars = self._pack(flats, state.running), _by_step(columns, steps)
        if self.extras.averaged:
            self._running(-1)[:] = state.average[len(state.params) :]
        table = NO_STATISTICS if targets is None else targets.table()
        changes = self._checked(changes, len(order))
        (memory,) = self._workspaces(-(-min(batch_size, max(len(order), 1)) // self.layout.lanes))
        train, barrier = self._function("train", TRAIN, ctypes.c_int64), np.zeros(BARRIER, np.int64)
        threads = min(threads, MAX_THREADS) if self.layout.has_large else 1

        def run(thread: int) -> int:
            made: int = train(
                *_pointers(images, labels, order),
                len(order),
                batch_size,
                *_pointers(packed, memory, scalars, table, changes),
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
        state.running[:] = self._running()
        if self.extras.averaged:
            state.average[len(state.params) :] = self._running(-1)
        state.step += done
        failed = done if done < steps else None
        return Trained(losses[: done + (failed is not None)], failed)

    def logits(self, images: Floats, params: Floats, threads: int = 1, running: Floats = NO_STATISTICS) -> Floats:
        """Logits of all images, without dropout; each of at most `MAX_THREADS` threads takes a part of the images.

        `running` are the statistics that batch norms use.
        """
        _check(self.layout, images, None, None, 1)
        out = np.empty((len(images), self.layout.classes), np.float32)
        blocks = -(-min(EVALUATED_AT_ONCE, max(len(images), 1)) // self.layout.lanes)
        threads = max(1, min(threads, MAX_THREADS, len(images) // EVALUATED_AT_ONCE))
        packed, memories = self._pack([params], running), self._workspaces(blocks, threads)
        logits = self._function("logits", LOGITS, None)

        def run(thread: int) -> int:
            part = slice(len(images) * thread // threads, len(images) * (thread + 1) // threads)
            memory = memories[thread]
            logits(*_pointers(images[part]), len(out[part]), *_pointers(packed, memory), blocks, *_pointers(out[part]))
            return len(out[part])

        _together(run, threads)
        return out

    def _checked(self, changes: NDArray[np.int32] | None, images: int) -> NDArray[np.int32]:
        if not self.extras.augmented:
            return NO_CHANGES
        assert isinstance(self.layout, Places)
        maps, _ = self.layout.values[self.layout.graph.image]
        if changes is None or changes.dtype != np.int32 or changes.shape != (images, changes_an_image(maps)):
            raise ValueError(f"changes: expected {images} x {changes_an_image(maps)} numbers of 32 bits")
        return np.ascontiguousarray(changes)

    def _pack(self, flats: Sequence[Floats], running: Floats = NO_STATISTICS) -> Floats:
        """Parameters, and perhaps their averages, in the order of the step, a row each; its padding stays zero.

        The running statistics lie behind the parameters.
        """
        if not self._packed.size:
            rows = 1 + len(self.rule.averages if self.rule is not None else ()) + self.extras.averaged
            self._packed = aligned(rows * self.layout.packed).reshape(rows, -1)
        for flat, row in zip(flats, self._packed, strict=False):
            _check_flat(flat, self.layout.parameters)
            self._function("pack", PACK, None)(*_pointers(flat, row))
        if running.shape != (self.layout.running,):
            raise ValueError(f"running: expected {self.layout.running} statistics, got {running.shape}")
        self._running()[:] = running
        return self._packed

    def _running(self, row: int = 0) -> Floats:
        """The running statistics in a row of what is packed."""
        return self._packed[row, self.layout.running_at : self.layout.running_at + self.layout.running]

    def _workspaces(self, blocks: int, threads: int = 1) -> list[Floats]:
        """Memory for batches of `blocks`, for each thread its own: what must be zero there is so for any batch size."""
        size = self.layout.workspace(blocks)
        self._memories += [aligned(0) for _ in range(threads - len(self._memories))]
        for thread in range(threads):
            if self._memories[thread].size < size:
                self._memories[thread] = aligned(size)
        return self._memories[:threads]

    def _function(self, name: str, arguments: tuple[str, ...], result: Any) -> Callable[..., Any]:
        if name not in self._functions:
            kinds = [ctypes.c_int64 if argument in INTEGERS else ctypes.c_void_p for argument in arguments]
            self._functions[name] = ctypes.CFUNCTYPE(result, *kinds)(self.library.address(name))
        return self._functions[name]


def compiled(
    trace: Trace,
    rule: Rule | None,
    say: Callable[[str], None] | None = None,
    machine: Machine | None = None,
    extras: Extras = PLAIN,
) -> Network:
    """The network of a trace, from the cache on disk, or compiled first, of which `say` is told.

    It trains by `rule`; where that is None, it only evaluates. Raises `UncoveredError` for a network with a layer that
    is not compiled.
    """
    machine = machine or host()
    family_step = None if extras else _of_family(trace, rule, machine)
    places, described, write = family_step or _of_any(trace, rule, machine, extras)
    level = 2 if isinstance(places, Layout) else 1  # more takes half as long again, and makes nothing faster
    library = Library(cache.object_file(described, write, rule, machine, level, say), machine)
    return Network(places, library, rule, extras)


Written = tuple[Layout | Places, str, Callable[[], str]]  # places, what tells the network from others, its code


def _of_family(trace: Trace, rule: Rule | None, machine: Machine) -> Written | None:
    """The step that is made for the card's family; None for another network."""
    try:
        places = layout(trace, machine.lanes)
    except OutsideFamilyError:
        return None

    def write() -> str:
        from modelflow.kernels.step import Program

        return Program(places, machine, rule).text

    return places, repr(family(trace)), write


def _of_any(trace: Trace, rule: Rule | None, machine: Machine, extras: Extras = PLAIN) -> Written:
    places = placed(graph(trace), machine.lanes, machine.registers)

    def write() -> str:
        from modelflow.kernels.general import Program

        return Program(places, machine, rule, extras).text

    return places, f"{places.graph.key} {extras}" if extras else places.graph.key, write


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


def _scalars(rule: Rule, options: Options, before: int, steps: int) -> Sequence[Shares | float]:
    """The rule's scalars, each a number or one a step."""
    lr_S, t_S = np.broadcast_to(options["lr"], steps), np.arange(before + 1, before + steps + 1, dtype=np.float64)
    return rule.scalars(options, lr_S, t_S)


def _by_step(columns: Sequence[Shares | float], steps: int) -> Floats:
    """A row a step."""
    scalars = np.empty((steps, len(columns)), np.float32)
    for column, values in zip(scalars.T, columns, strict=True):
        column[:] = values
    return scalars


def _pointers(*arrays: NDArray[Any]) -> list[int]:
    return [array.ctypes.data for array in arrays]


def _check_flat(flat: Floats, parameters: int) -> None:
    if flat.dtype != np.float32 or not flat.flags.c_contiguous or flat.shape != (parameters,):
        raise ValueError(f"parameters: expected {parameters} contiguous float32, got {flat.shape} {flat.dtype}")


def _check(
    places: Layout | Places, images: Floats, labels: Integers | None, order: Integers | None, batch_size: int
) -> None:
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
        raise ValueError(f"{len(images)} images and {len(labels)} labels, expected one label an image")
