"""Studies: runs side by side, equal to runs alone, kept when finished, refused when they differ; failures and kills."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from modelflow import ModelFlow, run_study
from modelflow.analysis.archive import read_content
from modelflow.analysis.verdicts import AFTER_A_LOOK, seeds_wanted
from modelflow.cli import run_command
from modelflow.errors import DataError, RunError, UsageError
from modelflow.io.files import remove_parts
from modelflow.io.locks import folder_lock, set_aside
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.report.page import render
from modelflow.results.asked import read_asked
from modelflow.results.layout import read_run
from modelflow.results.settings import read_study
from modelflow.studies.engines.local import _children_spared_interrupts
from modelflow.studies.pages import SoFar, _NowAndThen, write_pages
from modelflow.studies.plan import interrupted, is_finished, plans, unfinished
from modelflow.studies.resolved import resolved
from modelflow.studies.run import make_flow, open_run, train_run
from small import digits_study, spec

SAME_BYTES = ("model.safetensors", "history.csv", "predictions.npz")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of two models and two seeds, trained in two processes."""
    where = tmp_path_factory.mktemp("study") / "results"
    events = []
    rows = run_study(digits_study(), where, jobs=2, on_event=events.append)
    return where, rows, events


def test_a_study_leaves_its_tables_and_pictures(finished):
    where, rows, events = finished
    assert {path.name for path in where.iterdir() if not path.name.startswith(".")} == {
        *("narrow", "wide", "study.json", "leaderboard.csv", "leaderboard.md", "pareto.png", "dataset_samples.png"),
        *("report.html", "MODEL_CARD.md"),
    }
    assert (where / "narrow" / "seeds" / "43" / "run.json").is_file()
    assert [row.model for row in rows] == ["wide", "narrow"]
    assert all(row.seeds == 2 and row.accuracy > 0.5 for row in rows)
    assert {event.title for event in events} == {f"{m}, seed {s}" for m in ("narrow", "wide") for s in (42, 43)}
    assert json.loads((where / "study.json").read_text())["seeds"] == [42, 43]


def test_specs_without_names_and_numbers_of_numpy_are_a_study(tmp_path):
    asked = {"dataset": Path("digits"), "models": [Spec(**spec(2))], "seeds": range(7, 8), "epochs": np.int64(1)}
    rows = run_study(asked, str(tmp_path), jobs=np.int64(1))
    assert [(row.model, row.seeds) for row in rows] == [("model_1", 1)]
    assert read_run(tmp_path / "model_1").seed == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"jobs": "2"}, "jobs = '2': must be a whole number of 1 or more. Write 2"),
        ({"jobs": 0}, "jobs = 0: must be 1 or more"),
        ({"jobs": 1.5}, "jobs = 1.5: must be a whole number"),
        ({"where": None}, "where = None: expected the path of a folder"),
        ({"where": __file__}, "where = .*is a file, expected a folder"),
        ({"data_dir": 3}, "data_dir = 3: expected the path of a folder"),
    ],
)
def test_what_cannot_be_an_argument_is_refused_before_anything_is_made(tmp_path, arguments, said):
    where = tmp_path / "results"
    with pytest.raises(UsageError, match=said):
        run_study(digits_study(), **{"where": where} | arguments)
    assert not where.exists()


def margin_in(where):
    return json.loads((where / "study.json").read_text())["margin"]


def test_the_margin_is_kept_before_anything_is_trained(finished, tmp_path):
    """The default for 355 images is four of them; another is in study.json when the first run begins."""
    assert margin_in(finished[0]) == pytest.approx(100 * 4 / 355)
    seen = []
    run_study(
        digits_study(margin=2, seeds=[42], epochs=1),
        tmp_path,
        jobs=1,
        on_event=lambda _: seen.append(margin_in(tmp_path)),
    )
    assert set(seen) == {2}
    assert "margin" not in read_run(tmp_path / "wide").settings


def test_a_margin_below_four_images_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(
        UsageError, match=r"margin 0\.5: expected points .* at least 4 of the 355 test images. Give 1\.13"
    ):
        run_study(digits_study(margin=0.5), tmp_path / "results", jobs=1)
    assert not (tmp_path / "results").exists()


