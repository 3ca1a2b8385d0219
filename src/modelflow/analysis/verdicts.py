"""What a study shows, in words: a verdict for each pair of models, none stronger than its interval. No torch.

verdicts = compare({"generic_1": correct_SN, "generic_2": correct_SN})
print(verdicts[0].words)          # generic_2 is better than generic_1 by 2.1 to 3.4 points
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from modelflow.analysis.intervals import (
    Answers,
    Difference,
    Interval,
    answers,
    bootstrap_difference,
    difference_of,
    holm,
    mcnemar,
    most_dying,
)
from modelflow.errors import UsageError

Array = np.ndarray[Any, Any]
Kind = Literal["better", "equivalent", "cannot tell"]
MARGIN = 0.005  # of accuracy: what would matter, half a point
MIN_IMAGES = 4  # that a margin is worth at least
CONFIDENCE = 0.95
POWER = 0.8
MAX_SEEDS = 1000
MIN_SEEDS = ((1, 3), (21, 4), (780, 5), (math.inf, 10))  # up to so many pairs (docs/statistics.md)
AFTER_A_LOOK = "Adding seeds after seeing results makes 8 to 16 % false claims"  # as simulated (docs/statistics.md)
OF_TRAINED, OF_ALL = "of the runs that train", "of all runs"


@dataclass(frozen=True)
class Verdict:
    """`first` against `second`, the more accurate one first; `p_value` is adjusted for the family of all `pairs`.

    `kind` "cannot tell" reads "inconclusive" in the words. `more` is about how many more seeds of each would show what
    is asked for, with 80 % power; None where it is told, or no such number is known. Where runs died, `difference` is
    of the runs that train, and `of_all_runs` is of all; where fewer than two runs of a model train, both are of all.
    """

    first: str
    second: str
    kind: Kind
    difference: Difference
    p_value: float
    words: str
    more: int | None = None
    pairs: int = 1
    of_all_runs: Difference | None = None

    @property
    def runs(self) -> str:
        """Which runs the difference is of, in words; empty where none died."""
        if self.of_all_runs is None:
            return ""
        return OF_ALL if self.difference == self.of_all_runs else OF_TRAINED

    @property
    def pair_interval(self) -> Interval:
        """Of the difference, 95 % for this pair alone."""
        return self.difference.interval(CONFIDENCE)

    @property
    def simultaneous_interval(self) -> Interval:
        """Of the difference, 95 % for all pairs of the family at once."""
        return self.difference.simultaneous_interval(self.pairs)

    @property
    def interval(self) -> Interval:
        """As it stands in the words: the simultaneous one."""
        return self.simultaneous_interval


@dataclass(frozen=True, eq=False)
class _Model:
    """A model's runs, how many `died`, and the answers of those that train (None for fewer than two) and of all."""

    name: str
    runs: int
    died: int
    training: Answers | None
    every: Answers

    @property
    def trained(self) -> int:
        return self.runs - self.died


def compare(
    correct_by_model: Mapping[str, Array],
    margin: float | None = None,
    absent: int = 0,
    died: Mapping[str, Sequence[bool]] | None = None,
) -> list[Verdict]:
    """A verdict for each pair of models, from whether each seed (S, two or more) has each image (N) right: S x N.

    All are tested on the same images. A difference is called real when its p-value, by Holm's method over all pairs, is
    below 5 %; two models are called equivalent when, by Holm's method too, the p-value of a difference of `margin` or
    more is below 5 % (left out: see `default_margin`). Few seeds are too few for that to hold among many pairs, or for
    models whose seeds spread unequally. So a pair of fewer seeds than `fewest_seeds` counts with a p-value of 1, as do
    the pairs of models that are `absent`: without predictions, or not shown. Neither damage nor choosing the best to
    show makes a pair better.

    `died` says by model which of its runs did. All verdicts are of the runs that train, but for pairs of a model of
    which fewer than two do: of such a pair nothing is claimed, and its difference is of all runs.
    """
    models = [_model(name, correct_SN, (died or {}).get(name)) for name, correct_SN in correct_by_model.items()]
    pairs = [_ordered(a, b) for a, b in combinations(models, 2)]
    found = [difference_of(*_judged(a, b)) for a, b in pairs]
    family_pairs = math.comb(len(models) + absent, 2)
    margin = default_margin(found[0].images if found else 1) if margin is None else margin
    claimable = [min(a.trained, b.trained) >= fewest_seeds(family_pairs) for a, b in pairs]
    of_difference = _adjusted([one.p_value() for one in found], claimable, family_pairs)
    of_equivalence = _adjusted([one.p_value_of_equivalence(margin) for one in found], claimable, family_pairs)
    undecided = family_pairs - sum(p < 1 - CONFIDENCE for p in of_difference)
    family = _Family(margin, family_pairs, undecided)
    both = zip(of_difference, of_equivalence, strict=True)
    return [_verdict(*pair, one, *ps, family) for pair, one, ps in zip(pairs, found, both, strict=True)]


