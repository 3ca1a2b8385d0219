import numpy as np
import pytest
from sklearn.datasets import load_digits

from modelflow.figures.samples import plot_samples, sample_rows
from modelflow.figures.style import png


def test_each_row_holds_the_first_images_of_its_class():
    rows = sample_rows(np.array([1, 0, 1, 1, 0]), 3, 2)
    assert [row.tolist() for row in rows] == [[1, 4], [0, 2], []]


def test_the_digits_stand_beside_their_names(words):
    digits = load_digits()
    images_NCHW = (digits.images * 15.9).astype(np.uint8)[:, None]
    figure = plot_samples(images_NCHW, digits.target, [f"digit {i}" for i in range(10)], "digits: ten of each class")
    said = words(figure)
    assert {"digits: ten of each class", "digit 0", "digit 9", "8 by 8 pixels"} <= set(said)
    assert png(figure)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("channels", "n_classes"), [(1, 2), (3, 10), (2, 13), (3, 50), (1, 100)])
def test_any_number_of_channels_and_classes_is_drawn_in_bounded_size(channels, n_classes, legible):
    images_NCHW = np.zeros((200, channels, 9, 7), dtype=np.uint8)
    figure = plot_samples(images_NCHW, np.arange(200) % n_classes, [f"class {i}" for i in range(n_classes)], "t")
    assert max(figure.get_size_inches()) <= 13
    assert png(figure)
    assert legible(figure)


def test_what_is_left_out_or_missing_is_told(words, hostile_names):
    said = words(plot_samples(np.zeros((5, 2, 8, 8), np.uint8), np.zeros(5, int), hostile_names, "t"))
    assert "8 by 8 pixels, the first of 2 channels" in said
    assert "(no name) (none)" in said
    many = words(plot_samples(np.zeros((5, 1, 8, 8), np.uint8), np.zeros(5, int), ["c"] * 99, "t"))
    assert "8 by 8 pixels. Shown: the first 60 of 99 classes" in many
