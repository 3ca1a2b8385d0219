"""Many models times many seeds: which runs are due, how they are trained side by side, what the study leaves.

A run alone is trained by the same function as within a study, single-threaded, so that both give the same bytes.
"""

import json
import multiprocessing
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from modelflow import results
from modelflow.errors import DataError, ModelFlowError, RunError, UsageError
from modelflow.files import write_whole
from modelflow.locks import alone_in
from modelflow.records import Run
from modelflow.settings import RunSettings, StudySettings, validated
from modelflow.shapes import MAX_PARAMETERS, trace
from modelflow.spec import Spec, parse_spec, short

SECONDS_BETWEEN_REPORTS = 0.2
SECONDS_BETWEEN_LOOKS = 0.5
LATER_SETTINGS = {"schedule": "constant", "validation_images": None}  # which older records do not name
SMALL = 64 << 20  # bytes of a network that is made without another look
SEARCH_FROM = 3e-4  # as the card's search, whatever the run is trained with


@dataclass(frozen=True)
class Plan:
    """One run to be made: a model, a seed, its settings and its folder."""

    model_name: str
    spec: Spec
    seed: int
    settings: RunSettings
    folder: Path
    data_dir: Path | None = None

    @property
    def title(self) -> str:
        """How the run is called in tables and messages."""
        return f"{self.model_name}, seed {self.seed}"


@dataclass(frozen=True)
class Event:
    """How far a run is: `done` of `total` epochs, the last one in fractions; `note` is what it does else."""

    title: str
    done: float
    total: int
    loss: float | None = None
    note: str = ""


OnEvent = Callable[[Event], None]
OnEnd = Callable[[Plan, Run | ModelFlowError], None]


def plans(study: StudySettings, where: Path, data_dir: Path | None = None) -> list[Plan]:
    """The runs of a study in the order of its models and seeds. Raises `SpecError` or `UsageError` for invalid ones."""
    settings = study.run_settings()
    return [
        Plan(name, spec, seed, settings, results.run_folder(where, name, seed, study.seeds[0]), data_dir)
        for name, spec in study.specs().items()
        for seed in study.seeds
    ]


def is_finished(plan: Plan) -> bool:
    """Whether the plan's folder holds this very run, finished.

    Raises `UsageError` when it holds a run, finished or half-way, of another spec, seed or settings, naming what
    differs and the two ways out.
    """
    if not (plan.folder / results.RUN).is_file():
        if results.has_states(plan.folder):
            _check_same(plan, results.read_plan(plan.folder))
        return False
    run = results.read_run(plan.folder)
    _check_same(plan, {"spec": run.spec, "seed": run.seed, **LATER_SETTINGS, **run.settings, "epochs": run.epochs})
    return True


def unfinished(planned: list[Plan]) -> list[Plan]:
    """The plans that are still to be trained. Raises as `is_finished` does."""
    return [plan for plan in planned if not is_finished(plan)]


def _asked(plan: Plan) -> dict[str, Any]:
    """What makes a plan this very run."""
    settings = plan.settings.model_dump(exclude={"max_parameters", "recipe"})
    return {"spec": plan.spec.model_dump(mode="json"), "seed": plan.seed, **settings}


def _check_same(plan: Plan, stored: dict[str, Any]) -> None:
    asked = _asked(plan)
    name = next((name for name in asked if asked[name] != stored.get(name)), None)
    if name is None:
        return
    add = f"; to add a seed: modelflow run --seeds {stored['seed']},{plan.seed}" if name == "seed" else ""
    raise UsageError(
        f"{plan.folder} holds a run with another {name} (stored {short(stored.get(name))}, asked "
        f"{short(asked[name])}); give another folder with --results, or --restart (make: RESTART=1), which keeps "
        f"the old one aside{add}"
    )


def set_aside(folder: Path) -> Path | None:
    """Moves a folder that exists to the first free name `FOLDER.old-N`, and says which.

    Raises `UsageError` while another process is at work there.
    """
    if not folder.exists():
        return None
    n = 1
    while (aside := folder.with_name(f"{folder.name}.old-{n}")).exists():
        n += 1
    with alone_in(folder):
        shutil.move(folder, aside)
    return aside


@cache
def _dataset(name: str, data_dir: Path | None) -> Any:
    from modelflow.data.datasets import load_dataset

    return load_dataset(name, data_dir)


