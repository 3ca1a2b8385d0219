"""`predict` and `export`: what they print, files that are none, what they refuse."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelflow import load_run, run_study
from modelflow.cli import run_command
from modelflow.data.sources import read_source
from small import spec

MODELFLOW = [sys.executable, "-c", "from modelflow.cli import main; main()"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a model with two seeds on the digits."""
    where = tmp_path_factory.mktemp("taking")
    settings = {"dataset": "digits", "epochs": 2, "lr": 3e-3, "seeds": 2, "models": [{"name": "net", "spec": spec(3)}]}
    run_study(settings, where, jobs=1, verbose=False)
    return where / "net"


@pytest.fixture
def photos(tmp_path):
    """Three digits as pictures in a folder, beside files that are none of the user's images."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, image in zip(("a.png", "b.PNG", "more/c.bmp"), read_source("digits").test_images, strict=False):
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / name)
    (folder / ".hidden.png").write_text("none")
    (folder / "notes.txt").write_text("none")
    return folder


def printed(capsys, *arguments, code=0):
    assert run_command([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def expected(run, photos):
    files = [photos / name for name in ("a.png", "b.PNG", "more/c.bmp")]
    return files, load_run(run).predict(files)


def test_a_folder_of_pictures_as_a_table(run, photos, capsys, monkeypatch):
    monkeypatch.chdir(photos.parent)  # a long path would be folded
    photos = photos.relative_to(photos.parent)
    files, found = expected(run, photos)
    out, err = printed(capsys, "predict", run, photos)
    assert err == ""
    lines = out.splitlines()[-3:]
    for line, path, guesses in zip(lines, files, found.top(), strict=True):
        assert line.split()[:3] == [str(path), guesses[0].name, f"{guesses[0].probability:.1%}"]
        assert f"{guesses[1].name} {guesses[1].probability:.1%}, {guesses[2].name}" in line


def test_the_same_as_json_and_csv(run, photos, capsys):
    files, found = expected(run, photos)
    data = json.loads(printed(capsys, "predict", run, photos, "--json")[0])
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "predict", run, photos, "--csv")[0])))
    for entry, row, path, label, p_K in zip(data, rows, files, found.labels, found.probabilities, strict=True):
        assert entry["file"] == row["file"] == str(path)
        assert entry["class"] == row["class_1"] == label
        assert entry["probability"] == pytest.approx(p_K.max())
        assert float(row["probability_1"]) == pytest.approx(p_K.max())
        assert float(row["probability_3"]) == pytest.approx(np.sort(p_K)[-3])


def test_the_mean_of_all_seeds(run, photos, capsys):
    each = [load_run(folder).predict([photos / "a.png"]).probabilities for folder in (run, run / "seeds" / "43")]
    out, _ = printed(capsys, "predict", run, photos / "a.png", "--seeds", "all", "--json")
    assert json.loads(out)[0]["probability"] == pytest.approx(float(np.mean(each, axis=0).max()))
    assert "seeds 42, 43" in printed(capsys, "predict", run, photos / "a.png", "--seeds", "all")[0]


def test_an_image_on_the_standard_input(run, photos):
    with (photos / "a.png").open("rb") as file:
        done = subprocess.run([*MODELFLOW, "predict", run, "-", "--json"], stdin=file, capture_output=True, check=True)
    assert json.loads(done.stdout)[0]["class"] == load_run(run).predict(photos / "a.png").labels[0]


def test_what_was_changed_is_told(run, photos, capsys):
    Image.new("RGB", (20, 30), (90, 90, 90)).save(photos / "photo.jpg")
    _, err = printed(capsys, "predict", run, photos)
    assert err == "1 of 4 images: RGB made grey, resized from 30x20 to 8x8, padded with black\n"


def test_light_and_dark_that_seem_exchanged_are_told(run, tmp_path, capsys):
    Image.new("L", (8, 8), 250).save(tmp_path / "white.png")
    _, err = printed(capsys, "predict", run, tmp_path / "white.png")
    assert "are light and dark exchanged?" in err


def test_bad_files_are_named_and_the_others_predicted(run, photos, capsys):
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:60])
    (photos / "\x1b[31m.png").write_text("none")
    out, err = printed(capsys, "predict", run, photos, photos / "none.png", "--csv", code=2)
    assert len(out.splitlines()) == 4
    assert "cut.png: is damaged" in err
    assert "\x1b" not in err.replace("\x1b[31mError", "").replace("\x1b[0m", "")
    assert "none.png: no such file" in err
    assert "3 of 6 images could not be read" in err


def test_many_pictures_come_in_several_batches_in_their_order(run, tmp_path, capsys):
    images = read_source("digits").test_images[:300]
    for i, image in enumerate(images):
        Image.fromarray((image * 15).astype(np.uint8)).save(tmp_path / f"{i:03}.png")
    data = json.loads(printed(capsys, "predict", run, tmp_path, "--json")[0])
    assert [entry["class"] for entry in data] == load_run(run).predict((images * 15).astype(np.uint8)).labels


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "RUN"], "Missing argument 'IMAGE...'"),
        (["predict", "none", "x.png"], "no run.json there"),
        (["predict", "RUN", "EMPTY"], "no image in this folder"),
        (["predict", "RUN", "x.png", "--seeds", "3"], "'3' is not"),
        (["export", "RUN"], "Missing option '--to'"),
        (["export", "RUN", "--to", "abacus"], "'abacus' is not one of"),
        (["export", "none", "--to", "pt2"], "no run.json there"),
        (["export", "RUN", "--to", "pt2", "--output", "RUN"], "is no earlier export"),
    ],
)
def test_what_is_wrong_is_said(run, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in run.iterdir())
    given = [{"RUN": str(run), "EMPTY": "empty"}.get(word, word) for word in arguments]
    assert words in printed(capsys, *given, code=2)[1]
    assert sorted(path.name for path in run.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_export_says_how_it_compares_and_where_it_lies(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out, err = printed(capsys, "export", run, "--to", "huggingface")
    assert "on 355 test images: largest difference of a logit 0.0e+00, same class for 355 of 355." in out
    assert f"Model: {tmp_path / 'net_huggingface'}" in out
    assert "writing huggingface" in err
    photo = tmp_path / "photo.png"
    Image.fromarray((read_source("digits").test_images[0] * 15).astype(np.uint8)).save(photo)
    own, back = (printed(capsys, "predict", one, photo, "--csv")[0] for one in (run, "net_huggingface"))
    assert own == back


def test_the_commands_of_the_page_run(run, photos, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "take-the-model.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (photos / "a.png").rename("shirt.png")
    shutil.copytree(run, tmp_path / "results" / "generic_2")
    commands = re.findall(r"^modelflow (.*)$", page, re.M)
    assert len(commands) == 6
    for command in commands:
        printed(capsys, *shlex.split(command))
    code = re.search(r"^```python\n(.*?)^```$", page, re.S | re.M)[1]
    exec(code, {})
    assert "resized" not in capsys.readouterr().out
