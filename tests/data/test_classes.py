"""Class names reach a run through subsets, joined sets and the ways in which data sets keep them; empty classes."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from idx_files import four_arrays, write_folder
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, random_split

from modelflow.cli import cli
from modelflow.data.classes import classes_of, without_images
from modelflow.errors import DataError
from modelflow.results.layout import read_run
from modelflow.studies.run import open_run

NAMES = ("cat", "dog", "bird")


def with_names(**kept):
    dataset = TensorDataset(torch.zeros(12, 1), torch.zeros(12))
    for name, value in kept.items():
        setattr(dataset, name, value)
    return dataset


def names_of(dataset):
    return classes_of(DataLoader(dataset, 4))


@pytest.mark.parametrize(
    "kept",
    [
        {"classes": list(NAMES)},
        {"classes": np.array(NAMES)},
        {"class_to_idx": {"dog": 1, "bird": 2, "cat": 0}},
        {"classes": ["bird", "cat", "dog"], "class_to_idx": {"dog": 1, "bird": 2, "cat": 0}},
        {"info": {"task": "multi-class", "label": {"0": "cat", "1": "dog", "2": "bird"}}},
        {"features": {"label": SimpleNamespace(names=list(NAMES))}},
        {"classes": list(NAMES), "class_to_idx": {"cat": 0, "kitten": 0, "dog": 1}},
    ],
)
def test_the_ways_in_which_data_sets_keep_names(kept):
    assert names_of(with_names(**kept)) == NAMES


@pytest.mark.parametrize("classes", [3, "cat", None, {"a", "b"}, {"cat": "x"}])
def test_what_is_no_list_of_names_is_none(classes):
    assert names_of(with_names(classes=classes)) == ()


def test_a_subset_has_the_names_of_its_whole():
    named = with_names(class_to_idx={"dog": 1, "bird": 2, "cat": 0})
    part, _ = random_split(named, [6, 6])
    for dataset in (part, Subset(named, [1, 2]), Subset(Subset(named, range(6)), [0])):
        assert names_of(dataset) == NAMES


def test_joined_sets_have_names_where_all_agree():
    named = with_names(classes=NAMES)
    assert names_of(ConcatDataset([named, Subset(named, [0])])) == NAMES
    assert names_of(ConcatDataset([named, with_names(classes=["a", "b", "c"])])) == ()
    assert names_of(ConcatDataset([named, with_names()])) == ()


def test_the_first_loader_with_names_gives_them():
    plain, named = DataLoader(with_names(), 4), DataLoader(with_names(classes=NAMES), 4)
    assert classes_of(plain, named) == classes_of(named, plain) == NAMES
    assert classes_of([(1, 2)], None) == ()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 2, 1], ""),
        ([], ""),
        ([1, 2, 3], "class 0 has no training image, .* Labels begin at 1: subtract 1 from each"),
        ([3, 4], "classes 0, 1, 2 have no training image, .* Labels begin at 3: subtract 3 from each"),
        ([0, 2], "class 1 has no training image, .* Number the classes without gaps"),
        ([1, 3], "classes 0, 2 have no training image, .* Number the classes without gaps"),
        ([0, 30], r"classes 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 19 more have"),
    ],
)
def test_classes_without_images_are_told(labels, said):
    text = without_images(torch.tensor(labels, dtype=torch.long))
    assert bool(text) == bool(said)
    assert re.search(said, text)


@pytest.fixture
def from_one(tmp_path):
    """Labels 1 to 3, as EMNIST's letters begin at 1."""
    arrays = four_arrays(8, 8)
    return write_folder(tmp_path, {role: values + ("labels" in role) for role, values in arrays.items()})


def test_labels_from_1_are_told_by_data_show_and_by_a_run(from_one, tmp_path):
    said = "labels begin at 1."
    show = ["data", "show", f"idx:{from_one}", "--output", str(tmp_path / "x.png")]
    assert f"warning: {said}" in CliRunner().invoke(cli, show).output
    assert json.loads(CliRunner().invoke(cli, [*show, "--json"]).stdout)["notes"][0].startswith(said)
    spec = {"in_channels": 1, "num_classes": 3, "input_size": 8, "cov_features": [2], "fc_sizes": [5]}
    (tmp_path / "net.json").write_text(json.dumps(spec))
    options = ["--dataset", f"idx:{from_one}", "--batch-size", "2", "--epochs", "1", "--results", str(tmp_path / "r")]
    done = CliRunner().invoke(cli, ["train", str(tmp_path / "net.json"), *options])
    assert done.exit_code == 0, done.output
    assert done.stderr.count(said) == 1
    assert [note.startswith(said) for note in read_run(tmp_path / "r" / "net").notes].count(True) == 1
    assert CliRunner().invoke(cli, ["data", "show", "digits", *show[3:]]).output.count("warning") == 0


def test_a_run_of_before_with_labels_from_1_is_not_evaluated_on_others(from_one, tmp_path):
    options = ["--dataset", f"idx:{from_one}", "--batch-size", "2", "--epochs", "1", "--results", str(tmp_path / "r")]
    assert CliRunner().invoke(cli, ["train", "c2 gap fc", *options]).exit_code == 0
    path = next((tmp_path / "r").glob("*/run.json"))
    fields = json.loads(path.read_text())
    assert fields["data"].pop("labels_from") == 1
    path.write_text(json.dumps(fields))
    with pytest.raises(DataError, match=r"was trained with labels from 0 on, and .* is read from 1 on today\. Train"):
        open_run(path.parent)
