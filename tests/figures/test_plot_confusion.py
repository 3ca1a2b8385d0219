from contextlib import nullcontext

import numpy as np
import pytest

from modelflow.figures.confusion import cell_text, most_common_mistake, plot_confusion_matrix, row_shares
from modelflow.figures.style import dark, png


def test_rows_are_shares_of_the_true_class():
    np.testing.assert_allclose(row_shares(np.array([[3, 1], [2, 6]])), [[0.75, 0.25], [0.25, 0.75]])


@pytest.mark.filterwarnings("error")
def test_a_class_without_images_has_no_shares():
    shares_KK = row_shares(np.array([[0, 0], [1, 1]]))
    assert np.isnan(shares_KK[0]).all()
    assert shares_KK[1].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.0, 0, ""),
        (float("nan"), 0, ""),
        (0.004, 0, "<1"),
        (0.005, 0, "1"),
        (0.765, 0, "77"),
        (0.994, 0, "99"),
        (0.996, 0, ">99"),
        (1.0, 0, "100"),
        (0.995, 1, "99.5"),
        (0.0002, 1, "<0.1"),
        (0.99999, 1, ">99.9"),
        (0.3, 1, "30.0"),
    ],
)
def test_small_rests_are_told_from_nothing_and_all(share, decimals, text):
    assert cell_text(share, decimals) == text


def test_the_picture_names_axes_classes_and_the_scale(words):
    said = words(plot_confusion_matrix(np.array([[9, 1], [0, 0]]), ["Bag", "Coat"], "generic_2: 90.00%"))
    for expected in ("generic_2: 90.00%", "True class", "Predicted class", "Bag", "Coat (no images)", "90.0", "10.0"):
        assert expected in said
    assert "% of the images of the true class" in said


def test_numbers_are_bright_on_dark_cells_and_dark_on_bright_ones():
    figure = plot_confusion_matrix(np.array([[99, 1], [0, 100]]), ["a", "b"], "t")
    colours = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colours == {"99.0": "white", "1.0": "black", "100.0": "white"}


def test_a_warning_stands_on_the_picture_in_a_box(words):
    figure = plot_confusion_matrix(np.eye(2), ["a", "b"], "the title", warning="one class only; try a $lower$ rate")
    banner = next(text for text in figure.axes[0].texts if "Warning" in text.get_text())
    assert banner.get_bbox_patch() is not None
    assert r"one class only; try a \$lower\$ rate" in banner.get_text().replace("\n", " ")
    assert "the title" in words(figure)


@pytest.mark.parametrize("in_theme", [nullcontext, dark])
def test_what_is_right_is_blue_what_is_wrong_is_orange_and_a_rare_mistake_is_seen(in_theme):
    with in_theme():
        figure = plot_confusion_matrix(np.array([[98, 2], [0, 100]]), ["a", "b"], "t")
    (right, mistake), (none, _) = figure.axes[0].images[0].get_array()[..., :3]
    assert right[2] > right[0]
    assert mistake[0] > mistake[2]
    assert np.abs(mistake - none).max() > 0.05


def test_the_most_common_mistake_is_the_largest_share_of_a_true_class():
    counts_KK = np.array([[900, 60, 40], [5, 95, 0], [0, 1, 9]])
    assert most_common_mistake(counts_KK, ["a", "b", "c d"]) == "10 % of c d predicted as b"
    assert most_common_mistake(np.diag([3, 4, 0]), ["a", "b", "c"]) == ""


@pytest.mark.parametrize(
    ("n_classes", "warning"),
    [*((n, None) for n in (2, 3, 5, 10, 15, 16, 25, 26, 30)), (2, "one class only; " * 12), (16, "one class only")],
)
def test_2_to_30_classes_are_legible(n_classes, warning, hostile_names, legible):
    counts_KK = np.full((n_classes, n_classes), 3) + np.diag([5000] * n_classes)
    counts_KK[-1] = 0
    names = [*hostile_names, "WWWWWWWWWWWWWWWWWWWWWWWWW", *(f"class {i}" for i in range(20))]
    assert legible(plot_confusion_matrix(counts_KK, names, "a title of some length " * 6, warning))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n_classes", "numbered"), [(2, True), (25, True), (26, False), (50, False), (100, False)])
def test_many_classes_are_drawn_without_numbers(n_classes, numbered):
    figure = plot_confusion_matrix(np.eye(n_classes, dtype=int), [f"class {i}" for i in range(n_classes)], "t")
    assert bool(figure.axes[0].texts) is numbered
    assert png(figure)


def test_hostile_class_names_are_shown_as_text(hostile_names, words):
    said = words(plot_confusion_matrix(np.eye(10), hostile_names, "t"))
    assert r"\$x^2\$ & \$" in said
    assert "(no name)" in said
