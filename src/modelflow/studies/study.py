"""A study: its runs trained by an engine, and what all of them together leave: tables, pictures, report."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from modelflow.errors import ModelFlowError, RunError, UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.io.arguments import folder
from modelflow.io.arguments import whole as whole_number
from modelflow.io.files import remove_parts, write_atomic
from modelflow.io.found import files_in
from modelflow.io.locks import folder_lock
from modelflow.io.process import cores
from modelflow.io.signals import raise_if_heard
from modelflow.networks.code import Code
from modelflow.results import layout
from modelflow.results.asked import (
    joined,
    kept_metric,
    metric_of,
    missing,
    read_studies,
    read_written_study,
    study_fields,
    together,
)
from modelflow.results.asked import like as settings_like
from modelflow.results.settings import StudySettings, read_study
from modelflow.studies import engines
from modelflow.studies.plan import Engine, Event, OnEvent, Outcome, Plan, interrupted, plans, unfinished
from modelflow.studies.run import check_data, checksums_now, data_notices, dataset_of
from modelflow.studies.telling import telling
from modelflow.text import ended, sentence

if TYPE_CHECKING:
    from modelflow.analysis.archive import Content
    from modelflow.analysis.leaderboard import LeaderboardRow
    from modelflow.analysis.reading import Reading
    from modelflow.export.loaded_run import LoadedRun
    from modelflow.report.leaderboard import Leaderboard

SECONDS_BETWEEN_WRITINGS = 10.0  # of what the runs so far say together
SHARE_OF_WRITING = 0.01  # of the time, at most

OnEnd = Callable[[Plan, Outcome], object]
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
    return _engine_file(name).engine(None if jobs is None else whole_number("jobs", jobs, 1), address)


def check_device_of(engine: str, device: str | None) -> None:
    """Raises `UsageError` for a device that is unknown, or not one that the engine trains on."""
    if device is not None:
        _engine_file(engine).check_device(device)


def _engine_file(name: str) -> EngineFile:
    if name not in (known := files_in(engines)):
        raise UsageError(f"engine {name!r}: expected {' or '.join(known)}")
    return cast(EngineFile, import_module(f"{engines.__name__}.{name}"))


def train_due(due: list[Plan], engine: Engine, on_event: OnEvent, on_end: OnEnd) -> list[str]:
    """Trains the plans and tells of each as it ends; what went wrong, in words, a line for each run that failed."""
    failures = []
    with closing(engine(due, on_event)) as ended:
        for plan, outcome in ended:
            if isinstance(outcome, ModelFlowError):
                failures.append(str(outcome))
            on_end(plan, outcome)
    return failures


@dataclass(frozen=True)
class ResolvedStudy:
    """A study, resolved once: its settings, the folder of its results, and its runs, each with its network and folder.

    `data_dir` is the folder that was named for its data, if any.
    """

    settings: StudySettings
    where: Path
    data_dir: Path | None
    planned: list[Plan]

    def decided(self) -> "ResolvedStudy":
        """With the metric and the margin that it keeps; raises as `kept_metric_of` and `kept_margin_of`."""
        settings = self.settings.model_copy(update={"metric": kept_metric_of(self.settings, self.where).word})
        margin = kept_margin_of(settings, self.where, self.data_dir)
        return replace(self, settings=settings.model_copy(update={"margin": margin}))


def resolved(
    settings: StudySettings, where: Path, data_dir: Path | None, device: str | None, allow_code: bool = False
) -> ResolvedStudy:
    """Raises `SpecError`, `UsageError` or `DataError` for what cannot be trained.

    Also `UsageError` for models to train that are in files of code, unless it is allowed to run these: `allow_code`.
    """
    checksums = checksums_now(settings.dataset, settings.form, data_dir)
    planned = plans(settings, where, data_dir, checksums, device)
    if any(isinstance(plan.spec, Code) for plan in planned):
        check_code(unfinished(planned), allow_code)
    return ResolvedStudy(settings, where, data_dir, planned)


def check_code(planned: list[Plan], allowed: bool) -> None:
    """Raises `UsageError` for code of runs that is not at hand, has changed, or is in a file and not `allowed`."""
    codes = {plan.model_name: plan.spec for plan in planned if isinstance(plan.spec, Code)}
    for name, code in codes.items():
        code.check_at_hand(name)
    asking = [f"{name} ({code.place})" for name, code in codes.items() if code.is_in_file]
    if asking and not allowed:
        raise UsageError(
            f"models: training would run the code of {', '.join(asking)}. Code can do anything that you can. Read it "
            "first, then give --allow-code (in Python: allow_code=True)."
        )


def complete(
    study: ResolvedStudy, train: Callable[[list[Plan], Written], list[str]]
) -> "tuple[list[str], Content | None]":
    """Alone in the folder: `train` what is still due, then the study's tables and pages, as runs end those so far.

    What went wrong, as `train` says it, and the report's `Content`, None when no run is finished.
    """
    with folder_lock(study.where):
        remove_parts(study.where)
        write_asked(study.settings, study.where)
        due = unfinished(study.planned)
        failures = train(due, _SoFar(study, len(due)))
        return failures, write_study(study) if len(failures) < len(study.planned) else None


class _SoFar:
    """The tables and the report of the runs that have ended so far, written anew when another one does.

    The tables, and the report with its pictures, each at most every few seconds and so seldom that it takes a hundredth
    of the time, however long one writing takes. What goes wrong is said once and stops nothing.
    """

    def __init__(self, study: ResolvedStudy, due: int) -> None:
        self._left = due
        self._report = study.where / layout.REPORT
        self._told: set[str] = set()
        self._tables = _NowAndThen(lambda: _write_tables(_read(study.where), missing(study.where)))
        self._page = _NowAndThen(partial(_write_all_but_cards, study))

    def __call__(self, outcome: Outcome) -> str:
        self._left -= 1
        if isinstance(outcome, ModelFlowError) or not self._left:  # after the last one everything is written
            return ""
        try:
            self._tables()
            if not self._page():
                return ""
            how, said = "written", f"Report so far: {self._report.resolve()}, updated as runs end"
        except Exception as error:
            raise_if_heard()
            why = getattr(error, "strerror", None) or error
            how, said = "failed", f"the report could not be written yet: {ended(str(why))} Training continues."
        new = how not in self._told
        self._told.add(how)
        return said if new else ""


class _NowAndThen:
    """Calls a function when it is called, unless too little time has gone by since."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._ended, self._took = time.monotonic(), 0.0

    def __call__(self) -> bool:
        """Whether it did."""
        start = time.monotonic()
        if start - self._ended < max(SECONDS_BETWEEN_WRITINGS, self._took / SHARE_OF_WRITING):
            return False
        try:
            self._function()
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - start
        return True


