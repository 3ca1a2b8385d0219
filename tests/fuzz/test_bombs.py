"""Bombs are refused, soon and in little memory; a results folder that was handed over leads nowhere else.

Links, pipes and devices, names with `..`, records that promise too much.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bombs import BOMBS
from child import MAX_MIB
from targets import TARGETS, TINY, a_run

from modelflow.analysis.comparison import compare_folders
from modelflow.analysis.leaderboard import leaderboard
from modelflow.cli import run_command
from modelflow.errors import ModelFlowError
from modelflow.results import layout
from modelflow.results.settings import read_study


@pytest.fixture(scope="module")
def told() -> Any:
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("bombs.py"))], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_within_two_seconds(told: Any, bomb: str) -> None:
    assert told["bombs"][bomb]["wrong"] == ""
    assert told["bombs"][bomb]["accepted"] == 0


def test_all_bombs_together_need_less_than_a_gibibyte(told: Any) -> None:
    assert told["peak_mib"] < MAX_MIB


@pytest.fixture
def handed_over(tmp_path: Path) -> Path:
    """A results folder with two runs of one model."""
    model = tmp_path / "results" / "tiny"
    for folder, seed in ((model, 42), (model / "seeds" / "43", 43)):
        layout.write_run(folder, a_run(seed=seed))
        (folder / "predictions.npz").write_bytes(TARGETS["predictions"].seeds()[0])
        layout.write_run(folder, a_run(seed=seed, files=layout.checksums(folder)))
    return tmp_path / "results"


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(ModelFlowError) as caught:
        read()
    return str(caught.value)


@pytest.mark.parametrize("place", ["tiny", "tiny/seeds", "tiny/seeds/43"])
def test_a_folder_that_is_a_link_is_neither_read_nor_written(handed_over: Path, place: str) -> None:
    elsewhere = handed_over.parent / "elsewhere"
    (handed_over / place).rename(elsewhere)
    (handed_over / place).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    study = handed_over.parent / "study.json"
    study.write_text(json.dumps({"models": [{"name": "tiny", "spec": TINY}], "seeds": [42, 43], "dataset": "digits"}))
    told = f"{handed_over / place}: is a symbolic link"
    assert told in refusal(lambda: leaderboard(handed_over))
    assert told in refusal(lambda: compare_folders([handed_over]))
    for command in (
        ["evaluate", str(handed_over / "tiny/seeds/43")],
        ["run", str(study), "--results", str(handed_over)],
    ):
        assert run_command(command) == 2
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("name", ["run.json", "predictions.npz"])
@pytest.mark.parametrize("kind", ["link", "device", "pipe"])
def test_files_that_lead_elsewhere_are_not_read(handed_over: Path, name: str, kind: str) -> None:
    path = handed_over / "tiny" / name
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        (handed_over / "kept").write_bytes(content)
        path.symlink_to("/dev/zero" if kind == "device" else handed_over / "kept")
    assert str(path.parent) in refusal(lambda: compare_folders([handed_over / "tiny", handed_over / "tiny/seeds/43"]))


def test_predictions_of_another_run_are_noticed(handed_over: Path) -> None:
    other = layout.predictions_npz(np.ones((2, 2)), np.array([0, 1]))
    (handed_over / "tiny" / "predictions.npz").write_bytes(other)
    assert "its SHA-256 differs from run.json" in refusal(lambda: layout.read_predictions(handed_over / "tiny"))


def test_seeds_with_other_images_are_not_mixed(handed_over: Path) -> None:
    folder = handed_over / "tiny" / "seeds" / "43"
    (folder / "predictions.npz").write_bytes(layout.predictions_npz(np.ones((3, 2)), np.array([0, 1, 1])))
    layout.write_run(folder, a_run(files={}, seed=43))
    layout.write_run(handed_over / "other", a_run(model_name="other"))
    assert "were tested on other images" in refusal(
        lambda: compare_folders([handed_over / "tiny", handed_over / "other"])
    )


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "study.json", "Leaderboard.csv", "a.old-1", "report.html"])
def test_a_model_is_not_called_what_would_write_elsewhere(tmp_path: Path, name: str) -> None:
    study = tmp_path / "study.json"
    study.write_text(json.dumps({"models": [{"name": name, "spec": TINY}]}))
    assert "model name" in refusal(lambda: read_study(study))


def test_the_picture_of_a_layer_stays_in_its_folder() -> None:
    assert layout.filters_png("../../x") == "filters_.._.._x.png"
    assert layout.filters_png("conv_layers.0") == "filters_conv_layers.0.png"


def test_a_network_is_not_made_for_a_checkpoint_that_cannot_be_of_it(handed_over: Path) -> None:
    large = TINY | {"amnt_fc_layers": 3, "fc_sizes": [13_000, 13_000]}
    (handed_over / "tiny" / layout.CHECKPOINT).write_bytes(b"small")
    layout.write_run(handed_over / "tiny", a_run(spec=large, settings={"dataset": "digits"}))
    from modelflow.studies.run import open_run

    assert "too small for the spec in run.json" in refusal(lambda: open_run(handed_over / "tiny"))


@pytest.mark.parametrize("name", [".lock", "training"])
def test_what_is_written_while_training_is_no_link(handed_over: Path, name: str) -> None:
    elsewhere = handed_over.parent / "elsewhere"
    elsewhere.mkdir() if name == "training" else elsewhere.write_text("mine")
    (handed_over / "tiny" / "run.json").unlink()
    (handed_over / "tiny" / name).symlink_to(elsewhere)
    study = handed_over.parent / "study.json"
    study.write_text(json.dumps({"models": [{"name": "tiny", "spec": TINY | {"input_size": 8, "num_classes": 10}}]}))
    assert run_command(["run", str(study), "--dataset", "digits", "--epochs", "1", "--results", str(handed_over)]) != 0
    assert list(elsewhere.iterdir()) == [] if name == "training" else elsewhere.read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"call": None}, "call = None"),
        ({"midway": {"steps": "3", "total": 1.5, "images": 48, "random": None}}, "midway.steps"),
        ({"midway": {"steps": 3, "total": float("nan"), "images": 48, "random": None}}, "midway.total"),
        ({"midway": {"steps": 3, "total": 1.5, "images": 48, "random": {"torch": 1}}}, "its random state is none"),
    ],
    ids=["no call", "steps in words", "no number", "no random state"],
)
def test_states_that_cannot_be_gone_on_from_are_refused(change: dict[str, Any], message: str) -> None:
    from modelflow.training.checkpoint import parse_checkpoint
    from modelflow.training.states import checked_state

    state = parse_checkpoint(TARGETS["state"].seeds()[0], "state.pth")
    assert message in refusal(lambda: checked_state(state | change, "state.pth"))


def test_numpy_is_not_made_to_read_beyond_its_random_state() -> None:
    from modelflow.training.seeding import check_random_state, random_state

    state = random_state()
    check_random_state(state)
    keys, position, *rest = state["numpy"]
    for wrong in (-1, 625, 10**9):
        with pytest.raises(ValueError, match="its random state is none"):
            check_random_state(state | {"numpy": [keys, wrong, *rest]})
    assert 0 <= position <= 624
