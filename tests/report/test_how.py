"""How to repeat it: one command on the page and on the cards, which runs from any folder, or words where none can."""

import base64
import html
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from chromium import needs_chromium
from modelflow import GenericCNN, ModelFlow, load_dataset
from modelflow.analysis.archive import read_content
from modelflow.cli import run_command
from modelflow.io.config import read_fields
from modelflow.networks.description import parse_spec
from modelflow.report import how, page
from modelflow.report.how import RELATIVE, data_options, new_study_command, repeat_command, repeat_run
from modelflow.report.page import render
from modelflow.results import asked
from modelflow.results.layout import read_run
from modelflow.studies.pages import write_pages
from small import spec_of_four as spec
from small import write_four as write

SAME_BYTES = ("model.safetensors", "history.csv", "predictions.npz")


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A study on a relative folder of data, from a relative file, its results in a relative folder; then elsewhere."""
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path("my data"), 1)
    models = [{"name": "own", "spec": spec(2)}]
    Path("s.json").write_text(json.dumps({"dataset": "idx:my data", "models": models, "epochs": 1, "batch_size": 8}))
    assert run_command(["run", "s.json", "--results", "r"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "here" / "r"


def on_page(text):
    found = re.search(r"<pre[^>]*repeats the study[^>]*><code>(.*?)</code></pre>", text, re.S)[1]
    return html.unescape(re.sub(r"<[^>]+>", "", found))


def on_card(text):
    return re.search(r"```sh\n(.*)\n```", text)[1]


def test_page_and_card_of_a_study_give_the_same_command_and_it_runs_from_anywhere(begun):
    command = on_page((begun / "report.html").read_text())
    assert command == on_card((begun / "MODEL_CARD.md").read_text())
    program, *arguments = shlex.split(command)
    assert program == "modelflow"
    assert run_command(arguments) == 0
    for name in SAME_BYTES:
        assert Path("repeated/own", name).read_bytes() == (begun / "own" / name).read_bytes()


def test_who_has_the_page_alone_saves_the_study_from_it_and_repeats_it_beside(begun, tmp_path, monkeypatch):
    text = (begun / "report.html").read_text()
    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")
    saved = re.search(r'<a download="study.json" href="data:application/json;base64,([^"]+)"', text)[1]
    Path("study.json").write_bytes(base64.b64decode(saved))
    shown = html.unescape(re.search(r'<pre class="study"[^>]*><code>(.*?)</code>', text, re.S)[1])
    assert shown.encode() == base64.b64decode(saved)
    assert Path("study.json").read_bytes() == (begun / "study.json").read_bytes()
    command = html.unescape(re.sub(r"<[^>]+>", "", re.search(r"beside study.json[^>]*>(.*?)</pre>", text, re.S)[1]))
    assert command == "modelflow run study.json --dataset idx:FOLDER --results repeated"
    assert "Put the folder of the data on your machine in place of FOLDER." in text
    _, *arguments = shlex.split(command)
    assert run_command([word.replace("FOLDER", str(begun.parent / "my data")) for word in arguments]) == 0
    for name in SAME_BYTES:
        assert Path("repeated/own", name).read_bytes() == (begun / "own" / name).read_bytes()


@needs_chromium
def test_a_browser_saves_the_study_from_the_page(begun, opened):
    report = opened(begun / "report.html")
    with report.expect_download() as saved:
        report.get_by_role("link", name="study.json").click()
    assert saved.value.suggested_filename == "study.json"
    assert Path(saved.value.path()).read_bytes() == (begun / "study.json").read_bytes()


def test_a_study_too_long_for_a_page_is_asked_for(begun, monkeypatch):
    monkeypatch.setattr(how, "MAX_STUDY_BYTES", 100)
    text = render(read_content(begun))
    assert "Ask for the study.json of these results" in text
    assert "application/json;base64" not in text
    assert 'class="study"' not in text


def test_the_study_takes_its_bytes_from_those_of_the_pictures(begun, monkeypatch):
    content = read_content(begun)
    study = how.how_made(content).alone
    text = render(content)
    parts = re.findall(r'href="(data:application/json[^"]+)"|<pre class="study"[^>]*><code>(.*?)</code>', text, re.S)
    assert study.size == sum(len(part) for found in parts for part in found)
    (one,) = page._all_shown(content, None)
    own = sum(inside.size for inside in page._with_insides(content, [one], 0)[0].insides)
    for room, is_left_out in ((one.size + own, True), (one.size + own + study.size, False)):
        monkeypatch.setattr(page, "MAX_EMBEDDED_BYTES", room)
        assert ("to keep this page small" in render(content)) == is_left_out


@pytest.mark.parametrize("revision", ["0123456789abcdef", "0123456789abcdef+"])
def test_changes_that_no_revision_has_are_said_not_to_be_in_the_page(begun, revision):
    fields = json.loads((begun / "own/run.json").read_text())
    (begun / "own/run.json").write_text(json.dumps(fields | {"git_revision": revision}))
    assert (how.CHANGES in render(read_content(begun))) == revision.endswith("+")


def test_the_command_of_a_new_study_trains_other_seeds_elsewhere(begun):
    program, *arguments = shlex.split(new_study_command(read_content(begun), 2))
    assert program == "modelflow"
    assert run_command(arguments) == 0
    assert sorted(run.seed for run in read_content("new_study").runs) == [43, 44]
    assert [run.seed for run in read_content(begun).runs] == [42]


def test_the_card_of_a_run_gives_a_command_that_runs_from_anywhere(begun):
    _, *arguments = shlex.split(on_card((begun / "own" / "MODEL_CARD.md").read_text()))
    assert run_command(arguments) == 0
    for name in SAME_BYTES:
        assert Path("repeated/spec", name).read_bytes() == (begun / "own" / name).read_bytes()


def test_where_no_record_says_where_the_data_were_the_command_says_where_to_give_it(begun):
    fields = json.loads((begun / "own/run.json").read_text())
    del fields["data"]["folder"]
    (begun / "own/run.json").write_text(json.dumps(fields))
    command, caution = repeat_command(read_content(begun))
    assert shlex.split(command)[3:5] == ["--dataset", "idx:my data"]
    assert RELATIVE.format("idx:my data") in caution
    assert RELATIVE.format("idx:my data") in repeat_run(read_run(begun / "own"), begun / "own")[1]
    write_pages(begun)
    assert "Give the command there" in (begun / "MODEL_CARD.md").read_text()
    assert "Give the command there" in (begun / "report.html").read_text()


def test_a_folder_of_data_that_was_named_is_named_again(content):
    run = content.runs[0]
    named = run.model_copy(update={"data": run.data.model_copy(update={"folder": "/my data"})})
    assert data_options("fashion-mnist", [named]) == (["--data-dir", "/my data"], "")
    assert data_options("digits", [run]) == ([], "")
    assert data_options("idx:/abs", [run]) == (["--dataset", "idx:/abs"], "")


class Net(GenericCNN):
    """A module of one's own."""


