"""A short training, started as often as it takes: `modelflow train` in processes forked from one that has all it needs.

command = ShortRun("compiled step")
process = command.start(folder)          # a child that runs the command line to its end
"""

import atexit
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from modelflow import cli
from modelflow.results.layout import CHECKPOINT, MODEL_CARD, RUN
from modelflow.studies import autosave
from modelflow.training import compiled

SPEC = '{"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [8], "fc_sizes": [20]}'
OPTIONS = ("--dataset", "digits", "--lr", "3e-3", "--recipe", "best", "--batch-size", "16")
ENGINES = {"compiled step": ("--epochs", "30"), "autograd": ("--epochs", "3", "--optimizer", "rmsprop")}
LENGTHS = ENGINES | {"two epochs": ("--epochs", "2")}
DIFFERING = {RUN, MODEL_CARD, CHECKPOINT}  # which say when, how long and where
MODEL = "tiny"
PATIENCE = 120.0
UNEXPECTED = 3  # the exit code of what no command may do


def prepare() -> None:
    """Imports and settings that every child starts from: states saved at every pause, and pauses as often as can be."""
    torch.set_num_threads(1)
    autosave.SECONDS_BETWEEN_STATES = 0
    autosave.SHARE_OF_SAVING = 1e9
    compiled.MACS_A_CALL = 3e6


@dataclass
class Child:
    """A process forked from this one, and what it said."""

    pid: int
    log: Path
    status: int | None = field(default=None)

    def running(self) -> bool:
        """Whether it has not ended; its status is noted when it has."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is None

    def end(self, number: int) -> int:
        """Sends a signal and waits. Exit code, or minus the signal that ended it."""
        os.kill(self.pid, number)
        return self.code()

    def code(self) -> int:
        """Waits for its end. Exit code, or minus the signal that ended it; raises `TimeoutError` for one that hangs."""
        deadline = time.monotonic() + PATIENCE
        while self.running():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"a run hangs: {self.said()}")
            time.sleep(0.002)
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text("utf-8", "replace")


@dataclass(frozen=True)
class ShortRun:
    """A training of less than two seconds, one of `LENGTHS`."""

    length: str
    scratch: Path

    @classmethod
    def warmed(cls, length: str, scratch: Path) -> "ShortRun":
        """Ready to fork: whatever a run imports is imported, whatever it compiles is compiled."""
        run = cls(length, scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / f"{MODEL}.json").write_text(SPEC)
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            assert cli.run_command([*run.arguments(Path(place))]) == 0
        return run

    def arguments(self, results: Path) -> list[str]:
        """Of the command line."""
        spec = str(self.scratch / f"{MODEL}.json")
        return ["train", spec, *OPTIONS, *LENGTHS[self.length], "--results", str(results)]

    def start(self, results: Path, before: Callable[[], None] = lambda: None) -> Child:
        """A child that runs it into this folder; `before` is called in the child first."""
        handle, log = tempfile.mkstemp(".log", dir=self.scratch)
        os.close(handle)
        sys.stdout.flush()
        sys.stderr.flush()
        if pid := os.fork():
            return Child(pid, Path(log))
        try:
            _leave(self._exit_code(results, Path(log), before))
        except KeyboardInterrupt:  # before the command had begun to listen, or after its end
            _leave(1)
        raise AssertionError  # never reached

    def _exit_code(self, results: Path, log: Path, before: Callable[[], None]) -> int:
        """Of the command, in a child. Raises `KeyboardInterrupt` while it does not listen."""
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            atexit._clear()  # what the parent runs at its end, as Ray's, is not for its children
            _print_into(log)
            tqdm.set_lock(threading.RLock())  # the one shared by all forks stays taken when its holder is killed
            sys.argv = ["modelflow", *self.arguments(results)]
            before()
            cli.main()
        except SystemExit as ending:
            return ending.code if isinstance(ending.code, int) else UNEXPECTED
        except KeyboardInterrupt:
            raise
        except BaseException:
            traceback.print_exc()
        return UNEXPECTED

    def finish(self, results: Path) -> dict[str, bytes]:
        """Runs it to its end, and gives what it left."""
        child = self.start(results)
        if (code := child.code()) != 0:
            raise AssertionError(f"exit code {code}: {child.said()}")
        return content(results / MODEL)


def content(folder: Path) -> dict[str, bytes]:
    """The files of a finished run that depend on nothing but what was asked for."""
    paths = (path for path in folder.iterdir() if path.is_file() and path.name not in DIFFERING)
    return {path.name: path.read_bytes() for path in paths if path.name != ".lock"}


def _print_into(log: Path) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.close(out)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115


def _leave(code: int) -> None:
    """Ends a child without what belongs to the process that it was forked from."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