def kept_metric_of(study: StudySettings, where: Path) -> Metric:
    """The metric that a study keeps: that of a study.json beside finished runs, else as asked for.

    Raises `UsageError` where another is asked for than was kept before those runs were seen.
    """
    asked, kept = metric_of(study.metric, None), kept_metric(where) if any(layout.run_folders(where)) else None
    if kept is None:
        return asked
    if study.metric is not None and asked is not kept:
        raise UsageError(
            f"metric {asked.word}: {where / layout.STUDY} keeps {kept.word}, chosen before its runs were seen. Leave "
            f"it out, or give another folder with --results. To look only: modelflow compare {where} "
            f"--metric {asked.word}"
        )
    return kept


def kept_margin_of(study: StudySettings, where: Path, data_dir: Path | None) -> float | None:
    """The margin that a study keeps, in points or nats: that of a study.json beside finished runs, else as asked for.

    Raises `UsageError` where another is asked for than was kept before those runs were seen.
    """
    from modelflow.analysis.comparison import kept_margin

    metric = metric_of(study.metric, None)
    unit, kept = metric.unit, kept_margin(where, metric) if any(layout.run_folders(where)) else None
    if kept is None:
        return margin_asked(study, data_dir)
    if study.margin is not None and not math.isclose(study.margin, unit.scale * kept):
        raise UsageError(
            f"margin {study.margin:g}: {where / layout.STUDY} keeps {unit.scale * kept:.3g} {unit.difference}, chosen "
            f"before its runs were seen. Leave it out, or give another folder with --results. To look only: modelflow "
            f"compare {where} --margin {study.margin:g}"
        )
    return read_written_study(where).margin


