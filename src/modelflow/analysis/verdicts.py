"""What a study shows, in words: a verdict for each pair of models, none stronger than its interval. No torch.

verdicts = compare({"generic_1": correct_SN, "generic_2": correct_SN})
print(verdicts[0].words)          # generic_2 is better than generic_1 by 2.1 to 3.4 points

By accuracy, or by another metric, of which each image has a value in place of right or wrong. Whichever way a metric
runs, a difference is by how much the first is better.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Literal

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
    paired_difference,
)
from modelflow.analysis.units import amount_words, difference_words, margin_number, range_words
from modelflow.errors import UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import SHARE, Metric, Unit
from modelflow.io.array import Array

Kind = Literal["better", "equivalent", "cannot tell"]
MARGIN = ACCURACY.margin
MIN_IMAGES = 4  # that a margin of a share is worth at least
CONFIDENCE = 0.95
POWER = 0.8
MAX_SEEDS = 1000
MIN_SEEDS = ((1, 3), (21, 4), (780, 5), (math.inf, 10))  # up to so many pairs (docs/statistics.md)
USUAL_SEEDS = 5  # of a study, where fewer would do for a claim
AFTER_A_LOOK = "Adding seeds after seeing results makes 8 to 17 % false claims"  # as simulated (docs/statistics.md)
UNCERTAIN = "by an uncertain amount"  # where Holm's method is sharper than Bonferroni's interval
OF_TRAINED, OF_ALL = "of the runs that train", "of all runs"


@dataclass(frozen=True)
class Verdict:
    """`first` against `second`, the better one first; `p_value` is adjusted for the family of all `pairs`.

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
    def has_too_few_seeds(self) -> bool:
        """Whether nothing may be claimed of so few seeds that train, so that the pair is not tested."""
        return self.runs == OF_ALL or self.difference.seeds < fewest_seeds(self.pairs)

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
    values_by_model: Mapping[str, Array],
    margin: float | None = None,
    absent: int = 0,
    died: Mapping[str, Sequence[bool]] | None = None,
    metric: Metric = ACCURACY,
    groups: tuple[int, ...] = (),
) -> list[Verdict]:
    """A verdict for each pair of models, from whether each seed (S, two or more) has each image (N) right: S x N.

    Of another `metric` these are its `values`, and `groups` are its own of the labels. All are tested on the same
    images. A difference is called real when its p-value, by Holm's method over all pairs, is
    below 5 %; two models are called equivalent when, by Holm's method too, the p-value of a difference of `margin` or
    more is below 5 % (left out: see `default_margin`). Few seeds are too few for that to hold among many pairs, or for
    models whose seeds spread unequally. So a pair of fewer seeds than `fewest_seeds` counts with a p-value of 1, as do
    the pairs of models that are `absent`: without predictions, or not shown. Neither damage nor choosing the best to
    show makes a pair better.

    `died` says by model which of its runs did. All verdicts are of the runs that train, but for pairs of a model of
    which fewer than two do: of such a pair nothing is claimed, and its difference is of all runs.
    """
    sides = {name: _merits(values_SN, metric) for name, values_SN in values_by_model.items()}
    models = [_model(name, side_SN, (died or {}).get(name), metric, groups) for name, side_SN in sides.items()]
    pairs = [_ordered(a, b) for a, b in combinations(models, 2)]
    found = [difference_of(*_judged(a, b)) for a, b in pairs]
    family_pairs = math.comb(len(models) + absent, 2)
    margin = default_margin(found[0].images if found else 1, metric) if margin is None else margin
    claimable = [min(a.trained, b.trained) >= fewest_seeds(family_pairs) for a, b in pairs]
    of_difference = _adjusted([one.p_value() for one in found], claimable, family_pairs)
    of_equivalence = _adjusted([one.p_value_of_equivalence(margin) for one in found], claimable, family_pairs)
    undecided = family_pairs - sum(p < 1 - CONFIDENCE for p in of_difference)
    family = _Family(margin, family_pairs, undecided, metric.unit)
    both = zip(of_difference, of_equivalence, strict=True)
    return [_verdict(*pair, one, *ps, family) for pair, one, ps in zip(pairs, found, both, strict=True)]


def _merits(values: Array, metric: Metric) -> Array:
    """The values of a metric so that more is better."""
    return -np.asarray(values, float) if metric.less_is_better else np.asarray(values)


def _model(name: str, values_SN: Array, died: Sequence[bool] | None, metric: Metric, groups: tuple[int, ...]) -> _Model:
    how = groups, metric.unit.most
    every, dead_S = answers(values_SN, *how), np.asarray([False] * len(values_SN) if died is None else died, bool)
    trained_SN = values_SN[~dead_S]
    training = every if not dead_S.any() else answers(trained_SN, *how) if len(trained_SN) > 1 else None
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


def seeds_from_the_start(pairs: int) -> int:
    """How many seeds of each to plan a study of so many pairs with."""
    return max(fewest_seeds(pairs), USUAL_SEEDS)