def make_flow(plan: Plan) -> Any:
    """The `ModelFlow` of a plan, nothing trained yet. Raises `DataError` when the data do not fit the spec."""
    import torch

    from modelflow.flow import ModelFlow
    from modelflow.models.build import GenericCNN

    torch.set_num_threads(1)
    settings = plan.settings
    data = _dataset(settings.dataset, plan.data_dir)
    check_data_fit(plan.model_name, plan.spec, data)
    train_loader, val_loader, test_loader = _loaders(data, settings, plan.seed)
    flow = ModelFlow(
        GenericCNN(plan.spec, plan.seed, settings.max_parameters),
        train_loader,
        val_loader,
        plan.model_name,
        test_loader=test_loader,
        lr=settings.lr,
        optimizer=settings.optimizer,
        schedule=settings.schedule,
        seed=plan.seed,
        verbose=False,
    )
    flow.results_dir = plan.folder
    flow.settings = settings.model_dump()
    return flow


def _loaders(data: Any, settings: RunSettings, seed: int) -> tuple[Any, Any, Any]:
    if settings.protocol == "card":
        return *data.loaders(settings.batch_size, seed), None
    loaders: tuple[Any, Any, Any] = data.held_out_loaders(settings.batch_size, seed, settings.validation_images)
    return loaders


def check_data_fit(name: str, spec: Spec, data: Any) -> None:
    """Raises `DataError` unless channels, size and classes of the data are those of the spec."""
    facts = {
        "in_channels": (spec.in_channels, data.in_channels),
        "input_size": (spec.input_size, data.image_size[0] if len(set(data.image_size)) == 1 else data.image_size),
    }
    square = data.image_size[0] == data.image_size[1]
    mend = (
        "give a spec with that value (the presets are made for 1x28x28), or another --dataset"
        if square
        else "a spec takes square images only"
    )
    for field, (given, expected) in facts.items():
        if given != expected:
            raise DataError(f"{name}: {field} = {given}, but the images of {data.name} have {expected}; {mend}")
    if spec.num_classes < data.num_classes:
        raise DataError(
            f"{name}: num_classes = {spec.num_classes}, but {data.name} has {data.num_classes} classes; change the spec"
        )


def check_data(due: list[Plan]) -> None:
    """Raises `DataError` unless the data of the plans are there, sound, and fit each spec and the images held out."""
    for plan in due:
        data = _dataset(plan.settings.dataset, plan.data_dir)
        check_data_fit(plan.model_name, plan.spec, data)
        if plan.settings.protocol == "held-out":
            data.held_out_count(plan.settings.validation_images)


def open_run(folder: Path, data_dir: Path | None = None) -> Any:
    """The `ModelFlow` of a finished run with its stored weights, optimizer, history and notes.

    Raises `DataError` when the run is damaged, or was made in Python from loaders that no file describes.
    """
    run = results.read_run(folder)
    if run.spec is None or "dataset" not in run.settings:
        again = "ModelFlow(…, load_checkpoint_path=…) and run(skip_train=True)"
        raise DataError(f"{folder}: the run was made in Python; evaluate it there: {again}")
    settings = validated(RunSettings, run.settings, f"{folder / results.RUN}: settings")
    spec = parse_spec(run.spec, f"{folder / results.RUN}: spec")
    _check_size(folder, 4 * trace(spec, MAX_PARAMETERS).parameters)
    flow = make_flow(Plan(run.model_name, spec, run.seed, settings, folder, data_dir))
    if flow.data.checksums != run.data.checksums:
        raise DataError(f"{folder}: was trained on other files of {run.data.name} (SHA-256 differ); use those files")
    flow.stored, flow.test_reads = run, run.test_reads or 0
    _load(flow.arch, folder, run)
    flow.seconds, flow.notes, flow.started = dict(run.seconds), list(run.notes), datetime.fromisoformat(run.started)
    return flow


def _check_size(folder: Path, least: int) -> None:
    """Raises `DataError` before a large network is made for a checkpoint that cannot be of it."""
    checkpoint = folder / results.CHECKPOINT
    if checkpoint.is_file() and checkpoint.stat().st_size + SMALL < least:
        raise DataError(f"{checkpoint}: too small for the spec in {results.RUN}, expected {least:,} bytes or more")