def _model(name: str, correct_SN: Array, died: Sequence[bool] | None) -> _Model:
    every, dead_S = answers(correct_SN), np.asarray([False] * len(correct_SN) if died is None else died, bool)
    trained_SN = np.asarray(correct_SN)[~dead_S]
    training = every if not dead_S.any() else answers(trained_SN) if len(trained_SN) > 1 else None
    return _Model(name, len(dead_S), int(dead_S.sum()), training, every)


def _judged(a: _Model, b: _Model) -> tuple[Answers, Answers]:
    """What a pair is judged by: the runs that train of both, or all of both."""
    if a.training is None or b.training is None:
        return a.every, b.every
    return a.training, b.training


def _ordered(a: _Model, b: _Model) -> tuple[_Model, _Model]:
    of_a, of_b = _judged(a, b)
    return (a, b) if of_a.mean_N.mean() >= of_b.mean_N.mean() else (b, a)


def _adjusted(p_values: list[float], claimable: list[bool], pairs: int) -> list[float]:
    """By Holm's method over so many pairs; those of which nothing may be claimed, or nothing is known, count with 1."""
    known = [p if may else 1.0 for p, may in zip(p_values, claimable, strict=True)]
    return holm([*known, *[1.0] * (pairs - len(known))])[: len(known)]


def fewest_seeds(pairs: int) -> int:
    """How many seeds of a model it takes at least for something to be claimed among so many pairs."""
    return next(seeds for most, seeds in MIN_SEEDS if pairs <= most)


def seeds_wanted(models: int, seeds: int) -> str:
    """Before a study is trained: that it has too few seeds for any claim on its models; empty where it has enough."""
    needed = fewest_seeds(math.comb(models, 2))
    if models < 2 or seeds >= needed:
        return ""
    return (
        f"{models} models with {seeds} seed{'s' * (seeds != 1)} each cannot show which is better. That takes {needed} "
        f"or more. Give --seeds {max(needed, 5)} from the start."
    )


def default_margin(images: int) -> float:
    """Half a point of accuracy, or four of so many test images where that is more: a share of 1."""
    return max(MARGIN, MIN_IMAGES / images)


def margin_of(points: float | None, images: int) -> float:
    """The margin asked for in points as a share of 1, or the default. Raises `UsageError` below four test images."""
    if points is None:
        return default_margin(images)
    if not 100 * MIN_IMAGES <= round(points * images, 6) < 100 * images:
        raise UsageError(
            f"margin {points:g}: expected points of accuracy, below 100 and worth at least {MIN_IMAGES} of the "
            f"{images:,} test images. Give {margin_points(MIN_IMAGES / images)} or more."
        )
    return points / 100


def margin_words(margin: float, images: int) -> str:
    """The margin in points, and why where it is the default for few images: "1.13 points (4 of 355 test images)"."""
    made_so = math.isclose(margin, MIN_IMAGES / images)
    why = f" ({MIN_IMAGES} of {images:,} test images)" if made_so else ""
    return f"{margin_points(margin)} points{why}"