def seeds_wanted(models: int, seeds: int) -> str:
    """Before a study is trained: that it has too few seeds for any claim on its models; empty where it has enough."""
    pairs = math.comb(models, 2)
    needed = fewest_seeds(pairs)
    if models < 2 or seeds >= needed:
        return ""
    return (
        f"{models} models with {seeds} seed{'s' * (seeds != 1)} each cannot show which is better. That takes {needed} "
        f"or more. Give --seeds {seeds_from_the_start(pairs)} from the start."
    )


def default_margin(images: int, metric: Metric = ACCURACY) -> float:
    """The metric's own; of a share at least four of so many test images."""
    return max(metric.margin, MIN_IMAGES / images) if metric.unit is SHARE else metric.margin


def margin_of(given: float | None, images: int, metric: Metric = ACCURACY) -> float:
    """The margin asked for in points, or the metric's own unit, as a number of 1; left out, the default.

    Raises `UsageError` for what is not above 0, and of a share for less than four test images.
    """
    if given is None:
        return default_margin(images, metric)
    if metric.unit is not SHARE:
        if not 0 < given < math.inf:
            raise UsageError(
                f"margin {given:g}: expected {metric.unit.difference} of {metric.title}, above 0. "
                f"Give such as {metric.margin:g}."
            )
        return given
    if not 100 * MIN_IMAGES <= round(given * images, 6) < 100 * images:
        raise UsageError(
            f"margin {given:g}: expected points of {metric.title}, below 100 and worth at least {MIN_IMAGES} of the "
            f"{images:,} test images. Give {margin_number(MIN_IMAGES / images, SHARE)} or more."
        )
    return given / 100


def margin_words(margin: float, images: int, unit: Unit = SHARE) -> str:
    """The margin in its unit, and why where it is the default for few images: "1.13 points (4 of 355 test images)"."""
    made_so = unit is SHARE and math.isclose(margin, MIN_IMAGES / images)
    why = f" ({MIN_IMAGES} of {images:,} test images)" if made_so else ""
    return f"{amount_words(margin, unit)}{why}"


@dataclass(frozen=True)
class RunVerdict:
    """One run against another on the same images, the better one first; nothing of other seeds.

    The intervals are of the difference over images like these (paired bootstrap): `pair_interval` 95 % for this pair
    alone, `simultaneous_interval` 95 % for all pairs at once. `p_value` is McNemar's, exact, and adjusted for the
    family of all pairs. By another metric than accuracy all three are the paired t test's (`paired_difference`).
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


@dataclass(frozen=True)
class _Pair:
    """What is found of two runs: the difference, its p-value, its interval of a confidence."""

    estimate: float
    p_value: float
    interval: Callable[[float], Interval]


def compare_runs(
    values_by_run: Mapping[str, Array], metric: Metric = ACCURACY, groups: tuple[int, ...] = ()
) -> list[RunVerdict]:
    """A verdict for each pair of runs, from whether each has each image right. As `compare`, but for one run each."""
    sides = {name: _merits(values_N, metric) for name, values_N in values_by_run.items()}
    pairs = [(a, b) if sides[a].mean() >= sides[b].mean() else (b, a) for a, b in combinations(sides, 2)]
    found = [_pair(sides[a], sides[b], metric, groups) for a, b in pairs]
    adjusted = holm([one.p_value for one in found])
    judged = zip(pairs, found, adjusted, strict=True)
    return [_run_verdict(a, b, one, p, len(pairs), metric.unit) for (a, b), one, p in judged]


def _pair(a_N: Array, b_N: Array, metric: Metric, groups: tuple[int, ...]) -> _Pair:
    if metric is ACCURACY:
        a_N, b_N = a_N.astype(bool), b_N.astype(bool)
        estimate = float(a_N.mean() - b_N.mean())
        return _Pair(estimate, mcnemar(a_N, b_N), partial(bootstrap_difference, a_N, b_N))
    found = paired_difference(a_N, b_N, groups, metric.unit.most)
    return _Pair(found.estimate, found.p_value(), found.interval)


def _run_verdict(a: str, b: str, found: _Pair, p_value: float, pairs: int, unit: Unit) -> RunVerdict:
    alone, among_all = (found.interval(1 - (1 - CONFIDENCE) / n) for n in (1, pairs))
    first, second = f"this run of {a}", f"this run of {b}"
    better = p_value < 1 - CONFIDENCE and alone.low > 0
    words = (
        f"{_better(first, second, among_all, unit)}. Other seeds may differ"
        if better
        else _open(first, second, among_all, unit)
    )
    kind: Kind = "better" if better else "cannot tell"
    return RunVerdict(a, b, kind, found.estimate, alone, among_all, p_value, words)


def _better(first: str, second: str, interval: Interval, unit: Unit) -> str:
    """The simultaneous interval may hold 0 where Holm's method, which is sharper, tells the two apart."""
    span = f"{range_words(interval, unit)} {unit.difference}"
    if interval.low > 0:
        return f"{first} is better than {second} by {span}"
    return f"{first} is better than {second} {UNCERTAIN} ({span}, an interval more cautious than the test)"


