"""The processor that the code is written for: its lanes and registers, and LLVM code turned into functions for it."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

ARM = ("aarch64", "arm64")  # Linux's word, Apple's


@dataclass(frozen=True)
class Machine:
    """`lanes` floats in a vector register, of which there are `registers`; `architecture` such as x86_64 or aarch64."""

    cpu: str
    features: str
    lanes: int
    registers: int
    architecture: str


@cache
def host() -> Machine:
    """This machine: AVX-512 16 x 32, AVX2 8 x 16, anything else 4 lanes (SSE 16 registers, NEON 32)."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features, architecture = llvm.get_host_cpu_features(), triple().partition("-")[0]
    if features.get("avx512f") and features.get("avx512vl"):
        lanes, registers = 16, 32
    elif features.get("avx2"):
        lanes, registers = 8, 16
    else:
        lanes, registers = 4, 32 if architecture in ARM else 16  # macOS reports no feature, NEON neither
    return Machine(llvm.get_host_cpu_name(), features.flatten(), lanes, registers, architecture)


def triple() -> str:
    """The processor and the system that code is written for, such as x86_64-unknown-linux-gnu."""
    found: str = llvm.get_default_triple()
    return found


def version() -> str:
    """The compiler's versions and the system, for the cache's key."""
    return f"llvmlite {llvmlite.__version__} llvm {llvm.llvm_version_info} {triple()}"


def compile_text(text: str, machine: Machine, level: int = 2) -> bytes:
    """The object file of a module of LLVM code, optimized so far."""
    target = _target(machine)
    compiled: bytes = target.emit_object(optimized(text, target, level))
    return compiled


def optimized(text: str, target: object, level: int = 2) -> Any:
    """LLVM's module of a text, for its target machine."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_unrolling = False
    options.loop_vectorization = False
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _target(machine: Machine) -> Any:
    host()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=machine.cpu, features=machine.features, opt=2, jit=True)


class Library:
    """An object file in memory; `address(name)` of its functions, valid as long as the library lives."""

    def __init__(self, compiled: bytes, machine: Machine) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target(machine))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(compiled))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        found: int = self._engine.get_function_address(name)
        return found
