"""Test images that are training images, against comparing every pair."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from idx_files import random_images, write_folder

from modelflow.cli import cli
from modelflow.data.datasets import load_dataset
from modelflow.data.repeats import named, repeats


def every_pair(train_NP, test_NP):
    found = {i: np.flatnonzero((train_NP == row).all(1)).tolist() for i, row in enumerate(test_NP)}
    return {i: places for i, places in found.items() if places}


@pytest.mark.parametrize("values", [2, 256])
def test_repeats_are_those_found_by_comparing_every_pair(values):
    rng = np.random.default_rng(values)
    train_NP = rng.integers(0, values, (300, 6)).astype(np.float32)
    test_NP = np.concatenate([rng.integers(0, values, (80, 6)).astype(np.float32), train_NP[7:20]])
    found = repeats(train_NP, test_NP)
    assert found == every_pair(train_NP, test_NP)
    assert len(found) >= 13


@pytest.mark.parametrize(("pixels", "dtype"), [(5, np.uint8), (6, np.uint8), (8, np.uint8), (3, np.float64)])
def test_pixels_of_other_types_are_compared_as_well(pixels, dtype):
    rng = np.random.default_rng(pixels)
    train_NP, test_NP = (rng.integers(0, 2, (n, pixels)).astype(dtype) for n in (20, 10))
    assert repeats(train_NP, test_NP) == every_pair(train_NP, test_NP) != {}


def test_images_whose_pixels_have_the_same_sum_are_not_taken_for_the_same():
    train_NP = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    assert repeats(train_NP, train_NP[:1][:, ::-1].copy()) == {0: [1]}
    assert repeats(train_NP, np.array([[2, 1, 3]], np.float32)) == {}


@pytest.fixture
def folder(tmp_path):
    """Ten training images, the first one twice with two labels; of four test images three are among them."""
    images, labels = random_images(10, 8, 8), np.arange(10, dtype=np.uint8) % 2
    images[1] = images[0]
    test = np.concatenate([images[[0, 2, 3]], random_images(1, 8, 8, seed=5)])
    arrays = {"train-images": images, "train-labels": labels, "test-images": test}
    return write_folder(tmp_path, arrays | {"test-labels": np.array([1, 1, 1, 0], np.uint8)})


def test_a_data_set_counts_them_and_those_with_another_label(folder):
    data = load_dataset(f"idx:{folder}")
    assert (data.test_in_training, data.test_in_training_other_label) == (3, 1)


def test_a_note_names_them(folder):
    said = "test image 0 is training image 0, test image 1 is training image 2, test image 2 is training image 3"
    assert f"the same pixels, counted from 0: {said}." in load_dataset(f"idx:{folder}").notes
    assert named("test", "training", {i: [i] for i in range(7)}).endswith(
        "test image 4 is training image 4, and 2 more."
    )


def test_data_show_says_it_in_the_table_and_in_json(folder, tmp_path):
    command = ["data", "show", f"idx:{folder}", "--output", str(tmp_path / "x.png")]
    table = CliRunner().invoke(cli, command).output
    assert [line.split()[-1] for line in table.splitlines() if "also in training" in line] == ["3"]
    assert " 0: 5, 1: 5" in table  # training images by class
    assert "warning: the same pixels, counted from 0: test image 0 is training image 0" in table
    facts = json.loads(CliRunner().invoke(cli, [*command, "--json"]).output.partition("\n")[2])
    assert (facts["test_images_also_in_training"], facts["of_those_with_another_label"]) == (3, 1)


def test_no_test_image_of_the_known_sets_is_a_training_image(fashion_mnist):
    assert (fashion_mnist.test_in_training, load_dataset("digits").test_in_training) == (0, 0)
