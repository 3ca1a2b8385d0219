"""What a study shows, in words: a verdict for each pair of models, none stronger than its interval. No torch.

verdicts = compare({"generic_1": correct_SN, "generic_2": correct_SN})
print(verdicts[0].words)          # generic_2 is better than generic_1 by 2.1 to 3.4 points
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from scipy import special

from modelflow.statistics import Difference, Interval, answers, bootstrap_difference, difference_of, holm, mcnemar

Array = np.ndarray[Any, Any]
Kind = Literal["better", "equivalent", "cannot tell"]
MARGIN = 0.005  # of accuracy: what would matter, half a point
CONFIDENCE = 0.95
MOST_SEEDS = 1000
FEWEST_SEEDS = ((1, 2), (21, 3), (190, 4), (780, 5), (math.inf, 10))  # up to so many pairs (docs/statistics.md)


@dataclass(frozen=True)
class Verdict:
    """`first` against `second`, the more accurate one first; `p_value` is adjusted for the family of all pairs.

    `more` is how many more seeds of each it takes at least to tell; None where it is told, or no such number is known.
    """

    first: str
    second: str
    kind: Kind
    difference: Difference
    p_value: float
    words: str
    more: int | None = None

    @property
    def interval(self) -> Interval:
        """Of the difference, as it stands in the words."""
        return self.difference.interval(CONFIDENCE)


def compare(correct_by_model: Mapping[str, Array], margin: float = MARGIN, absent: int = 0) -> list[Verdict]:
    """A verdict for each pair of models, from whether each seed (S, two or more) has each image (N) right: S x N.

    All are tested on the same images. A difference is called real when its p-value, by Holm's method over all pairs, is
    below 5 %; two models are called equivalent when the 95 % interval lies within `margin` either way and, by Holm's
    method too, the p-value of equivalence is below 5 %. Few seeds are too few for that to hold among many pairs: seven
    equal models of two seeds would have a false claim in 10 to 12 studies of 100. So a pair of fewer seeds than
    `fewest_seeds` counts with a p-value of 1, as do the pairs of models that are `absent`: without predictions, or
    not shown. Neither damage nor choosing the best to show makes a pair better.
    """
    pairs = [_ordered(a, b, correct_by_model) for a, b in combinations(correct_by_model, 2)]
    answered = {name: answers(correct_SN) for name, correct_SN in correct_by_model.items()}
    found = [difference_of(answered[a], answered[b]) for a, b in pairs]
    family_pairs = math.comb(len(correct_by_model) + absent, 2)
    claimable = [one.seeds >= fewest_seeds(family_pairs) for one in found]
    of_difference = _adjusted([one.p_value() for one in found], claimable, family_pairs)
    of_equivalence = _adjusted([one.p_value_of_equivalence(margin) for one in found], claimable, family_pairs)
    undecided = family_pairs - sum(p < 1 - CONFIDENCE for p in of_difference)
    family = _Family(margin, family_pairs, undecided)
    both = zip(of_difference, of_equivalence, strict=True)
    return [_verdict(*pair, one, *ps, family) for pair, one, ps in zip(pairs, found, both, strict=True)]


def _adjusted(p_values: list[float], claimable: list[bool], pairs: int) -> list[float]:
    """By Holm's method over so many pairs; those of which nothing may be claimed, or nothing is known, count with 1."""
    known = [p if may else 1.0 for p, may in zip(p_values, claimable, strict=True)]
    return holm([*known, *[1.0] * (pairs - len(known))])[: len(known)]


def fewest_seeds(pairs: int) -> int:
    """How many seeds of a model it takes at least for something to be claimed among so many pairs."""
    return next(seeds for most, seeds in FEWEST_SEEDS if pairs <= most)


@dataclass(frozen=True)
class RunVerdict:
    """One run against another on the same images, the more accurate one first; nothing of other seeds.

    `interval` is of the difference over images like these (paired bootstrap, 95 %); `p_value` is McNemar's, exact, and
    adjusted for the family of all pairs.
    """

    first: str
    second: str
    kind: Kind
    estimate: float
    interval: Interval
    p_value: float
    words: str


def compare_runs(correct_by_run: Mapping[str, Array]) -> list[RunVerdict]:
    """A verdict for each pair of runs, from whether each has each image right. As `compare`, but for one run each."""
    pairs = [_ordered(a, b, correct_by_run) for a, b in combinations(correct_by_run, 2)]
    sides = [(correct_by_run[a].astype(bool), correct_by_run[b].astype(bool)) for a, b in pairs]
    adjusted = holm([mcnemar(*both) for both in sides])
    return [_run_verdict(*pair, *both, p) for pair, both, p in zip(pairs, sides, adjusted, strict=True)]


def _run_verdict(a: str, b: str, correct_a_N: Array, correct_b_N: Array, p_value: float) -> RunVerdict:
    interval = bootstrap_difference(correct_a_N, correct_b_N, CONFIDENCE)
    estimate, span = float(correct_a_N.mean() - correct_b_N.mean()), range_in_points(interval)
    if p_value < 1 - CONFIDENCE and interval.low > 0:
        words = f"this run of {a} is better than this run of {b} by {span} points; other seeds may differ"
        return RunVerdict(a, b, "better", estimate, interval, p_value, words)
    words = f"this run of {a} against this run of {b}: cannot tell (it is {span} points)"
    return RunVerdict(a, b, "cannot tell", estimate, interval, p_value, words)


