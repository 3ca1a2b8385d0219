"""Differences of scores in words, in points or nats, never told narrower than they are. No torch."""

import math
from collections.abc import Callable

from modelflow.analysis.intervals import Interval
from modelflow.evaluation.scores.score import SHARE, Unit


def amount_words(amount: float, unit: Unit = SHARE) -> str:
    """A margin with its unit, rounded up to a digit more than a difference has: "0.5 points"."""
    return f"{margin_number(amount, unit)} {unit.difference}"


def margin_number(margin: float, unit: Unit = SHARE) -> str:
    """The margin alone."""
    steps = 10 ** (unit.digits + 1)
    return f"{math.ceil(round(steps * unit.scale * margin, 6)) / steps:g}"


def difference_words(difference: float, unit: Unit = SHARE) -> str:
    """A difference with its unit, with as many digits as tell it from nothing, one more at most."""
    return f"{difference_number(difference, unit)} {unit.difference}"


def difference_number(difference: float, unit: Unit = SHARE) -> str:
    """The difference alone."""
    text = f"{unit.scale * difference:.{unit.digits}f}"
    return f"{unit.scale * difference:.{unit.digits + 1}f}" if float(text) == 0 and difference else text


def range_words(interval: Interval, unit: Unit = SHARE) -> str:
    """An interval in its unit, rounded outwards: never narrower than it is."""
    return f"{_outwards(interval.low, math.floor, unit)} to {_outwards(interval.high, math.ceil, unit)}"


def _outwards(value: float, rounded: Callable[[float], int], unit: Unit) -> str:
    """With the digits of a difference, with one more where that would be nothing."""
    for digits in (unit.digits, unit.digits + 1):
        steps = rounded(round(10**digits * unit.scale * value, 6))
        if steps or not value:
            break
    return f"{steps / 10**digits:.{digits}f}"
