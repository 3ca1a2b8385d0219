"""`train MODEL --like STUDY`: a model trained as those of a study, in its folder, its tables and its report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import modelflow as mf
from modelflow.cli import run_command
from modelflow.errors import UsageError
from modelflow.results.asked import read_asked
from modelflow.results.layout import read_run
from modelflow.results.like import like

MINE = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [5], "fc_sizes": [20]}


def file_of(tmp_path) -> str:
    path = Path(tmp_path) / "mine.json"
    path.write_text(json.dumps(MINE))
    return str(path)


def test_a_model_joins_a_study_with_its_settings(copied, tmp_path, capsys):
    before = {path: path.read_bytes() for path in copied.rglob("run.json")}
    study = json.loads((copied / "study.json").read_text())
    assert run_command(["train", file_of(tmp_path), "--like", str(copied), "--json"]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == ["mine"]
    mine, first = read_run(copied / "mine"), read_run(copied / "narrow")
    assert {**mine.settings, "lr": mine.lr} == {**first.settings, "lr": first.lr}
    assert mine.data == first.data
    assert (copied / "mine" / "seeds" / str(study["seeds"][1]) / "run.json").is_file()
    now = json.loads((copied / "study.json").read_text())
    assert [model["name"] for model in now.pop("models")] == [*(m["name"] for m in study.pop("models")), "mine"]
    assert now == study
    assert not (copied / "studies.json").exists()
    assert read_asked(copied).missing() == ""
    assert run_command(["compare", str(copied), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["verdicts"]) == 3
    assert "mine" in (copied / "report.html").read_text()
    assert {path: path.read_bytes() for path in before} == before


def test_python_joins_a_study_too(copied, tmp_path):
    study = json.loads((copied / "study.json").read_text())
    run = mf.train(file_of(tmp_path), like=copied, verbose=False)
    assert (run.record.seed, run.folder) == (study["seeds"][0], copied / "mine")
    assert (copied / "mine" / "seeds" / str(study["seeds"][1]) / "run.json").is_file()
    with pytest.raises(UsageError, match="recipe: the study that is joined has all settings"):
        mf.train("generic_2", like=copied, recipe="best")


def test_the_folder_of_the_data_is_that_of_the_study(copied, tmp_path):
    fields = json.loads((copied / "narrow" / "run.json").read_text())
    fields["data"]["folder"] = str(tmp_path / "digits")
    (copied / "narrow" / "run.json").write_text(json.dumps(fields))
    assert like(copied, {"models": ["generic_2"]}).data_dir is None
    (tmp_path / "digits").mkdir()
    assert like(copied, {"models": ["generic_2"]}).data_dir == tmp_path / "digits"
    assert like(copied, {"models": ["generic_2"]}, tmp_path).data_dir == tmp_path
    assert like(copied, {"models": ["generic_2"], "dataset": "fashion-mnist"}).data_dir is None


def photos(folder):
    """Two classes of a shade each, in noise."""
    rng = np.random.default_rng(0)
    for name, shade in (("dark", 0), ("light", 120)):
        (folder / name).mkdir(parents=True)
        for i in range(24):
            image = rng.integers(shade, shade + 100, (8, 8), np.uint8)
            Image.fromarray(image).save(folder / name / f"{i}.png")


def arrays(path):
    """As `photos`, in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y = np.arange(48) % 2
    x = np.random.default_rng(0).integers(0, 100, (48, 8, 8), np.uint8) + np.uint8(120) * y[:, None, None]
    np.savez(path, x_train=x.astype(np.uint8), y_train=y)