def test_a_margin_is_not_changed_after_its_runs_were_seen(finished, tmp_path):
    copy = Path(shutil.copytree(finished[0], tmp_path / "results"))
    with pytest.raises(UsageError, match=r"margin 3: .*study.json keeps 1.13 points, .* compare .* --margin 3"):
        run_study(digits_study(margin=3), copy, jobs=1)
    run_study(digits_study(), copy, jobs=1)
    assert margin_in(copy) == margin_in(finished[0])
    run_study(digits_study(margin=margin_in(copy)), copy, jobs=1)
    for run in copy.rglob("run.json"):
        run.unlink()
    assert resolved(digits_study(margin=3), copy, None, None).decided().settings.margin == 3


def test_a_study_of_before_margins_were_kept_has_half_a_point(finished, tmp_path):
    copy = Path(shutil.copytree(finished[0], tmp_path / "results"))
    fields = json.loads((copy / "study.json").read_text())
    del fields["margin"]
    (copy / "study.json").write_text(json.dumps(fields))
    content = write_pages(copy)
    assert content.groups[0].margin == 0.005
    run_study(digits_study(), copy, jobs=1)
    assert margin_in(copy) is None
    with pytest.raises(UsageError, match=r"keeps 0.5 points"):
        run_study(digits_study(margin=3), copy, jobs=1)


def test_the_bytes_of_a_large_network_do_not_depend_on_the_cores_it_may_use(tmp_path):
    large = {"name": "large", "spec": spec(8) | {"fc_sizes": [200, 170]}}
    study = digits_study(models=[large, {"name": "narrow", "spec": spec(3)}], seeds=[42])
    for jobs in (1, 2):
        run_study(study, tmp_path / str(jobs), jobs=jobs)
    asked = []
    train_run(plans(study, tmp_path / "alone")[0], threads=lambda: asked.append(2) or 2)
    assert asked
    for name in SAME_BYTES:
        assert len({(tmp_path / way / "large" / name).read_bytes() for way in ("1", "2", "alone")}) == 1, name


def test_a_run_alone_gives_the_bytes_that_it_gives_within_a_study(finished, tmp_path):
    alone = plans(digits_study(seeds=[43]), tmp_path)[1]
    train_run(alone)
    within = finished[0] / "wide" / "seeds" / "43"
    assert [(alone.folder / name).read_bytes() for name in SAME_BYTES] == [
        (within / name).read_bytes() for name in SAME_BYTES
    ]


