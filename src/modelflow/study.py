"""A study: its runs trained by an engine, and what all of them together leave: tables, pictures, report."""

import json
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from modelflow import results
from modelflow.engines import local
from modelflow.errors import ModelFlowError, RunError, UsageError
from modelflow.files import remove_parts, write_whole
from modelflow.locks import alone_in
from modelflow.plans import OnEvent, Plan, missing, plans, unfinished
from modelflow.records import Run
from modelflow.runs import check_data, dataset_of
from modelflow.settings import StudySettings

OnEnd = Callable[[Plan, Run | ModelFlowError], None]
Engine = Callable[[list[Plan], OnEvent], Generator[tuple[Plan, Run | ModelFlowError], None, None]]


def engine_named(name: str, jobs: int | None = None, address: str | None = None) -> Engine:
    """What trains runs: `local`, processes of this machine, or `ray`, the cluster at `address`; `jobs` at a time.

    Raises `UsageError` for another name, or an address that is not asked for.
    """
    if name == "ray":
        from modelflow.engines import ray

        return partial(ray.run_plans, jobs=jobs, address=address)
    if name != "local":
        raise UsageError(f"engine {name!r}: expected local or ray")
    if address is not None:
        raise UsageError(f"--address {address}: is a Ray cluster's; add --engine ray, or leave it out")
    return partial(local.run_plans, jobs=jobs or local.cores())


def train_due(due: list[Plan], engine: Engine, on_event: OnEvent, on_end: OnEnd) -> list[str]:
    """Trains the plans and tells of each as it ends; what went wrong, in words, a line for each run that failed."""
    failures = []
    with closing(engine(due, on_event)) as ended:
        for plan, outcome in ended:
            if isinstance(outcome, ModelFlowError):
                failures.append(str(outcome))
            on_end(plan, outcome)
    return failures


def complete(
    study: StudySettings,
    planned: list[Plan],
    where: Path,
    data_dir: Path | None,
    train: Callable[[list[Plan]], list[str]],
) -> tuple[list[str], Any]:
    """Alone in the folder: `train` what is still due, then the study's tables and pages.

    What went wrong, as `train` says it, and the report's `Content`, None when no run is finished.
    """
    with alone_in(where):
        write_asked(study, where)
        failures = train(unfinished(planned))
        return failures, write_study(study, where, data_dir) if len(failures) < len(planned) else None


def write_asked(study: StudySettings, where: Path) -> None:
    """study.json, before anything is trained, so that what is missing can be told from what was never asked for."""
    fields = study.model_dump(mode="json") | {
        "models": [{"name": name, "spec": spec.model_dump(mode="json")} for name, spec in study.specs().items()]
    }
    write_whole(where / results.STUDY, json.dumps(fields, indent=2) + "\n")


def write_study(study: StudySettings, where: Path, data_dir: Path | None = None) -> Any:
    """The tables, pictures, report and model card of the study's finished runs; the report's `Content`.

    Raises `DataError` when none is finished.
    """
    from modelflow.figures.pareto import plot_pareto
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png
    from modelflow.leaderboard import as_csv, as_markdown

    remove_parts(where)
    rows = finished_rows(plans(study, where, data_dir))
    write_whole(where / results.LEADERBOARD_CSV, as_csv(rows))
    write_whole(where / results.LEADERBOARD_MD, as_markdown(rows, missing(where)))
    points = [(row.model, row.parameters, row.accuracy) for row in rows]
    protocols = ", ".join(sorted({row.protocol for row in rows}))
    title = f"Accuracy against parameters (protocol {protocols})"
    write_whole(where / results.PARETO, png(plot_pareto(points, title)))
    data = dataset_of(study.dataset, data_dir)
    images, labels = data.samples()
    figure = plot_samples(images, labels, data.class_names, f"{data.name}: training images")
    write_whole(where / results.SAMPLES, png(figure))
    return write_pages(where, data_dir)


def write_pages(where: Path, data_dir: Path | None = None) -> Any:
    """report.html, and MODEL_CARD.md of the study and of the runs shown, from what they left; the `Content` of it all.

    Raises `DataError` when there is no finished run.
    """
    from modelflow.report.content import read_content
    from modelflow.report.model_card import run_card, study_card
    from modelflow.report.page import render

    content = read_content(where)
    write_whole(where / results.REPORT, render(content, data_dir))
    write_whole(where / results.MODEL_CARD, study_card(content))
    for seed in content.seeds:
        write_whole(seed.folder / results.MODEL_CARD, run_card(seed))
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
    engine: str = "local",
    address: str | None = None,
    on_event: OnEvent | None = None,
) -> list[Any]:
    """Trains what of a study is not finished yet and returns its leaderboard, best first.

    `study` is settings, the path of a study file, or None for the card's study; `engine` and `address` as for
    `engine_named`. Raises `RunError` when a run failed, after the others are done.
    """
    from modelflow.settings import read_study

    settings = study if isinstance(study, StudySettings) else read_study(study)
    where, data_dir = Path(where), None if data_dir is None else Path(data_dir)
    planned, chosen = plans(settings, where, data_dir), engine_named(engine, jobs, address)
    check_data(unfinished(planned))
    told = on_event or (lambda _event: None)
    train = partial(train_due, engine=chosen, on_event=told, on_end=lambda _plan, _outcome: None)
    failures, _ = complete(settings, planned, where, data_dir, train)
    if failures:
        raise RunError("; ".join(failures))
    return finished_rows(planned)
