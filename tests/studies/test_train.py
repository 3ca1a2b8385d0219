"""`train`: one model, however it is given, as `modelflow train` trains it."""

import json
from itertools import pairwise

import pytest

import modelflow as mf
from modelflow.cli import run_command
from modelflow.errors import SpecError, UsageError
from modelflow.io.process import obeys_cursor
from modelflow.results.layout import read_predictions
from modelflow.studies import progress, progress_log
from modelflow.studies.plan import Event
from modelflow.studies.progress_log import Lines
from report_studies import spec

NARROW = {"name": "narrow", "spec": spec(2)}
SETTINGS = {"dataset": "digits", "epochs": 1, "lr": 3e-3}


def test_a_model_is_trained_as_by_the_command_and_kept(tmp_path, capsys):
    (tmp_path / "narrow.json").write_text(json.dumps(spec(2)))
    run = mf.train(tmp_path / "narrow.json", tmp_path / "ours", **SETTINGS)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("training 1 run …\nnarrow, seed 42: accuracy ")
    asked = ["train", str(tmp_path / "narrow.json"), "--results", str(tmp_path / "theirs"), "--dataset", "digits"]
    assert run_command([*asked, "--epochs", "1", "--lr", "0.003"]) == 0
    ours, theirs = read_predictions(run.folder), read_predictions(tmp_path / "theirs" / "narrow")
    assert (ours[0] == theirs[0]).all()
    before = (run.folder / "run.json").stat().st_mtime_ns
    capsys.readouterr()
    again = mf.train(NARROW, tmp_path / "ours", **SETTINGS)
    assert capsys.readouterr().err == ""
    assert again.record == run.record
    assert (run.folder / "run.json").stat().st_mtime_ns == before
    assert not (tmp_path / "ours" / "study.json").exists()


def test_each_way_to_say_a_network_will_do(tmp_path):
    given = (spec(2), "c2 gap fc", mf.GenericCNN(spec(2)), NARROW, "generic_2")
    names = ["model_1", "c2-gap-fc", "model_1", "narrow", "generic_2"]
    for i, (model, name) in enumerate(zip(given, names, strict=True)):
        run = mf.train(model, tmp_path / str(i), seed=7, verbose=False, **SETTINGS)
        assert (run.record.model_name, run.record.seed) == (name, 7)


@pytest.mark.parametrize(
    ("model", "settings", "error", "words"),
    [
        ("generic_2", {"epoch": 3}, UsageError, "epoch"),
        ("generic_2", {"lr": -1}, UsageError, "lr"),
        ("generic_2", {"seeds": 5}, UsageError, r"train: seeds: is of a study, and one run is trained\. Use run_study"),
        ("generic_2", {"metric": "nll"}, UsageError, "train: metric: is of a study"),
        ("generic_2", {"models": []}, UsageError, "train: models: is of a study"),
        ("generic_2", {"seed": -1}, UsageError, "seed = -1: must be 0 or more"),
        ("generic_2", {"seed": "7"}, UsageError, "seed = '7': must be a whole number"),
        ("generic_2", {"device": "gpu"}, UsageError, "device 'gpu'"),
        ("generik_2", {}, UsageError, "Did you mean 'generic_2'"),
        (7, {}, UsageError, "models: 7: expected a preset's name"),
        ("generic_2", {"dataset": "nowhere"}, UsageError, "unknown data set 'nowhere'"),
        ("c8 c9/ gap fc", {}, (SpecError, UsageError), "c9/"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_fix(tmp_path, model, settings, error, words):
    with pytest.raises(error, match=words):
        mf.train(model, tmp_path / "results", **{"dataset": "digits"} | settings)
    assert not (tmp_path / "results").exists()


def test_silence_is_silent_and_events_are_heard(tmp_path, capsys):
    heard = []
    mf.train(NARROW, tmp_path, on_event=heard.append, verbose=False, **SETTINGS)
    assert capsys.readouterr().err == ""
    assert heard[-1].total == 1


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def monotonic(self):
        return self.now


def test_a_line_comes_now_and_then_and_more_seldom_later(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    told = Lines(progress.StudyProgress([], 1))
    lines = []
    for second in range(1, 3601):
        clock.now = second
        told.on_event(Event("a, seed 42", 0, 1, loss=1.0))
        if capsys.readouterr().err:
            lines.append(second)
    assert lines[0] == 10
    assert all(10 <= later - before <= 61 for before, later in pairwise(lines))
    assert len(lines) < 100
    told.on_event(Event("a, seed 42", 0, 1, note="resumes"))
    assert capsys.readouterr().err == "a, seed 42: resumes\n"


class Terminal:
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("surroundings", "obeys"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-color"}, True),
        ({"TERM": "xterm-256color", "JPY_PARENT_PID": "7"}, False),
        ({"TERM": "xterm-color", "CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_a_notebooks_terminal_is_told_from_others(monkeypatch, surroundings, obeys):
    for name in ("JPY_PARENT_PID", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert obeys_cursor(Terminal()) == obeys


def test_no_kernel_is_taken_for_one():
    assert not progress_log.in_kernel()