@dataclass(frozen=True)
class RunVerdict:
    """One run against another on the same images, the more accurate one first; nothing of other seeds.

    The intervals are of the difference over images like these (paired bootstrap): `pair_interval` 95 % for this pair
    alone, `simultaneous_interval` 95 % for all pairs at once. `p_value` is McNemar's, exact, and adjusted for the
    family of all pairs.
    """

    first: str
    second: str
    kind: Kind
    estimate: float
    pair_interval: Interval
    simultaneous_interval: Interval
    p_value: float
    words: str

    @property
    def interval(self) -> Interval:
        """As it stands in the words: the simultaneous one."""
        return self.simultaneous_interval


def compare_runs(correct_by_run: Mapping[str, Array]) -> list[RunVerdict]:
    """A verdict for each pair of runs, from whether each has each image right. As `compare`, but for one run each."""
    sides = {name: np.asarray(correct_N, bool) for name, correct_N in correct_by_run.items()}
    pairs = [(a, b) if sides[a].mean() >= sides[b].mean() else (b, a) for a, b in combinations(sides, 2)]
    adjusted = holm([mcnemar(sides[a], sides[b]) for a, b in pairs])
    return [_run_verdict(a, b, sides[a], sides[b], p, len(pairs)) for (a, b), p in zip(pairs, adjusted, strict=True)]


def _run_verdict(a: str, b: str, correct_a_N: Array, correct_b_N: Array, p_value: float, pairs: int) -> RunVerdict:
    alone, among_all = (bootstrap_difference(correct_a_N, correct_b_N, 1 - (1 - CONFIDENCE) / n) for n in (1, pairs))
    first, second = f"this run of {a}", f"this run of {b}"
    better = p_value < 1 - CONFIDENCE and alone.low > 0
    words = (
        f"{_better(first, second, among_all)}. Other seeds may differ" if better else _open(first, second, among_all)
    )
    estimate = float(correct_a_N.mean() - correct_b_N.mean())
    return RunVerdict(a, b, "better" if better else "cannot tell", estimate, alone, among_all, p_value, words)


def _better(first: str, second: str, interval: Interval) -> str:
    """The simultaneous interval may hold 0 where Holm's method, which is sharper, tells the two apart."""
    span = range_in_points(interval)
    if interval.low > 0:
        return f"{first} is better than {second} by {span} points"
    return f"{first} is better than {second}, by how much is inconclusive ({span} points)"


def _open(first: str, second: str, interval: Interval) -> str:
    return f"{first} vs {second}: inconclusive ({range_in_points(interval)} points)"


@dataclass(frozen=True)
class _Family:
    """What is asked of all pairs, how many they are, and how many are not told apart."""

    margin: float
    pairs: int
    undecided: int


def _verdict(
    a: _Model, b: _Model, found: Difference, p_value: float, of_equivalence: float, family: _Family
) -> Verdict:
    """What can be claimed of a pair, and of which runs where some died."""
    kind: Kind = "cannot tell"
    interval, more, then = found.simultaneous_interval(family.pairs), None, ""
    if p_value < 1 - CONFIDENCE:
        kind, words = "better", _better(a.name, b.name, interval)
    elif of_equivalence < 1 - CONFIDENCE:
        within = f"within {margin_points(family.margin)} points"
        kind, words = "equivalent", f"{a.name} and {b.name} are equivalent {within}"
    else:
        more, wanting = _wanting(min(a.trained, b.trained), found, family)
        words, then = _open(a.name, b.name, interval), f". {wanting}"
    of_all_runs = difference_of(a.every, b.every) if a.died or b.died else None
    verdict = Verdict(a.name, b.name, kind, found, p_value, words + then, more, family.pairs, of_all_runs)
    return replace(verdict, words=f"{words}, {verdict.runs}{then}{_deaths(a, b, verdict)}") if of_all_runs else verdict


