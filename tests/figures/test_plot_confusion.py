import numpy as np
import pytest

from modelflow.figures.confusion import cell_text, plot_confusion_matrix, row_shares
from modelflow.figures.style import png


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
    banner = next(text for text in figure.texts if "Warning" in text.get_text())
    assert banner.get_bbox_patch() is not None
    assert r"one class only; try a \$lower\$ rate" in banner.get_text().replace("\n", " ")
    assert "the title" in words(figure)


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
