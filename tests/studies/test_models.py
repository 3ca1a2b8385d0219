"""Modules of functions as a study: seeds in their folders, resumed, refused where a seed would train on another's."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modelflow import GerenicCNN, ModelFlow, load_dataset, run_models, run_study
from modelflow.analysis.archive import read_content
from modelflow.analysis.comparison import compare_folders
from modelflow.cli import run_command
from modelflow.data.arrays import dataset_of_arrays
from modelflow.data.sources import read_source
from modelflow.errors import DataError, UsageError
from modelflow.networks.seeds import stream
from modelflow.report.page import render
from modelflow.results.asked import read_asked
from modelflow.results.layout import read_run
from modelflow.studies.run import in_memory
from small import digits_study

STATES = ("model.safetensors", "history.csv", "predictions.npz")


class Net(nn.Module):
    """A convolution with batch norm, or without, and a linear layer."""

    def __init__(self, channels=4, norm=True, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.fc = nn.Linear(36 * channels, classes)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


def of_card():
    return GerenicCNN(1, 10, input_size=8, amnt_cov_layers=1, cov_features=[3], fc_sizes=[20], verbose=False)


def trained(where, models=None, data="digits", **settings):
    given = {"seeds": 2, "epochs": 1, "lr": 3e-3, "verbose": False} | settings
    models = {"BN": Net, "plain": lambda: Net(norm=False)} if models is None else models
    return run_models(models, data, where=where, **given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    where = tmp_path_factory.mktemp("models") / "results"
    return where, trained(where)


def test_modules_with_seeds_are_a_study(finished, capsys):
    where, rows = finished
    assert sorted((row.model, row.seeds) for row in rows) == [("BN", 2), ("plain", 2)]
    assert all(row.accuracy > 0.5 for row in rows)
    assert json.loads((where / "study.json").read_text())["seeds"] == [42, 43]
    assert read_asked(where).missing() == ""
    assert [read_run(where / place).seed for place in ("BN", "BN/seeds/43", "plain", "plain/seeds/43")] == [42, 43] * 2
    content = read_content(where)
    assert [verdict.difference.seeds for verdict in content.groups[0].verdicts] == [2]
    assert "Call run_models with a function that makes Net again." in render(content)
    assert (where / "plain" / "seeds" / "43" / "MODEL_CARD.md").is_file()
    for command in (["leaderboard"], ["compare"], ["report"]):
        assert run_command([*command, str(where)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_modules_are_counted_and_drawn_from_a_trace(finished):
    where, rows = finished
    run = read_run(where / "BN")
    conv, linear = 4 * 9 * 36, 36 * 4 * 10
    assert {row.macs for row in rows} == {conv + linear} == {run.macs}
    assert [(layer.name, layer.macs) for layer in run.traced.layers] == [("conv", conv), ("norm", 0), ("fc", linear)]
    assert run.traced.input_shape == (1, 8, 8)
    assert (where / "BN" / "architecture.svg").read_text().count("batch norm") == 2  # its caption, its description
    card = (where / "BN" / "MODEL_CARD.md").read_text()
    assert f"Net, a module without a spec, 1,498 parameters, {conv + linear:,} multiply-accumulates per image" in card
    assert "| conv | conv 3x3 | 4x6x6 | 40 | 1,296 |" in card


def test_initial_weights_are_of_the_seed_alone(tmp_path):
    """An oracle in torch alone: the stream of the seed, then the constructor."""
    first = {}

    class Kept(Net):
        def forward(self, x):
            first.setdefault(id(self), [p.detach().clone() for p in self.parameters()])
            return super().forward(x)

    torch.manual_seed(3)
    before = torch.get_rng_state()
    trained(tmp_path, {"one": Kept}, seeds=[7])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(stream(7, "weights"))
    expected = list(Net().parameters())
    assert any(all(map(torch.equal, weights, expected)) for weights in first.values())
    assert "initial weights: the module's own, drawn from the seed" in read_run(tmp_path / "one").notes


def test_a_run_is_that_of_modelflow_with_the_same_weights(finished, tmp_path):
    data = load_dataset("digits")
    torch.manual_seed(stream(43, "weights"))
    train, val, test = data.held_out_loaders(16, 43)
    train.joins_a_last_one = True
    flow = ModelFlow(Net(), train, val, "BN", lr=3e-3, test_loader=test, results_dir=tmp_path, seed=43, verbose=False)
    flow.find_best_lr(set_lr=False, start_lr=3e-4)
    flow.run(epochs=1)
    within = finished[0] / "BN" / "seeds" / "43"
    assert [(within / name).read_bytes() for name in STATES] == [
        (tmp_path / "BN" / name).read_bytes() for name in STATES
    ]


def test_what_is_finished_is_kept_and_seeds_and_models_are_added(finished, tmp_path):
    where = tmp_path / "r"
    trained(where, {"BN": Net}, seeds=1)
    before = (where / "BN" / "run.json").read_bytes()
    rows = trained(where, seeds=2)
    assert (where / "BN" / "run.json").read_bytes() == before
    assert sorted((row.model, row.accuracy) for row in rows) == sorted((r.model, r.accuracy) for r in finished[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 2}, r"BN holds a run with other settings: epochs was 1, now 2\. Give another folder"),
        ({"models": {"BN": lambda: Net(5)}}, r"BN holds a run of other code\. Net has changed: SHA-256 stored"),
        ({"models": {"BN": of_card}}, r"BN holds a run with other settings: spec|in_channels was"),
        ({"data": "arrays"}, r"BN holds a run with other settings: dataset was 'digits', now 'arrays:"),
    ],
)
def test_settings_and_code_that_changed_are_told(finished, change, said):
    source = read_source("digits")
    arrays = (source.train_images, source.train_labels, source.test_images, source.test_labels)
    change = {**change, **({"data": arrays} if "data" in change else {})}
    with pytest.raises(UsageError, match=said):
        trained(finished[0], **change)


KILLED = """
import os, sys
sys.path[:0] = sys.argv[2:]
from modelflow import run_models
from modelflow.studies import autosave
from test_models import Net
autosave.SECONDS_BETWEEN_STATES, autosave.SHARE_OF_SAVING = 0, 1
def heard(event):
    if event.title == "BN, seed 43" and event.done >= 2:
        os._exit(9)