def _deaths(a: _Model, b: _Model, verdict: Verdict) -> str:
    """How many runs died of how many, how many more would, and the difference of all runs if that is another."""
    said = [f". {side.name}: {deaths_words(side.died, side.runs)}" for side in (a, b) if side.died]
    if verdict.of_all_runs and verdict.runs != OF_ALL:
        span = range_in_points(verdict.of_all_runs.simultaneous_interval(verdict.pairs))
        said.append(f". Of all runs: {_points(verdict.of_all_runs.estimate)} points ({span})")
    return "".join(said)


def deaths_words(died: int, runs: int) -> str:
    """ "1 of 5 runs died (up to 66 % of runs would)": the bound is one-sided, 95 %, rounded up."""
    return f"{died} of {runs} run{'s' * (runs != 1)} died (up to {_most_dying(died, runs)} % of runs would)"


def _most_dying(died: int, runs: int) -> int:
    return math.ceil(round(100 * most_dying(died, runs), 6))


def trained_words(died: Sequence[int], runs: Sequence[int]) -> str:
    """What verdicts are of, from how many runs of each model died: runs that never die in few seeds may in others."""
    train = [of - dead for of, dead in zip(runs, died, strict=True)]
    few = f", but {OF_ALL} where fewer than two of a model do" if min(train) < 2 else ""
    which = f"Verdicts are {OF_TRAINED}{few}."
    if any(died):
        return f"{which} {sum(died):,} of {sum(runs):,} runs died."
    fewest = min(runs)
    return f"{which} No run died. Of a model with {fewest} runs, up to {_most_dying(0, fewest)} % still may."


def _wanting(seeds: int, found: Difference, family: _Family) -> tuple[int | None, str]:
    """How many more seeds it would take to see the size that is asked for, if a number is known, and that in words.

    `seeds` train of the model with fewer.
    """
    size, needed = _size(found, family), fewest_seeds(family.pairs)
    more = more_seeds(found, size, family.undecided)
    known = None if more is None or more > MAX_SEEDS else max(more, needed - seeds) or None
    if seeds < needed:
        few = f"{seeds} seed{'s' * (seeds != 1)} {'is' if seeds == 1 else 'are'} too few"
        return known, f"{few} for {family.pairs:,} pair{'s' * (family.pairs != 1)}: it takes {needed}. {AFTER_A_LOOK}"
    what = f"the {_points(size)} points found" if size == found.estimate else f"{margin_points(size)} points"
    return known, _wanted(more, what, found.images)


def _wanted(more: int | None, what: str, images: int) -> str:
    if more is None:
        return f"No number of seeds shows {what} on {images:,} test images"
    if not more:
        return f"These seeds detect {what} with 80 % power, and the difference may be smaller"
    if more > MAX_SEEDS:
        return f"The seeds differ so much that {MAX_SEEDS:,} more each would not detect {what}"
    return f"Detecting {what} needs about {more} more seed{'s' * (more > 1)} each (80 % power). {AFTER_A_LOOK}"


def _size(found: Difference, family: _Family) -> float:
    """The margin; or as much as was found, where that were real if this pair stood alone."""
    return found.estimate if found.interval(CONFIDENCE).low > 0 else family.margin


def more_seeds(found: Difference, size: float, pairs: int = 1) -> int | None:
    """How many more seeds of each model show a true difference of `size` with 80 % power, at most MAX_SEEDS + 1.

    `pairs` are those that are not told apart yet, this one among them: Holm's method stopped at 5 % over their number,
    and goes on when one of them has a p-value below that. None where no number of seeds would do, since the images
    alone leave too much open.

    The variance over seeds shrinks in proportion to the seeds of each model, as the degrees of freedom grow; that over
    images goes down to what all seeds together would leave (`Difference.with_more`). How often as many then show it
    stands in docs/statistics.md.
    """
    confidence = 1 - (1 - CONFIDENCE) / pairs

    def enough(more: float) -> bool:
        return found.power(size, confidence, more) >= POWER

    return bisect_left(range(MAX_SEEDS + 1), True, key=enough) if enough(math.inf) else None


def margin_points(margin: float) -> str:
    """A margin in points, rounded up to a hundredth."""
    return f"{math.ceil(round(10_000 * margin, 6)) / 100:g}"


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
