"""One process at a time: real processes, also killed ones."""

import os
import subprocess
import sys
import time

import pytest

from modelflow.errors import UsageError
from modelflow.io.locks import folder_lock, set_aside

HOLD = """
import sys, time
from pathlib import Path
from modelflow.io.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
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
    with pytest.raises(UsageError, match=rf"another process uses it \(process {holder.pid} on "):
        folder_lock(tmp_path / "r", patience=0.1).__enter__()


def test_a_folder_in_which_a_process_is_at_work_is_not_set_aside(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock.__wrapped__, "__defaults__", (0.1,))
    with pytest.raises(UsageError, match=rf"another process uses it \(process {holder.pid} on "):
        set_aside(tmp_path / "r")
    assert (tmp_path / "r").is_dir()


def test_the_lock_of_a_killed_process_counts_for_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    start = time.monotonic()
    with folder_lock(tmp_path / "r"):
        assert time.monotonic() - start < 1
        assert f"process {os.getpid()} on" in (tmp_path / "r" / ".lock").read_text()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), folder_lock(tmp_path):
        raise RuntimeError
    with folder_lock(tmp_path, patience=0):
        pass


NO_FLOCK = """
import errno, fcntl
def flock(*_): raise OSError(errno.{name}, "no locks here")
fcntl.flock = flock
"""


def without_locks(tmp_path, name, code):
    """A process on a file system that has no locks, and says so by an error of that name."""
    command = [sys.executable, "-W", "error", "-c", NO_FLOCK.format(name=name) + code, tmp_path / "r"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


TRY = """
import sys
from pathlib import Path
from modelflow.errors import UsageError
from modelflow.io.locks import folder_lock
try:
    with folder_lock(Path(sys.argv[1]), patience=0.1):
        print("held", flush=True)
except UsageError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL"])
def test_where_there_are_no_locks_a_file_keeps_others_out(tmp_path, name):
    holder = without_locks(tmp_path, name, HOLD)
    try:
        assert holder.stdout.readline() == "held\n"
        marker = tmp_path / "r" / ".lock-held"
        told = without_locks(tmp_path, name, TRY).communicate(timeout=30)[0]
        assert f"another process uses it (process {holder.pid} on " in told
        assert f"This file system has no locks. Delete {marker} once that process has ended" in told
    finally:
        holder.kill()
        holder.wait()
    assert marker.is_file()  # which the next one of this machine sees to be a dead process's
    assert without_locks(tmp_path, name, TRY).communicate(timeout=30)[0] == "held\n"
    assert not marker.exists()


def test_an_error_that_does_not_say_that_there_are_no_locks_is_told(tmp_path):
    told = without_locks(tmp_path, "EIO", TRY).communicate(timeout=30)[0]
    assert "OSError: [Errno 5] no locks here" in told
