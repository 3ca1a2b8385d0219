"""Where a step of a network of today goes: each call of it within the step, in microseconds an image and GFLOP/s.

    python benchmarks/profile_layers.py resnet [batch]

The processor's clock is read before and after each call, on x86-64 alone. A call's time is the median of 15 trainings of
some thousand images, the step's the least, in seconds of the processor. First comes the core's peak: multiply-adds in
registers, nothing read. `measured` times each call alone, its data warm.
"""

import ctypes
import sys
import time
from dataclasses import dataclass

import numpy as np
from modern_networks import network

from modelflow.kernels.emit import I64, Code, Num
from modelflow.kernels.functions import INTEGERS, Functions
from modelflow.kernels.general import Program
from modelflow.kernels.graph import graph
from modelflow.kernels.machine import Library, Machine, compile_text, host
from modelflow.kernels.network import Network, State, aligned
from modelflow.kernels.ops import dense
from modelflow.kernels.ops.correlation import Correlation
from modelflow.kernels.ops.weight_gradient import WeightGradient
from modelflow.kernels.places import Places, placed
from modelflow.kernels.rules.adam import Adam
from modelflow.networks.trace import trace

ROUNDS, SPINS, SUMS = 15, 20_000, 12
IMAGES = 3840
OPTIONS = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}


def peak() -> float:
    """GFLOP/s of a loop of multiply-adds, the best of some hundred."""
    machine = host()
    functions = Functions(machine.lanes, machine.architecture)

    def spin(k):
        values = k.vectors(k.params)
        sums, weight = [k.var(values[i]) for i in range(SUMS)], values[SUMS]
        for _ in k.loop(SPINS):
            for total in sums:
                total.set(k.fma(weight, weight, total.get()))
        for i, total in enumerate(sums):
            values[i] = total.get()

    functions.function("spin", "params", spin)
    library, memory = Library(compile_text(functions.text, machine), machine), aligned(1024)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("spin"))
    return 2 * SUMS * SPINS * machine.lanes / best(lambda: call(memory.ctypes.data), 500) / 1e9


