"""Intervals and tests: the oracles are scipy, statsmodels, exact enumeration and examples; coverage is simulated."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from modelflow.statistics import (
    Difference,
    Interval,
    accuracy_interval,
    bootstrap_difference,
    difference,
    holm,
    mcnemar,
    mean_interval,
    prediction_interval,
    wilson_interval,
)

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
    expected = np.quantile(differences, [0.025, 0.975])
    assert ends(bootstrap_difference(a, b, resamples=100_000)) == pytest.approx(tuple(expected), abs=1e-9)


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
    assert ends(found.interval()) == pytest.approx(ends(welch.confidence_interval()))


def test_equivalence_is_the_greater_of_two_one_sided_tests():
    found = Difference(0.002, 4e-7, 6e-7, 8.0, 5)
    below, above = stats.t.sf(7, 8), stats.t.sf(3, 8)
    assert found.p_value_of_equivalence(0.005) == pytest.approx(max(below, above))
    assert found.p_value_of_equivalence(0.001) > 0.5


def test_two_runs_each_are_asked_for():
    with pytest.raises(ValueError, match="fewer than two seeds"):
        difference(np.ones((1, 9)), np.ones((5, 9)))


@pytest.mark.parametrize("images", [1, 9, 355, 700, 740, 10_000])
def test_models_that_never_differ_are_as_alike_as_so_many_images_can_show(images):
    """By scipy's exact interval of a share of which none was seen."""
    found = difference(np.ones((3, images)), np.ones((3, images)))
    most = stats.binomtest(0, images).proportion_ci(method="exact").high
    assert ends(found.interval()) == pytest.approx((-found.interval().high, found.interval().high))
    assert found.interval().high >= 0.999 * most
    assert found.p_value() == 1.0
    assert (found.p_value_of_equivalence(0.005) < 0.025) == (images >= 740)


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
