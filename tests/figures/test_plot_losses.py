import numpy as np
import pytest

from modelflow.figures.losses import loss_curves, plot_losses
from modelflow.figures.style import png


def test_the_best_epoch_is_the_lowest_validation_loss_and_counts_from_one():
    assert loss_curves([3, 2, 1], [2.5, 1.5, 1.8]).best_epoch == 2


def test_missing_and_infinite_validation_losses_are_gaps():
    curves = loss_curves([3, 2, 1], [None, float("inf"), 1.8])
    assert np.isnan(curves.validation[:2]).all()
    assert curves.best_epoch == 3


def test_without_validation_there_is_no_best_epoch():
    assert loss_curves([3, 2, 1], []).best_epoch is None
    assert loss_curves([3, 2], [None, float("nan")]).best_epoch is None


@pytest.mark.parametrize(
    ("losses", "log_scale"),
    [([2.3, 0.3], False), ([2.3, 0.01], True), ([2.3, 0.0], False), ([2.3, -1.0], False), ([], False)],
)
def test_only_a_wide_range_above_zero_asks_for_a_logarithmic_axis(losses, log_scale):
    assert loss_curves(losses, []).log_scale is log_scale


def test_the_picture_names_what_it_shows(words):
    said = words(plot_losses([2.0, 1.0], [1.5, 1.25], "generic_2: losses", "binary cross-entropy (nats)"))
    for expected in ("generic_2: losses", "epoch", "binary cross-entropy (nats)", "training", "validation"):
        assert expected in said
    assert "best validation: 1.25 in epoch 2" in said


def test_a_single_epoch_is_visible_and_its_tick_is_a_whole_number():
    axes = plot_losses([0.7], [0.6], "t").axes[0]
    assert [line.get_marker() for line in axes.lines] == ["o", "s", "o"]
    assert [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]] == [1]


@pytest.mark.parametrize("n_epochs", [2, 10, 57, 300])
def test_ticks_are_whole_epochs(n_epochs):
    ticks = plot_losses(list(np.linspace(2, 1, n_epochs)), [], "t").axes[0].get_xticks()
    assert all(tick == round(tick) for tick in ticks)


def test_no_losses_are_told(words):
    figure = plot_losses([], [], "t")
    assert "no losses recorded" in words(figure)
    assert png(figure)