def margin_asked(study: StudySettings, data_dir: Path | None) -> float:
    """In points (or nats), or the default for the test images there are. Raises `UsageError` for too small a one."""
    from modelflow.analysis.verdicts import margin_of

    metric, data = metric_of(study.metric, None), dataset_of(study.dataset, data_dir, study.form)
    return metric.unit.scale * margin_of(study.margin, len(data.test_y_N), metric)


def write_asked(study: StudySettings, where: Path) -> None:
    """study.json, before anything is trained, so that what is missing can be told from what was never asked for.

    Models that were asked for in this folder before stay in it, with settings or seeds of their own in studies.json.
    """
    studies = joined(read_studies(where), study)
    _check_readable(together(studies), where)
    if len(studies) > 1:
        _write_json(where / layout.STUDIES, [study_fields(one) for one in studies])
    else:
        (where / layout.STUDIES).unlink(missing_ok=True)
    _write_json(where / layout.STUDY, study_fields(together(studies)))


def _check_readable(study: StudySettings, where: Path) -> None:
    """Raises `UsageError` where all that was asked for in a folder is more than one study may be, or could be read."""
    try:
        read_study(study_fields(study))
    except ModelFlowError as error:
        raise UsageError(
            f"{where}: together with its earlier studies, {ended(error)} Give another folder with --results."
        ) from None


def _write_json(path: Path, fields: object) -> None:
    write_atomic(path, json.dumps(fields, indent=2) + "\n")


def write_study(study: ResolvedStudy) -> "Content":
    """Samples of the study's data, and `write_pages`; the report's `Content`. Raises `DataError` as that does."""
    content = _write_all_but_cards(study)
    _write_cards(content)
    return content


def _write_all_but_cards(study: ResolvedStudy) -> "Content":
    _write_samples(study)
    return _write_page(study.where, study.data_dir)


def _write_samples(study: ResolvedStudy) -> None:
    """dataset_samples.png, of the very data that the runs were trained on."""
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png

    data = dataset_of(study.settings.dataset, study.data_dir, study.settings.form)
    finished = [plan.folder for plan in study.planned if (plan.folder / layout.RUN).is_file()]
    if finished and layout.read_run(finished[0]).data.checksums == data.checksums:
        images, labels = data.samples()
        figure = plot_samples(images, labels, data.class_names, f"{data.name}: training images")
        write_atomic(study.where / layout.SAMPLES, png(figure))


def write_pages(where: str | Path, data_dir: str | Path | None = None, metric: str | None = None) -> "Content":
    """The leaderboard, pareto.png, report.html, and MODEL_CARD.md of the folder and of the runs shown.

    All of it is of all finished runs that the folder holds, decided by `metric`, left out by that which the study
    keeps; the `Content` of the report. Raises `DataError` when there is no finished run, and `UsageError` for a metric
    that is none.
    """
    content = _write_page(where, data_dir, metric)
    _write_cards(content)
    return content


def _write_page(where: str | Path, data_dir: str | Path | None, metric: str | None = None) -> "Content":
    """All that `write_pages` writes but the cards of the runs."""
    from modelflow.analysis.archive import content_of
    from modelflow.report.model_card import study_card
    from modelflow.report.page import render

    where = Path(where)
    reading = _read(where, metric)
    content = content_of(reading)
    _write_pareto(where, _write_tables(reading, content.missing, content.other_metric), reading.metric)
    _write_shared(where / layout.REPORT, render(content, data_dir))
    _write_shared(where / layout.MODEL_CARD, study_card(content))
    return content


