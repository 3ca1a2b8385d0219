"""Which engine trains a study's runs, found by its file's name, and the runs that it trains, logged as they end."""

from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from typing import Protocol, cast

from modelflow.errors import ModelFlowError, UsageError
from modelflow.io.arguments import whole
from modelflow.io.found import files_in
from modelflow.io.signals import interruptions_noted, raise_if_heard
from modelflow.studies import engines
from modelflow.studies.plan import Engine, Event, OnEvent, Outcome, Plan
from modelflow.studies.progress_log import ProgressLog

Written = Callable[[Outcome], str]  # called when a run has ended; what is to be said of the report so far


class EngineFile(Protocol):
    """What a file of the folder `engines` has."""

    def engine(self, jobs: int | None, address: str | None) -> Engine:
        """What trains `jobs` runs at a time, on the cluster at `address` where it is for clusters."""

    def check_device(self, device: str) -> None:
        """Raises `UsageError` for a device that is unknown, or not one that it trains on."""


def engine_named(name: str, jobs: int | None = None, address: str | None = None) -> Engine:
    """What trains runs: `local`, processes of this machine, or `ray`, the cluster at `address`; `jobs` at a time.

    Raises `UsageError` for another name, an address that is not asked for, or what is no number of `jobs`.
    """
    return _engine_file(name).engine(None if jobs is None else whole("jobs", jobs, 1), address)


def check_device_of(engine: str, device: str | None) -> None:
    """Raises `UsageError` for a device that is unknown, or not one that the engine trains on."""
    if device is not None:
        _engine_file(engine).check_device(device)


def _engine_file(name: str) -> EngineFile:
    if name not in (known := files_in(engines)):
        raise UsageError(f"engine {name!r}: expected {' or '.join(known)}")
    return cast(EngineFile, import_module(f"{engines.__name__}.{name}"))


def train_due(
    due: list[Plan], engine: Engine, log: ProgressLog, written: Written, on_event: OnEvent | None = None
) -> list[str]:
    """Trains the plans, and logs how far they are and how each ended; in words, why runs failed, a line for each."""

    def pass_on(event: Event) -> None:
        raise_if_heard()
        if not event.title:
            log.log(event.note)
            return
        log.on_event(event)
        if on_event is not None:
            on_event(event)

    failures = []
    with interruptions_noted(), closing(engine(due, pass_on)) as ended:
        for plan, outcome in ended:
            if isinstance(outcome, ModelFlowError):
                failures.append(str(outcome))
            log.on_end(plan, outcome)
            if said := written(outcome):
                log.log(said)
            raise_if_heard()
    return failures
