"""Runs side by side on this machine, in processes of their own."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from modelflow.errors import ModelFlowError, RunError
from modelflow.plans import OnEvent, Plan
from modelflow.records import Run
from modelflow.runs import outcome_of
from modelflow.shapes import trace

SECONDS_BETWEEN_LOOKS = 0.5


def run_plans(
    due: list[Plan], on_event: OnEvent, jobs: int
) -> Generator[tuple[Plan, Run | ModelFlowError], None, None]:
    """Trains the plans, `jobs` at a time in processes of their own, and yields each as it ends, failed ones too.

    When fewer are left than `jobs`, evaluation and large networks share in the cores that have become free.
    """
    if jobs == 1 or len(due) <= 1:
        for plan in due:
            yield plan, outcome_of(plan, on_event, lambda: jobs)
        return
    context = multiprocessing.get_context("spawn")
    events, threads = context.Queue(), context.Value("i", jobs // min(jobs, len(due)))
    costliest_first = sorted(due, key=lambda plan: -trace(plan.spec).macs)
    with _pool(min(jobs, len(due)), context, (events, threads)) as pool:
        with _children_spared_interrupts():
            waiting = {pool.submit(_outcome_to_queue, plan): plan for plan in costliest_first}
        while waiting:
            _pass_on(events, on_event)
            for future in [future for future in waiting if future.done()]:
                plan = waiting.pop(future)
                threads.value = jobs // max(1, min(jobs, len(waiting)))
                yield plan, _result(plan, future)


@contextmanager
def _children_spared_interrupts() -> Iterator[None]:
    """Processes that this thread starts within never hear of Ctrl-C: they inherit that it is blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(plan: Plan, future: "Future[Run | ModelFlowError]") -> Run | ModelFlowError:
    try:
        return future.result()
    except BrokenProcessPool:
        return RunError(f"{plan.title}: a worker process was killed, perhaps for want of memory; try --jobs 1")


@contextmanager
def _pool(workers: int, context: Any, shared: tuple[Any, Any]) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_be_a_worker, initargs=(*shared, os.getpid()))
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _be_a_worker(events: Any, threads: Any, parent: int) -> None:
    global _events, _threads
    _events, _threads = events, threads
    threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left behind when a worker is ended


def _end_with_the_parent(parent: int) -> None:
    """A worker whose study was killed, be it while the worker began, would go on beside the next one."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


_events: Any = None  # in a worker: where it tells how far it is
_threads: Any = None  # and how many cores a run may use


def _outcome_to_queue(plan: Plan) -> Run | ModelFlowError:
    return outcome_of(plan, _events.put, lambda: _threads.value)


def _pass_on(events: Any, on_event: OnEvent) -> None:
    try:
        on_event(events.get(timeout=0.2))
        while True:
            on_event(events.get_nowait())
    except queue.Empty:
        return


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
