"""The two pictures of docs/card-revisited.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modelflow.analysis.verdicts import MARGIN
from modelflow.figures.style import BLUE, GREY, VERMILLION, label, one_axes, styled, theme

LOOKS = (("card", BLUE, "o", 0.14), ("held-out", VERMILLION, "s", -0.14))
MARGIN_POINTS = 100 * MARGIN


@dataclass(frozen=True)
class Bar:
    """A pair of models, and by protocol the difference with the ends of its interval, in points."""

    name: str
    by_protocol: dict[str, tuple[float, float, float]]


@styled
def plot_differences(bars: Sequence[Bar]) -> Figure:
    """A line a pair: the difference by each protocol with its interval; the band is half a point either way."""
    figure, axes = one_axes(
        _clear(bars), 0.8 + 0.3 * len(bars), 7.4, "points of accuracy, simultaneous 95 % intervals; grey: half a point"
    )
    axes.axvspan(-MARGIN_POINTS, MARGIN_POINTS, color=GREY, alpha=0.18, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=1)
    for protocol, colour, marker, shift in LOOKS:
        lines = [(-i + shift, bar.by_protocol[protocol]) for i, bar in enumerate(bars) if protocol in bar.by_protocol]
        if lines:
            _intervals(axes, lines, colour, marker, f"protocol {protocol}")
    axes.set_yticks([-i for i in range(len(bars))], [label(bar.name, 40) for bar in bars])
    axes.legend(loc="upper right")
    axes.grid(axis="x")
    return figure


def _clear(bars: Sequence[Bar]) -> str:
    """How many of the differences are told from none."""
    clear = [all(low > 0 or high < 0 for _, low, high in bar.by_protocol.values()) for bar in bars]
    return f"{sum(clear)} of {len(bars)} differences are clear by each protocol: their intervals leave out 0"


def _intervals(
    axes: Axes, lines: list[tuple[float, tuple[float, float, float]]], colour: str, marker: str, of: str
) -> None:
    heights = [height for height, _ in lines]
    middles = [middle for _, (middle, _, _) in lines]
    reach = [[middle - low for _, (middle, low, _) in lines], [high - middle for _, (middle, _, high) in lines]]
    axes.errorbar(middles, heights, xerr=reach, fmt=marker, color=colour, markersize=5, linewidth=1.6, label=of)


@styled
def plot_models(accuracies: Mapping[str, Mapping[str, Sequence[float]]], reported: Mapping[str, float]) -> Figure:
    """A line a model: the accuracy of each seed by each protocol, and the one that the card reports."""
    names = list(reported)
    figure, axes = one_axes(_ahead(accuracies), 0.6 + 0.42 * len(names), width=7.4)
    for protocol, colour, marker, shift in LOOKS:
        if protocol in accuracies:
            points = [(100 * a, shift - i) for i, name in enumerate(names) for a in accuracies[protocol][name]]
            x, y = zip(*points, strict=True)
            axes.plot(
                x, y, marker, color=colour, markersize=5, alpha=0.75, linestyle="none", label=f"protocol {protocol}"
            )
    at = [100 * reported[name] for name in names]
    axes.plot(
        at,
        [-i for i in range(len(names))],
        "D",
        color=theme().ink,
        markersize=6,
        markerfacecolor="none",
        label="the card",
    )
    axes.set_yticks([-i for i in range(len(names))], [label(name) for name in names])
    axes.set_xlabel("test accuracy (%) of each seed")
    axes.legend(loc="lower right")
    axes.grid(axis="x")
    return figure


def _ahead(accuracies: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """How far the best model is ahead of the others."""
    seeds = {name: [a for of in accuracies.values() for a in of[name]] for name in next(iter(accuracies.values()))}
    best = max(seeds, key=lambda name: fmean(seeds[name]))
    worst, rival = min(seeds[best]), max(max(seeds[name]) for name in seeds if name != best)
    if worst <= rival:
        return f"{best} is the most accurate on average, but not in every seed"
    return f"{best}'s worst seed ({100 * worst:.1f} %) beats every other model's best ({100 * rival:.1f} %)"
