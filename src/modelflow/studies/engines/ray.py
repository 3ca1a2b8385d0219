"""Runs on a Ray cluster: each is one task on some machine, and its files come back to be written here.

A run lost with its machine is trained anew on another one; its bytes do not depend on where. Which task goes where, and
when it is tried again, is Ray's to decide. A machine without what trains, or with other versions, is given no run.
"""

import atexit
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from modelflow.data.sources import checksums_of
from modelflow.errors import ModelFlowError, RunError, UsageError
from modelflow.io.files import write_atomic
from modelflow.io.locks import LOCK, folder_lock
from modelflow.results import layout, provenance
from modelflow.results.records import Run, other_files
from modelflow.studies.order import in_order
from modelflow.studies.plan import Ended, Engine, Event, OnEvent, Outcome, Plan, is_finished
from modelflow.studies.run import outcome_of
from modelflow.text import counted, sentence, short

SECONDS_BETWEEN_LOOKS = 0.2
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": this machine is 127.0.0.1, and listens there alone
PATIENCE = 10.0  # seconds with a head that does not answer
RETRIES = 3  # of a run whose machine is lost
SAME_THERE = "Install the same ModelFlow there, with Ray."
AHEAD = 2  # tasks a processor that wait or run: the rest of a large study stays here

Files = dict[str, bytes]


@dataclass(frozen=True)
class Refused:
    """A machine that was given no run, and why."""

    node: str
    why: str


def engine(jobs: int | None, address: str | None) -> Engine:
    """Trains on the cluster at `address`, or on one of this machine alone; at most `jobs` at a time, where given."""
    return partial(run_plans, jobs=jobs, address=address)


def check_device(device: str) -> None:
    """Raises `UsageError` for anything but a processor, which is all that tasks are given."""
    from modelflow.training import devices  # and torch with it

    if devices.check_device(device, None).type != "cpu":
        raise UsageError(f"--device {device}: --engine ray trains on processors. Leave one of them out.")


def run_plans(
    due: list[Plan], on_event: OnEvent, jobs: int | None = None, address: str | None = None
) -> Generator[Ended, None, None]:
    """Trains the plans on the cluster at `address`, or on one of this machine alone, and yields each as it ends.

    At most `jobs` at a time, where it is given. Raises `UsageError` when Ray is not installed, when no cluster answers,
    or when all its machines lack what trains or have other versions of it than this one.
    """

    def say(note: str) -> None:
        on_event(Event("", 0, due[0].settings.epochs, note=note))

    with _cluster(address, jobs, say) as ray:
        say(f"Ray is there, with {_size(ray)}: its processes start …")
        head = _Head(ray.get_runtime_context().gcs_address)
        try:
            yield from _Tasks(ray, on_event, jobs).run(due, head)
        except ModelFlowError:
            raise
        except Exception as error:  # Ray's, of many kinds, when the head goes in the midst of a call
            if _answers(head.address, SECONDS_BETWEEN_LOOKS):
                raise
            raise head.lost() from error


