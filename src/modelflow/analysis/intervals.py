"""What scores and predictions can show: intervals and tests, pure functions, each with its source. No torch.

Accuracies and shares are of 1. `correct_N` says for each image whether a run was right; `correct_SN` the same for S
seeds of one model on the same N images. `values_N` and `values_SN` are of any metric: their mean over the images is the
score (`evaluation/scores/score.py`). Of an accuracy they are `correct_N` and `correct_SN`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import SHARE, Metric
from modelflow.io.array import Array

MIN_SHARE = 0.5  # of the variance over images alone, that of a difference (docs/statistics.md)


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both in it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Side:
    """What a difference knows of one model: how many `seeds`, and the variances of their mean score.

    `of_seeds` is that over seeds, `left` what is left within an image and a seed.
    """

    seeds: float
    of_seeds: float
    left: float

    def with_more(self, more: float) -> "Side":
        """As it would be with so many more seeds of the same kind."""
        share = self.seeds / (self.seeds + more)
        return Side(self.seeds + more, self.of_seeds * share, self.left * share)


@dataclass(frozen=True)
class Difference:
    """How much better a model is than another, and how far that can be trusted.

    Kept are the raw parts: the two `sides`, the variance `over_images` of the mean difference, and the number of
    `images`. What follows from them can then be told of other numbers of seeds too. `groups` says how many images count
    alike, where each group counts as much; left out, all do. No difference is greater than `bound`.
    """

    estimate: float
    sides: tuple[Side, Side]
    over_images: float
    images: int
    groups: tuple[int, ...] = ()
    bound: float = 1.0

    @property
    def seeds(self) -> int:
        """Of the model with fewer."""
        return int(min(side.seeds for side in self.sides))

    @property
    def of_seeds(self) -> float:
        """The variance of the estimate that comes from the seeds."""
        return self.sides[0].of_seeds + self.sides[1].of_seeds

    @property
    def of_images(self) -> float:
        """The variance of the estimate that comes from the images.

        That over images counts what is left within an image and a seed, which the seeds' counts too: it is taken out.
        Of both sources together the variance is at least MIN_SHARE of that over images, so that few seeds that agree by
        chance give no certainty, and at least that of one image of the smallest group: 1 / N of one group.
        """
        raw = self.over_images - self.sides[0].left - self.sides[1].left
        one_image = (len(self._groups) * min(self._groups)) ** -2
        return max(0.0, raw, max(MIN_SHARE * self.over_images, one_image) - self.of_seeds)

    @property
    def error(self) -> float:
        """The standard error of the estimate."""
        return math.sqrt(self.of_seeds + self.of_images)

    @property
    def freedom(self) -> float:
        """Student's degrees of freedom."""
        return self._freedom(self.of_images, self.sides)

    def interval(self, confidence: float = 0.95) -> Interval:
        """Where the true difference lies with this confidence."""
        half = _t_quantile(confidence, self.freedom) * self.error
        return Interval(max(-self.bound, self.estimate - half), min(self.bound, self.estimate + half))

    def simultaneous_interval(self, pairs: int) -> Interval:
        """As `interval`, with 95 % for so many pairs all at once: estimate ± t(1 - 0.05 / 2P) errors (Bonferroni)."""
        return self.interval(1 - 0.05 / pairs)

    def p_value(self) -> float:
        """Of no difference at all, two-sided."""
        return float(2 * special.stdtr(self.freedom, -abs(self.estimate) / self.error))

    def p_value_of_equivalence(self, margin: float) -> float:
        """Of a difference of `margin` or more, either way: the greater of two one-sided tests.

        Schuirmann, "A comparison of the two one-sided tests procedure …" (1987). The variance is besides at least that
        of what may differ unseen: when no image of n differs, up to 1 - 0.025 ** (1 / n) of all such images may (95 %;
        Clopper and Pearson, 1934).
        """
        unseen = sum(map(_unseen, self._groups)) / len(self._groups) ** 2
        of_images = max(self.of_images, unseen - self.of_seeds)
        error, freedom = math.sqrt(self.of_seeds + of_images), self._freedom(of_images, self.sides)
        return float(special.stdtr(freedom, (abs(self.estimate) - margin) / error))

    def with_more(self, more: float) -> "Difference":
        """The same found with so many more seeds of each model; with `math.inf`, what the images leave open."""
        sides = (self.sides[0].with_more(more), self.sides[1].with_more(more))
        left = sum(after.left - before.left for before, after in zip(self.sides, sides, strict=True))
        return replace(self, sides=sides, over_images=self.over_images + left)

    def power(self, size: float, confidence: float = 0.95, more: float = 0) -> float:
        """How often a true difference of `size` shows at this confidence, given so many more seeds of each model.

        The error is known from the seeds that there are. So it is averaged over what it may be, by a noncentral t
        distribution with their degrees of freedom (Julious and Owen, Pharmaceutical Statistics 5, 2006).
        """
        then = self.with_more(more)
        known = then._freedom(then.of_images, self.sides)
        return float(special.nctdtr(known, _t_quantile(confidence, then.freedom), size / then.error))

    def _freedom(self, of_images: float, known_by: tuple[Side, Side]) -> float:
        """Of the sum of the variances: Welch's degrees of freedom of the seeds' (1947), times total over their part.

        Satterthwaite (1946) squares that ratio. When few seeds lie close together by chance, that takes the estimate
        for surer than it is: seven equal models of three seeds each gave a false claim in 8 to 9 studies of 100, and
        give one in 4 to 5 so (docs/statistics.md). The two agree where either part is nothing.
        """
        most = _freedom_of_images(self._groups)
        squares = sum(now.of_seeds**2 / (by.seeds - 1) for now, by in zip(self.sides, known_by, strict=True))
        of_seeds = self.of_seeds
        return min(of_seeds * (of_seeds + of_images) / squares, most) if squares else most

    @property
    def _groups(self) -> tuple[int, ...]:
        return self.groups or (self.images,)