def _write_cards(content: "Content") -> None:
    """MODEL_CARD.md of the runs shown."""
    from modelflow.report.model_card import run_card

    for seed in content.seeds:
        _write_shared(seed.folder / layout.MODEL_CARD, run_card(seed, metric=content.metric))


def _write_shared(path: Path, content: str | bytes) -> None:
    """Writes where another process may be at work, and anew if that has taken what was half written for left over."""
    try:
        write_atomic(path, content)
    except FileNotFoundError:
        write_atomic(path, content)


def _read(where: Path, metric: str | None = None) -> "Reading":
    """All finished runs of a results folder whose records can be read."""
    from modelflow.analysis.reading import LeftOut, read_folder

    return read_folder(where, LeftOut(), metric)


def _write_tables(reading: "Reading", *notes: str) -> "list[LeaderboardRow]":
    """leaderboard.csv and leaderboard.md of the runs that were read; the rows."""
    from modelflow.analysis.leaderboard import as_csv, as_markdown, rows_in

    rows = rows_in(reading.models, reading.metric)
    left_out = [f"Left out, {place}: {why}" for place, why in reading.left_out.all()]
    _write_shared(reading.where / layout.LEADERBOARD_CSV, as_csv(rows))
    _write_shared(reading.where / layout.LEADERBOARD_MD, as_markdown(rows, *notes, *left_out))
    return rows


def _write_pareto(where: Path, rows: "list[LeaderboardRow]", metric: Metric) -> None:
    from modelflow.figures.pareto import plot_pareto
    from modelflow.figures.style import png

    points = [(row.model, row.parameters, row.score) for row in rows]
    protocols = ", ".join(sorted({row.protocol_name for row in rows}))
    best = f"{rows[0].model} has the {metric.highest} {metric.title} of {len(rows)} models" if rows else ""
    title = best or f"{sentence(metric.title)} against parameters"
    picture = png(plot_pareto(points, f"{title} (protocol {protocols})", metric))
    _write_shared(where / layout.PARETO, picture)


def finished_rows(planned: list[Plan], metric: str | None = None) -> "Leaderboard":
    """The leaderboard of those planned runs that are finished, best first by the metric, left out accuracy."""
    from modelflow.analysis.leaderboard import rows_of
    from modelflow.report.leaderboard import Leaderboard

    finished = (plan.folder for plan in planned if (plan.folder / layout.RUN).is_file())
    return Leaderboard(rows_of(finished, metric_of(metric, None)))


def run_study(
    study: StudySettings | str | Path | Mapping[str, object] | Sequence[object] | None = None,
    where: str | Path = "results",
    *,
    data_dir: str | Path | None = None,
    jobs: int | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str | None = None,
    allow_code: bool = False,
    on_event: OnEvent | None = None,
    verbose: bool = True,
) -> "Leaderboard":
    """Trains the unfinished runs of a study. Returns its leaderboard, best first: a list, one row per model.

    `study` is the path of a study file, its settings as a mapping, a list of models, or None for the card's study.
    `where` is the results folder. `engine` and `address` are as for `engine_named`, `device` as for `ModelFlow`.
    `allow_code` runs the files of code that a study file names as models. `verbose` says how far the study is: in a
    notebook's cell, else in lines on the error stream. `on_event` is called with an `Event` now and then. Raises
    `RunError` when a run failed, after the others are done. An interruption loses nothing: the same call resumes.
    """
    from modelflow.analysis.verdicts import seeds_wanted

    settings = study if isinstance(study, StudySettings) else read_study(study)
    place, data_dir = folder("where", where), None if data_dir is None else folder("data_dir", data_dir)
    whole = resolved(settings, place, data_dir, device, allow_code)
    chosen = engine_named(engine, jobs, address)
    check_device_of(engine, device)
    check_data(unfinished(whole.planned))
    whole = whole.decided()

    def train(due: list[Plan], written: Written) -> list[str]:
        few = seeds_wanted(len(settings.models), len(settings.seeds))
        notes = [f"note: {few}"] if few else []
        return _told(
            due, chosen, jobs or cores(), written, on_event, verbose, notes, metric_of(whole.settings.metric, None)
        )

    try:
        failures, _ = complete(whole, train)
    except KeyboardInterrupt:
        _say_what_is_kept(whole.planned, verbose)
        raise
    if failures:
        raise RunError("\n".join(failures))
    return finished_rows(whole.planned, whole.settings.metric)