def test_a_run_says_that_it_compiles_and_only_the_first_time(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELFLOW_KERNELS", str(tmp_path / "kernels"))
    notes, seconds = {}, {}
    for where in ("first", "again"):
        events, began = [], time.monotonic()
        plan = plans(digits_study(epochs=1), tmp_path / where)[0]
        train_run(plan, events.append)
        notes[where] = [(event.title, event.note) for event in events if event.note]
        seconds[where] = read_run(plan.folder).seconds
        assert sum(seconds[where].values()) < time.monotonic() - began
    first, again = seconds["first"], seconds["again"]
    assert first["compiling"] > max(first["training"], 5 * again["compiling"])
    assert notes == {"first": [("narrow, seed 42", "compiling its training step, once on this machine")], "again": []}


def test_a_recipe_is_a_name_for_settings(tmp_path):
    by_name = plans(digits_study(recipe="best", epochs=1), tmp_path)[0]
    train_run(by_name)
    settings = {"batch_size": 64, "lr": 3e-3, "schedule": "one-cycle", "epochs": 1}
    assert read_run(by_name.folder).settings.items() >= settings.items()
    assert is_finished(plans(digits_study(**settings), tmp_path)[0])
    with pytest.raises(UsageError, match=r"batch_size was 64, now 16"):
        is_finished(plans(digits_study(epochs=1), tmp_path)[0])


def test_a_run_made_in_python_is_not_one_of_a_study(few_loaders, tmp_path):
    plan = plans(read_study(["cnn2_3"], epochs=1), tmp_path)[0]
    flow = ModelFlow(GenericCNN(plan.spec), *few_loaders, "cnn2_3", results_dir=tmp_path, verbose=False)
    flow.run(epochs=1)
    with pytest.raises(UsageError, match="dataset was left out, now"):
        is_finished(plan)


def test_a_run_that_was_trained_on_is_another(finished, tmp_path):
    copy = changed(finished[0] / "wide", tmp_path, epochs=7)
    plan = replace(plans(digits_study(), finished[0])[2], folder=copy)
    with pytest.raises(UsageError, match=r"epochs was 7, now 2"):
        is_finished(plan)


def test_what_is_finished_is_not_trained_again(finished):
    where = finished[0]
    before = (where / "wide" / "run.json").read_bytes()
    events = []
    run_study(digits_study(), where, on_event=events.append)
    assert events == []
    assert (where / "wide" / "run.json").read_bytes() == before


def test_what_is_missing_of_a_study_is_told_everywhere(finished, tmp_path, capsys):
    where = shutil.copytree(finished[0], tmp_path / "half")
    assert read_asked(where).missing() == ""
    shutil.rmtree(where / "narrow" / "seeds" / "43")
    (where / "wide" / "run.json").unlink()
    said = "2 of the 4 runs that study.json asks for are not finished: narrow (seed 43), wide (seed 42)"
    assert read_asked(where).missing().startswith(said)
    assert run_command(["report", str(where)]) == run_command(["leaderboard", str(where)]) == 0
    out, err = capsys.readouterr()
    assert said in out
    assert said in err
    assert said in render(read_content(where))
    assert said in (where / "MODEL_CARD.md").read_text()
    shutil.rmtree(where / "wide")
    assert run_command(["compare", str(where)]) == 2
    assert "models with a finished run there: narrow, expected at least two. 3 of the 4" in capsys.readouterr().err


def test_a_vast_study_of_which_nothing_is_finished_is_told_of_in_few_words(tmp_path):
    models = [{"name": f"m{i}", "spec": spec(3)} for i in range(3000)]
    (tmp_path / "study.json").write_text(json.dumps({"models": models, "seeds": 10_000}))
    said = read_asked(tmp_path).missing()
    assert said.startswith("30,000,000 of the 30,000,000 runs that")
    assert len(said) < 300


def test_after_a_restart_the_same_command_would_begin_anew(finished):
    planned = plans(digits_study(), finished[0])
    assert "4 of 4 runs are finished" in interrupted(planned)
    assert "the same command again to write the missing pages" in interrupted(planned)
    more = plans(digits_study(seeds=[42, 43, 44]), finished[0])
    assert "4 of 6 runs are finished" in interrupted(more)
    assert "the same command again to train the rest" in interrupted(more)
    assert "the same command again, without --restart, to train" in interrupted(more, True)


def test_an_interruption_while_the_pages_are_written_says_what_is_kept(finished, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("modelflow.studies.study.write_study", interrupt)
    shutil.copytree(finished[0], tmp_path / "r")
    assert run_command(["run", str(tmp_path / "r" / "study.json"), "--results", str(tmp_path / "r")]) == 1
    told = capsys.readouterr().err
    assert "interrupted: 4 of 4 runs are finished and kept" in told
    assert "give the same command again to write the missing pages" in told


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 3}, "epochs was 2, now 3"),
        ({"lr": 0.1}, "lr was 0.003, now 0.1"),
        ({"seeds": [1]}, f"seed was 42, now 1.*To add a seed: modelflow run --seeds 42,1. {AFTER_A_LOOK}"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(finished, changes, difference):
    with pytest.raises(UsageError, match=difference):
        [is_finished(plan) for plan in plans(digits_study(**changes), finished[0])]


def test_data_that_do_not_fit_the_spec_are_refused_before_training(tmp_path):
    with pytest.raises(DataError, match=r"wide: input_size = 28, but the images of digits have 8. Give a spec"):
        run_study(digits_study(models=[{"name": "wide", "spec": spec(8) | {"input_size": 28}}]), tmp_path)
    with pytest.raises(DataError, match=r"num_classes = 3, but digits has 10 classes"):
        run_study(digits_study(models=[{"name": "wide", "spec": spec(8) | {"num_classes": 3}}]), tmp_path)


def exploding_study():
    """So deep, and at such a rate, that its losses overflow whatever the rounding."""
    models = [{"name": n, "spec": spec(c) | {"fc_sizes": [30] * 3, "p": 0}} for n, c in (("narrow", 3), ("wide", 8))]
    return digits_study(models=models, optimizer="sgd", lr=1e3, seeds=[42])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_there(tmp_path):
    with pytest.raises(RunError, match=r"wide, seed 42: epoch \d+, step \d+: the loss is (nan|inf).*Kept|saved"):
        run_study(exploding_study(), tmp_path, jobs=1)
    assert not (tmp_path / "wide" / "run.json").exists()


def test_the_learning_rate_search_can_set_the_rate(tmp_path):
    plan = plans(digits_study(find_best_lr=True, seeds=[42], lr=3e-4), tmp_path)[1]
    run = train_run(plan)
    assert run.lr > 1e-3
    assert run.settings["lr"] == 3e-4


def test_set_aside_takes_the_first_free_name(tmp_path):
    for expected in ("x.old-1", "x.old-2"):
        (tmp_path / "x").mkdir()
        assert set_aside(tmp_path / "x") == tmp_path / expected
    assert set_aside(tmp_path / "x") is None


def heed_ctrl_c():
    """Whoever started the tests in the background may have told their children to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


STATES_OFTEN = (
    "import modelflow.studies.autosave as a; a.SECONDS_BETWEEN_STATES = 0.2; from modelflow.cli import main; main()"
)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.usefixtures("states_often_in_workers_too")
def test_ctrl_c_ends_cleanly_and_says_what_was_saved(tmp_path, times):
    command = [sys.executable, "-c", STATES_OFTEN, "run", "--results", str(tmp_path / "r")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    deadline = time.monotonic() + 240
    while not list((tmp_path / "r").glob("*/training/state-*.pth")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"interrupted: \d of 7 runs are finished", told)
    assert re.search(r"interrupted, will resume: \w+, seed 42", told)
    assert "Traceback" not in told
    assert "leaked" not in told
    assert re.match(r"\d of the 7 runs", read_asked(tmp_path / "r").missing())
    assert not (tmp_path / "r" / "generic_3" / "run.json").exists()


def command(where, *options):
    return [
        sys.executable,
        "-c",
        STATES_OFTEN,
        "run",
        str(where / "study.json"),
        "--jobs",
        "1",
        "--results",
        str(where / "r"),
        *options,
    ]


def small_study(where, epochs=200, **settings):
    where.mkdir()
    models = [{"name": "narrow", "spec": spec(3)}, {"name": "wide", "spec": spec(8)}]
    fields = {"dataset": "digits", "models": models, "epochs": epochs, "lr": 3e-3, "schedule": "one-cycle"} | settings
    (where / "study.json").write_text(json.dumps(fields))
    return where


def wait_for_new_states(where, process):
    def states():
        return {path.name for path in where.glob("*/training/state-*.pth")}

    before, deadline = states(), time.monotonic() + 60
    while states() <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.fixture
def states_often_in_workers_too(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import modelflow.studies.autosave as a; a.SECONDS_BETWEEN_STATES = 0.2")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A study by an optimizer, trained whole."""

    @cache
    def study(optimizer):
        where = small_study(tmp_path_factory.mktemp("alone") / "study", optimizer=optimizer)
        subprocess.run(command(where), check=True, capture_output=True)
        return where

    return study


@pytest.mark.parametrize(("jobs", "optimizer"), [("1", "adam"), ("2", "adam"), ("1", "sgd")])
@pytest.mark.usefixtures("states_often_in_workers_too")
def test_a_study_killed_again_and_again_ends_in_the_bytes_of_one_left_alone(left_alone, tmp_path, jobs, optimizer):
    alone, killed = left_alone(optimizer), small_study(tmp_path / "killed", optimizer=optimizer)
    again = command(killed, "--jobs", jobs)
    for kill in range(2):
        process = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_new_states(killed / "r", process)
        time.sleep(0.1 * kill)
        process.kill()
        process.wait()
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming a" in done.stderr
    for model in ("narrow", "wide"):
        assert read_run(killed / "r" / model).engine == "compiled step"
        for name in SAME_BYTES:
            assert (killed / "r" / model / name).read_bytes() == (alone / "r" / model / name).read_bytes(), name
        assert not (killed / "r" / model / "training").exists()


def test_a_run_broken_off_before_its_model_card_is_completed_without_training(finished, tmp_path):
    folder = shutil.copytree(finished[0] / "wide", tmp_path / "wide")
    before = (folder / "run.json").read_bytes()
    (folder / "MODEL_CARD.md").unlink()
    (folder / ".MODEL_CARD.md.0123456789ab.part").write_text("# wi")
    (folder / "training").mkdir()
    (folder / "training" / "plan.json").write_text("{}")
    run = read_run(folder)
    plan = plans(digits_study(seeds=[run.seed], epochs=run.epochs), tmp_path)[1]
    assert unfinished([plan]) == [plan]
    train_run(plan)
    assert unfinished([plan]) == []
    assert (folder / "MODEL_CARD.md").read_text().startswith("---")
    assert (folder / "run.json").read_bytes() == before
    assert not (folder / "training").exists()
    assert not list(folder.glob(".*.part"))


def test_a_run_half_way_is_not_mixed_with_other_settings(tmp_path):
    where = small_study(tmp_path / "study")
    process = subprocess.Popen(command(where), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(where.glob("r/*/training/state-*.pth")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = subprocess.run(command(where, "--lr", "0.1"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(r"lr was 0.003, now 0.1. Give another folder with --results, or --restart", done.stderr)


def test_two_studies_in_one_folder_do_not_mix(tmp_path):
    where = small_study(tmp_path / "study", epochs=50_000)
    first = subprocess.Popen(command(where), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (where / "r" / ".lock").exists():
        time.sleep(0.05)
    done = subprocess.run(command(where), capture_output=True, text=True, check=False)
    first.kill()
    first.wait()
    assert done.returncode == 2
    assert f"another process uses it (process {first.pid} on" in done.stderr


def test_a_finished_run_reads_back(finished):
    run = read_run(finished[0] / "wide")
    assert run.metrics.images == 355
    assert run.data.name == "digits"


def test_the_search_of_a_study_starts_where_the_cards_does_whatever_the_runs_rate(tmp_path):
    train_run(plans(digits_study(lr=0.9, seeds=[42]), tmp_path)[0])
    lines = (tmp_path / "narrow" / "lr_finder.csv").read_text().splitlines()
    assert float(lines[1].split(",")[0]) == pytest.approx(3e-4)


def test_a_search_that_suggests_nothing_is_noted_once(tmp_path, monkeypatch):
    monkeypatch.setattr("modelflow.studies.run.SEARCH_FROM", 0.999)  # to 1: no room in which the loss could fall
    run = train_run(plans(digits_study(seeds=[42]), tmp_path)[0])
    assert len([note for note in run.notes if "learning rate search" in note]) == 1
    assert (tmp_path / "narrow" / "lr_finder.png").is_file()


@pytest.mark.parametrize(("find", "use"), [(False, "the run keeps 0.003."), (True, "Set for this run.")])
def test_a_search_says_what_became_of_what_it_found(tmp_path, find, use):
    run = train_run(plans(digits_study(lr=3e-3, seeds=[42], find_best_lr=find), tmp_path)[0])
    told = [note for note in run.notes if "steepest trend" in note]
    assert len(told) == 1
    assert told[0].startswith("learning rate search: ")
    assert told[0].endswith(use)
    assert (run.lr == 3e-3) is not find


def changed(run_folder, tmp_path, **changes):
    """A copy of a run whose run.json says something else."""
    copy = shutil.copytree(run_folder, tmp_path / "copy")
    fields = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(fields | changes))
    return copy


def test_another_limit_of_parameters_is_no_other_run(finished):
    assert all(is_finished(plan) for plan in plans(digits_study(max_parameters=10**6), finished[0]))


def test_evaluating_elsewhere_keeps_where_the_run_was_trained(finished, tmp_path):
    there = {"processor": "another", "threads": 7, "git_revision": "abc", "versions": {"torch": "9.9"}}
    copy = changed(finished[0] / "wide", tmp_path, **there)
    open_run(copy).evaluate()
    after = read_run(copy)
    assert {name: getattr(after, name) for name in there} == there
    assert after.engine == read_run(finished[0] / "wide").engine == "compiled step"


def test_a_run_is_not_evaluated_on_other_data(finished, tmp_path):
    data = json.loads((finished[0] / "wide" / "run.json").read_text())["data"]
    copy = changed(finished[0] / "wide", tmp_path, data=data | {"checksums": {"digits": "0" * 64}})
    with pytest.raises(DataError, match="was trained on other files of digits"):
        open_run(copy)


def test_workers_never_hear_of_an_interruption():
    show = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def blocked_in_a_child():
        return subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.strip()

    with _children_spared_interrupts():
        assert blocked_in_a_child() == "True"
    assert blocked_in_a_child() == "False"


def test_what_another_process_works_on_is_not_set_aside(tmp_path):
    study = tmp_path / "results"
    for at_work, asked in ((study / "narrow", study), (study, study / "narrow"), (study, study / "narrow/seeds/43")):
        asked.mkdir(parents=True, exist_ok=True)
        with folder_lock(at_work), pytest.raises(UsageError, match="another process uses it"):
            set_aside(asked)
        assert asked.is_dir()


def test_what_the_runs_so_far_say_is_written_as_they_end_and_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("modelflow.studies.pages.SECONDS_BETWEEN_WRITINGS", 0)
    monkeypatch.setattr("modelflow.studies.pages.SHARE_OF_WRITING", 1e9)
    (tmp_path / "s.json").write_text(digits_study(epochs=1).model_dump_json(exclude_none=True))
    where, seen = tmp_path / "r", []

    def look(plan, *others):
        if (where / "report.html").is_file():
            seen.append((plan.title, *((where / name).read_text() for name in ("report.html", "leaderboard.md"))))
        return train_run(plan, *others)

    monkeypatch.setattr("modelflow.studies.run.train_run", look)
    assert run_command(["run", str(tmp_path / "s.json"), "--results", str(where), "--jobs", "1"]) == 0
    told = capsys.readouterr().err
    titles, pages, tables = zip(*seen, strict=True)
    assert titles == ("narrow, seed 43", "wide, seed 42", "wide, seed 43")
    for left, page, table in zip((3, 2, 1), pages, tables, strict=True):
        assert f"{left} of the 4 runs that study.json asks for are not finished" in page
        assert f'data-training="{4 - left}"' in page
        assert f"{left} of the 4 runs" in table
    assert told.count(f"Report so far: {where / 'report.html'}") == 1
    assert told.index("narrow, seed 42: accuracy") < told.index("Report so far") < told.index("narrow, seed 43: acc")
    finished = (where / "report.html").read_text()
    assert "are not finished" not in finished
    assert 'data-training="' not in finished


def test_what_is_written_as_runs_end_takes_a_hundredth_of_the_time(monkeypatch):
    clock, writings = [0.0], []

    def write():
        clock[0] += 3.0
        writings.append(clock[0])

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    now_and_then = _NowAndThen(write)
    while clock[0] < 3600:
        clock[0] += 1
        assert now_and_then() is (writings[-1:] == [clock[0]])
    assert writings[0] <= 15
    assert 3 * len(writings) <= 0.01 * 3600 + 3


def test_a_report_so_far_that_cannot_be_written_stops_nothing_and_is_told_once(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("modelflow.studies.pages.SECONDS_BETWEEN_WRITINGS", 0)
    where = shutil.copytree(finished[0], tmp_path / "r")
    (where / "leaderboard.csv").unlink()
    (where / "leaderboard.csv").mkdir()
    so_far = SoFar(resolved(digits_study(), where, None, None), due=9)
    run = read_run(where / "wide")
    said = [so_far(run)]
    monkeypatch.setattr("modelflow.studies.pages.SHARE_OF_WRITING", 1e9)
    said += [so_far(run) for _ in range(3)]
    assert said[0] == "the report could not be written yet: Is a directory. Training continues."
    assert said[1:] == ["", "", ""]


def test_a_report_beside_a_study_that_takes_its_half_written_file_away_is_written(finished, tmp_path, monkeypatch):
    where, fsync, taken = shutil.copytree(finished[0], tmp_path / "r"), os.fsync, []

    def while_a_study_begins(handle):
        fsync(handle)
        if list(where.glob(".*.part")) and len(taken) < 1:
            taken.append(remove_parts(where))

    monkeypatch.setattr("os.fsync", while_a_study_begins)
    (where / "report.html").unlink()
    write_pages(where)
    assert taken
    assert (where / "report.html").is_file()
    assert not list(where.glob(".*.part"))


def test_a_half_written_file_of_a_study_that_was_killed_is_taken_away(finished):
    (finished[0] / ".report.html.0123456789ab.part").write_text("<ht")
    run_study(digits_study(), finished[0])
    assert not list(finished[0].glob(".*.part"))


def test_of_runs_that_fail_it_is_told_at_once_why_and_once(tmp_path, capsys):
    study = exploding_study()
    (tmp_path / "s.json").write_text(study.model_dump_json(exclude_none=True))
    command = ["run", str(tmp_path / "s.json"), "--results", str(tmp_path / "r"), "--jobs", "1"]
    assert run_command(command) == 1
    told = capsys.readouterr().err
    for title in ("narrow, seed 42", "wide, seed 42"):
        assert re.findall(rf"{title}: .*the loss is (?:nan|inf)", told) == re.findall(
            rf"{title}: FAILED: epoch \d+, step \d+: the loss is (?:nan|inf)", told
        )
    assert told.count("the loss is") == 2
    assert "2 runs of 2 failed" in told


def test_a_run_says_where_its_training_begins(tmp_path):
    events = []
    train_run(plans(digits_study(epochs=1), tmp_path)[0], events.append)
    begins = [event for event in events if event.loss is None and not event.note]
    assert [(event.title, event.done, event.total) for event in begins] == [("narrow, seed 42", 0, 1)]
    first = next(event for event in events if event.loss is not None)
    assert events.index(begins[0]) < events.index(first)


@pytest.mark.parametrize("fails", [False, True])
def test_torchs_threads_are_the_users_again_whatever_happens(tmp_path, monkeypatch, fails):
    before, during = torch.get_num_threads(), []

    def train(*_):
        during.append(torch.get_num_threads())
        raise KeyboardInterrupt

    if fails:
        monkeypatch.setattr("modelflow.studies.run._train", train)
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
            run_study(digits_study(models=[{"name": "narrow", "spec": spec(3)}], seeds=[42], epochs=1), tmp_path)
        assert torch.get_num_threads() == 3
        make_flow(plans(digits_study(), tmp_path / "other")[0])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert during == [1] * fails
    assert fails or read_run(tmp_path / "narrow").threads == 1


def test_where_a_run_is_trained_does_not_make_it_another(tmp_path):
    study = digits_study(models=[{"name": "narrow", "spec": spec(3)}], seeds=[42], epochs=1)
    run_study(study, tmp_path, device="cpu")
    run = read_run(tmp_path / "narrow")
    assert "device cpu: asked for" in run.notes
    assert "device" not in run.settings
    assert is_finished(plans(study, tmp_path)[0])
    with pytest.raises(UsageError, match="device 'gpu': expected cpu, cuda"):
        run_study(study, tmp_path, device="gpu")


def test_a_study_is_run_from_its_settings_alone(tmp_path):
    model = {"name": "narrow", "spec": spec(2)}
    rows = run_study({"models": [model], "dataset": "digits", "epochs": np.int64(1)}, tmp_path, jobs=1)
    assert [row.model for row in rows] == ["narrow"]


def test_a_study_in_python_says_how_far_it_is(tmp_path, capsys):
    study = {"models": [{"name": "narrow", "spec": spec(4)}], "dataset": "digits", "epochs": 1, "seeds": 2}
    run_study(study, tmp_path / "r")
    said = capsys.readouterr().err
    assert "training 2 runs …" in said
    assert re.search(r"narrow, seed 4\d: accuracy .* \(1 of 2 runs", said)
    run_study(study, tmp_path / "quiet", verbose=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("models", "seeds", "said"),
    [
        (1, 1, ""),
        (2, 1, "2 models with 1 seed each cannot show which is better. That takes 3 or more. Give --seeds 5"),
        (2, 3, ""),
        (7, 3, "7 models with 3 seeds each cannot show which is better. That takes 4 or more"),
        (7, 5, ""),
        (60, 6, "That takes 10 or more. Give --seeds 10"),
    ],
)
def test_too_few_seeds_are_told_before_training(models, seeds, said):
    assert said in seeds_wanted(models, seeds)
    assert bool(said) == bool(seeds_wanted(models, seeds))
