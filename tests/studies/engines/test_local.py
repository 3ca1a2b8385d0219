"""Runs side by side on this machine: scripts without a guard, killed processes, machines that let none start."""

import _multiprocessing
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelflow.errors import RunError
from modelflow.results.records import Run
from modelflow.results.settings import read_study
from modelflow.studies.engines.local import run_plans
from modelflow.studies.plan import plans
from modelflow.studies.run import make_flow

PATIENCE = 120


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [5]}


def study_of(epochs=1, seeds=1):
    models = [{"name": name, "spec": spec(channels)} for name, channels in (("narrow", 2), ("wide", 8))]
    fields = {"dataset": "digits", "models": models, "epochs": epochs, "seeds": seeds, "lr": 3e-3}
    return read_study(fields)


def process_at(folder):
    """Which process has held a run's folder, from its lock."""
    return int(re.match(r"process (\d+) on", (folder / ".lock").read_text()).group(1))


def processes_of(planned):
    return {process_at(plan.folder) for plan in planned}


def trained(planned, on_event=lambda _event: None, jobs=2):
    return {plan.title: outcome for plan, outcome in run_plans(planned, on_event, jobs)}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


SCRIPT = """
import os
from pathlib import Path
print("once", flush=True)
from modelflow import run_study
rows = run_study("s.json", "r", jobs=2)
print([row.model for row in rows])
"""
AS_DAEMON = """
import multiprocessing, threading
from modelflow import run_study

def train():
    print("once", flush=True)
    print([row.model for row in run_study("s.json", "r", jobs=2)], flush=True)

def in_a_thread():
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()

process = multiprocessing.get_context("fork").Process(target=in_a_thread, daemon=True)
process.start()
process.join()
"""
HOW = {
    "a script": (SCRIPT, lambda path: [str(path)], False),
    "standard input": (SCRIPT, lambda _path: [], True),
    "a daemonic process, in a thread": (AS_DAEMON, lambda path: ["-c", path.read_text()], False),
}


