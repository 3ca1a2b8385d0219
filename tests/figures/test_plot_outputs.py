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


def test_a_layers_scale_is_centred_on_zero_and_ends_at_its_greatest_value(words):
    outputs = np.zeros((1, 1, 2, 2))
    outputs[0, 0] = [[-1.25, 0], [0, 3]]
    group = layer_group("c", outputs, 16)
    assert (group.words, group.limit) == (("c", f"1{TIMES}2{TIMES}2"), 3.0)
    assert {f"{MINUS}3", "3"} <= set(words(plot_outputs(None, {"c": outputs}, 1)))
    red, blue = group.tiles[0, 0, -1, -1], group.tiles[0, 0, 0, 0]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert group.tiles[0, 0, 0, -1].min() > 240


def test_a_layer_without_finite_outputs_has_no_scale():
    group = layer_group("c", np.full((1, 1, 2, 2), np.nan), 16)
    assert (group.words[-1], group.limit) == ("nothing finite", None)


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
    with pytest.raises(UsageError, match=r"outputs of layer 'conv1': 11 for 12 images"):
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
    assert [said.count(word) for word in ("✓", "✗", "Bag", "Coat")] == [1, 2, 2, 3]
    assert {"true class", "predicted", "input", "conv1"} <= set(said)


@pytest.mark.filterwarnings("error")
def test_labels_are_numbers_where_names_are_missing_or_hostile(images, hostile_names, words, legible):
    assert {"11", "✗", "12"} <= set(words(plot_outputs(images, {}, 1, [11], [12], ["a"])))
    every_name = np.arange(10)
    layers = {name: maps(3) for name in hostile_names} | {"W" * 30: maps(40, 2, 2)}
    figure = plot_outputs(images, layers, 10, every_name, every_name[::-1], hostile_names, hostile_names[0])
    assert png(figure)
    assert legible(figure)


def test_a_name_too_long_for_its_column_is_broken_at_its_slash(images, words):
    said = words(plot_outputs(images, {}, 1, [0], None, ["T-shirt/top"]))
    assert {"T-shirt/", "top"} <= set(said)


@pytest.mark.parametrize("n_images", [1, 2, 12])
def test_any_number_of_images_is_legible(images, n_images, legible):
    wide = ["W" * 12, "iiiiiiiiii iiiiiii", "Ankle boot"]
    labels = np.arange(12) % 3
    layers = {"conv1": maps(2, 24, 24), "fc1": maps(100)}
    assert legible(plot_outputs(images, layers, n_images, labels, labels[::-1], wide))


def test_without_images_the_layers_stand_alone():
    groups = output_groups(None, {"conv1": maps(4, 24, 24), "fc1": maps(7)}, 3)
    assert [group.words[0] for group in groups] == ["conv1", "fc1"]
    assert png(plot_outputs(None, {"conv1": maps(4, 24, 24)}, 3)).startswith(b"\x89PNG")