def _ordered(a: str, b: str, correct_by_model: Mapping[str, Array]) -> tuple[str, str]:
    return (a, b) if correct_by_model[a].mean() >= correct_by_model[b].mean() else (b, a)


@dataclass(frozen=True)
class _Family:
    """What is asked of all pairs, how many they are, and how many are not told apart."""

    margin: float
    pairs: int
    undecided: int


def _verdict(a: str, b: str, found: Difference, p_value: float, of_equivalence: float, family: _Family) -> Verdict:
    interval = found.interval(CONFIDENCE)
    if found.seeds < fewest_seeds(family.pairs):
        too_few = f"{found.seeds} seeds are too few for {family.pairs:,} pairs"
        words = f"{a} against {b}: cannot tell; {too_few} (it is {range_in_points(interval)} points)"
        return Verdict(a, b, "cannot tell", found, p_value, words, _more(found, family))
    if p_value < 1 - CONFIDENCE and interval.low > 0:
        return Verdict(a, b, "better", found, p_value, f"{a} is better than {b} by {range_in_points(interval)} points")
    within = -family.margin < interval.low and interval.high < family.margin
    if within and of_equivalence < 1 - CONFIDENCE:
        words = f"{a} and {b} are equivalent within {_points(family.margin)} points"
        return Verdict(a, b, "equivalent", found, p_value, words)
    alone = f", which among {family.pairs} pairs may be chance" if interval.low > 0 or within else ""
    words = f"{a} against {b}: cannot tell; {_wanting(found, family)} (it is {range_in_points(interval)} points{alone})"
    return Verdict(a, b, "cannot tell", found, p_value, words, _more(found, family))


def _wanting(found: Difference, family: _Family) -> str:
    """What it would take to see the size that is asked for."""
    size = _size(found, family)
    what = f"the {_points(size)} points found" if size == found.estimate else f"{_points(size)} points"
    more = more_seeds(found, size, family.undecided)
    if more is None:
        return f"no number of seeds would show {what} on as few test images"
    if not more:
        return f"the seeds would show {what}, and the difference may be that small"
    if more > MOST_SEEDS:
        return f"its seeds differ so much that {MOST_SEEDS:,} more would not show {what}"
    return f"at least {more} more seed{'s' * (more > 1)} of each would be needed to see {what}"


def _size(found: Difference, family: _Family) -> float:
    """The margin; or as much as was found, where that were real if this pair stood alone."""
    return found.estimate if found.interval(CONFIDENCE).low > 0 else family.margin


def _more(found: Difference, family: _Family) -> int | None:
    """How many more seeds of each an open verdict asks for."""
    more = more_seeds(found, _size(found, family), family.undecided)
    if more is not None:
        more = max(more, fewest_seeds(family.pairs) - found.seeds)
    return more if more and more <= MOST_SEEDS else None


def more_seeds(found: Difference, size: float, pairs: int = 1) -> int | None:
    """How many more seeds of each model it takes until a difference of `size` is called real, at most MOST_SEEDS + 1.

    `pairs` are those that are not told apart yet, this one among them: Holm's method stopped at 5 % over their number,
    and goes on when one of them has a p-value below that. None where no number of seeds would do, since the images
    alone leave more open.

    It is the least: when the true difference is `size`, half of the estimates are smaller. The variance over seeds is
    taken as found and shrinks in proportion to the seeds, as the degrees of freedom grow; that over images stays. Given
    as many, half the interval is at most `size` in 45 to 83 % of the studies of two models (docs/statistics.md). Where
    the models' seeds differ in number, the fewer are taken, which asks for too few rather than too many.
    """
    tail = 1 - (1 - CONFIDENCE) / pairs / 2
    if float(special.ndtri(tail)) * math.sqrt(found.of_images) > size:
        return None

    def enough(more: int) -> bool:
        seeds = found.seeds + more
        error = math.sqrt(found.of_seeds * found.seeds / seeds + found.of_images)
        freedom = found.freedom * (seeds - 1) / (found.seeds - 1)
        return float(special.stdtrit(freedom, tail)) * error <= size

    return bisect_left(range(MOST_SEEDS + 1), True, key=enough)


def _points(share: float) -> str:
    """In points, with as many digits as tell it from nothing, two at most."""
    text = f"{100 * share:.1f}"
    return f"{100 * share:.2f}" if float(text) == 0 and share else text


def range_in_points(interval: Interval) -> str:
    """In points, rounded outwards: never narrower than the interval."""
    return f"{_outwards(interval.low, math.floor)} to {_outwards(interval.high, math.ceil)}"


def _outwards(share: float, rounded: Callable[[float], int]) -> str:
    """To a tenth of a point; to a hundredth where that would be nothing."""
    tenths = rounded(round(1000 * share, 6))
    return f"{tenths / 10:.1f}" if tenths or not share else f"{rounded(round(10_000 * share, 6)) / 100:.2f}"
