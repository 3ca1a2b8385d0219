"""Ends short runs by signals at random moments until they are finished: their bytes must be those of one left alone."""

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from short_run import ENGINES, MODEL, Child, ShortRun, content

from modelflow.results.layout import RUN, TRAINING

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
DAY = 86_400.0


def killed(count: int, seed: int, tell: Callable[[int], None] = lambda _done: None) -> Counter[str]:
    """Ends runs by SIGKILL `count` times, and by other signals besides, by both engines. How often by what, amid what.

    Raises `AssertionError` naming the folder, which stays, when a run left other bytes, a traceback or a hang.
    """
    found: Counter[str] = Counter()
    rng = random.Random(seed)
    scratch = Path(tempfile.mkdtemp())
    for number, engine in enumerate(ENGINES):
        run = ShortRun.warmed(engine, scratch / str(number))
        begin = time.monotonic()
        expected = run.finish(scratch / f"alone-{number}")
        seconds, goal = time.monotonic() - begin, count * (number + 1) // len(ENGINES)
        while found["by SIGKILL"] < goal:
            _one_folder(run, expected, seconds, rng, found, goal, tell)
    shutil.rmtree(scratch)
    return found


def _one_folder(
    run: ShortRun,
    expected: dict[str, bytes],
    seconds: float,
    rng: random.Random,
    found: Counter[str],
    goal: int,
    tell: Callable[[int], None],
) -> None:
    """The same command again and again in one folder, until it is finished."""
    results = Path(tempfile.mkdtemp(dir=run.scratch)) / "r"
    kept = 0
    while True:
        child = run.start(results, lambda: _let_the_clock_jump(rng))
        last = found["by SIGKILL"] >= goal
        number = None if last or not _alive_after(child, rng.uniform(0, seconds)) else rng.choice(SIGNALS)
        code = child.code() if number is None else child.end(number)
        assert "Traceback" not in child.said(), f"{results}: {child.said()}"
        kept += _note(code, number, results / MODEL, found)
        tell(found["by SIGKILL"])
        _let_files_jump(results / MODEL / TRAINING, rng)
        if code == 0:
            break
        assert number is not None, f"{results}: exit code {code}: {child.said()}"
    left = content(results / MODEL)
    other = sorted(name for name in left.keys() | expected.keys() if left.get(name) != expected.get(name))
    assert not other, f"{results}: other bytes than the run left alone: {', '.join(other)}"
    assert not list(results.rglob("*.part")), f"{results}: something half written is left"
    found["runs finished"] += 1
    found["runs that went on from a state"] += "resuming a" in child.said() or bool(kept)
    shutil.rmtree(results.parent)


def _alive_after(child: Child, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while child.running():
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.001)
    return False


def _note(code: int, number: signal.Signals | None, folder: Path, found: Counter[str]) -> int:
    """Counts how a process ended and amid what; 1 when a state is kept to go on from."""
    ended = number is not None and code != 0
    if not ended:
        return 0
    assert number is not None
    found["ended by a signal"] += 1
    found[f"by {number.name}"] += 1
    allowed = {-number, 1} if number in (signal.SIGTERM, signal.SIGINT) else {-number}
    assert code in allowed, f"{folder}: exit code {code} after {number.name}"
    states, parts = list(folder.glob(f"{TRAINING}/state-*.pth")), list(folder.rglob("*.part"))
    found["amid writing a state"] += any(path.parent.name == TRAINING for path in parts)
    found["amid writing another file"] += any(path.parent.name != TRAINING for path in parts)
    found["amid pictures and tables"] += (folder / "model_checkpoint.pth").is_file() and not (folder / RUN).is_file()
    found["with a state to go on from"] += bool(states)
    return int(bool(states))


def _let_the_clock_jump(rng: random.Random) -> None:
    """In a child: each look at the clock finds it up to a day before or after."""
    true = time.time
    time.time = lambda: true() + rng.uniform(-DAY, DAY)


def _let_files_jump(training: Path, rng: random.Random) -> None:
    """As if each state had been written by such a clock."""
    for path in training.glob("state-*.pth"):
        moment = time.time() + rng.uniform(-DAY, DAY)
        os.utime(path, (moment, moment))
