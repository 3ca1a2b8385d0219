"""A model in 8 bits beside the float's: which images choose its scales, and how its accuracy is told."""

import numpy as np
import pytest

from modelflow.data.sources import read_source
from modelflow.export.int8 import beside_float, calibration


def test_a_model_that_lost_images_is_told_to_be_worse():
    float_N = np.arange(1000) < 800
    int8_N = np.arange(1000) < 780
    words = beside_float("x.c", int8_N, float_N)
    assert words.startswith("x.c: accuracy 78.00%, float 80.00%. Difference -2.00 points")
    low, high = map(float, words.split("interval ")[1].split(",")[0].split(" to "))
    assert low < -2 < high < 0


def test_few_images_without_a_difference_leave_one_open():
    """By 46 images, of which none differs, up to 1 - 0.025 ** (1 / 46) = 7.7 % of all may (Clopper and Pearson)."""
    right_N = np.ones(46, bool)
    words = beside_float("x.c", right_N, right_N)
    low, high = map(float, words.split("interval ")[1].split(",")[0].split(" to "))
    assert -7.7 < low < -2 < 2 < high < 7.7


@pytest.mark.parametrize(("count", "found"), [(10, 10), (10**6, 1442)])
def test_scales_are_chosen_by_training_images_alone_evenly_spread(count, found):
    source = read_source("digits")
    images_NCHW = calibration(source, count)
    assert images_NCHW.shape == (found, 1, 8, 8)
    assert (images_NCHW[[0, -1], 0] == source.train_images[[0, -1]]).all()