def train(
    model: object,
    where: str | Path = "results",
    *,
    seed: int | None = None,
    like: str | Path | None = None,
    data_dir: str | Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
    on_event: OnEvent | None = None,
    verbose: bool = True,
    **settings: object,
) -> "LoadedRun":
    """Trains one model, as `modelflow train` does, and returns its finished run. A finished run is kept.

    Joined to a study, `like` being its folder, it is trained with that one's data set, settings and seeds, into its
    folder, and the run of the first seed is returned. What is given here wins.

    `model` is a preset's name, a short form, a spec, its fields, the path of a spec file, a model built from a spec, or
    `{"name": …, "spec": …}`. Its results are in the folder of its name in `where`. `seed`, 42 where it is left out,
    sets initial weights, order of the images and dropout. `settings` are those of a study file, such as
    `dataset="digits"`, `epochs=3`, `lr=1e-3`. The others are as for `run_study`. Raises `UsageError`, `SpecError` or
    `DataError` for what cannot be trained, and `RunError` when the run failed. An interruption loses nothing: the same
    call resumes.
    """
    from modelflow.export.loaded_run import load_run

    if several := sorted({"models", "seeds", "margin", "metric"} & settings.keys()):
        raise UsageError(f"train: {several[0]}: is of a study, and one run is trained. Use run_study, or seed=….")
    fields: dict[str, Any] = {**settings, "models": [model]}
    if seed is not None or like is None:
        fields["seeds"] = [whole_number("seed", 42 if seed is None else seed, 0, 2**32)]
    data_dir = None if data_dir is None else folder("data_dir", data_dir)
    if like is not None:
        study, found, note = settings_like(place := folder("like", like), fields)
        if note and verbose:
            print(note, file=sys.stderr)
        how: dict[str, Any] = {"device": device, "allow_code": allow_code, "on_event": on_event, "verbose": verbose}
        run_study(study, place, data_dir=data_dir or found, jobs=1, **how)
        return load_run(place / next(iter(study.specs())), data_dir or found)
    asked, place = read_study(None, **fields), folder("where", where)
    check_device_of("local", device)
    (plan,) = planned = resolved(asked, place, data_dir, device, allow_code).planned
    due = unfinished(planned)
    check_data(due)
    try:
        failures = _told(due, engine_named("local", 1), 1, lambda _outcome: "", on_event, verbose)
    except KeyboardInterrupt:
        _say_what_is_kept(planned, verbose)
        raise
    if failures:
        raise RunError(failures[0])
    return load_run(plan.folder, data_dir)


def _told(
    due: list[Plan],
    engine: Engine,
    jobs: int,
    written: Written,
    on_event: OnEvent | None,
    verbose: bool,
    notes: Sequence[str] = (),
    metric: Metric = ACCURACY,
) -> list[str]:
    """`train_due`, told of as it suits where Python runs; first what is to be known of the data, and the `notes`."""
    if not due:
        return []
    with telling(due, jobs, verbose, metric) as told:
        for said in (*(f"warning: {notice}" for notice in data_notices(due[0])), *notes):
            told.tell(said)
        told.tell(f"training {len(due)} run{'s' * (len(due) != 1)} …")

        def ended(plan: Plan, outcome: Outcome) -> None:
            told.end(plan, outcome)
            if report := written(outcome):
                told.tell(report)

        def hear(event: Event) -> None:
            told.hear(event)
            if on_event is not None:
                on_event(event)

        return train_due(due, engine, hear, ended)


def _say_what_is_kept(planned: list[Plan], verbose: bool) -> None:
    if verbose:
        print(interrupted(planned), file=sys.stderr)
