"""Runs side by side on this machine, in processes of their own, each of which trains one run after the other.

A process is a program started anew (`worker.py`) and spoken to by its pipes: it imports nothing of the program that
asked for the study, so that a script needs no guard, and takes no semaphores, which not every machine has.
"""

import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from modelflow.errors import RunError, UsageError
from modelflow.io.process import cores, is_open
from modelflow.studies.order import in_order
from modelflow.studies.plan import Ended, Engine, Event, OnEvent, Outcome, Plan
from modelflow.studies.run import outcome_of
from modelflow.studies.worker import READY

SECONDS_BETWEEN_LOOKS = 0.5
PATIENCE = 5.0  # seconds for a process that is told to end
OWN_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # on Windows: no Ctrl-C for it

Message = Event | Outcome | str  # of a process: how far a run is, what became of it, whether it can train


def engine(jobs: int | None, address: str | None) -> Engine:
    """Trains on this machine, one run a processor unless `jobs` says how many. Raises `UsageError` for an address."""
    if address is not None:
        raise UsageError(f"--address {address}: is for Ray clusters. Add --engine ray, or leave it out.")
    return partial(run_plans, jobs=jobs or cores())


def check_device(device: str) -> None:
    """Raises `UsageError` for a device that is unknown, or not here."""
    from modelflow.training import devices  # and torch with it

    devices.check_device(device, devices.devices_here())


def run_plans(due: list[Plan], on_event: OnEvent, jobs: int) -> Generator[Ended, None, None]:
    """Trains the plans, `jobs` at a time in processes of their own, and yields each as it ends, failed ones too.

    When fewer are left than `jobs`, evaluation and large networks share in the cores that have become free. Where no
    process can be started, they are trained in this one.
    """
    lanes = max(1, min(jobs, len(due)))
    waiting = deque(in_order(due, lanes))
    if lanes > 1:
        with _lanes(waiting, on_event, jobs) as side_by_side:
            yield from side_by_side.train()
    while waiting:
        plan = waiting.popleft()
        yield plan, outcome_of(plan, on_event, lambda: jobs)


class _Worker:
    """A process that trains one run at a time. Raises `OSError` or `RuntimeError` when the system lets none start."""

    def __init__(self, heard: "queue.SimpleQueue[tuple[_Worker, Message | None]]") -> None:
        self.ready, self.why_not = False, ""
        self.threads = 1
        errors = None if is_open(2) else subprocess.DEVNULL
        with _children_spared_interrupts():
            self.process = subprocess.Popen(
                _command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, creationflags=OWN_GROUP
            )
        try:
            threading.Thread(target=self._listen, args=(heard,), daemon=True).start()
        except RuntimeError:
            self.end()
            raise

    def _listen(self, heard: "queue.SimpleQueue[tuple[_Worker, Message | None]]") -> None:
        """Passes on what it answers, and None when it has ended."""
        with suppress(Exception), self.process.stdout as answers:  # type: ignore[union-attr]
            while True:
                heard.put((self, pickle.load(answers)))
        heard.put((self, None))

    def send(self, message: Plan | int) -> None:
        """What it is to do; of one that has ended, `_listen` knows."""
        with suppress(OSError, ValueError):
            pickle.dump(message, self.process.stdin)  # type: ignore[arg-type]
            self.process.stdin.flush()  # type: ignore[union-attr]

    def let_go(self) -> None:
        """Tells it to end, whatever it is at."""
        with suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]

    def end(self) -> str:
        """Sees to its end, and says how it came."""
        self.let_go()
        try:
            return _ending(self.process.wait(PATIENCE))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return _ending(self.process.wait())


def _command() -> list[str]:
    """Python as it runs here, with what can be imported here, and nothing of the `__main__` that runs here."""
    if getattr(sys, "frozen", False) or not sys.executable:
        raise RuntimeError("this program has no Python of its own")
    path = [*map(str, sys.path), str(Path(__file__).parents[3])]
    start = f"import sys; sys.path[:] = {path!a}; from modelflow.studies.worker import main; main()"
    return [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", start]  # type: ignore[attr-defined]


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"


@contextmanager
def _children_spared_interrupts() -> Iterator[None]:
    """Processes that this thread starts within never hear of Ctrl-C: where there is such, they inherit a block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Lanes:
    """The processes of a study; each is at one run or free, and takes the next that is `waiting`."""

    def __init__(self, waiting: deque[Plan], on_event: OnEvent, cores: int) -> None:
        self.waiting, self.on_event, self.cores = waiting, on_event, cores
        self.most = min(cores, len(waiting))
        self.free: list[_Worker] = []
        self.busy: dict[_Worker, Plan] = {}
        self._heard: queue.SimpleQueue[tuple[_Worker, Message | None]] = queue.SimpleQueue()

    def train(self) -> Iterator[Ended]:
        """Yields each plan as it ends, the lane at its next by then; those that no process can be had for stay."""
        self._begin()
        while self.busy:
            worker, message = self._next()
            if isinstance(message, Event):
                self.on_event(message)
            elif isinstance(message, str):
                worker.ready, worker.why_not = message == READY, message
            elif worker in self.busy:
                plan = self.busy.pop(worker)
                outcome = self._lost(worker, plan) if message is None else self._done(worker, message)
                self._begin()
                if outcome is not None:
                    yield plan, outcome
            elif worker in self.free:
                self.free.remove(worker)
                worker.end()

    def _next(self) -> tuple[_Worker, Message | None]:
        while True:
            with suppress(queue.Empty):
                return self._heard.get(timeout=SECONDS_BETWEEN_LOOKS)

    def _done(self, worker: _Worker, outcome: Outcome) -> Outcome:
        self.free.append(worker)
        return outcome

    def _lost(self, worker: _Worker, plan: Plan) -> RunError | None:
        """What became of the run of a process that has ended; None where it had not begun, and waits again."""
        how = worker.end()
        if not worker.ready:
            self.waiting.appendleft(plan)
            self._fewer(worker.why_not or f"it {how}")
            return None
        return RunError(
            f"{plan.title}: its process ({worker.process.pid}) {how}. Give the same command again to resume the run, "
            "with --jobs 1 if memory is short."
        )

    def _begin(self) -> None:
        """Gives each free lane its next run, and each run its part of the cores."""
        while self.waiting and len(self.busy) < self.most:
            worker = self.free.pop() if self.free else self._started()
            if worker is None:
                break
            self.busy[worker] = self.waiting.popleft()
            worker.send(self.busy[worker])
        threads = self.cores // max(1, min(self.most, len(self.busy) + len(self.waiting)))
        for worker in self.busy:
            if worker.threads != threads:
                worker.threads = threads
                worker.send(threads)

    def _started(self) -> _Worker | None:
        try:
            return _Worker(self._heard)
        except (OSError, RuntimeError) as error:
            self._fewer(str(error))
            return None

    def _fewer(self, why: str) -> None:
        """Goes on with the processes that there are; without any, `run_plans` trains the rest itself."""
        self.most = len(self.busy)
        plan = self.waiting[0]
        note = f"cannot start another process ({why}), runs in parallel: {max(1, self.most)}"
        self.on_event(Event(plan.title, 0, plan.settings.epochs, note=note))


@contextmanager
def _lanes(waiting: deque[Plan], on_event: OnEvent, cores: int) -> Iterator[_Lanes]:
    lanes = _Lanes(waiting, on_event, cores)
    try:
        yield lanes
    finally:
        for worker in (workers := [*lanes.busy, *lanes.free]):
            worker.let_go()
        for worker in workers:
            worker.end()
