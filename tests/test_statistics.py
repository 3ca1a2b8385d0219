"""Intervals: a worked example by hand, an exact formula of scipy, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from modelflow.statistics import Interval, prediction_interval

FIVE = [0.81, 0.80, 0.82, 0.815, 0.805]


def test_the_prediction_interval_is_students():
    half = stats.t(4).ppf(0.975) * np.std(FIVE, ddof=1) * math.sqrt(1.2)
    interval = prediction_interval(FIVE)
    assert (interval.low, interval.high) == pytest.approx((0.81 - half, 0.81 + half))
    assert half == pytest.approx(2.776445 * 0.00790569 * 1.0954451, rel=1e-6)


def test_a_fresh_test_sample_adds_its_variance():
    half = prediction_interval(FIVE, 10_000).high - 0.81
    spread = (prediction_interval(FIVE).high - 0.81) / stats.t(4).ppf(0.975)
    assert half == pytest.approx(stats.t(4).ppf(0.975) * math.sqrt(spread**2 + 0.81 * 0.19 / 10_000))


@pytest.mark.parametrize("n_images", [None, 500])
def test_one_more_run_lies_in_it_as_often_as_it_says(n_images):
    """The seeds alone are covered to the letter; with the sample's variance, which all seeds share, at least so."""
    rng = np.random.default_rng(0)
    runs = rng.normal(0.85, 0.006, (4000, 6))
    ends = [prediction_interval(list(row[:5]), n_images) for row in runs]
    tested = runs[:, 5] if n_images is None else rng.binomial(n_images, runs[:, 5]) / n_images
    covered = np.mean([value in interval for value, interval in zip(tested, ends, strict=True)])
    assert covered == pytest.approx(0.95, abs=0.012) if n_images is None else 0.95 <= covered <= 1


def test_its_ends_are_in_it():
    assert [value in Interval(0.2, 0.3) for value in (0.19, 0.2, 0.3, 0.31)] == [False, True, True, False]


def test_one_accuracy_predicts_nothing():
    with pytest.raises(ValueError, match="1 accuracies"):
        prediction_interval([0.9])
