"""Where a step's time goes: each function of a spec's program, in microseconds an image and GFLOP/s.

python profile_kernels.py generic_1 [batch]
"""

import ctypes
import sys
import time

import numpy as np

from modelflow.kernels.functions import INTEGERS
from modelflow.kernels.layout import layout
from modelflow.kernels.machine import Library, compile_text, host
from modelflow.kernels.network import aligned
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.step import Program
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace


def profile(name: str, batch: int = 16, rounds: int = 7) -> None:
    machine = host()
    places = layout(trace(preset(name)), machine.lanes)
    program = Program(places, machine, Adam())
    library = Library(compile_text(program.text, machine), machine)
    blocks = -(-batch // machine.lanes)
    rng = np.random.default_rng(0)
    memory = aligned(places.workspace(blocks))
    params = aligned(3 * places.packed)
    params[: places.packed] = rng.normal(0, 0.1, places.packed)
    images = rng.normal(size=(4096, places.image)).astype(np.float32)
    labels, order = rng.integers(0, places.classes, 4096), rng.permutation(4096)
    lanes = machine.lanes
    numbers = dict(
        count=blocks, batch=batch, seed=1, start=0, valid=lanes, number=batch, keys=12345678987654321, begin=0
    ) | dict(thread=0, threads=1, left=lanes)
    arrays = dict(images=images, labels=labels, order=order, params=params, shared=memory)
    arrays |= dict(memory=memory, scalars=np.full(Adam.scalar_count, 0.5, np.float32), losses=np.zeros(4096))
    arrays |= dict(grads=memory[places.grads * lanes :], block=memory[places.shared * lanes :])
    arrays |= dict(blocks=arrays["block"], following=order)
    flops = _flops(places, blocks, lanes)
    total, gathered = 0.0, []
    for function, (_, arguments) in program.functions.items():
        if function in ("train", "logits", "wait") or "pack" in function or function.endswith("_only"):
            continue
        kinds = [ctypes.c_int64 if a in INTEGERS else ctypes.c_void_p for a in arguments]
        call = ctypes.CFUNCTYPE(None, *kinds)(library.address(function))
        values = [numbers[a] if a in INTEGERS else arrays[a].ctypes.data for a in arguments]
        per_batch = 1 if "blocks" in arguments or function == "update" else blocks
        times = []
        call(*values)
        once = time.perf_counter()
        call(*values)
        repeat = max(1, int(2e-3 / max(time.perf_counter() - once, 1e-6)))
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(repeat):
                call(*values)
            times.append((time.perf_counter() - start) / repeat)
        best = min(times) * per_batch - 0.4e-6 * per_batch
        gathered.append((function, best / batch * 1e6, flops.get(function, 0) / best / 1e9 if best > 0 else 0))
        total += best
    for function, micro, rate in gathered:
        print(f"  {function:14s} {micro:8.3f} us/image {rate:7.1f} GFLOP/s")
    print(f"{name} batch {batch}: {total / batch * 1e6:.2f} us/image in all")


def _flops(places, blocks, lanes):
    found = {}
    for i, c in enumerate(places.convs):
        one = 2 * c.channels * c.depth * c.taps * c.covered**2 * lanes * blocks
        found[f"conv{i}"] = found[f"conv{i}_weight"] = one
        found[f"conv{i}_input"] = 2 * c.channels * c.depth * c.taps * c.size**2 * lanes * blocks
    for j, layer in enumerate(places.linears):
        one = 2 * layer.inputs * layer.outputs * lanes * blocks
        found[f"fc{j}"], found[f"fc{j}_back"] = one, 2 * one
    return found


if __name__ == "__main__":
    profile(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16)
