import numpy as np
import pytest

from modelflow.figures.lr_finder import plot_lr_finder, range_test
from modelflow.figures.style import png

LRS = [1e-4, 1e-3, 1e-2, 1e-1]


def test_what_is_not_finite_is_left_out_and_told():
    curve = range_test(LRS, [2.3, 2.0, 1.0, float("nan")])
    assert curve.losses.tolist() == [2.3, 2.0, 1.0]
    assert curve.diverged_at == 1e-1


def test_a_blow_up_does_not_flatten_the_curve():
    bottom, top = range_test(LRS, [2.3, 1.3, 1.5, 1e6]).limits
    assert 1.0 < bottom < 1.3
    assert 2.3 < top < 5


def test_an_ordinary_curve_is_shown_whole():
    bottom, top = range_test(LRS, [2.3, 1.3, 1.5, 2.8]).limits
    assert bottom < 1.3
    assert top > 2.8


def test_the_picture_says_what_each_method_suggests(words):
    said = words(plot_lr_finder(LRS, [2.3, 2.0, 1.0, 2.0], 4.86e-3, 2.1e-3, "valley", "generic_2: range test"))
    for expected in ("generic_2: range test", "learning rate (logarithmic)", "smoothed training loss"):
        assert expected in said
    assert "steepest point: 4.86e-03" in said
    assert "suggestion (valley): 2.10e-03" in said


def test_the_steepest_point_is_a_red_dot_on_the_curve():
    axes = plot_lr_finder(LRS, [2.3, 2.0, 1.0, 2.0], 1e-2, None, "valley", "t").axes[0]
    dot = axes.lines[1]
    assert (dot.get_marker(), dot.get_color()) == ("o", "#d7191c")
    np.testing.assert_allclose(dot.get_xydata(), [[1e-2, 1.0]])
    assert axes.get_xscale() == "log"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("losses", [[2.3] * 4, [float("nan")] * 4, [1, 2, 3, 4], [1, float("inf"), float("nan"), 4]])
def test_odd_curves_are_drawn(losses):
    assert png(plot_lr_finder(LRS, losses, 1e-3, None, "valley", "t"))
    assert png(plot_lr_finder(LRS, losses, None, None, "$valley$", "t"))


def test_no_finite_loss_is_told(words):
    assert "no finite loss recorded" in words(plot_lr_finder([], [], None, None, "valley", "t"))
