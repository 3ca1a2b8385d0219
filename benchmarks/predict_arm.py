"""What LLVM's scheduler model predicts of the kernels on ARM, without such a processor. A prediction, not a measurement.

    python benchmarks/predict_arm.py           # needs llvm-mca; LLVM 16 and before have no model of Neoverse N1

For each kernel of the seven presets: the cycles that the multiply-adds of its innermost loops take by themselves, as a
share of the cycles that these loops take. Loops count that have as many multiply-adds as the largest of their function;
the others do what is left over. Memory is taken to lie in the first cache.
"""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache

import llvmlite.binding as llvm

from modelflow.kernels.layout import layout
from modelflow.kernels.machine import Machine, optimized
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.step import Program
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import trace

TRIPLE = "aarch64-unknown-linux-gnu"
PROCESSORS = ("neoverse-n1", "apple-m1")
KERNELS = {
    r"conv\d+": "convolution",
    r"conv\d+_weight": "convolution, weight gradient",
    r"conv\d+_input": "convolution, input gradient",
    r"fc\d+": "linear",
    r"fc\d+_back": "linear, both gradients",
}
MULTIPLY_ADD = re.compile(r"\tfmla\b")
ROUNDS = 100


def assembly(name: str, cpu: str) -> str:
    neon = Machine(cpu, "", lanes=4, registers=32, architecture="aarch64")
    target = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=cpu, opt=2, jit=True)
    text: str = target.emit_assembly(
        optimized(Program(layout(trace(preset(name)), neon.lanes), neon, Adam()).text, target)
    )
    return text


def functions(text: str) -> dict[str, str]:
    """The code of each function by its name."""
    return {found[1]: found[2] for found in re.finditer(r"^(\w+):(.*?)^\.Lfunc_end", text, re.M | re.S)}


def loops(code: str) -> list[list[str]]:
    """The instructions of each innermost loop: from a label to the last branch back to it, no label between."""
    found = []
    for label, block in re.findall(r"^(\.L\w+):[^\n]*\n((?:\t[^\n]*\n)*)", code, re.M):
        lines = [line.split("//")[0].rstrip() for line in block.splitlines() if not line.startswith("\t.")]
        back = [i for i, line in enumerate(lines) if line.endswith((f"\t{label}", f" {label}"))]
        if back:
            found.append(lines[: back[-1]])
    return found


def predicted(instructions: list[str], cpu: str) -> tuple[float, float]:
    """Cycles of a round of these instructions, and how many they would take if none waited for another."""
    command = [mca(), f"-mtriple={TRIPLE}", f"-mcpu={cpu}", f"-iterations={ROUNDS}"]
    done = subprocess.run(command, input="\n".join(instructions), capture_output=True, text=True, check=True)
    total, block = (re.search(rf"{words}:\s+([\d.]+)", done.stdout) for words in ("Total Cycles", "Block RThroughput"))
    return float(total[1]) / ROUNDS, float(block[1])


@cache
def mca() -> str:
    for name in ("llvm-mca", *(f"llvm-mca-{version}" for version in range(40, 16, -1))):
        if (path := shutil.which(name)) and version_of(path) > 16:
            return path
    sys.exit("llvm-mca of LLVM 17 or newer: not found; on Debian 12: apt-get install llvm-19")


def version_of(path: str) -> int:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"version (\d+)", said)[1])


def share(code: str, cpu: str) -> float:
    """Of the peak of multiply-adds, in the largest innermost loops of a function."""
    counted = [(sum(map(bool, map(MULTIPLY_ADD.search, loop))), loop) for loop in loops(code)]
    most = max(count for count, _ in counted)
    largest = [loop for count, loop in counted if count == most]
    alone = sum(predicted([line for line in loop if MULTIPLY_ADD.search(line)], cpu)[1] for loop in largest)
    return alone / sum(predicted(loop, cpu)[0] for loop in largest)


def main() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    shares = defaultdict(list)
    for cpu in PROCESSORS:
        for name in CARD:
            for function, code in functions(assembly(name, cpu)).items():
                for pattern, kernel in KERNELS.items():
                    if re.fullmatch(pattern, function):
                        shares[kernel, cpu].append(share(code, cpu))
    print("| Kernel | " + " | ".join(PROCESSORS) + " |")
    print("| --- |" + " ---: |" * len(PROCESSORS))
    for kernel in KERNELS.values():
        ranges = [shares[kernel, cpu] for cpu in PROCESSORS]
        print(f"| {kernel} | " + " | ".join(f"{min(r):.0%} to {max(r):.0%}" for r in ranges) + " |")


if __name__ == "__main__":
    main()
