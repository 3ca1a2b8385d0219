"""Models of a study file that are code: run only when that is allowed, also by workers, told when it changed."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from modelflow import run_study
from modelflow.cli import run_command
from modelflow.errors import UsageError
from modelflow.networks.seeds import stream
from modelflow.results.layout import read_run
from modelflow.results.settings import read_study

NETS = """
from pathlib import Path
import torch
from torch import nn

Path({ran!r}).touch()
print("a word on the standard output")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 10)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))

KEPT = Net()

def kept():
    return KEPT
"""
STUDY = """
dataset: digits
models: [{name: r, module: "nets.py:Net"}, "c8 gap fc"]
seeds: 2
epochs: 1
lr: 0.003
"""


def folder_with(where: Path, nets: str = NETS, study: str = STUDY) -> Path:
    where.mkdir(parents=True, exist_ok=True)
    (where / "nets.py").write_text(nets.replace("{ran!r}", repr(str(where / "ran"))))
    (where / "study.yaml").write_text(study)
    return where


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Trained by two worker processes."""
    folder = folder_with(tmp_path_factory.mktemp("code"))
    run_study(folder / "study.yaml", folder / "results", jobs=2, allow_code=True, verbose=False)
    return folder


def test_without_being_allowed_nothing_is_run_or_written(tmp_path, capsys):
    folder = folder_with(tmp_path / "study")
    assert run_command(["run", str(folder / "study.yaml"), "--results", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert f"training would run the code of r ({folder.resolve() / 'nets.py'}:Net)" in said
    assert "--allow-code" in said
    with pytest.raises(UsageError, match="allow_code=True"):
        run_study(folder / "study.yaml", tmp_path / "r")
    assert not (folder / "ran").exists()
    assert not (tmp_path / "r").exists()


def test_a_finished_study_asks_for_nothing(finished, capsys):
    study, results = str(finished / "study.yaml"), str(finished / "results")
    assert run_command(["run", study, "--results", results]) == 0
    assert "4 of 4 runs are already finished" in capsys.readouterr().err
    assert run_command(["run", study, "--results", results, "--restart"]) == 2
    assert "training would run the code of r" in capsys.readouterr().err
    assert (finished / "results" / "r" / "run.json").is_file()


def test_a_restart_sets_aside_what_was_trained_otherwise(finished, tmp_path, capsys):
    results = shutil.copytree(finished / "results", tmp_path / "results")
    asked = ["run", str(finished / "study.yaml"), "--results", str(results), "--seeds", "1", "--lr", "0.01"]
    assert run_command([*asked, "--allow-code"]) == 2
    assert "lr was 0.003, now 0.01" in capsys.readouterr().err
    assert run_command([*asked, "--allow-code", "--restart"]) == 0
    assert read_run(results / "r").lr == 0.01
    assert read_run(tmp_path / "results.old-1" / "r").lr == 0.003


def test_its_run_predicts_where_its_code_may_run(finished, tmp_path, capsys):
    from PIL import Image

    picture, run = tmp_path / "one.png", str(finished / "results" / "r")
    Image.new("L", (8, 8), 90).save(picture)
    assert run_command(["predict", run, str(picture)]) == 2
    assert "To run its code, nets.py:Net, give --allow-code" in capsys.readouterr().err
    assert run_command(["predict", run, str(picture), "--seeds", "all", "--allow-code", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["file"] == str(picture)
    assert run_command(["export", run, "--to", "pt2", "--output", str(tmp_path / "out"), "--allow-code"]) == 0
    assert "same class for 355 of 355" in capsys.readouterr().out
    (finished / "nets.py").rename(finished / "gone.py")
    assert run_command(["predict", run, str(picture), "--allow-code"]) == 2
    (finished / "gone.py").rename(finished / "nets.py")
    assert (
        "r: was made by the code nets.py:Net, which is not at hand. Call it where its file lies"
        in capsys.readouterr().err
    )


def test_allowed_it_is_trained_beside_others_and_compared(finished, capsys):
    results = finished / "results"
    run = read_run(results / "r" / "seeds" / "43")
    assert (run.model_class, run.spec, run.code.code) == ("Net", None, "nets.py:Net")
    assert "initial weights: the module's own, drawn from the seed" in run.notes
    assert run_command(["compare", str(results), "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)["entries"]} == {"r", "c8-gap-fc"}
    assert run_command(["run", str(finished / "study.yaml"), "--results", str(results), "--allow-code", "--json"]) == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)} == {"r", "c8-gap-fc"}


def test_workers_and_this_process_give_the_same_bytes(finished, tmp_path):
    study = STUDY.replace(', "c8 gap fc"', "").replace("seeds: 2", "seeds: [43]")
    folder = folder_with(tmp_path, study=study)
    run_study(folder / "study.yaml", tmp_path / "r", jobs=1, allow_code=True, verbose=False)
    for name in ("model.safetensors", "predictions.npz", "history.csv"):
        assert (tmp_path / "r" / "r" / name).read_bytes() == (
            finished / "results" / "r" / "seeds" / "43" / name
        ).read_bytes()


def test_machines_of_a_cluster_are_sent_the_code(finished, tmp_path):
    """The file is not there any more when they train."""
    study = STUDY.replace(', "c8 gap fc"', "").replace("seeds: 2", "seeds: [43]")
    folder = folder_with(tmp_path / "study", study=study)
    settings = read_study(folder / "study.yaml")
    (folder / "nets.py").unlink()
    run_study(settings, tmp_path / "r", jobs=1, engine="ray", allow_code=True, verbose=False)
    assert (tmp_path / "r" / "r" / "predictions.npz").read_bytes() == (
        finished / "results" / "r" / "seeds" / "43" / "predictions.npz"
    ).read_bytes()


def test_what_reads_results_never_runs_the_code_that_they_name(finished, tmp_path):
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "ran").unlink(missing_ok=True)
    (copy / "results" / "nets.py").write_text((copy / "nets.py").read_text().replace(str(finished), str(copy)))
    for command in ("leaderboard", "compare", "report"):
        assert run_command([command, str(copy / "results")]) == 0
    for command in ("evaluate", "inspect"):
        assert run_command([command, str(copy / "results" / "r")]) == 2
    assert not (copy / "ran").exists()
    assert (
        "Give the study file that names nets.py:Net again, with --allow-code"
        in (copy / "results" / "report.html").read_text()
    )


def test_code_that_changed_is_told_on_resume(finished, tmp_path, capsys):
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    (copy / "nets.py").write_text((copy / "nets.py").read_text() + "# a word more\n")
    command = ["run", str(copy / "study.yaml"), "--results", str(copy / "results"), "--allow-code"]
    assert run_command(command) == 2
    assert "holds a run of other code. nets.py:Net has changed: SHA-256 stored" in capsys.readouterr().err


def test_other_code_of_the_same_layers_is_another_model(finished, tmp_path, capsys):
    """The module prints itself alike; its file does not have the same bytes."""
    other = folder_with(tmp_path, NETS.replace("torch.relu", "torch.tanh"), STUDY.replace(', "c8 gap fc"', ""))
    run_study(other / "study.yaml", tmp_path / "results", jobs=1, allow_code=True, verbose=False)
    first, second = read_run(finished / "results" / "r"), read_run(tmp_path / "results" / "r")
    assert first.module_sha256 == second.module_sha256
    both = tmp_path / "both"
    for name, source in (("anna", finished / "results" / "r"), ("ben", tmp_path / "results" / "r")):
        shutil.copytree(source, both / name)
    assert run_command(["leaderboard", str(both), "--json"]) == 0
    assert {row["model"] for row in json.loads(capsys.readouterr().out)} == {"r (anna)", "r (ben)"}


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("nets.py:kept", "r: gives the same weights each time: a second seed would train on"),
        ("nets.py:Nat", "nets.py defines no function or class Nat. Did you mean 'Net'?"),
        ("nets.py:Path", "r: its function gives .*Path.*, expected a torch.nn.Module"),
        ("nts.py:Net", "models: r: nts.py: no such file"),
    ],
)
def test_code_that_makes_no_new_module_is_refused_before_anything_is_written(tmp_path, module, said):
    folder = folder_with(tmp_path, study=STUDY.replace("nets.py:Net", module))
    with pytest.raises(UsageError, match=said):
        run_study(folder / "study.yaml", tmp_path / "r", allow_code=True)
    assert not (tmp_path / "r").exists()


def test_its_initial_weights_are_those_of_torch_alone(finished):
    """Trained with a learning rate of nearly nothing they are still those of the seed."""
    study = STUDY.replace(', "c8 gap fc"', "").replace("0.003", "1.0e-30").replace("seeds: 2", "seeds: [5]")
    (finished / "still.yaml").write_text(study)
    run_study(finished / "still.yaml", finished / "still", jobs=1, allow_code=True, verbose=False)
    from safetensors.torch import load_file

    weights = load_file(finished / "still" / "r" / "model.safetensors")
    torch.manual_seed(stream(5, "weights"))
    expected = torch.nn.Conv2d(1, 4, 3)
    assert torch.allclose(weights["conv.weight"], expected.weight)