class _Tasks:
    """The runs of a study on a cluster: `due` here, `waiting` there."""

    def __init__(self, ray: ModuleType, on_event: OnEvent, jobs: int | None) -> None:
        self.ray, self.on_event, self.jobs = ray, on_event, jobs
        self.versions = provenance.versions()
        self.mailbox = _mailbox(ray)
        self.refused: dict[str, str] = {}
        self.due: deque[Plan] = deque()
        self.waiting: dict[object, Plan] = {}
        self.task = ray.remote(num_cpus=1, max_retries=RETRIES)(_task())

    def run(self, due: list[Plan], head: "_Head") -> Iterator[Ended]:
        """Yields each plan as its run ends."""
        self.due.extend(in_order(due, self.jobs or _processors(self.ray)))
        while self.due or self.waiting:
            if head.answers():  # or else Ray would wait for it, and not give way
                self._submit()
            ended = self._ended()
            self._pass_on()
            for plan, outcome in ended:
                if isinstance(outcome, Refused):
                    self._refuse(outcome, plan)
                    self.due.appendleft(plan)
                else:
                    yield plan, outcome

    def _ended(self) -> list[tuple[Plan, Outcome | Refused]]:
        """What has come back since; Ray's references to it are let go, or else it makes anew what is lost later."""
        if not self.waiting:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            return []
        done, _ = self.ray.wait(list(self.waiting), timeout=SECONDS_BETWEEN_LOOKS)
        outcomes = {reference: self._outcome(self.waiting[reference], reference) for reference in done}
        return [
            (self.waiting.pop(reference), outcome) for reference, outcome in outcomes.items() if outcome is not None
        ]

    def _submit(self) -> None:
        """As many as may be on their way."""
        most = self.jobs or AHEAD * _processors(self.ray)
        task = self.task
        if self.refused:
            task = task.options(label_selector={"ray.io/node-id": f"!in({','.join(self.refused)})"})
        while self.due and len(self.waiting) < most:
            plan = self.due.popleft()
            there = replace(plan, data_dir=plan.data_dir and plan.data_dir.absolute())
            packed = pickle.dumps((there, _packed(plan.folder)))
            self.waiting[task.remote(packed, self.versions, self.mailbox)] = plan

    def _pass_on(self) -> None:
        """What the runs have told; silence where it is lost, which no run depends on."""
        with suppress(self.ray.exceptions.RayError):
            for event in self.ray.get(self.mailbox.take.remote(), timeout=SECONDS_BETWEEN_LOOKS):
                self.on_event(event)

    def _outcome(self, plan: Plan, reference: object) -> Outcome | Refused | None:
        """What came back; None when it is not here after all."""
        try:
            outcome, files = self.ray.get(reference, timeout=SECONDS_BETWEEN_LOOKS)
        except self.ray.exceptions.GetTimeoutError:  # it was lost after its end, and is made anew if there is a cluster
            return None
        except self.ray.exceptions.RayError as error:
            return RunError(f"{plan.title}: {_in_words(error)}")
        if isinstance(outcome, tuple):
            return _lacking(*outcome)
        try:
            if not isinstance(outcome, Refused):
                _keep(files, plan, finished=isinstance(outcome, Run))
        except ModelFlowError as error:
            return error
        except OSError as error:
            return RunError(f"{plan.title}: {error.filename or plan.folder}: {error.strerror or error}")
        answer: Outcome | Refused = outcome
        return answer

    def _refuse(self, machine: Refused, plan: Plan) -> None:
        """Gives a machine no further run. Raises `UsageError` when none is left."""
        if machine.node not in self.refused:
            self.refused[machine.node] = machine.why
            self.on_event(Event(plan.title, 0, plan.settings.epochs, note=machine.why))
        if all(node["NodeID"] in self.refused or not _works(node) for node in self.ray.nodes()):
            raise UsageError(
                f"no machine of the cluster can train this study. {' '.join(map(sentence, self.refused.values()))}"
            )


class LostHeadError(RunError):
    """The cluster is gone; nothing of Ray's is to be called any more."""


class _Head:
    """The machine that knows of all others; without it Ray ends this process after a minute, without a word of ours."""

    def __init__(self, address: str) -> None:
        self.address, self.answered = address, time.monotonic()

    def answers(self) -> bool:
        """Whether it does now. Raises `LostHeadError` when it has not for some seconds."""
        if _answers(self.address, SECONDS_BETWEEN_LOOKS):
            self.answered = time.monotonic()
            return True
        if time.monotonic() - self.answered > PATIENCE:
            raise self.lost()
        return False

    def lost(self) -> LostHeadError:
        """What is to be said when it is gone."""
        return LostHeadError(
            f"the head of the cluster at {self.address} does not answer. Finished runs are kept. Start it again and "
            "give the same command to train the rest."
        )


def _answers(address: str, seconds: float) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), seconds).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _works(node: dict[str, Any]) -> bool:
    """Whether a machine is there and takes tasks."""
    return bool(node["Alive"]) and node["Resources"].get("CPU", 0) >= 1


def _processors(ray: ModuleType) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _size(ray: ModuleType) -> str:
    """How many processors a cluster has, and on how many machines."""
    return f"{counted(_processors(ray), 'processor')} on {counted(sum(map(_works, ray.nodes())), 'machine')}"


def _in_words(error: Exception) -> str:
    if "NodeDied" in type(error).__name__ or "Crashed" in type(error).__name__:
        return f"its machine was lost {RETRIES + 1} times. Give the same command again to train the rest."
    last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return f"the cluster failed ({last}). Give the same command again to train the rest."


@contextmanager
def _cluster(address: str | None, jobs: int | None, say: Callable[[str], None]) -> Iterator[ModuleType]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None or address.startswith(("127.0.0.1", "localhost")):
        os.environ.setdefault(LOOPBACK, "0")
    say("starting Ray …" if address is None else f"joining the Ray cluster at {address} …")
    try:
        ray = import_module("ray")
    except ImportError:
        raise UsageError(
            "--engine ray: Ray is not installed. Run, in the folder of ModelFlow, pip install -c constraints.txt -e "
            '".[ray]", or use --engine local.'
        ) from None
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    here = {"num_cpus": jobs, "include_dashboard": False}
    if address is not None and not _answers(address, PATIENCE):
        raise UsageError(
            f"--address {short(address)[1:-1]}: no Ray cluster answers there. Start one with ray start --head and "
            "give its HOST:PORT on one of its machines."
        )
    heard = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **quiet, **({} if address else here))
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"--engine ray: {str(error).splitlines()[0]}. Give the HOST:PORT of a cluster that includes this machine."
        ) from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, heard)  # Ray has put its own in its place
    try:
        yield ray
    except LostHeadError:
        atexit.unregister(ray.shutdown)  # it would wait for the head, and then abort the process
        raise
    except BaseException:
        ray.shutdown()
        raise
    ray.shutdown()