def _load(arch: Any, folder: Path, run: Run) -> None:
    """The weights of model.safetensors, which is read first, and the checkpoint's optimizer and history.

    Raises `DataError` unless both files are as run.json knows them, where it does, and fit the model.
    """
    from modelflow.training.checkpoint import most_bytes, parse_weights

    path, weights = folder / results.WEIGHTS, None
    try:
        if path.is_file() or path.name in run.files:
            weights = parse_weights(results.read_stored(path, most_bytes(arch.model)), arch.model, path)
        path = folder / results.CHECKPOINT
        results.read_stored(path, most_bytes(arch.model))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; take it from a copy, or train the run again") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: {error}; take it from a copy, or train the run again") from None
    arch.load_checkpoint(path)
    if weights is not None:
        arch.model.load_state_dict(weights)


def interrupted(due: list[Plan]) -> str:
    """What is there after an interruption, in words."""
    finished = [plan for plan in due if (plan.folder / results.RUN).is_file()]
    begun = [plan.title for plan in due if plan not in finished and results.has_states(plan.folder)]
    lines = [f"interrupted: {len(finished)} of {len(due)} runs are finished and kept"]
    lines += [f"kept half-way, to go on from: {'; '.join(begun)}"] if begun else []
    return "\n".join([*lines, "give the same command again to train the rest"])


def train_run(plan: Plan, on_event: OnEvent | None = None, threads: Callable[[], int] = lambda: 1) -> Run:
    """Trains one run to its finished folder. Raises `RunError` naming the run when its loss is not finite.

    `threads` says how many cores a large network may use at the moment; the bytes do not depend on it.
    """
    with alone_in(plan.folder):
        return _train(make_flow(plan), plan, on_event, threads)


def _train(flow: Any, plan: Plan, on_event: OnEvent | None, threads: Callable[[], int]) -> Run:
    flow.arch.threads = threads
    steps, total = len(flow.arch.train_loader), plan.settings.epochs

    reported = 0.0

    def told(epoch: int, step: int, loss: float) -> None:
        nonlocal reported
        if on_event is not None and (time.monotonic() - reported >= SECONDS_BETWEEN_REPORTS or step == steps):
            on_event(Event(plan.title, epoch - 1 + step / steps, total, loss))
            reported = time.monotonic()

    def noted(text: str) -> None:
        if on_event is not None:
            on_event(Event(plan.title, flow.arch.total_epochs, total, note=text))

    flow.arch.on_step, flow.arch.say = told, noted
    if from_where := flow.go_on():
        noted(from_where)
    else:
        results.write_plan(plan.folder, _asked(plan))
        _search_lr(flow, plan.settings)
    try:
        flow.run(epochs=total)
    except RunError as error:
        raise RunError(f"{plan.title}: {error}. {_kept(flow)}") from None
    return _write_card(plan.folder)


def _write_card(folder: Path) -> Run:
    """MODEL_CARD.md of a finished run, and the run."""
    from modelflow.report.content import read_seed
    from modelflow.report.model_card import run_card

    seed = read_seed(folder)
    write_whole(folder / results.MODEL_CARD, run_card(seed))
    return seed.run


def _search_lr(flow: Any, settings: RunSettings) -> None:
    try:
        flow.find_best_lr(set_lr=settings.find_best_lr, start_lr=SEARCH_FROM)
    except RunError:  # the flow has noted why
        if settings.find_best_lr:
            raise


def _kept(flow: Any) -> str:
    if not results.has_states(flow.results_dir):
        return "No state was saved yet"
    return f"Kept: its last states in {flow.results_dir / results.TRAINING}, which load_checkpoint_path takes too"


def train_due(due: list[Plan], jobs: int | None, on_event: OnEvent, on_end: OnEnd) -> list[str]:
    """Trains the plans and tells of each as it ends; what went wrong, in words, a line for each run that failed."""
    failures = []
    with closing(run_plans(due, jobs or cores(), on_event)) as ended:
        for plan, outcome in ended:
            if isinstance(outcome, ModelFlowError):
                failures.append(str(outcome))
            on_end(plan, outcome)
    return failures


