"""The learning rate range test: the loss while the learning rate grows, and what two methods read from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modelflow.figures.style import BLUE, GREY, RED, label, one_axes, styled, theme


@dataclass(frozen=True)
class RangeTest:
    """What the plot shows: the finite part of the curve, where it stops being finite, and the ends of the loss axis."""

    lrs: np.ndarray
    losses: np.ndarray
    diverged_at: float | None
    limits: tuple[float, float]


def range_test(lrs: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """The curve without what is not finite; the axis ends where the loss has risen well above where it began."""
    rates, values = np.asarray(lrs, dtype=float), np.asarray(losses, dtype=float)
    usable = np.isfinite(values) & np.isfinite(rates) & (rates > 0)
    diverged = rates[~np.isfinite(values)]
    rates, values = rates[usable], values[usable]
    return RangeTest(rates, values, float(diverged[0]) if diverged.size else None, _limits(values))


def _limits(values: np.ndarray) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    first, low = float(values[0]), float(values.min())
    height = first - low or abs(first) or 1.0
    top = min(float(values.max()), first + 1.5 * height)
    margin = 0.08 * (top - low or height)
    return low - margin, top + margin


@styled
def plot_lr_finder(
    lrs: Sequence[float],
    losses: Sequence[float],
    steepest: float | None,
    suggestion: float | None,
    method: str,
    title: str,
) -> Figure:
    """The smoothed loss over the learning rate; the steepest point as a red dot, the steadier suggestion beside it.

    `method` names how the suggestion was found.
    """
    curve = range_test(lrs, losses)
    figure, axes = one_axes(title, 4.0)
    axes.set_xlabel("learning rate (logarithmic)")
    axes.set_ylabel("smoothed training loss")
    if not curve.lrs.size:
        axes.text(0.5, 0.5, "no finite loss recorded", transform=axes.transAxes, ha="center", va="center")
        return figure
    axes.set_xscale("log")
    axes.set_xlim(curve.lrs.min() / 1.4, max(curve.lrs.max(), curve.diverged_at or 0) * 1.4)
    _write_rates(axes)
    axes.plot(curve.lrs, curve.losses, color=theme().ink, linewidth=1.6)
    _mark(axes, curve, steepest, "steepest point", color=RED, marker="o", markersize=9)
    _mark(axes, curve, suggestion, f"suggestion ({label(method, 30)})", color=BLUE, marker="D", markersize=8)
    if curve.diverged_at is not None:
        axes.axvline(
            curve.diverged_at, color=GREY, linestyle="--", label=f"loss not finite from {curve.diverged_at:.2e}"
        )
    axes.set_ylim(curve.limits)
    axes.grid(axis="both")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    return figure


def _write_rates(axes: Axes) -> None:
    """Decades below the axis, and some rates between them where there are few."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda lr, _: f"{lr:.0e}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _mark(axes: Axes, curve: RangeTest, lr: float | None, words: str, **look: object) -> None:
    if lr is None:
        return
    loss = float(np.interp(np.log(lr), np.log(curve.lrs), curve.losses))
    axes.plot(
        [lr],
        [loss],
        linestyle="none",
        markeredgecolor=theme().surface,
        label=f"{words}: {lr:.2e}",
        zorder=3,
        **look,  # type: ignore[arg-type]
    )
