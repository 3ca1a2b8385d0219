"""Accuracy, or another score, against size: which models are beaten by a smaller or a better one, and which are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.figures.style import BLUE, DPI, GREY, VERMILLION, WIDTH, heading, label, styled, theme

Model = tuple[str, int, float]
Point = tuple[float, float]
HEIGHT = 4.2
POINTS_PER_INCH = 72
NAME_SIZE = 9.0
NEAR = [(9, 0, "left"), (-9, 0, "right"), (0, 12, "center"), (0, -12, "center")]
CORNERS = [(8, 11, "left"), (8, -11, "left"), (-8, 11, "right"), (-8, -11, "right")]
FAR = [
    (0, 24, "center"),
    (0, -24, "center"),
    (12, 22, "left"),
    (12, -22, "left"),
    (-12, 22, "right"),
    (-12, -22, "right"),
]
PLACES = NEAR + CORNERS + FAR


def pareto_front(rows: Iterable[Model], metric: Metric = ACCURACY) -> list[Model]:
    """The rows (name, parameters, accuracy or another score) that no other beats, from the smallest to the largest.

    One row beats another when it has no more parameters and no worse a score, and not both the same. Rows without a
    finite score are left out.
    """
    front: list[Model] = []
    for row in sorted(_with_accuracy(rows), key=lambda row: (row[1], -metric.merit(row[2]))):
        if not front or metric.merit(row[2]) > metric.merit(front[-1][2]) or row[1:] == front[-1][1:]:
            front.append(row)
    return front


def _with_accuracy(rows: Iterable[Model]) -> list[Model]:
    return [row for row in rows if np.isfinite(row[2])]


@dataclass(frozen=True)
class Box:
    """Where a label would stand, in points."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: "Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)


def place_labels(
    points: Sequence[Point], names: Sequence[str], page: Box, size: float, avoid: Sequence[Point] = ()
) -> list[tuple[int, int, str]]:
    """For each point the offset and alignment of its name, of one line or more, that covers the least of others.

    `avoid` holds further places to keep free, such as points of a line; all in points of 1/72 inch.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in (*points, *avoid)]
    chosen = []
    for (x, y), name in zip(points, names, strict=True):
        boxes = [_box(x + dx, y + dy, align, name, size) for dx, dy, align in PLACES]
        costs = [sum(box.overlap(other) for other in taken) + 4 * _outside(box, page) for box in boxes]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        chosen.append(PLACES[best])
    return chosen


def _box(x: float, y: float, align: str, name: str, size: float) -> Box:
    lines = name.split("\n")
    width, height = 0.62 * size * max(map(len, lines)), 1.2 * size * len(lines)
    left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[align] * width
    return Box(left, y - height / 2, left + width, y + height / 2)


def _outside(box: Box, page: Box) -> float:
    return (box.right - box.left) * (box.top - box.bottom) - box.overlap(page)


@styled
def plot_pareto(rows: Sequence[Model], title: str, metric: Metric = ACCURACY) -> Figure:
    """A score by the metric over parameters, a point a model; the line joins the models that no other beats."""
    scale = metric.unit.scale
    shown = [(name, size, scale * score) for name, size, score in _with_accuracy(rows)]
    front = pareto_front(shown, metric)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI)
    words = heading(title)
    figure.suptitle(words, x=0.02, ha="left")
    axes = figure.add_axes((0.11, 0.13, 0.86, 0.80 - 0.05 * words.count("\n")))
    axes.set_xscale("log")
    axes.set_xlabel("parameters (logarithmic)")
    axes.set_ylabel(f"{metric.title} ({metric.unit.level})")
    axes.grid()
    if not shown:
        axes.text(0.5, 0.5, "no model with an accuracy", transform=axes.transAxes, ha="center")
        return figure
    _draw_points(axes, shown, front)
    _set_limits(axes, shown, scale / 100)
    _write_names(axes, front, [row for row in shown if row not in front])
    return figure


def _draw_points(axes: Axes, shown: list[Model], front: list[Model]) -> None:
    beaten = [row for row in shown if row not in front]
    look: Any = {"markersize": 8, "markeredgecolor": theme().surface}
    axes.plot(
        *_xy(front),
        color=BLUE,
        marker="o",
        drawstyle="steps-post",
        label="Pareto front: no smaller one is better",
        **look,
    )
    if beaten:
        axes.plot(
            *_xy(beaten),
            color=VERMILLION,
            marker="X",
            linestyle="none",
            label="beaten by one no larger",
            **look,
        )
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0, columnspacing=1.2)


def _xy(rows: list[Model]) -> tuple[list[int], list[float]]:
    return [max(1, parameters) for _, parameters, _ in rows], [score for *_, score in rows]


def _set_limits(axes: Axes, shown: list[Model], least: float) -> None:
    """Room around the points, above all for the legend at the top; the axis is at least so high."""
    sizes, scores = _xy(shown)
    low, high = min(scores), max(scores)
    height = max(high - low, least)
    axes.set_ylim(low - 0.15 * height, high + 0.28 * height)
    ratio = max(max(sizes) / min(sizes), 4.0)
    axes.set_xlim(min(sizes) / ratio**0.15, max(sizes) * ratio**0.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 100 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_text(size)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def size_text(size: float) -> str:
    """A number of parameters in thousands or millions."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:g} {letter}"
    return f"{size:g}"


def _write_names(axes: Axes, front: list[Model], beaten: list[Model]) -> None:
    rows = front + beaten
    names = [label(name) for name, *_ in rows]
    points, line = _on_page(axes, rows), _on_page(axes, front)
    corners = axes.bbox.get_points() * POINTS_PER_INCH / DPI
    places = place_labels(points, names, Box(*corners[0], *corners[1]), NAME_SIZE, _along_steps(line))
    for name, (_, parameters, score), (dx, dy, align) in zip(names, rows, places, strict=True):
        lead = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 0} if abs(dy) > 20 else None
        look: Any = {"ha": align, "va": "center", "fontsize": NAME_SIZE, "arrowprops": lead}
        axes.annotate(name, (max(1, parameters), score), (dx, dy), textcoords="offset points", **look)


def _on_page(axes: Axes, rows: list[Model]) -> list[Point]:
    places = axes.transData.transform(np.column_stack(_xy(rows))) * POINTS_PER_INCH / DPI
    return [(float(x), float(y)) for x, y in places]


def _along_steps(corners: list[Point]) -> list[Point]:
    """Points every few points along the stairs that join the corners: first to the right, then up."""
    shares = np.linspace(0, 1, 25)
    steps = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        steps += [(float(x0 + share * (x1 - x0)), y0) for share in shares]
        steps += [(x1, float(y0 + share * (y1 - y0))) for share in shares]
    return steps