@pytest.mark.parametrize("how", HOW)
def test_a_study_needs_no_guard(tmp_path, how):
    code, arguments, from_input = HOW[how]
    (tmp_path / "script.py").write_text(code)
    (tmp_path / "s.json").write_text(study_of().model_dump_json(exclude_none=True))
    command = [sys.executable, *arguments(tmp_path / "script.py")]
    done = subprocess.run(
        command, input=code if from_input else "", cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "once"
    assert sorted(json.loads(lines[1].replace("'", '"'))) == ["narrow", "wide"]
    at_work = processes_of(plans(study_of(), tmp_path / "r"))
    assert len(at_work) == 2  # side by side


def test_a_killed_process_costs_its_run_alone_and_the_lane_goes_on(tmp_path):
    planned = plans(study_of(epochs=60, seeds=2), tmp_path)
    by_title, killed = {plan.title: plan for plan in planned}, set()

    def kill_wide(event):
        if event.title.startswith("wide") and event.loss is not None and event.title not in killed:
            killed.add(event.title)
            os.kill(process_at(by_title[event.title].folder), signal.SIGKILL)

    outcomes = trained(planned, kill_wide)
    assert outcomes.keys() == by_title.keys()
    assert killed == {"wide, seed 42", "wide, seed 43"}
    for title, outcome in outcomes.items():
        if title in killed:
            assert isinstance(outcome, RunError)
            assert re.search(
                rf"^{title}: its process \(\d+\) was killed by SIGKILL. Give the same command", str(outcome)
            )
        else:
            assert isinstance(outcome, Run)


def test_where_no_process_lives_long_enough_the_runs_are_trained_in_this_one(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert_trained_here(tmp_path / "r", "it ended with exit code 3")


@pytest.mark.parametrize(
    ("module", "name", "value", "why"),
    [
        ("sys", "executable", "/no/such/python", "No such file"),
        ("sys", "executable", "", "no Python of its own"),
        ("sys", "frozen", True, "no Python of its own"),
    ],
)
def test_where_no_process_can_be_started_the_runs_are_trained_in_this_one(
    tmp_path, monkeypatch, module, name, value, why
):
    monkeypatch.setattr(f"{module}.{name}", value, raising=False)
    assert_trained_here(tmp_path, why)


def assert_trained_here(where, why):
    planned, notes = plans(study_of(), where), []
    outcomes = trained(planned, lambda event: notes.append(event.note))
    assert all(isinstance(outcome, Run) for outcome in outcomes.values())
    assert processes_of(planned) == {os.getpid()}
    told = [note for note in notes if "cannot start another process" in note]
    assert why in told[0]
    assert "runs in parallel: 1" in told[-1]


def test_with_one_process_too_few_the_others_train_all(tmp_path, monkeypatch):
    marker = tmp_path / "second"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\ntry: os.mkdir({str(marker)!r})\nexcept FileExistsError: os._exit(3)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    planned, notes = plans(study_of(), tmp_path / "r"), []
    outcomes = trained(planned, lambda event: notes.append(event.note))
    assert all(isinstance(outcome, Run) for outcome in outcomes.values())
    assert len(processes_of(planned) - {os.getpid()}) == 1
    assert len([note for note in notes if "runs in parallel: 1" in note]) == 1


def test_no_semaphores_are_asked_for(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    broken = "import _multiprocessing\ndef none(*_, **__): raise OSError(30, 'Read-only file system')\n"
    (tmp_path / "sitecustomize.py").write_text(broken + "_multiprocessing.SemLock = none")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(_multiprocessing, "SemLock", read_only)
    planned = plans(study_of(), tmp_path / "r")
    assert all(isinstance(outcome, Run) for outcome in trained(planned).values())
    assert len(processes_of(planned) - {os.getpid()}) == 2


def test_what_goes_wrong_in_a_run_unforeseen_costs_that_run_alone(tmp_path, monkeypatch):
    def without_narrow(plan):
        return {"wide": make_flow}[plan.model_name](plan)

    monkeypatch.setattr("modelflow.studies.run.make_flow", without_narrow)
    outcomes = trained(plans(study_of(), tmp_path), jobs=1)
    assert isinstance(outcomes["wide, seed 42"], Run)
    assert re.fullmatch(
        r"narrow, seed 42: KeyError: 'narrow' \(test_local.py, line \d+\). Please report it\.",
        str(outcomes["narrow, seed 42"]),
    )


LONG = """
import os, sys, time
from pathlib import Path
from modelflow.studies.engines.local import run_plans
from modelflow.studies.plan import plans
from modelflow.results.settings import read_study

planned = plans(read_study(Path("s.json")), Path("r"))

def fork_once(event, forked=[]):
    if event.loss is not None and not forked:
        forked.append(os.fork())
        if not forked[0]:
            time.sleep(600)
        print(forked[0], flush=True)

for _ in run_plans(planned, fork_once, 2):
    pass
"""


def test_processes_end_with_their_study_even_if_a_child_of_it_holds_their_pipes_open(tmp_path):
    (tmp_path / "s.json").write_text(study_of(epochs=100_000).model_dump_json(exclude_none=True))
    study = subprocess.Popen([sys.executable, "-c", LONG], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    forked = int(study.stdout.readline())
    planned = plans(study_of(), tmp_path / "r")
    try:
        wait_until(lambda: all((plan.folder / ".lock").is_file() and process_at(plan.folder) for plan in planned))
        at_work = processes_of(planned)
        assert len(at_work) == 2
        assert all(map(is_alive, at_work))
        study.kill()
        study.wait()
        wait_until(lambda: not any(map(is_alive, at_work)))
    finally:
        os.kill(forked, signal.SIGKILL)
        study.stdout.close()


def wait_until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_process_whose_study_died_before_it_began_ends():
    code = "from modelflow.studies.worker import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