def _freedom_of_images(groups: Sequence[int]) -> float:
    """The degrees of freedom of the variance over images: their number less one.

    Of a mean over several groups those of Satterthwaite (1946), were the variance within each the same.
    """
    if len(groups) == 1:
        return float(max(groups[0] - 1, 1))
    parts = [1 / images for images in groups]
    return sum(parts) ** 2 / sum(part**2 / max(n - 1, 1) for part, n in zip(parts, groups, strict=True))


def _t_quantile(confidence: float, freedom: float) -> float:
    """How many standard errors the interval of this confidence reaches either way."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def wilson_interval(right: float, images: float, confidence: float = 0.95) -> Interval:
    """Of the accuracy of one run over all images like the (at least one) it was tested on. Wilson (1927)."""
    z = float(special.ndtri((1 + confidence) / 2))
    share = right / images
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def share_interval(values_N: Array, groups: Sequence[int], confidence: float = 0.95) -> Interval:
    """Of the score of one run, a share that is no plain one, over all images like those it was tested on.

    Wilson's interval of the score, as if found on so many images that its variance is that of the values' mean: their
    effective number (Kish, Survey Sampling, 1965, section 8.2; Franco and others, Journal of Survey Statistics and
    Methodology 7, 2019). Where the values do not vary, that of a mean over the groups.
    """
    images, share = len(values_N), float(np.clip(values_N.mean(), 0, 1))
    variance = float(values_N.var(ddof=1)) / images if images > 1 else 0.0
    least = len(groups) ** 2 / sum(1 / n for n in groups) if groups else images
    effective = share * (1 - share) / variance if variance else least
    return wilson_interval(share * effective, effective, confidence)


def values_interval(values_N: Array, confidence: float = 0.95) -> Interval:
    """Of the mean of positive values over all images like these, such as a loss: Student's t."""
    n, mean, variance = len(values_N), float(values_N.mean()), float(values_N.var(ddof=1)) if len(values_N) > 1 else 0.0
    return _within(mean, _t_quantile(confidence, max(n - 1, 1)) * math.sqrt(variance / n), math.inf)


def mean_interval(scores: Sequence[float], confidence: float = 0.95, most: float = 1.0) -> Interval:
    """Of the mean score over all seeds, on the same images: Student's t, no more than `most`.

    Raises `ValueError` for fewer than two.
    """
    n, mean, variance = _moments(scores)
    return _within(mean, _t_quantile(confidence, n - 1) * math.sqrt(variance / n), most)


