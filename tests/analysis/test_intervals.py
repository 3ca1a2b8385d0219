"""Intervals and tests: the oracles are scipy, statsmodels, exact enumeration and examples; coverage is simulated."""

import itertools
import math
from bisect import bisect_left
from functools import partial

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from modelflow.analysis.intervals import (
    Difference,
    Interval,
    Side,
    _freedom_of_images,
    accuracy_interval,
    answers,
    bootstrap_difference,
    difference,
    difference_of,
    holm,
    mcnemar,
    mean_interval,
    most_dying,
    paired_difference,
    prediction_interval,
    score_interval,
    share_interval,
    values_interval,
    wilson_interval,
)
from modelflow.evaluation.measure import metric_named

FIVE = [0.81, 0.80, 0.82, 0.815, 0.805]


def ends(interval):
    return interval.low, interval.high


def right_or_wrong(rng, *shape, share=0.85):
    return rng.random(shape) < share


def test_the_ends_of_an_interval_are_in_it():
    assert [value in Interval(0.2, 0.3) for value in (0.19, 0.2, 0.3, 0.31)] == [False, True, True, False]


@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (1, 1), (8757, 10_000), (3, 7)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilsons_interval_is_that_of_statsmodels(right, images, confidence):
    expected = proportion_confint(right, images, alpha=1 - confidence, method="wilson")
    assert ends(wilson_interval(right, images, confidence)) == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_the_mean_is_students():
    expected = stats.t.interval(0.95, 4, np.mean(FIVE), stats.sem(FIVE))
    assert ends(mean_interval(FIVE)) == pytest.approx(expected)


def test_the_prediction_interval_is_students():
    half = stats.t(4).ppf(0.975) * np.std(FIVE, ddof=1) * math.sqrt(1.2)
    assert ends(prediction_interval(FIVE)) == pytest.approx((0.81 - half, 0.81 + half))
    assert half == pytest.approx(2.776445 * 0.00790569 * 1.0954451, rel=1e-6)


def test_seeds_that_agree_leave_what_rounding_to_whole_images_leaves():
    """Two seeds at 850 of 1,000: the true means may lie half an image to either side, their spread is not known."""
    half = stats.t(1).ppf(0.975) * math.sqrt(1 / 12 / 2) / 1000
    assert ends(accuracy_interval([0.85, 0.85], 1000)) == pytest.approx((0.85 - half, 0.85 + half))
    assert ends(accuracy_interval(FIVE, 1000)) == ends(mean_interval(FIVE))
    assert accuracy_interval([1.0, 1.0], 1000).high == 1.0


@pytest.mark.parametrize("interval", [mean_interval, prediction_interval, lambda two: prediction_interval(two, 100)])
def test_no_interval_of_an_accuracy_leaves_nought_to_one(interval):
    assert ends(interval([0.1, 0.9])) == (0.0, 1.0)


def test_a_fresh_test_sample_adds_its_variance():
    over_seeds = prediction_interval(FIVE).high - 0.81
    over_images = 1.959964 * math.sqrt(2 * 0.81 * 0.19 / 10_000)
    half = math.hypot(over_seeds, over_images)
    assert ends(prediction_interval(FIVE, 10_000)) == pytest.approx((0.81 - half, 0.81 + half))


