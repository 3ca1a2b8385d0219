"""Denormal numbers are zero within the kernels, and the thread that calls them keeps its own mode."""

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from oracle import adam

from modelflow.kernels.layout import layout
from modelflow.kernels.machine import Machine
from modelflow.kernels.network import State, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.step import Program
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.networks.trace import trace
from modelflow.training.denormals import flushes

TINY = np.float32(1e-40)
SMALL = Spec(in_channels=1, num_classes=3, input_size=6, cov_features=[2], cov_kernel_sizes=[3], fc_sizes=[4], p=0.0)
LARGE = Spec(in_channels=1, num_classes=3, input_size=6, cov_features=[3], cov_kernel_sizes=[2], fc_sizes=[300, 200])


def step(spec: Spec, threads: int, bad: bool = False) -> State:
    """One step of Adam without any gradient but rounding's, its averages denormal before it."""
    x = np.zeros((8, 1, 6, 6), np.float32)
    x[3, 0, 0, 0] = np.nan if bad else 0.0
    start = torch.cat([p.detach().ravel() for p in GenericCNN(spec).parameters()]).numpy().copy()
    state = State(start, [np.full_like(start, TINY), np.full_like(start, TINY)])
    network = compiled(trace(spec), Adam())
    done = network.train(x, np.zeros(8, np.int64), np.arange(8), 8, state, adam(), 1, threads=threads)
    network.logits(x, state.params, threads)
    assert (done.failed == 0) is bad
    return state


def denormal(values: np.ndarray) -> np.ndarray:
    bits = np.abs(values).view(np.uint32)
    return (bits > 0) & (bits < 0x00800000)


@pytest.mark.parametrize(("spec", "threads"), [(SMALL, 1), (LARGE, 1), (LARGE, 2)])
def test_averages_that_fade_become_zero(spec: Spec, threads: int) -> None:
    state = step(spec, threads)
    assert state.step == 1
    for values in (state.params, *state.averages):
        assert not denormal(values).any()


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("bad", [False, True], ids=["trained", "stopped"])
def test_the_mode_of_the_caller_is_put_back(own: bool, bad: bool) -> None:
    try:
        torch.set_flush_denormal(own)
        step(SMALL, 1, bad)
        assert flushes() is own
    finally:
        torch.set_flush_denormal(False)


def test_on_arm_each_entry_sets_the_mode_and_puts_it_back() -> None:
    """By the machine code alone: no ARM processor was here. FZ is bit 24, 0x1000000."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=2)
    neon = Machine("generic", "", lanes=4, registers=32, architecture="aarch64")
    module = llvm.parse_assembly(Program(layout(trace(SMALL), 4), neon, Adam()).text)
    functions = target.emit_assembly(module).split(".globl")
    for name in ("train", "logits"):
        code = next(text for text in functions if text.split()[0] == name).lower()
        read, within, back = code.index("mrs"), code.index("msr\tfpcr"), code.rindex("msr\tfpcr")
        assert read < within < code.index(f"{name}_flushed") < back
        assert "#0x1000000" in code[read:within]