def accuracy_interval(accuracies: Sequence[float], n_images: int) -> Interval:
    """95 %: of the mean over several seeds, or of one run over images like those it was tested on."""
    if len(accuracies) < 2:
        return wilson_interval(round(accuracies[0] * n_images), n_images)
    return seeds_interval(accuracies, n_images)


def seeds_interval(scores: Sequence[float], n_images: int) -> Interval:
    """95 %: of the mean share over several seeds, as `mean_interval`.

    Seeds that agree are no certainty: an accuracy is a whole number of images, and the interval of the mean is at least
    what that rounding leaves open, with a standard deviation of 1 / sqrt(12) of an image (Sheppard, 1898).
    """
    n = len(scores)
    found, mean = mean_interval(scores), sum(scores) / n
    rounding = _within(mean, _t_quantile(0.95, n - 1) / n_images / math.sqrt(12 * n), 1.0)
    return Interval(min(found.low, rounding.low), max(found.high, rounding.high))


def score_interval(
    metric: Metric, scores: Sequence[float], n_images: int, values_N: Array | None = None, groups: Sequence[int] = ()
) -> Interval | None:
    """95 %: of the mean over several seeds, or of one run over images like those it was tested on.

    The latter is of the `values_N` of a run, and None without them, unless the metric is accuracy.
    """
    if metric is ACCURACY:
        return accuracy_interval(scores, n_images)
    if len(scores) > 1:
        share = metric.unit is SHARE
        return seeds_interval(scores, n_images) if share else mean_interval(scores, most=metric.unit.most)
    if values_N is None:
        return None
    return share_interval(values_N, groups) if metric.unit is SHARE else values_interval(values_N)


def prediction_interval(
    accuracies: Sequence[float], n_images: int | None = None, confidence: float = 0.95, most: float = 1.0
) -> Interval:
    """Where the accuracy of one more run, with another seed, lies with this confidence.

    Student's t over the seeds (Hahn and Meeker, Statistical Intervals, section 4.4). With `n_images`, the number that
    all were tested on, it is for a run tested on as many other images: both samples' variances, p (1 - p) / n each,
    widen it, the squares of the half-widths added (Zou and Donner, 2008). It does not reach above `most`. Raises
    `ValueError` for fewer than two accuracies.
    """
    n, mean, variance = _moments(accuracies)
    over_seeds = _t_quantile(confidence, n - 1) * math.sqrt(variance * (1 + 1 / n))
    of_images = 0.0 if n_images is None else 2 * mean * (1 - mean) / n_images
    half = math.hypot(over_seeds, float(special.ndtri((1 + confidence) / 2)) * math.sqrt(of_images))
    return _within(mean, half, most)


def _within(middle: float, half: float, most: float) -> Interval:
    """Within 0 and `most`."""
    return Interval(max(0.0, middle - half), min(most, middle + half))


def _moments(accuracies: Sequence[float]) -> tuple[int, float, float]:
    if len(accuracies) < 2:
        raise ValueError(f"{len(accuracies)} accuracies, expected at least two")
    return len(accuracies), float(np.mean(accuracies)), float(np.var(accuracies, ddof=1))


