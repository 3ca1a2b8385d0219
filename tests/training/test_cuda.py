"""On a CUDA device: what is chosen, trained, resumed, saved and read back on the CPU, alone and in a study."""

import json

import numpy as np
import pytest
import torch

from modelflow import ModelFlow, run_study
from modelflow.cli.app import run_command
from modelflow.data.datasets import load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.results.layout import read_predictions, read_run
from modelflow.studies.run import open_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device on this machine")

RESIDUAL = {
    "input": [1, 8, 8],
    "classes": 10,
    "defaults": {"padding": "same", "norm": "batch", "activation": "relu"},
    "layers": [
        {"conv": 16, "kernel": 3},
        {"residual": [{"conv": 16, "kernel": 3}, {"conv": 16, "kernel": 3}]},
        {"pool": "global_average"},
        {"dropout": 0.1},
        {"linear": "classes"},
    ],
}
PLAIN = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [20]}


class PulledPlugError(Exception):
    """What ends a training here."""


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def flow_of(digits, folder, name="mine", spec=RESIDUAL, **options):
    model = GenericCNN(parse_spec(spec, "spec"), 3)
    train, val, test = digits.held_out_loaders(32, 1, None)
    options = {"test_loader": test, "results_dir": folder, "lr": 3e-3, "verbose": False} | options
    return ModelFlow(model, train, val, name, **options)


def test_what_the_compiled_step_does_not_cover_is_trained_there(digits, tmp_path):
    flow = flow_of(digits, tmp_path)
    assert flow.device.type == "cuda"
    accuracy = flow.run(epochs=8).accuracy
    assert accuracy > 0.9
    run = read_run(flow.results_dir)
    assert run.device.startswith("cuda")
    assert run.engine.startswith("autograd")
    assert any(note.startswith("device cuda: the compiled step does not cover") for note in run.notes)
    assert (flow.results_dir / "intermediate_outputs.png").is_file()
    assert run.latency_ms["1"] > 0


def test_what_it_covers_stays_on_the_cpu_unless_asked(digits, tmp_path):
    at_home, asked = (flow_of(digits, tmp_path, name, PLAIN, device=at) for name, at in (("a", None), ("b", "cuda")))
    assert (at_home.device.type, asked.device.type) == ("cpu", "cuda")
    accuracies = [flow.run(epochs=6).accuracy for flow in (at_home, asked)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.05)


def test_the_cpu_gives_the_same_logits_with_its_weights(digits, tmp_path):
    flow = flow_of(digits, tmp_path)
    flow.run(epochs=3)
    logits_NK, _ = read_predictions(flow.results_dir)
    on_cpu = flow_of(digits, tmp_path / "again", device="cpu")
    on_cpu.arch.load_checkpoint(flow.results_dir / "model_checkpoint.pth")
    np.testing.assert_allclose(on_cpu.arch.predictions(on_cpu.test_loader)[0], logits_NK, rtol=2e-3, atol=2e-3)
    on_cpu.train(1)  # Adam's averages came along
    assert on_cpu.arch.total_epochs == 4


@pytest.mark.parametrize(("epoch", "step"), [(1, 20), (2, 41)])
def test_a_training_broken_off_goes_on_there(digits, tmp_path, monkeypatch, epoch, step):
    monkeypatch.setattr("modelflow.studies.autosave.SECONDS_BETWEEN_STATES", 0)
    monkeypatch.setattr("modelflow.studies.autosave.SHARE_OF_SAVING", 1e9)
    whole = flow_of(digits, tmp_path, "whole")
    whole.train(2)
    broken = flow_of(digits, tmp_path, "broken")

    def on_step(at_epoch, at_step, _loss):
        if (at_epoch, at_step) >= (epoch, step):
            raise PulledPlugError

    broken.arch.on_step = on_step
    with pytest.raises(PulledPlugError):
        broken.train(2)
    resumed = flow_of(digits, tmp_path, "broken")
    assert resumed.resume()
    resumed.train(2)
    np.testing.assert_allclose(resumed.arch.losses, whole.arch.losses, rtol=1e-3)
    for a, b in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


def test_a_study_there_side_by_side(tmp_path):
    study = {"dataset": "digits", "models": [{"name": "r", "spec": RESIDUAL}], "seeds": [1, 2], "epochs": 2, "lr": 3e-3}
    results = tmp_path / "results"
    torch.zeros(1, device="cuda")  # as in a notebook that has used the device before
    run_study(study, results, device="cuda", jobs=2)
    for folder in (results / "r", results / "r" / "seeds" / "2"):
        run = read_run(folder)
        assert run.device.startswith("cuda")
        assert open_run(folder).evaluate().accuracy == pytest.approx(run.metrics.accuracy, abs=2e-2)


def test_commands_there(tmp_path, capsys):
    spec, results = tmp_path / "r.json", tmp_path / "results"
    spec.write_text(json.dumps(RESIDUAL))
    for words in (
        ["train", str(spec), "--dataset", "digits", "--epochs", "2", "--device", "cuda", "--results", str(results)],
        ["lr-find", str(spec), "--dataset", "digits", "--device", "cuda", "--results", str(tmp_path / "lr")],
        ["evaluate", str(results / "r")],
        ["inspect", str(results / "r")],
    ):
        assert run_command(words) == 0, capsys.readouterr()
