"""The Ray engine on real clusters of this machine: the bytes of the local engine, also when machines are lost."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from ray_clusters import add_worker, another_version, cluster_of, without_modelflow

from modelflow import run_study
from modelflow.analysis.leaderboard import leaderboard
from modelflow.data.sources import checksums_of
from modelflow.errors import UsageError
from modelflow.results.layout import read_run, write_plan
from modelflow.results.settings import StudySettings, read_study
from modelflow.studies.engine import engine_named
from modelflow.studies.engines import ray as ray_engine
from modelflow.studies.plan import asked, plans
from modelflow.studies.run import train_run
from small import spec_of_four
from small import write_four as write

SAME_BYTES = ("model.safetensors", "history.csv", "predictions.npz", "confusion_matrix.csv", "spec.json")
PATIENCE = 240
LONG = 300  # epochs


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


def study_of(epochs):
    models = [{"name": "narrow", "spec": spec(2)}, {"name": "wide", "spec": spec(8)}]
    return {"dataset": "digits", "models": models, "epochs": epochs, "lr": 3e-3, "seeds": [42, 43]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The study of two epochs by the local engine."""
    results = tmp_path_factory.mktemp("alone")
    run_study(StudySettings(**study_of(2)), results, jobs=1)
    return results


@pytest.fixture(scope="module")
def long_alone(tmp_path_factory):
    """Runs of some seconds, so that machines can be lost meanwhile, by the local engine."""
    results = tmp_path_factory.mktemp("long")
    run_study(StudySettings(**study_of(LONG)), results, jobs=2)
    return results


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with cluster_of(2, tmp_path_factory.mktemp("scratch")) as cluster:
        yield cluster


def runs(results):
    return sorted(path.parent for path in results.rglob("run.json"))


def assert_same_bytes(results, alone):
    assert len(runs(results)) == len(runs(alone)) == 4
    for folder in runs(alone):
        for name in SAME_BYTES:
            there = results / folder.relative_to(alone) / name
            assert there.read_bytes() == (folder / name).read_bytes(), there


def command(where, cluster, epochs, *options):
    """`modelflow run` in a process of its own, as a user gives it."""
    where.mkdir(exist_ok=True)
    (where / "study.json").write_text(json.dumps(study_of(epochs)))
    arguments = ["run", str(where / "study.json"), "--engine", "ray", "--address", cluster.address]
    code = "from modelflow.cli import main; main()"
    return [sys.executable, "-c", code, *arguments, "--results", str(where / "r"), *options]