def best(call, rounds=ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@dataclass(frozen=True)
class Row:
    """A call of a step, for all blocks of a batch: its seconds, its operations, and the bytes of the maps it goes through."""

    function: str
    kind: str
    sizes: tuple[object, ...]
    seconds: float
    flops: int
    bytes: int


def flops(call, lanes) -> int:
    """Of the sums of a convolution or a dense layer, for a block."""
    if call.write in (dense.outputs, dense.inputs, dense.weights):
        inputs, outputs, *_ = call.sizes
        return 2 * inputs * outputs * lanes
    return sum(_flops(size, lanes) for size in call.sizes)


def _flops(size, lanes) -> int:
    if isinstance(size, Correlation):
        return 2 * size.groups * size.outputs * size.depth * size.taps * size.rows.places * size.columns.places * lanes
    if isinstance(size, WeightGradient):
        return 2 * size.groups * size.outputs * size.weights * size.gradient.places * lanes
    return 0


def moved(call, lanes) -> int:
    """Bytes of a block's maps that a convolution reads and writes at least: once, by all phases together."""
    phases = [size for size in call.sizes if isinstance(size, Correlation)]
    written = sum(c.rows.places * c.columns.places * c.outputs * c.groups * (2 if c.adds else 1) for c in phases)
    values = written + sum(c.source.size for c in phases[:1])
    values += sum(c.source.size + c.gradient.size for c in call.sizes if isinstance(c, WeightGradient))
    return 4 * lanes * values


def measured(name: str, batch: int) -> list[Row]:
    """Every call of a step of a network."""
    machine = host()
    places = placed(graph(trace(network(name))), machine.lanes, machine.registers)
    program = Program(places, machine, Adam())
    library = Library(compile_text(program.text, machine, 1), machine)
    blocks, rng = -(-batch // machine.lanes), np.random.default_rng(0)
    memory, params = aligned(places.workspace(blocks)), aligned(3 * places.packed)
    memory[:], params[:] = rng.normal(size=memory.size), rng.normal(0, 0.1, params.size)
    numbers = {"valid": machine.lanes, "number": batch, "begin": 0, "seed": 1, "step": 1, "before": 1}
    begins = {"params": params, "shared": memory, "block": memory[places.shared :]}
    rows = []
    for call in (*places.forward(training=True), *places.backward()):
        function = program._names[call.write, call.sizes]
        arguments, at = program.functions[function][1], dict(call.at)
        kinds = [ctypes.c_int64 if a in INTEGERS else ctypes.c_void_p for a in arguments]
        compiled = ctypes.CFUNCTYPE(None, *kinds)(library.address(function))

        def given(b, arguments=arguments, at=at):
            skip = {"block": b * places.block}
            where = {n: begins[a.memory].ctypes.data + 4 * (a.offset + skip.get(a.memory, 0)) for n, a in at.items()}
            return [numbers[a] if a in INTEGERS else where[a] for a in arguments]

        values = [given(b) for b in range(1 if call.whole else blocks)]
        seconds = best(lambda compiled=compiled, values=values: [compiled(*one) for one in values])
        done, through = (count(call, machine.lanes) * len(values) for count in (flops, moved))
        rows.append(Row(function, call.write.__name__, call.sizes, seconds, done, through))
    return rows


class Timed(Program):
    """A program that adds up the ticks of each call of its step, where a plain step has no targets of the loss."""

    def __init__(self, places: Places, machine: Machine) -> None:
        self.timed = []
        super().__init__(places, machine, Adam())
        self.function("ticks", "", lambda k: k.give(_ticks(k)), I64)

    def _call(self, k, call, views):
        if "losses" not in k.arguments:
            super()._call(k, call, views)
            return
        total, begun = k.array(k.targets, I64).at(len(self.timed)), _ticks(k)
        self.timed.append(call)
        super()._call(k, call, views)
        total[0] = total[0] + (_ticks(k) - begun)


def _ticks(k: Code) -> Num:
    return Num(k, k.builder.call(k.declared("llvm.readcyclecounter", I64, []), []))


class Counts:
    """The ticks of each call, in the place of the loss's targets."""

    def __init__(self, calls: int) -> None:
        self.ticks = np.zeros(calls, np.int64)

    def table(self):
        return self.ticks.view(np.float32)


@dataclass(frozen=True)
class Step:
    """A step: its calls, the seconds of an image in all, the bytes that it goes through."""

    rows: list[Row]
    seconds: float
    workspace: int
    places: Places


def in_step(name: str, batch: int) -> Step:
    """Every call of a step of a network as the step makes it."""
    machine = host()
    places = placed(graph(trace(network(name))), machine.lanes, machine.registers)
    program = Timed(places, machine)
    library, rng = Library(compile_text(program.text, machine, 1), machine), np.random.default_rng(0)
    images, labels = rng.normal(size=(IMAGES, places.image)).astype(np.float32), rng.integers(0, places.classes, IMAGES)
    step, order = Network(places, library, Adam()), rng.permutation(IMAGES)
    flat = rng.normal(0, 0.1, places.parameters).astype(np.float32)
    state = State(flat, [np.zeros_like(flat), np.zeros_like(flat)], running=np.ones(places.running, np.float32))
    clock = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("ticks"))
    rounds, begun, ticks = [], time.perf_counter(), clock()
    for _ in range(ROUNDS):
        counts, used = Counts(len(program.timed)), time.process_time()
        step.train(images, labels, order, batch, state, OPTIONS, seed=1, targets=counts)
        rounds.append((time.process_time() - used, counts.ticks))
    a_tick = (time.perf_counter() - begun) / (clock() - ticks)
    taken = np.median([own for _, own in rounds], axis=0) * a_tick
    steps, blocks = -(-IMAGES // batch), -(-batch // machine.lanes)
    rows = [
        Row(
            program._names[call.write, call.sizes], call.write.__name__, call.sizes, seconds / steps,
            *(count(call, machine.lanes) * (1 if call.whole else blocks) for count in (flops, moved)),
        )
        for call, seconds in zip(program.timed, taken, strict=True)
    ]  # fmt: skip
    return Step(rows, min(own for own, _ in rounds) / IMAGES, 4 * places.workspace(blocks), places)


def main() -> None:
    name, batch = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    print(f"peak {peak():.1f} GFLOP/s")
    step = in_step(name, batch)
    rows = step.rows
    for row in rows:
        per_image, speed = row.seconds / batch * 1e6, row.flops / row.seconds / 1e9
        print(f"  {row.function:24s} {per_image:8.2f} us/image {speed:7.1f} GFLOP/s")
    print(f"{name} batch {batch}: {step.seconds * 1e6:.1f} us/image in all")
    sums = {kind: [row for row in rows if row.kind == kind] for kind in dict.fromkeys(row.kind for row in rows)}
    for kind, own in sorted(sums.items(), key=lambda item: -sum(row.seconds for row in item[1])):
        seconds, done = sum(row.seconds for row in own), sum(row.flops for row in own)
        print(f"  {kind:24s} {seconds / batch * 1e6:8.2f} us/image {done / seconds / 1e9:7.1f} GFLOP/s")


if __name__ == "__main__":
    main()
