"""What may be written is read again, at the bound; what is beyond it is refused before anything is trained."""

import io
import json
import os
import re
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelflow.analysis.archive import read_class_names, read_history
from modelflow.cli import run_command
from modelflow.compat.architecture import Architecture
from modelflow.errors import DataError, UsageError
from modelflow.io import bounds
from modelflow.io.bounds import MAX_CLASSES, MAX_EPOCHS, MAX_PREDICTION_BYTES, MAX_RUNS, MAX_STUDY_BYTES
from modelflow.results.asked import read_asked
from modelflow.results.joining import write_asked
from modelflow.results.layout import csv_text, filters_png, history_csv, predictions_npz, read_predictions
from modelflow.results.records import Epoch
from modelflow.results.settings import MAX_STUDY_LAYERS, read_study
from modelflow.studies.flow import ModelFlow
from modelflow.studies.plan import plans
from modelflow.training.checkpoint import read_checkpoint, write_checkpoint

LEAST = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [1], "fc_sizes": []}


def study_of(path, models, spec=LEAST, **settings):
    named = [{"name": f"m{i}".ljust(100, "_"), "spec": spec} for i in range(models)]
    path.write_text(json.dumps({"dataset": "digits", "models": named} | settings, separators=(",", ":")))
    return path


def test_the_largest_study_is_read_again_and_can_be_given_again(tmp_path):
    models = MAX_STUDY_LAYERS // 2
    study = read_study(study_of(tmp_path / "s.json", models, seeds=MAX_RUNS // models))
    write_asked(study, tmp_path)
    assert bounds.MAX_RECORD_BYTES < (tmp_path / "study.json").stat().st_size < MAX_STUDY_BYTES
    assert len(read_asked(tmp_path).study.models) == models
    assert read_asked(tmp_path).missing().startswith(f"{MAX_RUNS:,} of the {MAX_RUNS:,} runs")
    assert read_study(tmp_path / "study.json").models == study.models


def test_another_study_beside_the_largest_is_read_again_or_refused_before_anything_is_written(tmp_path):
    largest = MAX_STUDY_LAYERS // 2
    write_asked(read_study(study_of(tmp_path / "s.json", largest - 1)), tmp_path)
    one_more = {"dataset": "digits", "epochs": 3, "models": [{"name": "other", "spec": LEAST}]}
    write_asked(read_study(one_more), tmp_path)
    assert bounds.MAX_RECORD_BYTES < (tmp_path / "studies.json").stat().st_size < MAX_STUDY_BYTES
    assert [(study.epochs, len(study.models)) for study in read_asked(tmp_path).studies] == [(10, largest - 1), (3, 1)]
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(UsageError, match=r"together with its earlier studies, .* Give another folder"):
        write_asked(read_study(one_more | {"models": [{"name": "too_many", "spec": LEAST}]}), tmp_path)
    assert (tmp_path / "study.json").read_bytes() == before


def test_more_runs_than_a_study_may_have_are_refused_before_they_are_planned(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = study_of(tmp_path / "s.json", 1 + MAX_RUNS // 10_000, seeds=10_000)
    assert run_command(["run", str(path)]) == 2
    told = capsys.readouterr().err
    assert "models: 101 with 10,000 seeds each are 1,010,000 runs, expected at most 1,000,000" in told
    assert "training" not in told
    assert not (tmp_path / "results").exists()


def test_of_many_runs_something_is_said_first_and_only_what_is_there_is_looked_at(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = dict.fromkeys(("stat", "lstat", "scandir", "listdir"), 0)

    def counted(name, call):
        def counting(*arguments, **named):
            calls[name] += 1
            return call(*arguments, **named)

        return counting

    for name in calls:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    study = study_of(tmp_path / "s.json", 2, spec=LEAST | {"in_channels": 3}, seeds=10_000)
    assert run_command(["run", str(study)]) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "checking which of 20,000 runs are finished …"
    assert "in_channels = 3, but the images of digits have 1" in last
    assert max(calls.values()) < 5000


def test_links_among_many_runs_are_found(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    study = read_study(study_of(tmp_path / "s.json", 1, seeds=5000))
    model = plans(study, tmp_path)[0].folder
    for place in (model / "training", model / "seeds" / "77" / "training", model / "seeds" / "99", model / "seeds"):
        shutil.rmtree(model, ignore_errors=True)
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DataError, match=f"{re.escape(str(place))}: is a symbolic link"):
            plans(study, tmp_path)


def test_the_history_of_the_most_epochs_is_read_again(tmp_path):
    longest = -1.2345678901234567e-101
    history = [Epoch(epoch=MAX_EPOCHS, loss=longest, val_loss=longest)] * MAX_EPOCHS
    history[-1] = Epoch(epoch=MAX_EPOCHS, loss=longest, val_loss=2 * longest)
    (tmp_path / "history.csv").write_text(history_csv(history, "held-out"))
    read, lowest = read_history(tmp_path)
    assert (read[-1], lowest) == (history[-1], 2 * longest)


def checkpoint_of(epochs):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    losses = [1 / (1 + epoch) for epoch in range(epochs)]
    states = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    return {"epoch": epochs, **states, "loss": losses, "val_loss": losses[::-1]}


def test_a_checkpoint_of_the_most_epochs_is_read_again_and_a_larger_one_not_written(tmp_path):
    write_checkpoint(tmp_path / "c.pth", checkpoint_of(MAX_EPOCHS))
    assert read_checkpoint(tmp_path / "c.pth")["epoch"] == MAX_EPOCHS
    with pytest.raises(DataError, match="250,001 epochs in all, expected at most 250,000"):
        write_checkpoint(tmp_path / "d.pth", checkpoint_of(MAX_EPOCHS + 1))


def test_more_epochs_than_are_read_again_are_refused_before_training():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    arch = Architecture(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()), verbose=False)
    data = TensorDataset(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]))
    arch.set_loaders(DataLoader(data, 2))
    arch.total_epochs = MAX_EPOCHS
    before = model[1].weight.clone()
    with pytest.raises(DataError, match="train: 250,001 epochs in all"):
        arch.train(1)
    assert torch.equal(model[1].weight, before)


def test_predictions_at_the_bound_are_read_again(tmp_path):
    images = (MAX_PREDICTION_BYTES - bounds.ROOM) // 4 // (MAX_CLASSES + 1)
    bounds.check_predictions("net", images, MAX_CLASSES)
    content = predictions_npz(np.zeros((images, MAX_CLASSES), np.float32), np.zeros(images, int))
    (tmp_path / "predictions.npz").write_bytes(content)
    assert read_predictions(tmp_path)[0].shape == (images, MAX_CLASSES)
    with pytest.raises(DataError, match="net: predictions of 2,000 classes"):
        bounds.check_predictions("net", images + 1, MAX_CLASSES)


def test_the_room_around_predictions_is_enough():
    content = io.BytesIO(predictions_npz(np.zeros((2, 3), np.float32), np.zeros(2, int)))
    with np.load(content) as stored:
        unpacked = sum(stored.zip.getinfo(f"{name}.npy").file_size for name in ("logits", "labels"))
    assert unpacked - 4 * 2 * (3 + 1) < bounds.ROOM


def test_the_classes_of_the_largest_table_of_confusions_are_read(tmp_path):
    names = [f"class {i}" for i in range(MAX_CLASSES)]
    rows = [(name, *("10" if i == j else "0" for j in range(MAX_CLASSES))) for i, name in enumerate(names)]
    (tmp_path / "confusion_matrix.csv").write_text(csv_text(("true class", *names), rows))
    assert read_class_names(tmp_path, MAX_CLASSES) == tuple(names)


@pytest.mark.parametrize("command", ["run", "train"])
def test_more_classes_than_are_read_again_are_refused_before_training(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    spec = LEAST | {"num_classes": MAX_CLASSES + 1}
    (tmp_path / "n.json").write_text(json.dumps(spec))
    study_of(tmp_path / "s.json", 1, spec)
    given = {"run": ["run", "s.json"], "train": ["train", "n.json", "--dataset", "digits"]}[command]
    assert run_command(given) == 2
    assert "2,001 classes, expected at most 2,000" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_module_of_too_many_classes_is_refused_before_training(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, MAX_CLASSES + 1))
    loader = DataLoader(TensorDataset(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])), 2)
    flow = ModelFlow(model, loader, loader, "net", results_dir=tmp_path, verbose=False)
    with pytest.raises(DataError, match="net: 2,001 classes"):
        flow.run(epochs=1)
    assert not (tmp_path / "net").exists()


def test_a_data_set_whose_name_json_cannot_hold_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", "generic_2", "--dataset", "idx:i\udcff"]) == 2
    assert r"dataset = 'idx:i\udcff': expected a name in UTF-8" in capsys.readouterr().err


def test_names_that_are_one_folder_elsewhere_are_told_apart_or_refused(tmp_path):
    models = [{"name": name, "spec": LEAST} for name in ("net", "Net")]
    with pytest.raises(UsageError, match=r"'net' and 'Net' are one folder on macOS and Windows. Rename one"):
        plans(read_study(None, models=models, dataset="digits"), tmp_path)


def test_a_layer_of_any_name_has_a_picture_of_its_own(tmp_path):
    names = ["a." * 200 + end for end in ("b", "c")]
    pictures = [filters_png(name) for name in names]
    assert len(set(pictures)) == 2
    for picture in pictures:
        (tmp_path / picture).touch()
    assert filters_png("conv_layers.0") == "filters_conv_layers.0.png"