def mcnemar(correct_a_N: Array, correct_b_N: Array) -> float:
    """The exact p-value, two-sided, of two runs being equally accurate, from the images that only one has right.

    McNemar (1947), by the binomial distribution.
    """
    only_a, only_b = int((correct_a_N & ~correct_b_N).sum()), int((correct_b_N & ~correct_a_N).sum())
    return min(1.0, 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def bootstrap_difference(correct_a_N: Array, correct_b_N: Array, confidence: float = 0.95) -> Interval:
    """Of the difference in accuracy of two runs (a less b): percentiles over resampled images, the same for both.

    Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13. An image adds 1, 0 or -1 to the difference; so
    the distribution over all resamples is a power of that of one image, and is exact, without drawing any.
    """
    n = len(correct_a_N)
    only_a, only_b = int((correct_a_N & ~correct_b_N).sum()), int((correct_b_N & ~correct_a_N).sum())
    places = 2 ** math.ceil(math.log2(2 * n + 1))  # -n to n, in a size that is fast to transform
    turn = np.exp(2j * np.pi * np.arange(places) / places)
    chances = np.fft.fft(((only_a * turn + only_b / turn + n - only_a - only_b) / n) ** n).real / places
    below = np.cumsum(np.roll(chances, n))
    low, high = np.searchsorted(np.maximum.accumulate(below), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval((int(low) - n) / n, (int(high) - n) / n)


def paired_difference(
    values_a_N: Array, values_b_N: Array, groups: tuple[int, ...] = (), bound: float = 1.0
) -> Difference:
    """Of two runs on the same images (a less b), over all images like these: the paired t test (Student, 1908).

    It says nothing of other seeds. `groups` and `bound` are as for `Difference`.
    """
    alone = Side(math.inf, 0.0, 0.0)  # whose seeds leave nothing open
    return difference_of(Answers(values_a_N, alone, groups, bound), Answers(values_b_N, alone, groups, bound))


@dataclass(frozen=True, eq=False)
class Answers:
    """What a difference needs to know of one model's S seeds on N images: see `answers`."""

    mean_N: Array = field(repr=False)
    side: Side
    groups: tuple[int, ...] = ()
    bound: float = 1.0


def answers(values_SN: Array, groups: tuple[int, ...] = (), bound: float = 1.0) -> Answers:
    """The mean over seeds of each image's value, the variance of the seeds' mean score, and what is left beside both.

    What is left is the variance within an image and a seed after both are taken out, of the mean score. `groups` and
    `bound` are as for `Difference`. Raises `ValueError` for fewer than two seeds.
    """
    values_SN = np.asarray(values_SN)
    seeds, images = values_SN.shape
    if seeds < 2:
        raise ValueError("fewer than two seeds. With one run each, use bootstrap_difference and mcnemar")
    by_seed_S, mean_N = values_SN.mean(1, dtype=float), values_SN.mean(0, dtype=float)
    rest = _rest(values_SN, by_seed_S, mean_N)
    left = max(0.0, rest) / ((seeds - 1) * max(images - 1, 1))
    side = Side(seeds, float(by_seed_S.var(ddof=1)) / seeds, left / (images * seeds))
    return Answers(mean_N, side, groups, bound)


def _rest(values_SN: Array, by_seed_S: Array, mean_N: Array) -> float:
    """The sum of squares that neither seeds nor images explain."""
    seeds, images = values_SN.shape
    if values_SN.dtype != bool:
        return float(((values_SN - by_seed_S[:, None] - mean_N + mean_N.mean()) ** 2).sum())
    right = by_seed_S.sum() * images  # the sum of squares too, of 0 and 1
    return float(right - images * by_seed_S @ by_seed_S - seeds * mean_N @ mean_N + right**2 / (seeds * images))


def difference(values_a_SN: Array, values_b_SN: Array) -> Difference:
    """Of two models with several seeds each on the same images, over all seeds and all images like these (a less b).

    Raises `ValueError` for fewer than two seeds of a model.
    """
    return difference_of(answers(values_a_SN), answers(values_b_SN))


def difference_of(a: Answers, b: Answers) -> Difference:
    """As `difference`, of answers summed up before.

    Seeds and images are crossed: the variance is that of the seeds' scores, of each model, plus that of the images'
    mean differences, less what both count, which is the variance that is left within an image and a seed (two-way
    analysis of variance; Owen, "The pigeonhole bootstrap", 2007).
    """
    difference_N = a.mean_N - b.mean_N
    n = len(difference_N)
    over_images = float(difference_N.var(ddof=1)) / n if n > 1 else 0.0
    return Difference(float(difference_N.mean()), (a.side, b.side), over_images, n, a.groups, a.bound)


def _unseen(images: int) -> float:
    """The variance whose 95 % interval, around nothing, reaches the share that may differ though none of these does."""
    return float(((1 - 0.025 ** (1 / images)) / special.ndtri(0.975)) ** 2)


def most_dying(died: int, runs: int) -> float:
    """The share of all runs that may die when so many of these did: the one-sided 95 % upper bound.

    Clopper and Pearson, Biometrika 26, 1934.
    """
    return 1.0 if died == runs else float(special.betaincinv(died + 1, runs - died, 0.95))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family of tests, adjusted so that the family errs as seldom as one test. Holm (1979)."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values, float)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]