@pytest.mark.parametrize("n_images", [None, 1000])
@pytest.mark.parametrize("seeds", [5, 30])
def test_one_more_run_lies_in_it_as_often_as_it_says(n_images, seeds):
    """All runs but the last share the error of their test sample."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(2000):
        runs = rng.normal(0.85, 0.006, seeds + 1)
        if n_images is not None:
            errors = rng.normal(0, math.sqrt(0.85 * 0.15 / n_images), 2)
            runs += np.repeat(errors, [seeds, 1])
        covered.append(runs[-1] in prediction_interval(list(runs[:-1]), n_images))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("interval", [mean_interval, prediction_interval])
def test_one_accuracy_is_not_enough(interval):
    with pytest.raises(ValueError, match="1 accuracies"):
        interval([0.9])


def test_mcnemars_test_is_that_of_statsmodels():
    rng = np.random.default_rng(1)
    for images in (5, 40, 1000):
        a, b = right_or_wrong(rng, images), right_or_wrong(rng, images, share=0.8)
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert mcnemar(a, b) == pytest.approx(mcnemar_of_statsmodels(table, exact=True).pvalue)
    assert mcnemar(a, a) == 1.0


def test_the_bootstrap_is_the_enumeration_of_all_samples():
    a, b = np.array([True, True, True, False, True]), np.array([True, False, True, True, False])
    differences = [(a[list(i)].mean() - b[list(i)].mean()) for i in itertools.product(range(5), repeat=5)]
    for confidence in (0.5, 0.8, 0.95, 0.998):
        expected = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
        assert ends(bootstrap_difference(a, b, confidence)) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_bootstrap_is_that_of_resampled_images_far_into_the_tails():
    rng = np.random.default_rng(3)
    a, b = right_or_wrong(rng, 400), right_or_wrong(rng, 400, share=0.8)
    drawn = [(a[which].mean() - b[which].mean()) for which in rng.integers(400, size=(40_000, 400))]
    for confidence in (0.95, 0.998):
        expected = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
        assert ends(bootstrap_difference(a, b, confidence)) == pytest.approx(tuple(expected), abs=0.006)
    assert ends(bootstrap_difference(a, a)) == (0.0, 0.0)
    assert ends(bootstrap_difference(a | True, a & False)) == (1.0, 1.0)


def test_holm_is_that_of_statsmodels():
    p_values = [0.01, 0.04, 0.03, 0.005, 0.9, 0.04]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


def test_the_difference_of_models_without_spread_over_seeds_is_the_paired_test():
    rng = np.random.default_rng(2)
    a, b = right_or_wrong(rng, 2000), right_or_wrong(rng, 2000, share=0.8)
    found = difference(np.stack([a] * 3), np.stack([b] * 3))
    paired = stats.ttest_rel(a.astype(float), b.astype(float))
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert found.error == pytest.approx((a.astype(float) - b).std(ddof=1) / math.sqrt(2000))
    assert found.p_value() == pytest.approx(paired.pvalue, rel=1e-6)


def test_the_difference_of_models_that_differ_by_seed_only_is_welchs_test():
    """Every image of a seed is right or wrong together: nothing varies over images."""
    a, b = np.array([1, 0, 1, 1, 0, 1, 1.0]), np.array([0, 0, 1, 0, 1.0])
    found = difference(np.tile(a[:, None], 5000), np.tile(b[:, None], 5000))
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value() == pytest.approx(welch.pvalue)
    assert found.freedom == pytest.approx(welch.df)
    low, high = welch.confidence_interval()
    assert ends(found.interval()) == pytest.approx((low, min(1.0, high)))
    assert high > 1.0


def made_of(estimate, seeds=(5, 5), of_seeds=(2e-7, 2e-7), left=(0.0, 0.0), over_images=6e-7, images=10**6):
    return Difference(estimate, tuple(map(Side, seeds, of_seeds, left)), over_images, images)


def test_equivalence_is_the_greater_of_two_one_sided_tests():
    found = made_of(0.002)
    assert (found.error, found.freedom) == pytest.approx((0.001, 8 * 10 / 4))
    below, above = stats.t.sf(7, 20), stats.t.sf(3, 20)
    assert found.p_value_of_equivalence(0.005) == pytest.approx(max(below, above))
    assert found.p_value_of_equivalence(0.001) > 0.5


def test_the_simultaneous_interval_is_bonferronis():
    found = made_of(0.002)
    half = stats.t.ppf(1 - 0.05 / 42, 20) * 0.001
    assert ends(found.simultaneous_interval(21)) == pytest.approx((0.002 - half, 0.002 + half))
    assert ends(found.simultaneous_interval(1)) == pytest.approx(ends(found.interval()))


@pytest.mark.parametrize("more", [0, 1, 7, 200, math.inf])
@pytest.mark.parametrize(
    ("seeds", "of_seeds", "left", "over_images", "images"),
    [
        ((5, 5), (2e-6, 1e-6), (1e-6, 1e-6), 5e-6, 10_000),  # the raw part counts
        ((3, 9), (2e-6, 1e-6), (3e-6, 1e-6), 3.5e-6, 10_000),  # nothing raw: half of that over images
        ((2, 30), (0.0, 1e-8), (0.0, 1e-8), 2e-8, 500),  # one image
    ],
)
def test_what_the_images_leave_open_with_more_seeds_follows_from_the_raw_parts(
    seeds, of_seeds, left, over_images, images, more
):
    found = made_of(0.01, seeds, of_seeds, left, over_images, images).with_more(more)
    shares = [n / (n + more) for n in seeds]
    seeds_k, left_k = (
        sum(share * part for share, part in zip(shares, parts, strict=True)) for parts in (of_seeds, left)
    )
    raw = over_images - sum(left)
    over_k = raw + left_k
    assert found.of_seeds == pytest.approx(seeds_k)
    assert found.of_images == pytest.approx(max(0.0, raw, over_k / 2 - seeds_k, images**-2 - seeds_k), abs=1e-18)
    assert found.estimate == 0.01


def test_seeds_added_leave_what_was_foretold():
    """The variance with 40 seeds of each, told from 10: the seeds' part shrinks to a quarter, the images' stays."""
    rng = np.random.default_rng(7)
    view_MN = rng.standard_normal(4000) * 2 + 0.5 * rng.standard_normal((2, 4000))
    ratios = []
    for _ in range(40):
        a, b = (view_N + rng.logistic(size=(40, 4000)) + 0.1 * rng.standard_normal((40, 1)) > -2 for view_N in view_MN)
        ratios.append(difference(a, b).error / difference(a[:10], b[:10]).with_more(30).error)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


def test_the_power_is_scipys_noncentral_t_with_what_is_known_of_the_error():
    found = made_of(0.0, (4, 4), (4e-6, 1e-6), (0.0, 0.0), 1e-6, 10_000)
    seeds = 4e-6 * 0.4 + 1e-6 * 0.4
    error, part = math.sqrt(seeds + 1e-6), (seeds + 1e-6) / seeds
    known, then = (seeds**2 / ((1.6e-6) ** 2 / n + (0.4e-6) ** 2 / n) * part for n in (3, 9))
    for size in (0.001, 0.005, 0.02):
        expected = stats.nct.cdf(size / error, known, stats.t.ppf(1 - 0.05 / 42, then))
        assert found.power(size, 1 - 0.05 / 21, more=6) == pytest.approx(expected, rel=1e-6)


def test_a_study_planned_by_another_finds_the_difference_as_often_as_it_said():
    """The error is known from five seeds of each alone; on average over them, the power holds."""
    rng, told = np.random.default_rng(8), []
    for _ in range(1000):
        variance = 2e-6 * rng.chisquare(4, 2) / 4
        found = made_of(0.0, (5, 5), tuple(variance), over_images=0.0, images=10**6)
        more = bisect_left(range(1000), 0.8, key=partial(found.power, 0.004, 0.95))
        a, b = (rng.normal(mean, math.sqrt(5 * 2e-6), 5 + more) for mean in (0.004, 0.0))
        told.append(stats.ttest_ind(a, b, equal_var=False).pvalue < 0.05)
    assert np.mean(told) == pytest.approx(0.82, abs=0.045)  # more seeds come by one, which adds a little


@pytest.mark.parametrize(("died", "runs"), [(0, 5), (1, 5), (3, 30), (4, 5), (5, 5)])
def test_as_many_runs_may_die_as_the_exact_bound_says(died, runs):
    expected = stats.binomtest(died, runs, alternative="less").proportion_ci(0.95, method="exact").high
    assert most_dying(died, runs) == pytest.approx(expected)


def test_two_runs_each_are_asked_for():
    with pytest.raises(ValueError, match="fewer than two seeds"):
        difference(np.ones((1, 9)), np.ones((5, 9)))


@pytest.mark.parametrize("images", [9, 355, 600, 740, 10_000])
def test_models_that_never_differ_are_as_alike_as_so_many_images_can_show(images):
    """By scipy's exact interval of a share of which none was seen; alike within half a point from 622 images on."""
    found = difference(np.ones((3, images)), np.ones((3, images)))
    most = stats.binomtest(0, images).proportion_ci(method="exact").high
    error = most / stats.norm.ppf(0.975)
    assert found.p_value_of_equivalence(0.005) == pytest.approx(stats.t.cdf(-0.005 / error, images - 1))
    assert (found.p_value_of_equivalence(0.005) < 0.05) == (images > 621)


