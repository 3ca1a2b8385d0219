"""Commands that train: `run` a study, `train` a model."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from modelflow.cli import terminal
from modelflow.cli.options import FOLDER, HELP, MARGIN, METRIC, TRAINING, example, seeds_of
from modelflow.errors import RunError, UsageError
from modelflow.io.found import files_in
from modelflow.studies import engines

if TYPE_CHECKING:
    from modelflow.analysis.archive import Content
    from modelflow.results.settings import StudySettings
    from modelflow.studies.engine import Written
    from modelflow.studies.plan import Engine, Plan
    from modelflow.studies.resolved import ResolvedStudy

MANY_RUNS = 1000  # it takes a while to see what is there of them


@click.command(context_settings=HELP, epilog=example("run", "run --epochs 1", "run my_study.yaml --results my_results"))
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option("--seeds", help="Number of seeds, from 42 on, or a list such as 1,2,3 (default: 42).")
@click.option("--seed", type=int, help="One seed.")
@METRIC
@MARGIN
@click.option("--jobs", type=click.IntRange(1), help="Runs in parallel (default: one per processor).")
@click.option(
    "--engine",
    type=click.Choice(files_in(engines)),
    default="local",
    show_default=True,
    help="Train on this machine, or on a Ray cluster (pip install -e '.[ray]').",
)
@click.option("--address", help="HOST:PORT of the Ray cluster (default: a cluster of this machine alone).")
@click.option("--allow-code", is_flag=True, help="Run the Python files that STUDY names as models.")
@TRAINING
def run(
    study: Path | None,
    seeds: str | None,
    seed: int | None,
    jobs: int | None,
    engine: str,
    address: str | None,
    allow_code: bool,
    **given: Any,
) -> None:
    """Train all models of STUDY and compare them.

    STUDY is a YAML or JSON file with models, seeds, epochs, dataset, lr, batch_size, optimizer. Without it, ModelFlow
    trains the card's seven models.

    Finished runs are kept. Interrupted runs resume. The results are report.html, tables and pictures.

    Only several seeds tell models apart: --seeds 5. A seed sets initial weights, order of the images and dropout. The
    held-out images stay the same.
    """
    from modelflow.networks.resolve import is_model
    from modelflow.results.settings import read_study_file
    from modelflow.studies.engine import check_device_of, engine_named

    if is_model(str(study)):
        again = shlex.join(["modelflow", "train", str(study)])
        raise UsageError(f"STUDY {study}: is a model, expected a study file. For one model: {again}")
    how = {name: given.pop(name) for name in ("results", "data_dir", "device", "restart", "as_json")}
    settings = read_study_file(study, how["data_dir"], seeds=seeds_of(seeds, seed), **given)
    check_device_of(engine, how["device"])
    chosen = engine_named(engine, jobs, address)
    _train(settings, **how, engine=chosen, jobs=jobs, whole=True, allow_code=allow_code)


@click.command(
    context_settings=HELP,
    epilog=example(
        *("train generic_2 --epochs 3", "train my_net.json --results my_results", "train 'c16 s24/2 gap fc'"),
        "train my_net.json --like my_results",
    ),
)
@click.argument("model")
@click.option("--seed", type=int, help="Sets initial weights, order of the images and dropout (default 42).")
@click.option(
    "--like",
    type=FOLDER,
    help="Results folder of a study to join: its data set, settings and seeds, unless options say otherwise.",
)
@TRAINING
def train(model: str, seed: int | None, like: Path | None, **given: Any) -> None:
    """Train one MODEL.

    MODEL is a preset's name, a JSON or YAML file, or a network in the short form. The results are its tables and
    pictures.
    """
    from modelflow.results.like import like as settings_like
    from modelflow.results.settings import read_study
    from modelflow.studies.engine import check_device_of, engine_named

    how = {name: given.pop(name) for name in ("results", "data_dir", "device", "restart", "as_json")}
    asked: dict[str, Any] = {"models": [model], "seeds": seeds_of(None, seed), **given}
    if like is None:
        settings = read_study(None, how["data_dir"], **asked)
    else:
        if _was_given("results") and how["results"] != like:
            raise UsageError("--results: --like says where the results go. Remove one of them.")
        settings, data_dir, note = settings_like(like, asked, how["data_dir"])
        how |= {"results": like, "data_dir": data_dir}
        if note:
            terminal.log(note)
    check_device_of("local", how["device"])
    _train(settings, **how, engine=engine_named("local"), jobs=None, whole=like is not None, joins=True)


def _was_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) != ParameterSource.DEFAULT


def _train(
    settings: "StudySettings",
    *,
    results: Path,
    data_dir: Path | None,
    device: str | None,
    restart: bool,
    as_json: bool,
    engine: "Engine",
    jobs: int | None,
    whole: bool,
    joins: bool = False,
    allow_code: bool = False,
) -> None:
    from modelflow.io.arguments import make_writable
    from modelflow.studies.plan import interrupted
    from modelflow.studies.resolved import resolved
    from modelflow.studies.study import complete
    from modelflow.text import counted

    if settings.runs > MANY_RUNS:
        terminal.log(f"checking which of {settings.runs:,} runs are finished …")
    study = resolved(settings, results, data_dir, device, allow_code, anew=restart)
    _look_at_data(study.due)
    if whole:
        study = study.decided(anew=restart and not joins)
        _tell_of_seeds(study)
    if restart:
        _set_aside(study.planned[0].folder if joins else results)
    if study.due:
        make_writable(results, "--results")
    trained = partial(_train_due, study=study, engine=engine, jobs=jobs)
    try:
        failures, content = complete(study, trained) if whole else (trained(study.due, lambda _outcome: ""), None)
    except KeyboardInterrupt:
        raise RunError(interrupted(study.planned, restart)) from None
    _show_results(study, content, as_json)
    if failures:
        raise RunError(f"{counted(len(failures), 'run')} of {len(study.planned)} failed. The reasons are above.")


def _look_at_data(due: "list[Plan]") -> None:
    """Refuses what cannot be trained, and says what is to be known of the data before it is."""
    from modelflow.studies.run import check_data
    from modelflow.text import counted

    if not due:
        return
    terminal.log(f"loading the data, then training {counted(len(due), 'run')} …")
    for notice in check_data(due):
        terminal.log(f"warning: {notice}")


def _tell_of_seeds(study: "ResolvedStudy") -> None:
    """Before training, that the seeds are too few for what a study is made for."""
    from modelflow.analysis.verdicts import seeds_wanted

    settings = study.settings
    if study.due and (wanted := seeds_wanted(len(settings.models), len(settings.seeds))):
        terminal.log(f"note: {wanted}")


def _train_due(
    due: "list[Plan]", written: "Written", study: "ResolvedStudy", engine: "Engine", jobs: int | None
) -> list[str]:
    from modelflow.io.process import cores
    from modelflow.studies.engine import train_due
    from modelflow.studies.progress import StudyProgress

    planned, metric = len(study.planned), study.settings.decided_by
    if len(due) < planned:
        terminal.log(f"{planned - len(due)} of {planned} runs are already finished and are kept")
    if not due:
        terminal.log("writing the tables and the report …")
        return []
    with terminal.runs_progress(StudyProgress(due, jobs or cores(), metric), study.settings.epochs) as log:
        return train_due(due, engine, log, written)


def _set_aside(folder: Path) -> None:
    """Makes way for what is trained anew, once it is known that all that is asked for can be."""
    from modelflow.io.locks import set_aside

    if Path.cwd().is_relative_to(folder.resolve()):
        raise UsageError(f"--restart: {folder} contains your current folder. Leave it, or give another --results.")
    aside = set_aside(folder)
    terminal.log(f"{folder} is kept as {aside}" if aside else f"{folder}: nothing to keep")


def _show_results(study: "ResolvedStudy", content: "Content | None", as_json: bool) -> None:
    """The runs' table; of a study (`content`) the report's answer and address too."""
    from modelflow.studies.pages import finished_rows

    rows = finished_rows(study.planned, study.settings.decided_by)
    if as_json:
        from modelflow.analysis.leaderboard import as_data

        terminal.say_json([as_data(row) for row in rows])
    elif rows:
        terminal.leaderboard_table(rows)
        if content is None:
            terminal.say(f"Results: {study.planned[0].folder.resolve()}")
        else:
            terminal.answer(content)
            if len(content.runs) > sum(row.seeds for row in rows):
                terminal.say(
                    f"The report covers all {len(content.runs)} runs in that folder. The table above covers this study."
                )
