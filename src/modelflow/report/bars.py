"""Verdicts on one axis of differences: the data of their bars. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelflow.analysis.verdicts import RunVerdict, Verdict
from modelflow.evaluation.scores.score import SHARE, Unit
from modelflow.report.words import p_text

MAX_TICKS = 6
STEPS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
ROOM = 0.04  # on either side of the intervals
AnyVerdict = Verdict | RunVerdict


@dataclass(frozen=True)
class VerdictRow:
    """A verdict, and where its interval (of this pair alone) and its middle lie on a common axis, in % of its width."""

    verdict: AnyVerdict
    low: float
    high: float
    middle: float
    about_best: bool


@dataclass(frozen=True)
class Axis:
    """Where no difference, the margin on either side, and round numbers lie, in per cent of the width."""

    zero: float
    least: float
    most: float
    marks: tuple[tuple[float, str], ...]


def p_words(verdict: AnyVerdict) -> str:
    """Its p-value; of too few seeds, that there is no test."""
    if isinstance(verdict, Verdict) and verdict.has_too_few_seeds:
        return "not tested"
    return p_text(verdict.p_value)


def estimate(verdict: AnyVerdict) -> float:
    """The difference found, of 1."""
    return verdict.difference.estimate if isinstance(verdict, Verdict) else verdict.estimate


def best_first(verdicts: Sequence[AnyVerdict], best: str) -> list[AnyVerdict]:
    """Those about the model `best` first, its closest rival before the others."""
    return sorted(verdicts, key=lambda verdict: (best not in (verdict.first, verdict.second), estimate(verdict)))


def best_of(verdicts: Sequence[AnyVerdict]) -> str:
    """The one that is the second of no pair; empty without verdicts."""
    beaten = {verdict.second for verdict in verdicts}
    return next((verdict.first for verdict in verdicts if verdict.first not in beaten), "")


def bars(
    verdicts: Sequence[AnyVerdict], margin: float, best: str, unit: Unit = SHARE
) -> tuple[tuple[VerdictRow, ...], Axis | None]:
    """The verdicts, those about the model `best` first, and where the marks of their common axis lie."""
    if not verdicts:
        return (), None
    intervals = [verdict.pair_interval for verdict in verdicts]
    ends = [end for one in intervals for end in (one.low, one.high)] + [-margin, margin]
    room = ROOM * (max(ends) - min(ends))
    low, width = min(ends) - room, max(ends) - min(ends) + 2 * room

    def at(value: float) -> float:
        return round(100 * (value - low) / width, 2)

    rows = [
        VerdictRow(v, at(v.pair_interval.low), at(v.pair_interval.high), at(estimate(v)), best in (v.first, v.second))
        for v in best_first(verdicts, best)
    ]
    marks = tuple((at(tick / 100), f"{tick * unit.scale / 100:g}") for tick in _ticks(100 * low, 100 * (low + width)))
    return tuple(rows), Axis(at(0), at(-margin), at(margin), marks)


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers between the ends."""
    step = next(step for step in STEPS if (high - low) / step <= MAX_TICKS or step == STEPS[-1])
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