@pytest.mark.parametrize("images", [1, 9, 355, 10_000])
def test_a_difference_is_known_to_one_image_at_best(images):
    found = difference(np.ones((3, images)), np.ones((3, images)))
    assert found.error == pytest.approx(1 / images)
    assert found.p_value() == 1.0


def test_one_image_tells_nothing():
    assert difference(np.ones((3, 1)), np.zeros((3, 1))).p_value() > 0.05


def test_easy_images_are_not_taken_for_equal_models():
    """99.9 and 99.3 % on a hundred images, where no seed has an image wrong more often than not."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(300):
        hard = rng.random(100)
        a, b = (np.tile(hard > 1 - share, (3, 1)) == 0 for share in (0.999, 0.993))
        wrong += difference(a, b).p_value_of_equivalence(0.005) < 0.05
    assert wrong <= 15


def test_the_degrees_of_freedom_lie_between_welchs_and_those_of_the_images():
    """Welch's, by scipy, times the total variance over the part of the seeds; the images' where seeds are all alike."""
    rng = np.random.default_rng(6)
    a, b = (rng.random(4000) < rng.normal(share, 0.01, (seeds, 1)) for share, seeds in ((0.8, 3), (0.85, 5)))
    found = difference(a, b)
    welch = stats.ttest_ind(a.mean(1), b.mean(1), equal_var=False)
    assert found.of_images > 0
    assert found.freedom == pytest.approx(welch.df * found.error**2 / found.of_seeds)
    assert difference(np.tile(a[:1], (3, 1)), np.tile(b[:1], (3, 1))).freedom == 3999


def test_two_runs_by_values_are_compared_by_the_paired_t_test():
    rng = np.random.default_rng(11)
    a_N, b_N = rng.exponential(1.0, 400), rng.exponential(1.1, 400)
    found, expected = paired_difference(a_N, b_N, bound=math.inf), stats.ttest_rel(a_N, b_N)
    assert found.p_value() == pytest.approx(expected.pvalue)
    for confidence in (0.95, 0.999):
        assert ends(found.interval(confidence)) == pytest.approx(tuple(expected.confidence_interval(confidence)))


def test_values_of_0_and_1_are_judged_as_right_and_wrong():
    rng = np.random.default_rng(12)
    a_SN, b_SN = rng.random((4, 300)) < 0.8, rng.random((3, 300)) < 0.7
    plain, valued = difference(a_SN, b_SN), difference(a_SN.astype(float), b_SN.astype(float))
    assert (valued.estimate, valued.error) == pytest.approx((plain.estimate, plain.error))
    assert valued.freedom == pytest.approx(plain.freedom)


def test_the_error_of_a_difference_of_values_is_that_of_new_seeds_and_images():
    """Exponential losses of models, seeds and images, drawn 2,000 times."""
    rng, found, errors = np.random.default_rng(13), [], []
    for _ in range(2000):
        images_N = rng.exponential(1.0, 200)
        sides = [
            images_N * rng.exponential(1.0, 200) + rng.normal(0, 0.05, (5, 1)) + rng.exponential(0.3, (5, 200))
            for _ in range(2)
        ]
        one = difference_of(*(answers(side_SN, bound=math.inf) for side_SN in sides))
        found.append(one.estimate)
        errors.append(one.error**2)
    assert np.sqrt(np.mean(errors)) == pytest.approx(np.std(found), rel=0.05)


def test_a_smaller_group_leaves_more_open():
    values_SN = np.full((3, 1010), 0.9)
    whole = difference_of(answers(values_SN), answers(values_SN))
    classes = difference_of(*[answers(values_SN, (1000, 10))] * 2)
    assert whole.error == pytest.approx(1 / 1010)
    assert classes.error == pytest.approx(1 / (2 * 10))
    assert classes.p_value_of_equivalence(0.12) > 0.05 > whole.p_value_of_equivalence(0.05)
    assert (whole.freedom, round(classes.freedom, 2)) == (1009, 9.18)


def test_groups_of_one_size_leave_as_much_open_as_all_their_images():
    assert _freedom_of_images((50,) * 4) == pytest.approx(4 * 49)
    assert _freedom_of_images((1, 1)) == 2


def test_the_interval_of_a_mean_loss_is_students_and_not_below_nothing():
    values_N = np.random.default_rng(14).exponential(0.3, 500)
    expected = stats.t.interval(0.95, 499, values_N.mean(), stats.sem(values_N))
    assert ends(values_interval(values_N)) == pytest.approx(expected)
    assert values_interval(np.array([0.0, 0.0, 0.1])).low == 0
    assert ends(values_interval(np.array([0.2]))) == (0.2, 0.2)


def test_the_interval_of_a_share_is_wilsons_where_all_images_count_alike():
    right_N = np.random.default_rng(15).random(2000) < 0.87
    ours, wilsons = share_interval(right_N.astype(float), ()), wilson_interval(int(right_N.sum()), 2000)
    assert ends(ours) == pytest.approx(ends(wilsons), abs=2e-5)
    assert ends(share_interval(np.ones(100), (50, 50))) == pytest.approx(ends(wilson_interval(100, 100)))
    wide = share_interval(np.ones(100), (95, 5))
    assert (wide.low, wide.high) == pytest.approx(ends(wilson_interval(19, 19)))


def test_the_interval_of_a_score_is_that_of_its_metric():
    accuracy, balanced, nll = map(metric_named, ("accuracy", "balanced_accuracy", "nll"))
    assert ends(score_interval(accuracy, FIVE, 1000)) == ends(accuracy_interval(FIVE, 1000))
    assert ends(score_interval(balanced, FIVE, 1000)) == ends(accuracy_interval(FIVE, 1000))
    losses = [1.2, 1.4, 1.3]
    expected = stats.t.interval(0.95, 2, np.mean(losses), stats.sem(losses))
    assert ends(score_interval(nll, losses, 1000)) == pytest.approx(expected)
    assert score_interval(accuracy, [0.8], 1000) is not None
    assert score_interval(balanced, [0.8], 1000) is None
