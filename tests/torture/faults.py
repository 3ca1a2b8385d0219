"""Lets each system call by which a short run writes fail in turn: the folder stays sound, and a later run completes it.

The calls are made to fail by strace in the kernel, so that the run is the one that users have: ENOSPC, EIO, EMFILE,
EACCES. Calls that concern other folders (reading modules, locks of other programs) are left alone.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from short_run import MODEL, Child, ShortRun

from modelflow.results.layout import RUN, read_run

ERRORS = {
    "openat": ("EMFILE", "EACCES", "ENOSPC", "EIO"),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO", "ENOSPC"),
    "rename": ("EACCES", "ENOSPC", "EIO"),
    "mkdir": ("EACCES", "ENOSPC"),
    "unlink": ("EACCES", "EIO"),
    "flock": ("EIO",),
}
CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)$")
PATIENCE = 20.0


@dataclass(frozen=True)
class Fault:
    """The `number`-th call of this kind that a run makes fails with `error`."""

    call: str
    number: int
    error: str

    def __str__(self) -> str:
        return f"{self.call} number {self.number} fails with {self.error}"


def available() -> bool:
    """Whether strace is there and may attach to processes."""
    if not shutil.which("strace"):
        return False
    probe = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return probe.returncode == 0


def failed(count: int | None, seed: int, tell: Callable[[int, int], None] = lambda _done, _of: None) -> Counter[str]:
    """Injects each fault (or `count` drawn from them) into a run of its own. How often each error, and how it ended.

    Raises `AssertionError` naming the fault when a run left a damaged folder, a traceback or a hang, or a later run
    did not complete it to the same bytes.
    """
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        run = ShortRun.warmed("two epochs", Path(scratch) / "run")
        expected = run.finish(Path(scratch) / "alone")
        faults = list(_faults(run, Path(scratch)))
        chosen = faults if count is None else random.Random(seed).sample(faults, min(count, len(faults)))
        for done, fault in enumerate(chosen):
            tell(done, len(chosen))
            _one(run, fault, expected, Path(scratch) / "faults" / str(done), found)
    return found


def _faults(run: ShortRun, scratch: Path) -> Iterator[Fault]:
    """All that can fail: the calls of an undisturbed run that concern its folder, numbered as strace counts them."""
    results, trace = scratch / "traced" / "r", scratch / "trace"
    results.parent.mkdir()
    child, tracer = _traced(run, results, ["-y", "-o", str(trace)])
    assert child.code() == 0, child.said()
    tracer.wait(PATIENCE)
    numbers: Counter[str] = Counter()
    for line in trace.read_text("utf-8", "replace").splitlines():
        if (call := CALL.match(line)) and call[1] in ERRORS:
            numbers[call[1]] += 1
            writes = call[1] != "openat" or "O_CREAT" in call[2] or "O_DIRECTORY" in call[2]
            if writes and str(results) in call[2]:
                yield from (Fault(call[1], numbers[call[1]], error) for error in ERRORS[call[1]])


def _traced(run: ShortRun, results: Path, options: list[str]) -> tuple[Child, "subprocess.Popen[bytes]"]:
    """A run that waits until strace has taken hold of it."""
    child = run.start(results, before=lambda: os.kill(os.getpid(), signal.SIGSTOP))
    _wait_for(child.pid, "State:\tT")
    command = ["strace", "-qq", "-p", str(child.pid), "-e", f"trace={','.join(ERRORS)}", *options]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(child.pid, f"TracerPid:\t{tracer.pid}")
    os.kill(child.pid, signal.SIGCONT)
    return child, tracer


def _wait_for(pid: int, state: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while state not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not become {state!r}")
        time.sleep(0.002)


def _one(run: ShortRun, fault: Fault, expected: dict[str, bytes], place: Path, found: Counter[str]) -> None:
    place.mkdir(parents=True)
    inject = f"inject={fault.call}:error={fault.error}:when={fault.number}"
    child, tracer = _traced(run, place / "r", ["-e", inject, "-o", "/dev/null"])
    code = child.code()
    tracer.wait(PATIENCE)
    said = child.said()
    assert code in (0, 1, 2), f"{fault}: exit code {code}: {said}"
    assert "Traceback" not in said, f"{fault}: {said}"
    folder = place / "r" / MODEL
    if (folder / RUN).exists():
        read_run(folder)
    assert (folder / RUN).exists() or code, f"{fault}: success is claimed, and no run is there"
    assert run.finish(place / "r") == expected, f"{fault}: a later run left other bytes"
    found[fault.error] += 1
    found["the run ended with a message" if code else "the run completed nevertheless"] += 1
    shutil.rmtree(place)