def started(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(there, process):
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_study_on_a_cluster_leaves_the_bytes_and_pages_of_the_local_engine(two_workers, alone, tmp_path):
    process = started(command(tmp_path, two_workers, 2))
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, told
    assert told.index("joining the Ray cluster at ") < told.index("Ray is there, with ") < told.index("narrow, seed 42")
    assert "wide, seed 43: accuracy" in told
    assert_same_bytes(tmp_path / "r", alone)
    assert (tmp_path / "r" / "report.html").is_file()
    assert [row.seeds for row in leaderboard(tmp_path / "r")] == [2, 2]
    again = started(command(tmp_path, two_workers, 2))
    told = again.communicate(timeout=PATIENCE)[1]
    assert "4 of 4 runs are already finished" in told


def test_a_run_begun_here_goes_on_there(two_workers, tmp_path):
    begin = [part for part in command(tmp_path, two_workers, 400, "--jobs", "1") if part not in ("--engine", "ray")]
    at = begin.index("--address")
    del begin[at : at + 2]
    begin[2] = "import modelflow.studies.autosave as a; a.SECONDS_BETWEEN_STATES = 0.2; " + begin[2]
    local = started(begin)
    wait_for(lambda: list(tmp_path.glob("r/narrow/training/state-*.pth")), local)
    local.kill()
    local.communicate()
    process = started(command(tmp_path, two_workers, 400))
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, told
    assert "narrow, seed 42: resuming a" in told
    assert not list(tmp_path.glob("r/**/training"))


def test_sigterm_ends_with_1_and_says_what_is_kept(two_workers, tmp_path):
    process = started(command(tmp_path, two_workers, LONG))
    wait_for(lambda: runs(tmp_path / "r"), process)
    process.terminate()
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1, told
    assert "of 4 runs are finished and kept" in told


def test_runs_of_a_machine_that_is_lost_are_trained_elsewhere(long_alone, tmp_path):
    with cluster_of(1, tmp_path) as cluster:
        lost = add_worker(cluster, tmp_path)
        process = started(command(tmp_path, cluster, LONG))
        wait_for(lambda: len(list(tmp_path.glob("modelflow-*/*/training/plan.json"))) == 2, process)
        cluster.remove_node(lost, allow_graceful=False)
        told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, told
    assert_same_bytes(tmp_path / "r", long_alone)


def test_after_the_head_was_lost_the_same_command_trains_the_rest(long_alone, tmp_path):
    with cluster_of(1, tmp_path) as cluster:
        process = started(command(tmp_path, cluster, LONG))
        wait_for(lambda: runs(tmp_path / "r"), process)
    told = process.communicate(timeout=PATIENCE)[1]
    assert "Traceback" not in told
    before = {folder: read_run(folder).started for folder in runs(tmp_path / "r")}
    assert 1 <= len(before) < 4
    assert process.returncode == 1
    assert "Give the same command again to train the rest" in told
    with cluster_of(1, tmp_path) as cluster:
        again = started(command(tmp_path, cluster, LONG))
        told = again.communicate(timeout=PATIENCE)[1]
        assert again.returncode == 0, told
    assert_same_bytes(tmp_path / "r", long_alone)
    assert {folder: read_run(folder).started for folder in before} == before


def test_machines_unlike_this_one_are_given_no_run_and_named(alone, tmp_path):
    with cluster_of(0, tmp_path) as cluster:
        add_worker(cluster, tmp_path, **another_version(tmp_path / "other"))
        add_worker(cluster, tmp_path, **without_modelflow(tmp_path / "without"))
        refused = started(command(tmp_path / "first", cluster, 2))
        told = refused.communicate(timeout=PATIENCE)[1]
        assert refused.returncode == 2, told
        assert "no machine of the cluster can train this study" in told
        assert "it has modelflow 9.9 instead of" in told
        assert "gets no run: it lacks modelflow. Install the same ModelFlow there, with Ray" in told
        add_worker(cluster, tmp_path)
        process = started(command(tmp_path / "second", cluster, 2))
        told = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, told
    assert_same_bytes(tmp_path / "second" / "r", alone)


def test_a_machine_with_other_data_is_given_no_run_and_named(tmp_path, monkeypatch):
    for place, seed in (("here", 1), ("there", 2)):
        write(tmp_path / place / "d", seed)
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    models = [{"name": "a", "spec": spec_of_four(2)}]
    with cluster_of(0, tmp_path) as cluster:
        asked_for = command(tmp_path, cluster, 1)
        fields = {"dataset": "idx:~/d", "models": models, "epochs": 1, "batch_size": 8}
        (tmp_path / "study.json").write_text(json.dumps(fields))
        add_worker(cluster, tmp_path, HOME=str(tmp_path / "there"))
        refused = started(asked_for)
        told = refused.communicate(timeout=PATIENCE)[1]
        assert refused.returncode == 2, told
        assert "gets no run: its idx:~/d has other files: train-images-idx3-ubyte (SHA-256 stored" in told
        add_worker(cluster, tmp_path, HOME=str(tmp_path / "here"))
        process = started(asked_for)
        told = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, told
    assert read_run(tmp_path / "r" / "a").data.checksums == checksums_of("idx:~/d")


def came_back(folder):
    """A plan of that folder, and the files of its run, trained elsewhere."""
    settings = read_study(study_of(1) | {"seeds": [42]})
    (there, _), (plan, _) = (plans(settings, place) for place in (folder / "there", folder / "here"))
    train_run(there)
    return plan, ray_engine._packed(there.folder)


def test_what_comes_back_ends_with_the_model_card_and_leaves_no_states(tmp_path):
    plan, files = came_back(tmp_path)
    states = plan.folder / "training"
    states.mkdir(parents=True)
    write_plan(plan.folder, asked(plan))
    ray_engine._keep(dict(files), plan, finished=True)
    assert not states.exists()
    assert ray_engine._packed(plan.folder) == files
    ages = {path.name: path.stat().st_mtime_ns for path in plan.folder.iterdir()}
    assert sorted(ages, key=ages.get)[-2:] == ["run.json", "MODEL_CARD.md"]


def test_states_that_were_replaced_there_are_replaced_here(tmp_path):
    plan, _ = came_back(tmp_path)
    write_plan(plan.folder, asked(plan))
    for name in ("state-000001-00000000-0123456789abcdef.pth", "state-000002-00000000-0123456789abcdef.pth"):
        (plan.folder / "training" / name).write_bytes(b"older")
    files = ray_engine._packed(plan.folder)
    del files["training/state-000001-00000000-0123456789abcdef.pth"]
    files["training/state-000003-00000000-0123456789abcdef.pth"] = b"newer"
    ray_engine._keep(dict(files), plan, finished=False)
    assert ray_engine._packed(plan.folder) == files


def test_what_another_process_has_left_meanwhile_is_not_written_over(tmp_path):
    plan, files = came_back(tmp_path)
    shutil.copytree(tmp_path / "there" / "narrow", plan.folder)
    run = json.loads((plan.folder / "run.json").read_text())
    (plan.folder / "run.json").write_text(json.dumps(run | {"warnings": ["made here"]}))
    ray_engine._keep(dict(files), plan, finished=True)
    assert read_run(plan.folder).warnings == ("made here",)
    (plan.folder / "run.json").write_text(json.dumps(run | {"epochs": 3}))
    with pytest.raises(UsageError, match="epochs was 3, now 1"):
        ray_engine._keep(dict(files), plan, finished=True)
    assert read_run(plan.folder).epochs == 3


def test_where_no_cluster_answers_the_command_says_so(tmp_path):
    class Nowhere:
        address = "127.0.0.1:9"

    process = started(command(tmp_path, Nowhere, 2))
    told = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 2, told
    assert "--address 127.0.0.1:9: no Ray cluster answers there" in told


def test_without_ray_the_command_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        UsageError, match=r"Ray is not installed. Run, in the folder of ModelFlow, pip install .* -e \"\.\[ray\]\""
    ):
        run_study(StudySettings(**study_of(1)), tmp_path, engine="ray")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "spark"}, "engine 'spark': expected local or ray"),
        ({"name": "local", "address": "127.0.0.1:6379"}, "--address 127.0.0.1:6379: is for Ray clusters. Add --engine"),
    ],
)
def test_engines_that_are_none_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        engine_named(**given)


def test_usage_statistics_are_off_before_ray_is_imported(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="Ray is not installed"):
        run_study(StudySettings(**study_of(1)), tmp_path, engine="ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
