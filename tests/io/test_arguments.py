"""Numbers and names of any kind become Python's own, or are refused with what to write."""

from pathlib import Path

import numpy as np
import pytest
import torch

from modelflow.errors import UsageError
from modelflow.io.arguments import as_whole, class_names, file, folder, layer_names, positive, whole


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_whole_numbers_of_any_kind_become_pythons(value):
    assert (whole("epochs", value, 0), type(whole("epochs", value, 0)), as_whole(value)) == (3, int, 3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("3", "epochs = '3': must be a whole number of 0 or more. Write 3"),
        (3.0, "epochs = 3.0: must be a whole number of 0 or more. Write 3"),
        (3.5, "epochs = 3.5: must be a whole number of 0 or more. Give one"),
        (np.float64(3), "must be a whole number of 0 or more. Write 3"),
        (True, "epochs = True: must be a whole number of 0 or more. Give one"),
        (np.bool_(True), "must be a whole number of 0 or more. Give one"),
        (torch.tensor(True), "must be a whole number"),
        (None, "epochs = None: must be a whole number of 0 or more. Give one"),
        (float("nan"), "must be a whole number of 0 or more. Give one"),
        ([3], "must be a whole number"),
        (np.array([3, 4]), "must be a whole number"),
        (-1, "epochs = -1: must be 0 or more"),
        (np.int64(-1), "epochs = -1: must be 0 or more"),
        (2**70, r"must be less than 9,223,372,036,854,775,808"),
        pytest.param(10**5000, "a number of thousands of digits: must be less than", id="thousands of digits"),
    ],
)
def test_what_is_no_such_whole_number_is_refused(value, said):
    with pytest.raises(UsageError, match=said):
        whole("epochs", value, 0, 2**63)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), np.array(0.5), 0.5])
def test_numbers_of_any_kind_become_pythons(value):
    assert (positive("lr", value), type(positive("lr", value))) == (0.5, float)
    assert positive("lr", 2) == 2.0


@pytest.mark.parametrize(
    "value", ["1e-3", None, True, np.bool_(True), 0, -1, float("nan"), float("inf"), 10**400, 1j, [1e-3], torch.ones(2)]
)
def test_what_is_no_number_above_0_is_refused(value):
    with pytest.raises(UsageError, match=r"lr = .*must be a (finite )?number"):
        positive("lr", value)


def test_a_text_in_place_of_a_number_is_told_how_to_write_it():
    with pytest.raises(UsageError, match=r"lr = '1e-3': must be a number. Write 0\.001"):
        positive("lr", "1e-3")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["cat", "dog"], ("cat", "dog")),
        (np.array(["cat", "dog"]), ("cat", "dog")),
        (torch.arange(2), ("0", "1")),
        ((name for name in ("cat", "dog")), ("cat", "dog")),
        ([b"cat", 7], ("cat", "7")),
        ([("tench", "Tinca tinca"), ("goldfish",)], ("tench, Tinca tinca", "goldfish")),
        ({"dog": 1, "cat": 0, "bird": 2}, ("cat", "dog", "bird")),
        ({"dog": np.int64(1), "cat": np.int64(0)}, ("cat", "dog")),
        ({"0": 1, "1": 0}, ("1", "0")),
        ({1: "dog", 0: "cat"}, ("cat", "dog")),
        ({"1": "dog", "0": "cat"}, ("cat", "dog")),
        ({"cat": 0, "bird": 2}, ("cat", "1", "bird")),
        ({}, ()),
        ([], ()),
    ],
)
def test_class_names_are_in_the_order_of_their_labels(given, names):
    assert class_names(given) == names


@pytest.mark.parametrize(
    "given",
    ["cat", b"cat", 3, {"cat", "dog"}, {"cat": 0, "dog": 0}, {"cat": -1}, {"cat": 10**9}, {"cat": "a"}, {0.5: "cat"}],
)
def test_what_gives_no_order_of_classes_is_refused(given):
    with pytest.raises(UsageError, match=r"class_names = .*list of names in the order of the labels"):
        class_names(given)


def test_one_layers_name_is_a_list_of_one():
    assert layer_names("conv_layers.0") == ["conv_layers.0"]
    assert layer_names(("a", "b")) == layer_names(iter("ab")) == ["a", "b"]
    with pytest.raises(UsageError, match=r"layers = 5: expected a list of layer names"):
        layer_names(5)
    for given in ([0], [None], ["a", 0]):
        with pytest.raises(UsageError, match=r"layers = .*: expected a list of layer names"):
            layer_names(given)


def test_a_file_is_a_path():
    assert file("filename", "a/b.pth") == file("filename", Path("a/b.pth")) == Path("a/b.pth")
    for given in (None, 3, b"x"):
        with pytest.raises(UsageError, match=r"filename = .*: expected the path of a file"):
            file("filename", given)


def test_a_folder_is_a_path(tmp_path):
    (tmp_path / "taken").touch()
    assert folder("results_dir", tmp_path / "new" / "one") == tmp_path / "new" / "one"
    for given in (tmp_path / "taken", str(tmp_path / "taken" / "below")):
        with pytest.raises(UsageError, match=r"results_dir = .*taken is a file, expected a folder"):
            folder("results_dir", given)
    assert folder("results_dir", str(tmp_path)) == folder("results_dir", tmp_path) == tmp_path
    with pytest.raises(UsageError, match="results_dir = None: expected the path of a folder"):
        folder("results_dir", None)