def test_what_was_made_in_python_has_no_command_but_words(begun):
    train, val, test = load_dataset(f"idx:{begun.parent / 'my data'}").held_out_loaders(8)
    for kind, name in ((GenericCNN, "spec_in_python"), (Net, "net")):
        model = kind(parse_spec(spec(2)))
        flow = ModelFlow(model, train, val, name, test_loader=test, results_dir=begun, verbose=False)
        flow.run(epochs=1)
        command, words = repeat_run(read_run(begun / name), begun / name)
        assert command == ""
        assert "No command repeats it: the run was made in Python." in words
        assert "run(epochs=1)" in words
    command, caution = repeat_command(read_content(begun))
    assert "study.json" in command
    assert "No command repeats net and spec_in_python, which Python code made." in caution


def test_without_a_study_file_page_and_card_send_to_the_runs(begun):
    (begun / "study.json").unlink()
    write_pages(begun)
    for name in ("report.html", "MODEL_CARD.md"):
        text = (begun / name).read_text()
        assert "The MODEL" in text.replace("\\", "")
        assert "modelflow run " not in text.partition("How to repeat it")[2].partition("## Files")[0]


def test_a_results_folder_that_was_moved_gives_its_new_place(begun, tmp_path):
    moved = Path(shutil.move(begun, tmp_path / "moved"))
    command, _ = repeat_command(read_content(moved))
    assert shlex.split(command)[2] == str(moved / "study.json")
    assert on_page(render(read_content(moved))) == command


def test_a_folder_whose_name_no_page_can_hold_is_the_place_to_give_the_command_in(begun, tmp_path):
    moved = Path(shutil.move(begun, tmp_path / "not utf-8 \udcff"))
    command, caution = repeat_command(read_content(moved))
    assert shlex.split(command)[2] == "study.json"
    assert caution.endswith("Give the command in the folder of study.json.")
    write_pages(moved)
    assert "Give the command in the folder of spec.json." in (moved / "own/MODEL_CARD.md").read_text()


def test_pages_read_what_was_asked_for_once(begun, monkeypatch):
    read = []

    def counting(path, *most):
        read.append(path.name)
        return read_fields(path, *most)

    monkeypatch.setattr(asked, "read_fields", counting)
    write_pages(begun)
    assert read.count("study.json") == 1