@pytest.mark.parametrize(("make", "name"), [(photos, "data/photos"), (arrays, "data/mine.npz"), (photos, ".")])
def test_images_of_ones_own_are_found_from_any_folder(make, name, tmp_path, monkeypatch, capsys):
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    make(work / name)
    elsewhere.mkdir()
    monkeypatch.chdir(work)
    base = tmp_path / "base"
    options = ["--dataset", name, "--epochs", "1", "--results", str(base)]
    assert run_command(["run", study_file(tmp_path), *options]) == 0
    make(elsewhere / name) if name == "." else None  # the current folder is no longer the data set
    monkeypatch.chdir(elsewhere)
    before = read_asked(base).studies
    capsys.readouterr()
    assert run_command(["train", "c3 gap fc", "--like", str(base)]) == 0, capsys.readouterr().err
    assert read_run(base / "c3-gap-fc").data == read_run(base / "c2-gap-fc").data
    (study,) = read_asked(base).studies
    assert study.dataset == before[0].dataset
    assert run_command(["evaluate", str(base / "c2-gap-fc")]) == 0
    assert run_command(["report", str(base)]) == 0
    assert "The images cannot be shown" not in (base / "report.html").read_text()
    run = mf.train("c4 gap fc", like=base, verbose=False)
    assert run.record.data == read_run(base / "c2-gap-fc").data


def study_file(tmp_path) -> str:
    path = tmp_path / "study.yaml"
    path.write_text("models: [c2 gap fc]\nseeds: 1\n")
    return str(path)


def test_images_that_have_gone_are_found_in_the_folder_that_is_named(tmp_path, monkeypatch, capsys):
    photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", study_file(tmp_path), "--dataset", "photos", "--epochs", "1", "--results", "base"]) == 0
    (tmp_path / "moved").mkdir()
    (tmp_path / "photos").rename(tmp_path / "moved" / "photos")
    capsys.readouterr()
    assert run_command(["train", "c3 gap fc", "--like", "base"]) == 2
    assert f"like base: its images images:photos are not in {tmp_path}/photos. Give" in capsys.readouterr().err
    assert run_command(["evaluate", "base/c2-gap-fc"]) == 2
    assert f"base/c2-gap-fc: its images images:photos are not in {tmp_path}/photos. Give" in capsys.readouterr().err
    assert run_command(["evaluate", "base/c2-gap-fc", "--data-dir", "moved"]) == 0
    for i, place in enumerate(("moved", "moved/photos")):
        assert run_command(["train", f"c{4 + i} gap fc", "--like", "base", "--data-dir", place]) == 0
        assert read_run(Path("base") / f"c{4 + i}-gap-fc").data.folder == str(tmp_path / "moved" / "photos")


def test_options_win_and_the_study_remembers_both(copied, tmp_path, capsys):
    assert run_command(["train", file_of(tmp_path), "--like", str(copied), "--epochs", "1", "--seed", "9"]) == 0
    studies = read_asked(copied).studies
    assert [(study.epochs, study.seeds) for study in studies][-1] == (1, [9])
    assert len(studies) == 2
    assert read_run(copied / "mine").epochs == 1
    assert run_command(["train", file_of(tmp_path), "--like", str(copied), "--epochs", "1", "--seed", "9"]) == 0
    told = capsys.readouterr().err
    assert "holds 2 studies. The settings of the last one count" in told
    assert "are already finished" in told


def test_a_restart_sets_the_model_aside_and_not_the_study(copied, tmp_path):
    for _ in range(2):
        assert run_command(["train", file_of(tmp_path), "--like", str(copied), "--seed", "9", "--restart"]) == 0
    assert (copied / "mine.old-1").is_dir()
    assert (copied / "narrow" / "run.json").is_file()


def test_a_name_that_is_taken_is_told(copied, tmp_path, capsys):
    path = Path(file_of(tmp_path)).rename(tmp_path / "wide.json")
    assert run_command(["train", str(path), "--like", str(copied)]) == 2
    assert "wide holds a run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--like", "NOWHERE"], "no study.json there that can be read. Give the folder of a study"),
        (["--like", "COPIED", "--results", "other"], "--results: --like says where the results go"),
        (["--like", "COPIED", "--recipe", "best"], "recipe: the study that is joined has all settings"),
    ],
)
def test_what_cannot_be_joined_is_refused(copied, tmp_path, capsys, options, said):
    places = {"COPIED": str(copied), "NOWHERE": str(tmp_path / "nowhere")}
    assert run_command(["train", file_of(tmp_path), *(places.get(option, option) for option in options)]) == 2
    assert said in capsys.readouterr().err
    assert not (copied / "mine").exists()
