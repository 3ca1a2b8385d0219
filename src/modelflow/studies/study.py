"""A study, or one run of it, trained by an engine to its results."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelflow.errors import RunError, UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.io.arguments import folder
from modelflow.io.arguments import whole as whole_number
from modelflow.io.files import remove_parts
from modelflow.io.lines import line
from modelflow.io.locks import folder_lock
from modelflow.io.process import cores
from modelflow.results.joining import write_asked
from modelflow.results.like import like as settings_like
from modelflow.results.settings import StudySettings, read_study, whole
from modelflow.studies.engine import Written, check_device_of, engine_named, train_due
from modelflow.studies.pages import SoFar, finished_rows, write_study
from modelflow.studies.plan import Engine, OnEvent, Plan, interrupted, unfinished
from modelflow.studies.progress_log import progress_log
from modelflow.studies.resolved import ResolvedStudy, resolved
from modelflow.studies.run import check_data

if TYPE_CHECKING:
    from modelflow.analysis.archive import Content
    from modelflow.export.loaded_run import LoadedRun
    from modelflow.report.leaderboard import Leaderboard


def complete(
    study: ResolvedStudy, trained: Callable[[list[Plan], Written], list[str]]
) -> "tuple[list[str], Content | None]":
    """Alone in the folder: what is still due is `trained`, then the study's tables and pages, as runs end those so far.

    What went wrong, as `trained` says it, and the report's `Content`, None when no run is finished.
    """
    with folder_lock(study.where):
        remove_parts(study.where)
        write_asked(study.settings, study.where)
        due = unfinished(study.planned)
        failures = trained(due, SoFar(study, len(due)))
        return failures, write_study(study) if len(failures) < len(study.planned) else None


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

    place, data_dir = folder("where", where), None if data_dir is None else folder("data_dir", data_dir)
    settings = whole(study, None, data_dir) if isinstance(study, StudySettings) else read_study(study, data_dir)
    asked = resolved(settings, place, data_dir, device, allow_code)
    chosen = engine_named(engine, jobs, address)
    check_device_of(engine, device)
    notices = check_data(asked.due)
    asked = asked.decided()
    metric = asked.settings.decided_by

    def trained(due: list[Plan], written: Written) -> list[str]:
        few = seeds_wanted(len(settings.models), len(settings.seeds))
        notes = [f"note: {few}"] if few else []
        return _logged(due, chosen, jobs or cores(), written, on_event, verbose, notices, notes, metric)

    try:
        failures, _ = complete(asked, trained)
    except KeyboardInterrupt:
        _say_what_is_kept(asked.planned, verbose)
        raise
    if failures:
        raise RunError("\n".join(failures))
    return finished_rows(asked.planned, metric)


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
        study, data_dir, note = settings_like(place := folder("like", like), fields, data_dir)
        if note and verbose:
            line(note, errors=True)
        how: dict[str, Any] = {"device": device, "allow_code": allow_code, "on_event": on_event, "verbose": verbose}
        run_study(study, place, data_dir=data_dir, jobs=1, **how)
        return load_run(place / next(iter(study.specs())), data_dir)
    settings_asked, place = read_study(None, data_dir, **fields), folder("where", where)
    check_device_of("local", device)
    asked = resolved(settings_asked, place, data_dir, device, allow_code)
    notices = check_data(asked.due)
    try:
        failures = _logged(asked.due, engine_named("local", 1), 1, lambda _outcome: "", on_event, verbose, notices)
    except KeyboardInterrupt:
        _say_what_is_kept(asked.planned, verbose)
        raise
    if failures:
        raise RunError(failures[0])
    return load_run(asked.planned[0].folder, data_dir)


def _logged(
    due: list[Plan],
    engine: Engine,
    jobs: int,
    written: Written,
    on_event: OnEvent | None,
    verbose: bool,
    notices: list[str],
    notes: Sequence[str] = (),
    metric: Metric = ACCURACY,
) -> list[str]:
    """`train_due`, logged as it suits where Python runs; first the `notices` of the data, and the `notes`."""
    if not due:
        return []
    with progress_log(due, jobs, verbose, metric) as log:
        for said in (*(f"warning: {notice}" for notice in notices), *notes):
            log.log(said)
        log.log(f"training {len(due)} run{'s' * (len(due) != 1)} …")
        return train_due(due, engine, log, written, on_event)


def _say_what_is_kept(planned: list[Plan], verbose: bool) -> None:
    if verbose:
        line(interrupted(planned), errors=True)