def run_plans(
    due: list[Plan], jobs: int, on_event: OnEvent
) -> Generator[tuple[Plan, Run | ModelFlowError], None, None]:
    """Trains the plans, `jobs` at a time in processes of their own, and yields each as it ends, failed ones too.

    When fewer are left than `jobs`, a large network shares in the cores that have become free.
    """
    if jobs == 1 or len(due) <= 1:
        for plan in due:
            yield plan, _outcome(plan, on_event, lambda: jobs)
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
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_be_a_worker, initargs=shared)
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()


def _be_a_worker(events: Any, threads: Any) -> None:
    global _events, _threads
    _events, _threads = events, threads
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left behind when a worker is ended


def _end_with_the_parent(parent: int) -> None:
    """A worker whose study was killed would go on beside the next one."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


_events: Any = None  # in a worker: where it tells how far it is
_threads: Any = None  # and how many cores a run may use


def _outcome(plan: Plan, on_event: OnEvent, threads: Callable[[], int]) -> Run | ModelFlowError:
    try:
        return train_run(plan, on_event, threads)
    except ModelFlowError as error:
        return error
    except OSError as error:
        return RunError(f"{plan.title}: {error.filename or plan.folder}: {error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        return RunError(f"{plan.title}: not enough memory; make the network or the batch smaller, or use --jobs 1")


def _outcome_to_queue(plan: Plan) -> Run | ModelFlowError:
    return _outcome(plan, _events.put, lambda: _threads.value)


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


def write_study(study: StudySettings, where: Path, data_dir: Path | None = None) -> Any:
    """study.json, and the tables, pictures, report and model card of the study's finished runs; the report's `Content`.

    Raises `DataError` when none is finished.
    """
    from modelflow.figures.pareto import plot_pareto
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png
    from modelflow.leaderboard import as_csv, as_markdown

    rows = finished_rows(plans(study, where, data_dir))
    fields = study.model_dump(mode="json") | {
        "models": [{"name": name, "spec": spec.model_dump(mode="json")} for name, spec in study.specs().items()]
    }
    write_whole(where / results.STUDY, json.dumps(fields, indent=2) + "\n")
    write_whole(where / results.LEADERBOARD_CSV, as_csv(rows))
    write_whole(where / results.LEADERBOARD_MD, as_markdown(rows))
    points = [(row.model, row.parameters, row.accuracy) for row in rows]
    protocols = ", ".join(sorted({row.protocol for row in rows}))
    title = f"Accuracy against parameters (protocol {protocols})"
    write_whole(where / results.PARETO, png(plot_pareto(points, title)))
    data = _dataset(study.dataset, data_dir)
    images, labels = data.samples()
    figure = plot_samples(images, labels, data.class_names, f"{data.name}: training images")
    write_whole(where / results.SAMPLES, png(figure))
    return write_pages(where, data_dir)


def write_pages(where: Path, data_dir: Path | None = None) -> Any:
    """report.html and MODEL_CARD.md of a study, from what its runs left; the `Content` that they were made of.

    Raises `DataError` when there is no finished run.
    """
    from modelflow.report.content import read_content
    from modelflow.report.model_card import study_card
    from modelflow.report.page import render

    content = read_content(where)
    write_whole(where / results.REPORT, render(content, data_dir))
    write_whole(where / results.MODEL_CARD, study_card(content))
    return content


def finished_rows(planned: list[Plan]) -> list[Any]:
    """The leaderboard of those planned runs that are finished, best first."""
    from modelflow.leaderboard import rows_of

    return rows_of(plan.folder for plan in planned if (plan.folder / results.RUN).is_file())


def run_study(
    study: StudySettings | str | Path | None = None,
    where: str | Path = "results",
    *,
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    on_event: OnEvent | None = None,
) -> list[Any]:
    """Trains what of a study is not finished yet and returns its leaderboard, best first.

    `study` is settings, the path of a study file, or None for the card's study. Raises `RunError` when a run failed,
    after the others are done.
    """
    from modelflow.settings import read_study

    settings = study if isinstance(study, StudySettings) else read_study(study)
    where, data_dir = Path(where), None if data_dir is None else Path(data_dir)
    planned = plans(settings, where, data_dir)
    check_data(unfinished(planned))
    with alone_in(where):
        failures = train_due(unfinished(planned), jobs, on_event or (lambda _event: None), lambda _plan, _outcome: None)
        if len(failures) < len(planned):
            write_study(settings, where, data_dir)
    if failures:
        raise RunError("; ".join(failures))
    return finished_rows(planned)
