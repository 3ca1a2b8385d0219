"""Denormal numbers count as zero while a kernel runs; afterwards the thread has the mode back that it came with.

A float below 1.2e-38 in size is denormal: it has fewer digits, and a processor of Intel takes some hundred cycles for
it. Averages of gradients that stay zero fade into such numbers, by 0.9 a step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from modelflow.kernels.emit import I32, I64, PTR, Code

FTZ, DAZ = 1 << 15, 1 << 6  # of MXCSR: results, operands (Intel's manual, volume 1, section 10.2.3)
FZ = 1 << 24  # of FPCR: both (Arm Architecture Reference Manual, FPCR)


@contextmanager
def flushed_to_zero(k: Code, architecture: str) -> Iterator[None]:
    """What is called within takes denormal numbers for zero, where the architecture's way to that is known."""
    flush = WAYS.get(architecture)
    restore = flush(k) if flush else None
    yield
    if restore:
        restore()


def _by_mxcsr(k: Code) -> Callable[[], None]:
    builder, void = k.builder, ir.VoidType()
    read, write = (k.declared(f"llvm.x86.sse.{name}", void, [PTR]) for name in ("stmxcsr", "ldmxcsr"))
    with builder.goto_entry_block():
        before, within = builder.alloca(I32), builder.alloca(I32)
    builder.call(read, [before])
    builder.store(builder.or_(builder.load(before, typ=I32), ir.Constant(I32, FTZ | DAZ)), within)
    builder.call(write, [within])
    return lambda: builder.call(write, [before])


def _by_fpcr(k: Code) -> Callable[[], None]:
    read = k.declared("llvm.aarch64.get.fpcr", I64, [])
    write = k.declared("llvm.aarch64.set.fpcr", ir.VoidType(), [I64])
    before = k.builder.call(read, [])
    k.builder.call(write, [k.builder.or_(before, ir.Constant(I64, FZ))])
    return lambda: k.builder.call(write, [before])


WAYS = {"x86_64": _by_mxcsr, "aarch64": _by_fpcr, "arm64": _by_fpcr}