def _open(first: str, second: str, interval: Interval, unit: Unit) -> str:
    return f"{first} vs {second}: inconclusive ({range_words(interval, unit)} {unit.difference})"


@dataclass(frozen=True)
class _Family:
    """What is asked of all pairs, how many they are, how many are not told apart, in what a difference is told."""

    margin: float
    pairs: int
    undecided: int
    unit: Unit


def _verdict(
    a: _Model, b: _Model, found: Difference, p_value: float, of_equivalence: float, family: _Family
) -> Verdict:
    """What can be claimed of a pair, and of which runs where some died."""
    kind: Kind = "cannot tell"
    interval, more, then = found.simultaneous_interval(family.pairs), None, ""
    if p_value < 1 - CONFIDENCE:
        kind, words = "better", _better(a.name, b.name, interval, family.unit)
    elif of_equivalence < 1 - CONFIDENCE:
        within = f"within {amount_words(family.margin, family.unit)}"
        kind, words = "equivalent", f"{a.name} and {b.name} are equivalent {within}"
    else:
        more, wanting = _wanting(min(a.trained, b.trained), found, family)
        words, then = _open(a.name, b.name, interval, family.unit), f". {wanting}"
    of_all_runs = difference_of(a.every, b.every) if a.died or b.died else None
    verdict = Verdict(a.name, b.name, kind, found, p_value, words + then, more, family.pairs, of_all_runs)
    if not of_all_runs:
        return verdict
    return replace(verdict, words=f"{words}, {verdict.runs}{then}{_deaths(a, b, verdict, family.unit)}")


def _deaths(a: _Model, b: _Model, verdict: Verdict, unit: Unit) -> str:
    """How many runs died of how many, how many more would, and the difference of all runs if that is another."""
    said = [f". {side.name}: {deaths_words(side.died, side.runs)}" for side in (a, b) if side.died]
    if verdict.of_all_runs and verdict.runs != OF_ALL:
        span = range_words(verdict.of_all_runs.simultaneous_interval(verdict.pairs), unit)
        said.append(f". Of all runs: {difference_words(verdict.of_all_runs.estimate, unit)} ({span})")
    return "".join(said)


def deaths_words(died: int, runs: int) -> str:
    """ "1 of 5 runs died (up to 66 % of runs would)": the bound is one-sided, 95 %, rounded up."""
    return f"{died} of {runs} run{'s' * (runs != 1)} died (up to {most_dying_percent(died, runs)} % of runs would)"


def most_dying_percent(died: int, runs: int) -> int:
    """Up to how many runs in a hundred die, by how many of `runs` did: one-sided, 95 %, rounded up."""
    return math.ceil(round(100 * most_dying(died, runs), 6))


def trained_words(died: Sequence[int], runs: Sequence[int]) -> str:
    """What verdicts are of, from how many runs of each model died: runs that never die in few seeds may in others."""
    train = [of - dead for of, dead in zip(runs, died, strict=True)]
    few = f", but {OF_ALL} where fewer than two of a model do" if min(train) < 2 else ""
    which = f"Verdicts are {OF_TRAINED}{few}."
    if any(died):
        return f"{which} {sum(died):,} of {sum(runs):,} runs died."
    least, most = min(runs), max(runs)
    each = f"{least} run{'s' * (least != 1)}" if least == most else f"{least} to {most} runs"
    return f"{which} No run died (0 of {sum(runs):,}). {each} of each model cannot rule out rare failures."


def _wanting(seeds: int, found: Difference, family: _Family) -> tuple[int | None, str]:
    """How many more seeds would show the size that is asked for, if a number is known, and in words how many in all.

    `seeds` train of the model with fewer.
    """
    size, needed = size_asked(found, family.margin), fewest_seeds(family.pairs)
    more = more_seeds(found, size, family.undecided)
    known = None if more is None or more > MAX_SEEDS else max(more, needed - seeds) or None
    if seeds < needed:
        few = f"{seeds} seed{'s' * (seeds != 1)} {'is' if seeds == 1 else 'are'} too few"
        return known, f"{few} for {family.pairs:,} pair{'s' * (family.pairs != 1)}: it takes {needed}. {AFTER_A_LOOK}"
    seen = f"the {difference_words(size, family.unit)} found"
    what = seen if size == found.estimate else amount_words(size, family.unit)
    return known, _wanted(more, what, found)


def _wanted(more: int | None, what: str, found: Difference) -> str:
    if more is None:
        return f"No number of seeds shows {what} on {found.images:,} test images"
    if not more:
        return f"These seeds detect {what} with 80 % power, and the difference may be smaller"
    if more > MAX_SEEDS:
        return f"The seeds differ so much that {MAX_SEEDS:,} each would not detect {what}"
    needed = math.ceil(found.seeds + more)
    return f"Detecting {what} takes a new study with about {needed:,} seeds each (80 % power). {AFTER_A_LOOK}"


def size_asked(found: Difference, margin: float) -> float:
    """What seeds are counted for: the margin; or as much as was found, where that is real of this pair alone."""
    return found.estimate if found.interval(CONFIDENCE).low > 0 else margin


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