class _Mailbox:
    """Where runs tell how far they are: that each begins, its notes, and its newest progress."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, bool], Event] = {}

    def put(self, event: Event) -> None:
        """Takes the place of an older one of the same run."""
        self.events[event.title, event.note, event.loss is None] = event

    def take(self) -> list[Event]:
        """All of them, once."""
        taken, self.events = list(self.events.values()), {}
        return taken


def _mailbox(ray: ModuleType) -> Any:
    """On this machine, so that it is not lost with another one."""
    strategies = import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(_Mailbox).remote()


def _task() -> Callable[..., object]:
    """`_train_there` in a function that Ray sends as it is, so that a machine without ModelFlow can say that it is."""

    def task(packed: bytes, versions: dict[str, str], mailbox: object) -> object:
        import importlib

        try:
            there = importlib.import_module("modelflow.studies.engines.ray")
        except ImportError as error:
            ray = importlib.import_module("ray")
            node = ray.get_runtime_context().get_node_id()
            return (node, ray.util.get_node_ip_address(), str(error.name or error)), {}
        return there._train_there(packed, versions, mailbox)

    return task


def _lacking(node: str, host: str, missing: str) -> Refused:
    return Refused(node, f"{host} (node {node[:8]}) gets no run: it lacks {missing}. {SAME_THERE}")


def _train_there(packed: bytes, versions: dict[str, str], mailbox: Any) -> tuple[Outcome | Refused, Files]:
    """On a machine of the cluster: the run in a folder of its own, and what it left there.

    `packed` is the plan and the files of its folder, pickled by the process that was given the study.
    """
    if refused := _refusal(versions):
        return refused, {}
    plan, files = pickle.loads(packed)
    if other := _other_data(plan):
        return _refused_for(f"its {plan.settings.dataset} has other files: {other}. Copy the same ones there."), {}
    with tempfile.TemporaryDirectory(prefix="modelflow-") as place:
        there = replace(plan, folder=Path(place) / plan.folder.name)
        _unpack(files, there.folder)
        outcome = outcome_of(there, mailbox.put.remote, lambda: 1)
        if isinstance(outcome, ModelFlowError):
            outcome = RunError(str(outcome).replace(str(there.folder), str(plan.folder)))
        return outcome, _packed(there.folder)


def _refusal(versions: dict[str, str]) -> Refused | None:
    here = provenance.versions()
    other = [
        f"{name} {here.get(name)} instead of {there}" for name, there in versions.items() if here.get(name) != there
    ]
    if not other:
        return None
    return _refused_for(f"it has {', '.join(other)}. {SAME_THERE}")


def _refused_for(reason: str) -> Refused:
    """This machine, refused."""
    ray = import_module("ray")
    node, host = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
    return Refused(node, f"{host} (node {node[:8]}) gets no run: {reason}")


def _other_data(plan: Plan) -> str:
    """What differs of the data on this machine from those of the plan; empty when nothing does, or none can be read."""
    try:
        here = checksums_of(plan.settings.dataset, plan.settings.form, plan.data_dir)
    except ModelFlowError:  # which the run says by itself
        return ""
    return "" if plan.checksums in (None, here) else other_files(plan.checksums, here)


def _packed(folder: Path) -> Files:
    """The files of a run's folder, finished or half-way, by their names within it."""
    paths = [
        path
        for path in [*folder.glob("*"), *folder.glob(f"{layout.TRAINING}/*")]
        if path.is_file() and not path.is_symlink()
    ]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.name != LOCK}


def _keep(files: Files, plan: Plan, finished: bool) -> None:
    """Writes what came back; of a finished run the model card last, without which it is not done.

    What another process has finished meanwhile stays. Raises `UsageError` while one is at work in the folder, or when
    one has left another run there.
    """
    with folder_lock(plan.folder):
        if is_finished(plan):
            return
        card = {name: files.pop(name) for name in (layout.MODEL_CARD,) if name in files}
        _unpack(files, plan.folder)
        for path in [*plan.folder.glob(f"{layout.TRAINING}/*")]:
            if path.relative_to(plan.folder).as_posix() not in files:  # replaced or set aside there
                path.unlink()
        if finished:
            layout.remove_training(plan.folder)
        _unpack(card, plan.folder)


def _unpack(files: Files, folder: Path) -> None:
    """Writes the files, run.json last: it marks a finished run."""
    for name in sorted(files, key=lambda name: name == layout.RUN):
        write_atomic(folder / name, files[name])
