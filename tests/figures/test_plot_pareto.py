import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelflow.figures.pareto import Box, pareto_front, place_labels, plot_pareto, size_text
from modelflow.figures.style import png

CARD = [("generic_2", 11854, 0.8761), ("generic_0", 7090, 0.8527), ("cnn2_5", 7090, 0.8328), ("cnn2_3", 4424, 0.8041)]
ROWS = st.lists(st.tuples(st.text(), st.integers(1, 20), st.sampled_from([0.1, 0.5, 0.9, float("nan")])), max_size=12)


def test_the_front_of_the_card():
    assert [name for name, *_ in pareto_front(CARD)] == ["cnn2_3", "generic_0", "generic_2"]


def beats(one, other) -> bool:
    return one[1] <= other[1] and one[2] >= other[2] and one[1:] != other[1:]


@given(ROWS)
def test_the_front_is_what_no_other_row_beats(rows):
    finite = [row for row in rows if row[2] == row[2]]
    expected = [row for row in finite if not any(beats(other, row) for other in finite)]
    assert sorted(pareto_front(rows)) == sorted(expected)


def test_labels_keep_clear_of_each_other_of_points_and_of_the_margin():
    points = [(100.0, 100.0), (110.0, 100.0), (195.0, 100.0)]
    names = ["first", "second", "third"]
    places = place_labels(points, names, Box(0, 0, 200, 200), 9)
    assert len(set(places)) > 1
    assert places[0] != (9, 0, "left")
    assert places[2][2] == "right"


def test_the_picture_names_models_and_axes(words):
    said = words(plot_pareto(CARD, "Seven models"))
    assert {"Seven models", "parameters (logarithmic)", "accuracy (%)", "generic_2", "cnn2_5"} <= set(said)


def test_the_line_joins_the_front_alone():
    axes = plot_pareto(CARD, "t").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [4424, 7090, 11854])
    assert axes.lines[1].get_linestyle() == "None"
    assert axes.get_xscale() == "log"


def test_rows_without_an_accuracy_are_left_out(words):
    assert "dead" not in words(plot_pareto([("dead", 10, float("nan")), ("alive", 10, 0.5)], "t"))
    assert "no model with an accuracy" in words(plot_pareto([], "t"))


@pytest.mark.filterwarnings("error")
def test_hostile_names_and_equal_rows_are_drawn(hostile_names):
    assert png(plot_pareto([(name, 0, 0.5) for name in hostile_names], "t"))


@pytest.mark.parametrize(("size", "text"), [(500, "500"), (7000, "7 k"), (2.5e6, "2.5 M"), (1e9, "1 G")])
def test_sizes_are_short(size, text):
    assert size_text(size) == text
