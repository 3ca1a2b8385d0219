"""Where a step of a network of today goes: each call of it alone, in microseconds an image and GFLOP/s.

    python benchmarks/profile_layers.py resnet [batch]

Best of 15, its data warm in the cache. First comes the core's peak: multiply-adds in registers, nothing read.
"""

import ctypes
import sys
import time
from dataclasses import dataclass

import numpy as np
from modern_networks import network

from modelflow.kernels.functions import INTEGERS, Functions
from modelflow.kernels.general import Program
from modelflow.kernels.graph import graph
from modelflow.kernels.machine import Library, compile_text, host
from modelflow.kernels.network import aligned
from modelflow.kernels.ops.correlation import Correlation
from modelflow.kernels.ops.weight_gradient import WeightGradient
from modelflow.kernels.places import placed
from modelflow.kernels.rules.adam import Adam
from modelflow.networks.trace import trace

ROUNDS, SPINS, SUMS = 15, 20_000, 12


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
    """Of the sums of a convolution, for a block."""
    for size in call.sizes:
        if isinstance(size, Correlation):
            places = size.rows.places * size.columns.places
            return 2 * size.groups * size.outputs * size.depth * size.taps * places * lanes
        if isinstance(size, WeightGradient):
            return 2 * size.groups * size.outputs * size.weights * size.gradient.places * lanes
    return 0


def moved(call, lanes) -> int:
    """Bytes of a block's maps that a convolution reads and writes at least."""
    for size in call.sizes:
        if isinstance(size, Correlation):
            places = size.rows.places * size.columns.places * size.outputs * size.groups
            return 4 * lanes * (size.source.size + (2 if size.adds else 1) * places)
        if isinstance(size, WeightGradient):
            return 4 * lanes * (size.source.size + size.gradient.size)
    return 0


def measured(name: str, batch: int) -> list[Row]:
    """Every call of a step of a network."""
    machine = host()
    places = placed(graph(trace(network(name))), machine.lanes, machine.registers)
    program = Program(places, machine, Adam())
    library = Library(compile_text(program.text, machine, 1), machine)
    blocks, rng = -(-batch // machine.lanes), np.random.default_rng(0)
    memory, params = aligned(places.workspace(blocks)), aligned(3 * places.packed)
    memory[:], params[:] = rng.normal(size=memory.size), rng.normal(0, 0.1, params.size)
    numbers = {"valid": machine.lanes, "number": batch, "begin": 0, "seed": 1, "step": 1}
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


def main() -> None:
    name, batch = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    print(f"peak {peak():.1f} GFLOP/s")
    rows = measured(name, batch)
    for row in rows:
        per_image, speed = row.seconds / batch * 1e6, row.flops / row.seconds / 1e9
        print(f"  {row.function:24s} {per_image:8.2f} us/image {speed:7.1f} GFLOP/s")
    print(f"{name} batch {batch}: {sum(row.seconds for row in rows) / batch * 1e6:.1f} us/image in all")
    sums = {kind: [row for row in rows if row.kind == kind] for kind in dict.fromkeys(row.kind for row in rows)}
    for kind, own in sorted(sums.items(), key=lambda item: -sum(row.seconds for row in item[1])):
        seconds, done = sum(row.seconds for row in own), sum(row.flops for row in own)
        print(f"  {kind:24s} {seconds / batch * 1e6:8.2f} us/image {done / seconds / 1e9:7.1f} GFLOP/s")


if __name__ == "__main__":
    main()
