"""Options that several commands share, and the form of their help."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from modelflow.errors import UsageError
from modelflow.text import short

F = TypeVar("F", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)
HELP = {"help_option_names": ["-h", "--help"]}  # for each command: click remembers those of its first context


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
DATASET = click.option("--dataset", help="By name, as `modelflow data list` has it (default: fashion-mnist).")
RESTART = click.option("--restart", is_flag=True, help="Start anew; what is there is kept aside as FOLDER.old-1.")
DEVICE = click.option(
    "--device",
    help="cpu, cuda, cuda:N, mps or xpu (default: the CPU where the compiled step covers the run, else CUDA).",
)
MAX_PARAMETERS = click.option(
    "--max-parameters", type=click.IntRange(1), help="Refuse larger networks (default 200 million)."
)
MARGIN = click.option(
    "--margin", type=float, help="Points of accuracy that would matter (default 0.5, or 4 test images if more)."
)
RECIPE_HELP = (
    "What the other options are where they are left out. card (default): 10 epochs, batch 16, lr 0.0003, constant; "
    "best: 60 epochs, batch 64, one cycle to lr 0.002; modern, for networks with batch norm: 15 epochs, batch 128, "
    "adamw with weight decay 0.05, one cycle to lr 0.01."
)
PROTOCOL_HELP = (
    "held-out (default): validate on training images held out, read the test images once; card: train on all, and "
    "validate on the test images."
)
SCHEDULE_HELP = (
    "How the learning rate changes: constant (default); one-cycle, up over 30 % of the steps, then down; cosine, up "
    "over 5 %, then down."
)
TRAINING = options(
    click.option("--recipe", type=click.Choice(["card", "best", "modern"]), help=RECIPE_HELP),
    click.option("--protocol", type=click.Choice(["held-out", "card"]), help=PROTOCOL_HELP),
    click.option("--validation-images", type=int, help="How many training images are held out (default 5000)."),
    click.option("--epochs", type=int, help="Times through the training images."),
    click.option("--lr", type=float, help="Learning rate; of a schedule, its top."),
    click.option("--batch-size", type=int, help="Images an update."),
    click.option("--optimizer", type=click.Choice(["adam", "adamw", "sgd", "rmsprop"]), help="Default adam."),
    click.option("--momentum", type=float, help="Of sgd or rmsprop (default 0)."),
    click.option("--nesterov", is_flag=True, default=None, help="Nesterov's momentum, of sgd."),
    click.option("--weight-decay", type=float, help="Of the optimizer (default: torch's, 0.01 for adamw, else 0)."),
    click.option("--schedule", type=click.Choice(["constant", "one-cycle", "cosine"]), help=SCHEDULE_HELP),
    click.option("--label-smoothing", type=float, help="Share of each label spread over all classes (default 0)."),
    click.option("--class-weights", type=click.Choice(["balanced"]), help="Count rare classes' images for more."),
    click.option("--find-best-lr", is_flag=True, default=None, help="Search the learning rate of each run first."),
    DATASET,
    DATA_DIR,
    DEVICE,
    MAX_PARAMETERS,
    RESULTS,
    RESTART,
    JSON,
)
RUN_FOLDER = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))


def seeds_of(seeds: str | None, seed: int | None) -> list[int] | None:
    """The seeds that --seeds and --seed ask for; None without both. Raises `UsageError` for both, or no such list."""
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
