"""A disk that is too small, or that nobody may write to: mounted for a moment, which root alone may."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from short_run import MODEL, ShortRun

from modelflow.results.layout import RUN


def available() -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0:
        return False
    try:
        with mounted("1m"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def mounted(size: str) -> Iterator[Path]:
    """A folder in memory that holds no more than `size`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True, capture_output=True)


def remount(folder: Path, option: str) -> None:
    """Makes it larger, or `ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True, capture_output=True)


def filled(run: ShortRun, expected: dict[str, bytes], kib: int) -> str:
    """A run on a disk of so many KiB, then on a larger one: what the first said. Raises `AssertionError`."""
    with mounted(f"{kib}k") as disk:
        child = run.start(disk / "r")
        code = child.code()
        said = child.said()
        assert code in (0, 1, 2), f"{kib} KiB: exit code {code}: {said}"
        assert "Traceback" not in said, f"{kib} KiB: {said}"
        assert (disk / "r" / MODEL / RUN).exists() == (code == 0), f"{kib} KiB: exit code {code}"
        remount(disk, "size=50m")
        assert run.finish(disk / "r") == expected, f"{kib} KiB: other bytes after the disk had become larger"
    return said


def read_only(run: ShortRun, expected: dict[str, bytes]) -> str:
    """A run where nothing may be written, then where it may: what the first said. Raises `AssertionError`."""
    with mounted("50m") as disk:
        remount(disk, "ro")
        child = run.start(disk / "r")
        assert child.code() == 2, child.said()
        assert "Traceback" not in child.said(), child.said()
        remount(disk, "rw")
        assert run.finish(disk / "r") == expected
    return child.said()
