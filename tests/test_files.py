"""Files are written whole or not at all."""

import errno
import os

import pytest

from modelflow import files
from modelflow.files import write_whole


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "file.txt"


def test_writes_text_and_bytes_and_makes_the_folder(path):
    write_whole(path, "Größe\n")
    assert path.read_bytes() == "Größe\n".encode()
    write_whole(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_may_be_read_by_whom_the_umask_lets(path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(path, "x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def raising(error):
    def fail(*_arguments):
        raise error

    return fail


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()], ids=["disk", "ctrl-c"])
def test_a_failure_leaves_the_old_file_and_nothing_else(path, monkeypatch, step, error):
    write_whole(path, "old")
    monkeypatch.setattr(files.os, step, raising(error))
    with pytest.raises(type(error)):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(path):
    """A real write that fails half way: the file may not grow beyond 1,000 bytes."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    write_whole(path, "old")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(path, b"n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(path, monkeypatch):
    write_whole(path, "old")
    seen, replace = [], os.replace

    def looking(source, target):
        seen.extend([path.read_text(), os.stat(source).st_size])
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", looking)
    write_whole(path, "new, whole")
    assert seen == ["old", 10]
    assert path.read_text() == "new, whole"


def test_content_reaches_the_disk_before_the_name_does(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    write_whole(path, "x")
    of_two_new_folders = ["fsync", "fsync"]
    assert calls == [*of_two_new_folders, "fsync", "replace", "fsync"]
