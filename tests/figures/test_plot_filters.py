import re

import numpy as np
import pytest

from modelflow.figures.filters import filter_grid, plot_filters
from modelflow.figures.style import TIMES, png


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def test_the_scale_is_centred_on_zero_and_shared():
    weights_OIHW = weights(4, 2, 3, 3)
    assert filter_grid(weights_OIHW).limit == np.abs(weights_OIHW).max()


def test_a_row_is_an_input_channel_and_a_column_a_filter():
    weights_OIHW = weights(4, 2, 3, 3)
    grid = filter_grid(weights_OIHW)
    np.testing.assert_array_equal(grid.weights[1, 3], weights_OIHW[3, 1])
    assert grid.names == [["0", "1", "2", "3"]]


def test_filters_of_one_channel_fill_rows_of_eight():
    weights_OIHW = weights(19, 1, 3, 3)
    grid = filter_grid(weights_OIHW)
    assert grid.weights.shape == (3, 8, 3, 3)
    np.testing.assert_array_equal(grid.weights[2, 2], weights_OIHW[18, 0])
    assert grid.names[2] == ["16", "17", "18"]


@pytest.mark.parametrize(
    ("shape", "counts", "shown"),
    [
        ((64, 40, 5, 5), "64 filters {} 40 input channels of 5{}5", "the first 32 filters, 16 channels"),
        ((64, 1, 3, 3), "64 filters {} 1 input channel of 3{}3", "the first 32 filters, 1 channel"),
        ((4, 40, 3, 3), "4 filters {} 40 input channels of 3{}3", "the first 4 filters, 16 channels"),
    ],
)
def test_large_layers_are_cut_and_say_so(shape, counts, shown):
    grid = filter_grid(weights(*shape))
    assert grid.weights.shape[0] * grid.weights.shape[1] == min(shape[0], 32) * min(shape[1], 16)
    assert grid.note == f"{counts.format(TIMES, TIMES)} weights. Shown: {shown}"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_dead_weights_have_a_scale_all_the_same(value):
    assert filter_grid(np.full((2, 1, 3, 3), value)).limit == 1.0


def test_the_picture_names_layer_filters_channels_and_scale(words):
    said = words(plot_filters(weights(4, 2, 3, 3), "conv_layers.1", "generic_1: filters"))
    assert {"generic_1: filters", "filter", "3", "input channel", "1", "weight"} <= set(said)
    assert any(line.startswith(f"conv_layers.1: 4 filters {TIMES} 2 input channels") for line in said)


def test_what_the_title_and_the_axes_say_is_said_once(words):
    said = " ".join(words(plot_filters(weights(9, 1, 3, 3), "conv_layers.1", "filters of conv_layers.1")))
    assert said.count("conv_layers.1") == 1
    assert re.findall(r"filter\b", said) == ["filter"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (8, 1, 3, 3), (9, 1, 5, 5), (20, 3, 3, 3), (512, 256, 7, 7), (300, 1, 3, 3)]
)
def test_any_layer_gives_a_legible_picture_of_bounded_size(shape, legible):
    figure = plot_filters(weights(*shape), "conv", "t")
    assert max(figure.get_size_inches()) <= 10
    assert png(figure)
    assert legible(figure)
