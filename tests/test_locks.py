"""One process at a time: real processes, also killed ones."""

import os
import subprocess
import sys
import time

import pytest

from modelflow.errors import UsageError
from modelflow.locks import alone_in
from modelflow.plans import set_aside

HOLD = """
import sys, time
from pathlib import Path
from modelflow.locks import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "r"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path):
    with pytest.raises(UsageError, match=rf"another process is at work there \(process {holder.pid} on "):
        alone_in(tmp_path / "r", patience=0.1).__enter__()


def test_a_folder_in_which_a_process_is_at_work_is_not_set_aside(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(alone_in.__wrapped__, "__defaults__", (0.1,))
    with pytest.raises(UsageError, match=rf"another process is at work there \(process {holder.pid} on "):
        set_aside(tmp_path / "r")
    assert (tmp_path / "r").is_dir()


def test_the_lock_of_a_killed_process_counts_for_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    start = time.monotonic()
    with alone_in(tmp_path / "r"):
        assert time.monotonic() - start < 1
        assert f"process {os.getpid()} on" in (tmp_path / "r" / ".lock").read_text()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), alone_in(tmp_path):
        raise RuntimeError
    with alone_in(tmp_path, patience=0):
        pass
