"""A short form of `make torture`: some kills, some failing system calls, a full disk, a few studies in a row."""

import os
import signal

import faults
import kills
import pytest
import short_run
import small_disk
import soak
from tqdm import tqdm


@pytest.fixture(scope="module", autouse=True)
def states_at_every_pause():
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((short_run.autosave, "SECONDS_BETWEEN_STATES"), (short_run.autosave, "SHARE_OF_SAVING")):
            patch.setattr(module, name, getattr(module, name))
        patch.setattr(short_run.compiled, "MACS_A_CALL", short_run.compiled.MACS_A_CALL)
        short_run.prepare()
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return short_run.ShortRun.warmed("compiled step", tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def expected(run):
    return run.finish(run.scratch / "alone")


def test_ended_at_random_moments_a_run_leaves_the_bytes_of_one_left_alone():
    found = kills.killed(6, seed=1)
    assert found["ended by a signal"] > found["by SIGKILL"] == 6
    assert found["with a state to go on from"] > 3
    assert found["runs finished"] >= 2


def test_a_run_killed_with_the_lock_of_the_progress_bars_in_hand_does_not_stop_the_next(run, tmp_path, monkeypatch):
    def die_with_it() -> None:
        tqdm.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    assert run.start(tmp_path / "killed", die_with_it).code() == -signal.SIGKILL
    monkeypatch.setattr(short_run, "PATIENCE", 20)
    assert run.start(tmp_path / "next").code() == 0


def test_a_run_that_left_other_bytes_would_be_noticed(run, expected):
    with pytest.raises(AssertionError, match="other bytes than the run left alone"):
        kills._one_folder(
            run, expected | {"history.csv": b""}, 1.0, kills.random.Random(1), kills.Counter(), 0, lambda _done: None
        )


@pytest.mark.skipif(not faults.available(), reason="strace is not installed, or may not attach to a process")
def test_whichever_system_call_fails_a_later_run_completes_the_folder():
    found = faults.failed(8, seed=1)
    assert found["the run ended with a message"] + found["the run completed nevertheless"] == 8


@pytest.mark.skipif(not small_disk.available(), reason="only root may mount a small disk")
def test_a_full_disk_ends_in_a_message_and_loses_nothing(run, expected):
    assert "No space left on device" in small_disk.filled(run, expected, 120)


@pytest.mark.skipif(not small_disk.available(), reason="only root may mount a small disk")
def test_a_read_only_folder_is_refused_before_any_training(run, expected):
    assert "cannot be created: Read-only file system. Give another folder" in small_disk.read_only(run, expected)


def test_studies_in_a_row_hold_on_to_nothing(monkeypatch):
    monkeypatch.setattr(soak, "WARM_UP", 3)
    held = soak.soaked(8)
    assert held["open_files_after"] <= held["open_files_before"]


def test_a_study_that_held_on_to_memory_would_be_noticed(monkeypatch):
    monkeypatch.setattr(soak, "WARM_UP", 3)
    kept = []
    with pytest.raises(AssertionError, match="memory grows by"):
        soak.soaked(5, lambda _done: kept.append(bytes(40 << 20).replace(b"\0", b"x")))  # more than an allocator reuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_asks_for_the_end_is_answered_by_exit_code_1_and_a_message(run, tmp_path, number):
    child = run.start(tmp_path / "r")
    while not list(tmp_path.glob("r/tiny/training/state-*.pth")):
        assert child.running(), child.said()
    assert child.end(number) == 1
    assert "interrupted: 0 of 1 runs are finished and kept" in child.said()
    assert "interrupted, will resume: tiny, seed 42" in child.said()
