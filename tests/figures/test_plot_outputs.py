import numpy as np
import pytest

from modelflow.errors import UsageError
from modelflow.figures.outputs import layer_group, output_groups, plot_outputs
from modelflow.figures.style import MINUS, TIMES, png


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 255, (12, 1, 28, 28), dtype=np.uint8)


def maps(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(12, *shape))


def test_a_layers_rows_are_its_channels_and_its_columns_the_images():
    group = layer_group("conv1", maps(4, 24, 24), 16)
    assert group.tiles.shape[:2] == (4, 12)
    assert group.words[:2] == ("conv1", f"4{TIMES}24{TIMES}24")


def test_the_words_beside_a_layer_tell_the_range_of_its_scale():
    outputs = np.zeros((1, 1, 2, 2))
    outputs[0, 0] = [[-1.25, 0], [0, 3]]
    assert layer_group("c", outputs, 16).words == ("c", f"1{TIMES}2{TIMES}2", f"{MINUS}1.25 to 3")
    assert layer_group("c", outputs * np.nan, 16).words[2] == "nothing finite"


def test_many_channels_are_cut_and_say_so():
    group = layer_group("conv2", maps(20, 5, 5), 16)
    assert len(group.tiles) == 16
    assert group.words[-1] == "(first 16 shown)"


def test_vectors_are_strips_of_one_row():
    group = layer_group("fc1", maps(100), 16)
    assert group.tiles.shape[:2] == (1, 12)
    assert group.words[1] == "100 units"
    assert group.words[-1] == "(first 48 shown)"


def test_the_images_come_first_and_only_so_many_as_asked_for(images):
    groups = output_groups(images, {"conv1": maps(4, 24, 24), "fc1": maps(10)}, 5)
    assert [group.words[0] for group in groups] == ["input", "conv1", "fc1"]
    assert {group.tiles.shape[1] for group in groups} == {5}


def test_many_layers_share_the_rows(images):
    groups = output_groups(images, {f"conv{i}": maps(32, 5, 5) for i in range(4)}, 5)
    assert [len(group.tiles) for group in groups] == [1, 8, 8, 8, 8]


def test_other_numbers_of_outputs_than_images_are_told(images):
    with pytest.raises(UsageError, match=r"outputs of layer 'conv1': 11 for 12 images; give one an image"):
        output_groups(images, {"conv1": maps(4, 5, 5)[:11]}, 10)
    with pytest.raises(UsageError, match="no image to show"):
        output_groups(images[:0], {}, 10)
    with pytest.raises(UsageError, match="yhat has 3 entries for 10 shown images"):
        plot_outputs(images, {}, yhat=[1, 2, 3])


def test_wrong_predictions_are_marked_and_named(images, words):
    names = ["Bag", "Coat", "Coat"]
    figure = plot_outputs(images, {"conv1": maps(2, 5, 5)}, 3, [0, 1, 2], [0, 0, 1], names, "the title")
    said = words(figure)
    assert "the title" in said
    assert said.count("✓") == 1
    assert "✗\nBag" in said
    assert "✗\nCoat" in said
    assert {"true class", "predicted", "input", "conv1"} <= set(said)


@pytest.mark.filterwarnings("error")
def test_labels_are_numbers_where_names_are_missing_or_hostile(images, hostile_names, words):
    assert {"11", "✗\n12"} <= set(words(plot_outputs(images, {}, 1, [11], [12], ["a"])))
    every_name = np.arange(10)
    png(plot_outputs(images, {name: maps(3) for name in hostile_names}, 10, every_name, None, hostile_names))


def test_without_images_the_layers_stand_alone():
    groups = output_groups(None, {"conv1": maps(4, 24, 24), "fc1": maps(7)}, 3)
    assert [group.words[0] for group in groups] == ["conv1", "fc1"]
    assert png(plot_outputs(None, {"conv1": maps(4, 24, 24)}, 3)).startswith(b"\x89PNG")
