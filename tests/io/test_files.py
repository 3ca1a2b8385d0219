"""Files are written whole or not at all."""

import errno
import os
import stat

import pytest

from modelflow.io import files
from modelflow.io.files import write_atomic


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "file.txt"


def test_writes_text_and_bytes_and_makes_the_folder(path):
    write_atomic(path, "Größe\n")
    assert path.read_bytes() == "Größe\n".encode()
    write_atomic(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_may_be_read_by_whom_the_umask_lets(path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomic(path, "x")
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
    write_atomic(path, "old")
    monkeypatch.setattr(files.os, step, raising(error))
    with pytest.raises(type(error)):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_else(path):
    """A real write that fails half way: the file may not grow beyond 1,000 bytes."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    write_atomic(path, "old")
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_atomic(path, b"n" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(path, monkeypatch):
    write_atomic(path, "old")
    seen, replace = [], os.replace

    def looking(source, target):
        seen.extend([path.read_text(), os.stat(source).st_size])
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", looking)
    write_atomic(path, "new, whole")
    assert seen == ["old", 10]
    assert path.read_text() == "new, whole"


def test_content_reaches_the_disk_before_the_name_does(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    write_atomic(path, "x")
    of_two_new_folders = ["fsync", "fsync"]
    assert calls == [*of_two_new_folders, "fsync", "replace", "fsync"]


def failing(real, error, when):
    """`real`, which raises `error` where `when(first argument)` holds."""

    def call(first, *rest):
        if when(first):
            raise error
        return real(first, *rest)

    return call


def is_folder(handle):
    return stat.S_ISDIR(os.fstat(handle).st_mode)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF], ids=errno.errorcode.get)
@pytest.mark.parametrize("when", [is_folder, lambda _: True], ids=["a folder", "any file"])
def test_a_file_system_that_cannot_flush_is_written_to(path, monkeypatch, number, when):
    monkeypatch.setattr(files.os, "fsync", failing(os.fsync, OSError(number, "no"), when))
    write_atomic(path, "x")
    assert path.read_text() == "x"


def test_a_folder_that_cannot_be_opened_is_written_to(path, monkeypatch):
    """As on Windows, or one that may be written to and not read."""
    monkeypatch.setattr(files.os, "open", failing(os.open, PermissionError(errno.EACCES, "no"), os.path.isdir))
    write_atomic(path, "x")
    assert path.read_text() == "x"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_folder_whose_flushing_fails_is_told(path, monkeypatch, number):
    monkeypatch.setattr(files.os, "fsync", failing(os.fsync, OSError(number, "no"), is_folder))
    with pytest.raises(OSError, match="no"):
        write_atomic(path, "x")


def test_a_file_system_that_renames_over_no_file(path, monkeypatch):
    real = os.replace

    def replace(source, target):
        if os.path.exists(target):
            raise FileExistsError(errno.EEXIST, "File exists", target)
        real(source, target)

    write_atomic(path, "old")
    monkeypatch.setattr(files.os, "replace", replace)
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("times", "code"), [(2, 32), (2, 5), (100, 32), (1, 112)])
def test_who_reads_a_file_on_windows_is_waited_for_a_while(path, monkeypatch, times, code):
    real, left = os.replace, [times]

    def replace(source, target):
        left[0] -= 1
        if left[0] >= 0:
            error = PermissionError(errno.EACCES, "in use", target)
            error.winerror = code
            raise error
        real(source, target)

    write_atomic(path, "old")
    monkeypatch.setattr(files.os, "replace", replace)
    monkeypatch.setattr(files, "PAUSES", (0.01,) * 5)
    if (times, code) in ((2, 32), (2, 5)):
        write_atomic(path, "new")
    else:
        with pytest.raises(PermissionError):
            write_atomic(path, "new")
    assert path.read_text() == ("old" if times == 100 or code == 112 else "new")
    assert list(path.parent.iterdir()) == [path]


def test_names_of_other_encodings_are_written_so_that_they_can_be_read(path):
    write_atomic(path, "r\udcff/Größe")
    assert path.read_text("utf-8") == r"r\udcff/Größe"


def test_each_name_that_fits_can_be_written(path):
    longest = path.with_name("n" * 255)
    write_atomic(longest, "x")
    assert longest.read_text() == "x"
