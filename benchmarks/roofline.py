"""The roofline figure of docs/explanation/performance.md: how near convolutions come to what a core can do.

    python benchmarks/roofline.py

A point is one convolution of `separable` or `resnet` at batch 16: forward, input's or weight's gradient. Its intensity counts the maps it reads
and writes once. The roofs are measured: multiply-adds in registers, and sums of memory that the second cache holds, or that none
holds (Williams, Waterman and Patterson 2009, https://doi.org/10.1145/1498765.1498785).
"""

import ctypes

import matplotlib.ticker as ticker
import numpy as np
from doc_images import save_drawn
from matplotlib.figure import Figure
from profile_layers import Row, best, measured, peak

from modelflow.figures.style import BLUE, GREY, VERMILLION, WIDTH, heading, styled, theme
from modelflow.kernels.functions import Functions
from modelflow.kernels.machine import Library, compile_text, host
from modelflow.kernels.network import aligned
from modelflow.kernels.ops.correlation import Correlation
from modelflow.kernels.ops.weight_gradient import WeightGradient
from modelflow.results import provenance

KINDS = {"depthwise": VERMILLION, "pointwise (1 x 1)": GREY, "3 x 3": BLUE}
IN_SECOND_CACHE, IN_MEMORY = 1 << 20, 1 << 29  # bytes
SUMS = 8


def bandwidth(size: int) -> float:
    """Bytes per second of reading so many again and again."""
    machine = host()
    functions, vectors = Functions(machine.lanes, machine.architecture), size // 4 // machine.lanes

    def read(k):
        values, sums = k.vectors(k.params), [k.var(k.vector(0.0)) for _ in range(SUMS)]
        for i in k.loop(vectors // SUMS):
            for j, total in enumerate(sums):
                total.set(total.get() + values[i * SUMS + j])
        for j, total in enumerate(sums):
            values[j] = total.get()

    functions.function("read", "params", read)
    library, memory = Library(compile_text(functions.text, machine), machine), aligned(size // 4)
    memory[:] = 1.0  # pages that nobody has written are all the system's one page of zeros
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address("read"))
    return size / best(lambda: call(memory.ctypes.data))


def kind_of(row: Row) -> str:
    """Which of KINDS a convolution is; empty for other calls, and for one that reads the image."""
    for size in row.sizes:
        if isinstance(size, Correlation | WeightGradient) and row.flops:
            taps = size.taps if isinstance(size, Correlation) else size.kernel[0] * size.kernel[1]
            if size.groups > 1:
                return "depthwise" if size.outputs == 1 and not (isinstance(size, Correlation) and taps == 1) else ""
            channels = min(size.source.channels, size.depth)
            return "" if channels == 1 else "pointwise (1 x 1)" if taps == 1 else "3 x 3"
    return ""


@styled
def drawn(points: dict[str, list[tuple[float, float]]], compute: float, roofs: dict[str, float]) -> Figure:
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.add_subplot()
    reach = np.array([0.4, 200.0])
    for (name, speed), style in zip(roofs.items(), ("-", "--"), strict=True):
        knee = compute / speed
        axes.plot([reach[0], knee], [reach[0] * speed / 1e9, compute / 1e9], style, color=theme().faint, lw=1)
        words = f"{name}\n{speed / 1e9:.0f} GB/s"
        axes.annotate(
            words, (knee, compute / 1e9), (0, 6), textcoords="offset points", ha="center", color=theme().faint
        )
    axes.axhline(compute / 1e9, color=theme().faint, lw=1)
    axes.annotate("peak of multiply-adds", (reach[1], compute / 1e9), (-2, 5), textcoords="offset points", ha="right")
    for kind, own in points.items():
        axes.scatter(*zip(*own, strict=True), s=24, color=KINDS[kind], label=kind, alpha=0.8, linewidths=0)
    axes.set(xscale="log", yscale="log", xlim=reach, ylim=(8, compute / 1e9 * 1.6))
    axes.set(xlabel="operations per byte of maps", ylabel="GFLOP/s of one core")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.legend(frameon=False, loc="lower right")
    axes.set_title(heading("Depthwise convolutions are bound by memory, 3 x 3 by arithmetic"))
    return figure


def main() -> None:
    compute, roofs = peak() * 1e9, {"second cache": bandwidth(IN_SECOND_CACHE), "memory": bandwidth(IN_MEMORY)}
    points: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for name in ("separable", "resnet"):
        for row in measured(name, 16):
            if kind := kind_of(row):
                points[kind].append((row.flops / row.bytes, row.flops / row.seconds / 1e9))
    print(
        provenance.processor(),
        f"peak {compute / 1e9:.0f} GFLOP/s",
        {n: f"{s / 1e9:.0f} GB/s" for n, s in roofs.items()},
    )
    for kind, own in points.items():
        speeds = sorted(speed for _, speed in own)
        print(
            f"{kind}: {len(own)} calls, {speeds[0]:.0f} to {speeds[-1]:.0f}, median {speeds[len(speeds) // 2]:.0f} GFLOP/s"
        )
    save_drawn("roofline", lambda: drawn(points, compute, roofs))


if __name__ == "__main__":
    main()
