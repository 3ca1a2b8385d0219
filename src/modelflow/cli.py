"""The command line: parse, call, print.

Exit codes: 0, 1 (it failed) or 2 (what was given is wrong: with what, where, expected, and the mend).
"""

import io
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from modelflow import terminal
from modelflow.errors import ModelFlowError, RunError, UsageError
from modelflow.interrupts import hear_interruptions

F = TypeVar("F", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)
HELP = {"help_option_names": ["-h", "--help"]}  # for each command: click remembers those of its first context


def main() -> None:
    """The entry point of `modelflow`: errors become messages and exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    hear_interruptions()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of `modelflow ARGUMENTS…`."""
    try:
        cli.main(arguments, prog_name="modelflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ModelFlowError as error:
        terminal.fail(str(error))
        return 1 if isinstance(error, RunError) else 2
    except OSError as error:
        terminal.fail(f"{error.filename or 'the system'}: {error.strerror or error}")
        return 1
    except (KeyboardInterrupt, click.Abort):
        terminal.fail("interrupted")
        return 1
    return 0


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  modelflow {line}" for line in lines)


def options(*chosen: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order given."""

    def decorate(command: F) -> F:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


RESULTS = click.option(
    "--results", type=FOLDER, default=Path("results"), show_default=True, help="Where the results go."
)
DATA_DIR = click.option("--data-dir", type=FOLDER, help="Where the data set's files are (or MODELFLOW_DATA_DIR).")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
DATASET = click.option("--dataset", help="fashion-mnist (default), digits, or idx:FOLDER.")
RESTART = click.option("--restart", is_flag=True, help="Start anew; what is there is kept aside as FOLDER.old-1.")
MAX_PARAMETERS = click.option(
    "--max-parameters", type=click.IntRange(1), help="Refuse larger networks (default 200 million)."
)
RECIPE_HELP = (
    "What the other options are where they are left out. card (default): 10 epochs, batch 16, lr 0.0003, constant; "
    "best: 60 epochs, batch 64, one cycle to lr 0.002."
)
PROTOCOL_HELP = (
    "held-out (default): validate on training images held out, read the test images once; card: train on all, and "
    "validate on the test images."
)
TRAINING = options(
    click.option("--recipe", type=click.Choice(["card", "best"]), help=RECIPE_HELP),
    click.option("--protocol", type=click.Choice(["held-out", "card"]), help=PROTOCOL_HELP),
    click.option("--validation-images", type=int, help="How many training images are held out (default 5000)."),
    click.option("--epochs", type=int, help="Times through the training images."),
    click.option("--lr", type=float, help="Learning rate; of a schedule, its top."),
    click.option("--batch-size", type=int, help="Images an update."),
    click.option("--optimizer", type=click.Choice(["adam", "adamw", "sgd", "rmsprop"]), help="Default adam."),
    click.option("--find-best-lr", is_flag=True, default=None, help="Search the learning rate of each run first."),
    DATASET,
    DATA_DIR,
    MAX_PARAMETERS,
    RESULTS,
    RESTART,
    JSON,
)


@click.group(context_settings=HELP, epilog=example("run", "trace generic_2"))
@click.version_option(package_name="modelflow")
def cli() -> None:
    """Which of these small CNNs is really better, and why? Describe, train, look inside, compare."""


@cli.command(context_settings=HELP, epilog=example("run", "run --epochs 1", "run my_study.yaml --results my_results"))
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option("--seeds", help="How many seeds, from 42 on, or a list such as 1,2,3 (default: 42).")
@click.option("--seed", type=int, help="One seed.")
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side (default: one a processor).")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Train on this machine, or on a Ray cluster (pip install 'modelflow[ray]').",
)
@click.option("--address", help="The Ray cluster's HOST:PORT (default: one of this machine alone).")
@TRAINING
def run(
    study: Path | None,
    seeds: str | None,
    seed: int | None,
    jobs: int | None,
    engine: str,
    address: str | None,
    **given: Any,
) -> None:
    """Train all models of STUDY and compare them.

    STUDY is a YAML or JSON file with models, seeds, epochs, dataset, lr, batch_size, optimizer; without one, the card's
    seven models are trained. Every picture and table and report.html are written; what is finished already is not
    trained again, and what was broken off goes on.

    Several seeds (initial weights, order of the images, dropout; the images held out stay the same) are what tells
    models apart: --seeds 5.
    """
    from modelflow.presets import CARD
    from modelflow.settings import read_study
    from modelflow.study import engine_named

    if str(study) in CARD:
        raise UsageError(f"STUDY {study}: is a model, expected a study file; for one model: modelflow train {study}")
    how = {name: given.pop(name) for name in ("results", "data_dir", "restart", "as_json")}
    settings = read_study(study, seeds=_seeds(seeds, seed), **given)
    _train(settings, **how, engine=engine_named(engine, jobs, address), jobs=jobs, whole=True)


def _seeds(seeds: str | None, seed: int | None) -> list[int] | None:
    from modelflow.spec import short

    if seeds is not None and seed is not None:
        raise UsageError("--seed and --seeds: give one of the two")
    if seeds is None:
        return None if seed is None else [seed]
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {short(seeds)}: expected a number of seeds, or a list such as 1,2,3") from None
    if "," in seeds:
        return numbers
    if not 1 <= numbers[0] <= 10_000:
        raise UsageError(f"--seeds {short(seeds)}: expected 1 to 10000 seeds; for one seed of this value use --seed")
    return list(range(42, 42 + numbers[0]))


@cli.command(
    context_settings=HELP, epilog=example("train generic_2 --epochs 3", "train my_net.json --results my_results")
)
@click.argument("model")
@click.option("--seed", type=int, help="Covers initial weights, order and dropout (default 42).")
@TRAINING
def train(model: str, seed: int | None, **given: Any) -> None:
    """Train one MODEL.

    MODEL is a preset's name, or a JSON or YAML file. Every picture and table of it is written.
    """
    from modelflow.settings import read_study
    from modelflow.study import engine_named

    how = {name: given.pop(name) for name in ("results", "data_dir", "restart", "as_json")}
    settings = read_study(None, models=[model], seeds=_seeds(None, seed), **given)
    _train(settings, **how, engine=engine_named("local"), jobs=1, whole=False)


def _train(
    settings: Any,
    *,
    results: Path,
    data_dir: Path | None,
    restart: bool,
    as_json: bool,
    engine: Any,
    jobs: int | None,
    whole: bool,
) -> None:
    from modelflow import plans
    from modelflow.report.words import counted
    from modelflow.runs import check_data
    from modelflow.study import complete

    planned = plans.plans(settings, results, data_dir)
    if restart:
        check_data(planned)
        for folder in [results] if whole else [plan.folder for plan in planned]:
            _set_aside(folder)
    if due := plans.unfinished(planned):
        terminal.tell(f"getting the data, then training {counted(len(due), 'run')} …")
        check_data(due)
        _make_folder(results)
    train = partial(_train_due, planned=len(planned), engine=engine, jobs=jobs, epochs=settings.epochs)
    try:
        if whole:
            failures, content = complete(settings, planned, results, data_dir, train)
        else:
            failures, content = train(plans.unfinished(planned)), None
    except KeyboardInterrupt:
        raise RunError(plans.interrupted(planned, restart)) from None
    _show_results(planned, content, as_json)
    if failures:
        raise RunError("; ".join(failures))


def _train_due(due: list[Any], planned: int, engine: Any, jobs: int | None, epochs: int) -> list[str]:
    from modelflow.engines.local import cores
    from modelflow.shapes import trace
    from modelflow.study import train_due

    if len(due) < planned:
        terminal.tell(f"{planned - len(due)} of {planned} runs are finished already and are kept")
    if not due:
        return []
    work = {plan.title: float(trace(plan.spec).macs) for plan in due}
    with terminal.runs_progress(work, min(jobs or cores(), len(due)), epochs) as progress:
        return train_due(
            due, engine, progress.show, lambda plan, outcome: progress.ended(plan.title, _ending(plan, outcome))
        )


def _set_aside(folder: Path) -> None:
    from modelflow.plans import set_aside

    if Path.cwd().is_relative_to(folder.resolve()):
        raise UsageError(f"--restart: {folder} holds the folder you are in; go elsewhere, or give another --results")
    aside = set_aside(folder)
    terminal.tell(f"{folder} is kept as {aside}" if aside else f"{folder}: nothing to keep aside")


def _make_folder(results: Path) -> None:
    """Raises `UsageError` where no results can be written, before hours of training."""
    from modelflow.files import make_folder

    try:
        make_folder(results)
    except OSError as error:
        raise UsageError(f"--results {results}: cannot be made: {error.strerror}; give another folder") from None
    if not os.access(results, os.W_OK):
        raise UsageError(f"--results {results}: cannot be written to; give another folder, or change its permissions")


def _ending(plan: Any, outcome: Any) -> str:
    if isinstance(outcome, ModelFlowError):
        return f"{plan.title}: FAILED"
    seconds, engine = outcome.seconds["training"], outcome.engine
    by = f" by {engine}" if engine.startswith("autograd") else ""
    accuracy = f"accuracy {outcome.metrics.accuracy:.2%} (protocol {plan.settings.protocol})"
    line = f"{plan.title}: {accuracy} after {seconds:.0f} s of training{by}"
    return "\n".join([line, *(f"warning: {plan.title}: {warning}" for warning in outcome.warnings)])


def _show_results(planned: list[Any], content: Any, as_json: bool) -> None:
    """The runs' table; of a study (`content`) the report's answer and address too."""
    from modelflow.study import finished_rows

    rows = finished_rows(planned)
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=2))
    elif rows:
        terminal.leaderboard_table(rows)
        if content is None:
            terminal.say(f"Results: {planned[0].folder.resolve()}")
        else:
            _show_report(content)
            if len(content.runs) > sum(row.seeds for row in rows):
                terminal.say(
                    f"It is of all {len(content.runs)} runs in that folder; the table above of those asked for."
                )


def _show_report(content: Any) -> None:
    from modelflow.report.answer import headline
    from modelflow.results import REPORT

    for group in content.groups:
        where = f"{group.data.name}, " if len(content.groups) > 1 else ""
        terminal.say(f"{where}protocol {group.protocol or 'not known'}: {headline(group)}")
    if content.missing:
        terminal.say(content.missing)
    terminal.say(f"Report: {(content.folder / REPORT).resolve()}")


@cli.command(context_settings=HELP, epilog=example("trace generic_2", "trace my_net.json --json"))
@click.argument("model")
@MAX_PARAMETERS
@click.option("--svg", "svg_path", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this file too.")
@JSON
def trace(model: str, max_parameters: int | None, svg_path: Path | None, as_json: bool) -> None:
    """Show the layers of MODEL and their costs.

    Output shape, parameters, multiply-accumulates (MACs) and bytes of activations of each, without building anything.
    MODEL is a preset's name, or a JSON or YAML file.
    """
    from modelflow import shapes
    from modelflow.presets import resolve

    name, spec = resolve(model)
    limit = shapes.MAX_PARAMETERS if max_parameters is None else max_parameters
    traced = shapes.trace(spec, limit)
    if svg_path:
        from modelflow.diagram import svg
        from modelflow.files import write_whole

        write_whole(svg_path, svg(traced, name))
    if as_json:
        click.echo(json.dumps({"model": name, **shapes.as_data(traced)}, indent=2))
        return
    from modelflow.diagram import text

    terminal.draw(f"{name}\n{text(traced)}")
    terminal.trace_table(traced)


@cli.command(context_settings=HELP, epilog=example("models", "models --json"))
@JSON
def models(as_json: bool) -> None:
    """List the presets: blocks, parameters, MACs."""
    from modelflow import presets, shapes

    rows: list[dict[str, Any]] = []
    for name, card in presets.CARD.items():
        spec = presets.preset(name)
        traced = shapes.trace(spec)
        blocks = zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True)
        rows.append(
            {
                "model": name,
                "group": card.group,
                "blocks": [{"kernel_size": k, "channels": c, "pool_size": p} for k, c, p in blocks],
                "hidden_sizes": list(spec.fc_sizes),
                "parameters": traced.parameters,
                "macs": traced.macs,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    terminal.table(
        ("model", "group", "blocks", "hidden sizes", "parameters", "MACs"),
        [
            (
                row["model"],
                row["group"],
                " ".join(f"{b['kernel_size']}-{b['channels']}-{b['pool_size']}" for b in row["blocks"]),
                " ".join(map(str, row["hidden_sizes"])),
                f"{row['parameters']:,}",
                f"{row['macs']:,}",
            )
            for row in rows
        ],
        left=4,
    )
    terminal.say("blocks: kernel size-channels-pool size; see also `modelflow trace MODEL`")


@cli.group(context_settings=HELP, epilog=example("data fetch", "data verify fashion-mnist", "data show digits"))
def data() -> None:
    """Get, check and show data sets.

    DATASET is fashion-mnist (the default), digits, or idx:FOLDER for a folder in the MNIST format.
    """


@data.command(context_settings=HELP, epilog=example("data fetch", "data fetch fashion-mnist --data-dir my_data"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@JSON
def fetch(dataset: str, data_dir: Path | None, as_json: bool) -> None:
    """Get what is missing of DATASET and check it."""
    terminal.tell(f"looking for {dataset} and checking its files …")
    from modelflow.data.sources import fetch_dataset

    _show_files(fetch_dataset(dataset, data_dir), as_json)


@data.command(context_settings=HELP, epilog=example("data verify", "data verify idx:my_folder"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@JSON
def verify(dataset: str, data_dir: Path | None, as_json: bool) -> None:
    """Check each file of DATASET: header, length, labels, SHA-256."""
    terminal.tell(f"checking the files of {dataset} …")
    from modelflow.data.sources import verify as verify_dataset

    _show_files(verify_dataset(dataset, data_dir), as_json)


def _show_files(rows: list[Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        terminal.say(f"{row.sha256}  {Path(row.place) / row.file}")
    terminal.say("all files are as they should be (SHA-256 of the uncompressed files)")


@data.command(context_settings=HELP, epilog=example("data show", "data show digits --output digits.png"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Default: DATASET_classes.png.")
@JSON
def show(dataset: str, data_dir: Path | None, output: Path | None, as_json: bool) -> None:
    """Say what DATASET holds, and draw examples of each class."""
    terminal.tell(f"reading {dataset} …")
    from modelflow.data.datasets import load_dataset
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png
    from modelflow.files import write_whole

    loaded = load_dataset(dataset, data_dir)
    output = output or Path(f"{Path(dataset.removeprefix('idx:')).resolve().name.replace('-', '_')}_classes.png")
    write_whole(output, png(plot_samples(*loaded.samples(), loaded.class_names, f"{loaded.name}: training images")))
    facts = loaded.facts()
    if as_json:
        click.echo(json.dumps(facts | {"picture": str(output)}, indent=2))
        return
    terminal.table(
        ("property", "value"), [(name.replace("_", " "), _fact(value)) for name, value in facts.items()], left=2
    )
    terminal.say(f"Picture: {output.resolve()}")


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {entry}" for name, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@cli.command("lr-find", context_settings=HELP, epilog=example("lr-find generic_2", "lr-find my_net.json --end-lr 0.5"))
@click.argument("model")
@click.option("--start-lr", type=float, help="Where the search begins (default 0.0003).")
@click.option("--end-lr", type=float, default=1.0, show_default=True, help="Where it ends.")
@click.option("--num-iter", type=int, default=100, show_default=True, help="Steps.")
@click.option("--batch-size", type=int, help="Images an update (default 16).")
@click.option("--optimizer", type=click.Choice(["adam", "adamw", "sgd", "rmsprop"]), help="Default adam.")
@click.option("--seed", type=int, help="Default 42.")
@options(DATASET, DATA_DIR, JSON)
@click.option("--results", type=FOLDER, default=Path("lr_find"), show_default=True, help="Where the picture goes.")
def lr_find(model: str, start_lr: float | None, end_lr: float, num_iter: int, as_json: bool, **given: Any) -> None:
    """Search a learning rate for MODEL.

    A range test from a small learning rate to a large one; its curve is drawn into RESULTS/MODEL/lr_finder.png.
    """
    from modelflow.plans import plans
    from modelflow.runs import make_flow
    from modelflow.settings import read_study

    results, data_dir, seed = given.pop("results"), given.pop("data_dir"), given.pop("seed")
    from modelflow.training.lr_finder import METHOD

    settings = read_study(None, models=[model], seeds=_seeds(None, seed), lr=start_lr, **given)
    flow = make_flow(plans(settings, results, data_dir)[0])
    flow.arch.say = terminal.tell
    made = not results.exists()
    _make_folder(results)
    try:
        flow.find_best_lr(end_lr, num_iter, set_lr=False)
    except UsageError:
        if made:
            results.rmdir()
        raise
    search = flow.arch.lr_search
    found = {"suggestion": search.suggestion, "steepest": search.steepest, "note": search.note}
    if as_json:
        click.echo(json.dumps(found | {"folder": str(flow.results_dir)}))
        return
    terminal.say(f"suggestion {search.suggestion:.2e} ({METHOD}), steepest point {search.steepest:.2e}")
    if search.note:
        terminal.say(search.note)
    terminal.say(f"Picture: {(flow.results_dir / 'lr_finder.png').resolve()}")


RUN_FOLDER = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))


@cli.command(context_settings=HELP, epilog=example("evaluate results/generic_2", "evaluate results/generic_2 --json"))
@RUN_FOLDER
@options(DATA_DIR, JSON)
def evaluate(run_folder: Path, data_dir: Path | None, as_json: bool) -> None:
    """Evaluate the stored model of RUN again.

    RUN is the folder of a finished run; its tables, pictures and MODEL_CARD.md are written anew, and run.json counts
    that the test images were read once more.
    """
    from modelflow.locks import alone_in
    from modelflow.results import read_run
    from modelflow.runs import open_run, write_card

    read_run(run_folder)  # before anything is made there
    with alone_in(run_folder):
        metrics = open_run(run_folder, data_dir).evaluate()
        run = write_card(run_folder)
    for warning in run.warnings:
        terminal.tell(f"warning: {warning}")
    if as_json:
        click.echo(metrics.model_dump_json(indent=2))
        return
    terminal.say(
        f"accuracy {metrics.accuracy:.2%} (protocol {run.protocol}), macro F1 {metrics.macro_f1:.4f}, "
        f"cross-entropy {metrics.loss:.4f} nats on {metrics.images:,} images"
    )
    terminal.say(f"Results: {run_folder.resolve()}")


@cli.command(
    context_settings=HELP, epilog=example("inspect results/generic_2", "inspect results/generic_2 --layer fc_layers.0")
)
@RUN_FOLDER
@click.option("--layer", "layers", multiple=True, help="Show this layer's outputs; may be repeated.")
@DATA_DIR
def inspect(run_folder: Path, layers: tuple[str, ...], data_dir: Path | None) -> None:
    """Draw the filters and layer outputs of RUN.

    RUN is the folder of a finished run. Its filters_LAYER.png and intermediate_outputs.png are drawn anew.
    """
    from modelflow.inspection.filters import conv_layers
    from modelflow.runs import open_run

    flow = open_run(run_folder, data_dir)
    convs = conv_layers(flow.model)
    flow.show_insides([], list(layers) or convs)
    flow.show_insides(convs, [])
    for name in convs:
        terminal.say(str(run_folder / f"filters_{name}.png"))
    terminal.say(str(run_folder / "intermediate_outputs.png"))


@cli.command(
    context_settings=HELP,
    epilog=example("leaderboard results", "leaderboard results --sort parameters --where 'accuracy > 0.85' --csv"),
)
@click.argument("results", type=FOLDER)
@click.option("--sort", default="accuracy", show_default=True, help="Best first by any column of leaderboard.csv.")
@click.option("--only", default="*", help="Models whose name fits the pattern, such as 'cnn2_*'.")
@click.option(
    "--where", multiple=True, help="Models for which it holds, such as 'parameters < 10000'; may be repeated."
)
@click.option("--csv", "as_text", is_flag=True, help="Print CSV with every column instead of a table.")
@JSON
def leaderboard(results: Path, sort: str, only: str, where: tuple[str, ...], as_text: bool, as_json: bool) -> None:
    """List the models of RESULTS, best first.

    RESULTS is a folder that `modelflow run` or `modelflow train` wrote; several seeds of a model are averaged.
    """
    from modelflow.leaderboard import arranged, as_csv
    from modelflow.leaderboard import leaderboard as rows_in
    from modelflow.plans import missing

    rows = arranged(rows_in(results), sort, only, where)
    if note := missing(results):
        terminal.tell(note)
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=2))
    elif as_text:
        click.echo(as_csv(rows), nl=False)
    elif rows:
        terminal.leaderboard_table(rows, sort)
    else:
        terminal.say(f"{results}: no model fits --only and --where (accuracies are shares of 1, as in --csv)")


@cli.command(context_settings=HELP, epilog=example("report results"))
@click.argument("results", type=FOLDER)
@DATA_DIR
def report(results: Path, data_dir: Path | None) -> None:
    """Write the report of RESULTS anew.

    report.html, one file that opens from disk without a network: which model is best and how sure that is, costs,
    learning curves, each model, its mistakes, how it was made. MODEL_CARD.md of the study and of its runs too.
    """
    from modelflow.study import write_pages

    terminal.tell("writing the report …")
    _show_report(write_pages(results, data_dir))


@cli.command(context_settings=HELP, epilog=example("compare results/generic_1 results/generic_2", "compare results"))
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@JSON
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Say which of RUNS are really better, and by how much.

    RUNS are folders of models, each with all its seeds; single runs, such as results/generic_2/seeds/43; or one folder
    of a study. The method: docs/statistics.md.
    """
    from modelflow.comparison import as_data, beside, compare_folders
    from modelflow.report.words import counted

    comparison = compare_folders(runs)
    study, more = beside(runs)
    if more > 0:
        terminal.tell(
            f"{counted(more, 'more model')} in {study}: of a pair chosen after a look “better” is said too easily; "
            f"modelflow compare {study} counts every pair"
        )
    if as_json:
        click.echo(json.dumps(as_data(comparison), indent=2))
    else:
        terminal.comparison_tables(comparison)