run_models({"BN": Net, "plain": lambda: Net(norm=False)}, "digits", 2, sys.argv[1], epochs=3, lr=3e-3, on_event=heard)
"""


def test_an_interrupted_run_resumes_to_the_same_bytes(tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(here), str(here.parent)]
    assert subprocess.run(command, check=False).returncode == 9
    assert list((tmp_path / "killed" / "BN" / "seeds" / "43" / "training").glob("state-*.pth"))
    assert "seed" in read_asked(tmp_path / "killed").missing()
    resumed = []
    trained(tmp_path / "killed", epochs=3, on_event=lambda event: resumed.append(event.note))
    trained(tmp_path / "at_once", {"BN": Net}, epochs=3)
    assert any(note.startswith("resuming a") for note in resumed)
    for name in STATES:
        places = [tmp_path / way / "BN" / "seeds" / "43" / name for way in ("killed", "at_once")]
        assert places[0].read_bytes() == places[1].read_bytes(), name


def test_study_json_is_there_before_anything_is_trained(tmp_path):
    seen = []
    trained(tmp_path, on_event=lambda _: seen.append((tmp_path / "study.json").is_file()))
    assert set(seen) == {True}


def test_a_network_of_ours_is_trained_as_its_spec(tmp_path):
    """By the compiled step, with other weights for each seed, as `run_study` trains it."""
    trained(tmp_path / "models", {"wide": of_card}, epochs=2)
    spec = json.loads((tmp_path / "models" / "wide" / "spec.json").read_text())
    run_study(digits_study(models=[{"name": "wide", "spec": spec}]), tmp_path / "study", jobs=1, verbose=False)
    for name in STATES:
        assert (tmp_path / "models" / "wide" / "seeds" / "43" / name).read_bytes() == (
            tmp_path / "study" / "wide" / "seeds" / "43" / name
        ).read_bytes()
    assert read_run(tmp_path / "models" / "wide").engine.startswith("compiled")


def test_modules_and_networks_of_a_study_file_are_compared(finished, tmp_path):
    run_study(digits_study(epochs=1), tmp_path, jobs=1, verbose=False)
    trained(tmp_path, data=load_dataset("digits"))
    comparison = compare_folders([tmp_path])
    assert {entry.name for entry in comparison.entries} == {"narrow", "wide", "BN", "plain"}
    assert len(comparison.verdicts) == 6
    assert {row.model: row.accuracy for row in finished[1]}.items() <= {
        entry.name: entry.accuracy for entry in comparison.entries
    }.items()


NET = Net()


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": NET}, "models: a is a module: a second seed would train on. Give a function that makes it: lambda"),
        ({"a": lambda: NET}, "a: gives the same weights each time: a second seed would train on. Make the module in"),
        ({"a": lambda: nn.Sequential(NET)}, "a: gives the same weights each time"),
        ({"a": 3}, "models: a = 3: expected a function that makes a module"),
        ({"a": lambda: 3}, "a: its function gives 3, expected a torch.nn.Module"),
        ({"a": lambda: Net(1, 2, 3, 4)}, "a: its function failed: TypeError"),
        ({"a": lambda _: Net()}, "a: its function failed: TypeError: .*called without arguments"),
        ({"a": lambda: Net(classes=9)}, "a: gives 9 logits, but digits has 10 classes"),
        ({"a": lambda: nn.Flatten()}, "a: Flatten has no weights that can be trained"),
        ({"a": lambda: nn.Conv2d(3, 10, 3)}, "a: .*images of digits: .*channels"),
        ({"con": Net}, "model name 'con': Windows can make no folder"),
        ({}, "models = {}: expected functions by name"),
        (Net, "models = .*: expected functions by name"),
    ],
)
def test_what_makes_no_new_module_is_refused_before_anything_is_written(tmp_path, models, said):
    with pytest.raises((UsageError, DataError, ValueError), match=said):
        trained(tmp_path / "r", models)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epoch": 3}, "unknown key 'epoch'. Did you mean 'epochs'?"),
        ({"lr": 0}, "lr = 0: expected more than 0"),
        ({"seeds": 0}, "seeds = 0: expected a number of seeds"),
        ({"seeds": [1, 1]}, "seeds: 1 appears twice"),
        ({"dataset": "digits"}, "dataset: is given twice"),
        ({"data": "digit"}, "unknown data set 'digit'.*digits"),
        ({"data": 3}, "data = 3: expected the name or path of a data set, a Dataset, or the arrays"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, said):
    with pytest.raises(UsageError, match=re.compile(said)):
        trained(tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def test_weights_that_no_seed_changes_are_told(tmp_path):
    weights = {name: value.clone() for name, value in Net().state_dict().items()}

    def pretrained():
        model = Net()
        model.load_state_dict(weights)
        return model

    def drawn_elsewhere():
        model = Net()
        with torch.no_grad():
            model.fc.bias.copy_(torch.from_numpy(np.random.default_rng().random(10)))
        return model

    trained(tmp_path, {"same": pretrained, "other": drawn_elsewhere}, seeds=1)
    assert any("the same for every seed" in note for note in read_run(tmp_path / "same").notes)
    assert any("not the same for the same seed" in note for note in read_run(tmp_path / "other").notes)


def test_arrays_in_bytes_give_the_bytes_of_their_data_set(tmp_path):
    """The digits times 15 are bytes of which black is 0 and white 240: normalised, they are nearly the digits."""
    source = read_source("digits")
    arrays = (source.train_images * 15, source.train_labels, torch.tensor(source.test_images * 15), source.test_labels)
    rows = trained(tmp_path, data=arrays)
    assert rows[0].data == "arrays"
    assert rows[0].accuracy > 0.85
    run = read_run(tmp_path / "BN")
    assert run.data.mean == pytest.approx(float((source.train_images * 15 / 255).mean()))
    assert set(run.data.checksums) == {"training images", "training labels", "test images", "test labels"}
    assert read_asked(tmp_path).missing() == ""
    assert run_command(["report", str(tmp_path)]) == 0
    assert (
        "were given as arrays" in (tmp_path / "report.html").read_text()
        or "made by code" in (tmp_path / "report.html").read_text()
    )
    with pytest.raises(UsageError, match=r"dataset was 'arrays:\w+', now 'arrays:\w+'"):
        trained(tmp_path, data=(255 - arrays[0], *arrays[1:]))


def test_other_numbers_are_trained_on_as_they_are():
    data = load_dataset("digits")
    given = dataset_of_arrays((data.train_x_NCHW[:, 0], data.train_y_N, data.test_x_NCHW.numpy(), data.test_y_N))
    assert torch.equal(given.train_x_NCHW, data.train_x_NCHW)
    assert torch.equal(given.test_x_NCHW, data.test_x_NCHW)
    images, labels = given.samples(1)
    assert images.min() == 0
    assert images.max() == 255
    assert labels.tolist() == list(range(10))


def test_a_data_set_that_was_changed_is_not_taken_for_its_files(tmp_path):
    data = load_dataset("digits")
    fewer = replace(data, train_x_NCHW=data.train_x_NCHW[:400], train_y_N=data.train_y_N[:400])
    trained(tmp_path / "fewer", {"BN": Net}, data=fewer, seeds=1)
    trained(tmp_path / "all", {"BN": Net}, data=data, seeds=1)
    fewer_run, whole_run = read_run(tmp_path / "fewer" / "BN"), read_run(tmp_path / "all" / "BN")
    assert whole_run.data.checksums == data.checksums
    assert fewer_run.data.checksums.keys() >= {"training images"}
    assert fewer_run.data.training_images == 367
    assert read_run(tmp_path / "fewer" / "BN").settings["dataset"].startswith("arrays:")


X, Y = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
X[::3] = 7


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((X, Y), "expected the name or path of a data set"),
        ((X, Y[:19], X, Y), "data: training: 19 labels for 20 images|arrays: training: 19 labels"),
        ((X, Y - 1, X, Y), "label -1 of image 0"),
        ((X, Y * 1.0, X, Y), "y: float64 of shape .*expected a whole number for each image"),
        ((np.zeros((20, 8, 8, 3), np.uint8), Y, X, Y), r"x: shape \(20, 8, 8, 3\).*transpose\(0, 3, 1, 2\)"),
        ((X, Y, X[:, :4], Y), "test images are"),
        ((np.where(X, np.nan, 0.0), Y, X * 1.0, Y), "x: image 0 has values that are not finite"),
        ((X * 0.0, Y, X * 1.0, Y), "x: all values are the same"),
        ((X, Y * 100_000, X, Y), "label 100,000"),
        ((X, Y, X, Y + 1), "class 2 of test image"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(tmp_path, arrays, said):
    with pytest.raises((UsageError, DataError), match=said):
        trained(tmp_path / "r", data=arrays)
    assert not (tmp_path / "r").exists()


def test_the_data_in_memory_are_let_go(tmp_path):
    with suppress(UsageError):
        trained(tmp_path / "r", data=(X, Y, X, Y))
    assert not in_memory
