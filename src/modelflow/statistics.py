"""Intervals over accuracies of several seeds: pure functions, each with its source. No torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both in it."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def prediction_interval(accuracies: Sequence[float], n_images: int | None = None, confidence: float = 0.95) -> Interval:
    """Where the accuracy of one more run, with another seed, lies with this confidence: shares of 1.

    Student's t over the seeds (Hahn and Meeker, Statistical Intervals, section 4.4). With `n_images` the variance of a
    fresh test sample of that size, p (1 - p) / n, is added: for a run that was tested on other images. Raises
    `ValueError` for fewer than two accuracies.
    """
    n = len(accuracies)
    if n < 2:
        raise ValueError(f"{n} accuracies; expected at least two")
    mean, variance = float(np.mean(accuracies)), float(np.var(accuracies, ddof=1))
    sampling = 0.0 if n_images is None else mean * (1 - mean) / n_images
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance * (1 + 1 / n) + sampling)
    return Interval(mean - half, mean + half)
