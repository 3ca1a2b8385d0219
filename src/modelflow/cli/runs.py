"""Commands of one run: `lr-find` before it, `evaluate` and `inspect` after it."""

from pathlib import Path
from typing import Any

import click

from modelflow.cli import terminal
from modelflow.cli.options import (
    DATA_DIR,
    DATASET,
    DEVICE,
    FOLDER,
    HELP,
    JSON,
    RUN_FOLDER,
    UPDATE,
    example,
    options,
    seeds_of,
)
from modelflow.errors import ModelFlowError
from modelflow.text import shown

MAX_LISTED = 5  # pictures of filters


@click.command(
    "lr-find", context_settings=HELP, epilog=example("lr-find generic_2", "lr-find my_net.json --end-lr 0.5")
)
@click.argument("model")
@click.option("--start-lr", type=float, help="Lowest learning rate (default 0.0003).")
@click.option("--end-lr", type=float, default=1.0, show_default=True, help="Highest learning rate.")
@click.option("--num-iter", type=int, default=100, show_default=True, help="Number of steps.")
@click.option("--batch-size", type=int, help="Batch size (default 16).")
@UPDATE
@click.option("--seed", type=int, help="Seed (default 42).")
@options(DATASET, DATA_DIR, DEVICE, JSON)
@click.option("--results", type=FOLDER, default=Path("lr_find"), show_default=True, help="Folder for the picture.")
def lr_find(
    model: str,
    start_lr: float | None,
    end_lr: float,
    num_iter: int,
    device: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Search a learning rate for MODEL.

    A range test trains a copy from a low to a high learning rate. Its curve is RESULTS/MODEL/lr_finder.png.
    """
    from modelflow.io.arguments import make_writable
    from modelflow.results.settings import read_study
    from modelflow.studies.plan import plans
    from modelflow.studies.run import make_flow

    results, data_dir, seed = given.pop("results"), given.pop("data_dir"), given.pop("seed")
    from modelflow.training.lr_finder import METHOD
    from modelflow.training.modes import one_thread

    settings = read_study(None, data_dir, models=[model], seeds=seeds_of(None, seed), lr=start_lr, **given)
    made = not results.exists()
    make_writable(results, "--results")
    try:
        flow = make_flow(plans(settings, results, data_dir, device=device)[0])
        flow.arch.say = terminal.log
        with one_thread():  # as a run's, to the same bytes
            flow.find_best_lr(end_lr, num_iter, set_lr=False)
    except ModelFlowError:
        if made:
            results.rmdir()
        raise
    search = flow.arch.lr_search
    assert search is not None
    found = {"suggestion": search.suggestion, "steepest": search.steepest, "note": search.note}
    if as_json:
        terminal.say_json(found | {"folder": str(flow.results_dir)})
        return
    terminal.say(f"suggestion {search.suggestion:.2e} ({METHOD}), steepest point {search.steepest:.2e}")
    if search.note:
        terminal.say(search.note)
    terminal.say(f"Picture: {(flow.results_dir / 'lr_finder.png').resolve()}")


@click.command(context_settings=HELP, epilog=example("evaluate results/generic_2", "evaluate results/generic_2 --json"))
@RUN_FOLDER
@options(DATA_DIR, JSON)
def evaluate(run_folder: Path, data_dir: Path | None, as_json: bool) -> None:
    """Evaluate the stored model of RUN again.

    RUN is the folder of a finished run. Its tables, pictures and MODEL_CARD.md are written again. run.json counts one
    more reading of the test images.
    """
    from modelflow.io.locks import folder_lock
    from modelflow.results.layout import read_run
    from modelflow.results.protocol import protocol_name
    from modelflow.studies.run import open_run, write_card

    read_run(run_folder)  # before anything is made there
    from modelflow.training.modes import one_thread

    with folder_lock(run_folder), one_thread():  # as the run was trained, to the same bytes
        metrics = open_run(run_folder, data_dir).evaluate()
        run = write_card(run_folder)
    for warning in run.warnings:
        terminal.log(f"warning: {shown(warning)}")
    if as_json:
        click.echo(metrics.model_dump_json(indent=2))
        return
    terminal.say(
        f"accuracy {metrics.accuracy:.2%} (protocol {shown(protocol_name(run))}), macro F1 {metrics.macro_f1:.4f}, "
        f"cross-entropy {metrics.loss:.4f} nats on {metrics.images:,} images"
    )
    terminal.say(f"Results: {run_folder.resolve()}")


@click.command(
    context_settings=HELP, epilog=example("inspect results/generic_2", "inspect results/generic_2 --layer fc_layers.0")
)
@RUN_FOLDER
@click.option("--layer", "layers", multiple=True, help="Layer whose outputs to show. May be repeated.")
@DATA_DIR
def inspect(run_folder: Path, layers: tuple[str, ...], data_dir: Path | None) -> None:
    """Draw the filters and layer outputs of RUN.

    RUN is the folder of a finished run. Its filters_LAYER.png and intermediate_outputs.png are drawn again.
    """
    from modelflow.evaluation.inspection.filters import conv_layers
    from modelflow.results.layout import OUTPUTS, filters_png
    from modelflow.studies.run import open_run
    from modelflow.training.modes import one_thread

    flow = open_run(run_folder, data_dir)
    convs = conv_layers(flow.model)
    with one_thread():
        flow.show_insides([], list(layers) or convs)
        flow.show_insides(convs, [])
    for name in convs[:MAX_LISTED]:
        terminal.say(str(run_folder / filters_png(name)))
    if len(convs) > MAX_LISTED:
        terminal.say(f"… and {len(convs) - MAX_LISTED} more: {run_folder / filters_png('*')}")
    terminal.say(str(run_folder / OUTPUTS))
