"""Options that several commands share, and the form of their help."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelflow.errors import UsageError
from modelflow.text import short
from modelflow.training.choices import OPTIMIZERS, SCHEDULES

if TYPE_CHECKING:
    from modelflow.data.source import Form

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
    "--results", type=FOLDER, default=Path("results"), show_default=True, help="Folder for the results."
)
DATA_DIR = click.option("--data-dir", type=FOLDER, help="Folder of the data set's files (or MODELFLOW_DATA_DIR).")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
TEXT = options(  # of a table, in place of the terminal's
    click.option("--markdown", "form", flag_value="markdown", help="Print Markdown instead of a table."),
    click.option("--latex", "form", flag_value="latex", help="Print LaTeX for a paper. It needs the package booktabs."),
)
FORM = options(  # of the images as they are read
    click.option("--image-size", help="Size of the images: a side such as 32, or HEIGHTxWIDTH such as 32x48."),
    click.option("--channels", type=int, help="1 (grey) or 3 (RGB)."),
    click.option("--transpose", is_flag=True, default=None, help="Exchange rows and columns, as EMNIST needs it."),
    click.option(
        "--skip-bad",
        is_flag=True,
        default=None,
        help="Leave out unreadable files and copies.",
    ),
)
DATASET = options(
    click.option("--dataset", help="Name as in `modelflow data list`, or a path (default: fashion-mnist)."), FORM
)
RESTART = click.option("--restart", is_flag=True, help="Start again. Earlier results are kept as FOLDER.old-1.")
DEVICE = click.option(
    "--device",
    help="cpu, cuda, cuda:N, mps or xpu (default: cpu where the compiled step covers the run, else cuda).",
)
MAX_PARAMETERS = click.option(
    "--max-parameters", type=click.IntRange(1), help="Refuse larger networks (default 200 million)."
)
MARGIN = click.option(
    "--margin",
    type=float,
    help="Smallest difference that matters, in points of the metric (default 0.5, or 4 test images if more). "
    "By nll in nats (default 0.01).",
)


class _MetricType(click.ParamType):  # type: ignore[type-arg]  # which older versions of click do not take
    """A metric by its word. The metrics are looked up, and numpy with them, when a word or the help is asked for."""

    name = "metric"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        from modelflow.evaluation.measure import metrics

        return f"[{'|'.join(metrics())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from modelflow.evaluation.measure import metrics

        return click.Choice(list(metrics())).convert(value, param, ctx)


METRIC = click.option(
    "--metric", type=_MetricType(), help="What decides (default: the metric the study keeps, else accuracy)."
)
RECIPE_HELP = (
    "Defaults of the other options. card (default): 10 epochs, batch size 16, constant lr 0.0003. "
    "best: 60 epochs, batch size 64, one cycle to lr 0.002. "
    "modern, for networks with batch norm: 15 epochs, batch size 128, one cycle to lr 0.01, adamw, weight decay 0.05."
)
PROTOCOL_HELP = (
    "held-out (default): validate on held-out training images, read the test images once. "
    "card: train on all training images, validate on the test images."
)
SCHEDULE_HELP = (
    "Learning rate schedule (default constant). one-cycle: up over 30 % of the steps, then down. cosine: up over 5 %, "
    "then down."
)
EMA_HELP = (
    "Exponential moving average of the weights: its decay, such as 0.999 (default: none). "
    "The averaged model is evaluated and stored."
)
FLIP_HELP = "Mirror half of the training images left to right. Not for digits or letters: a mirrored 2 is no 2."
AUGMENTATION = options(  # of training images
    click.option("--shift", type=int, help="Shift training images by up to so many pixels. Edges are repeated."),
    click.option("--flip", is_flag=True, default=None, help=FLIP_HELP),
    click.option("--cutout", type=int, help="Blank a square of this side, in pixels, in each training image."),
)
UPDATE = options(  # of one step
    click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="Optimizer (default adam)."),
    click.option("--momentum", type=float, help="Momentum of sgd or rmsprop (default 0)."),
    click.option("--nesterov", is_flag=True, default=None, help="Nesterov momentum, for sgd."),
    click.option("--weight-decay", type=float, help="Weight decay (default: torch's, 0.01 for adamw, else 0)."),
    click.option("--label-smoothing", type=float, help="Share of each label spread over all classes (default 0)."),
    click.option("--class-weights", type=click.Choice(["balanced"]), help="Weight classes by their inverse frequency."),
)
TRAINING = options(
    click.option("--recipe", type=click.Choice(["card", "best", "modern"]), help=RECIPE_HELP),
    click.option("--protocol", type=click.Choice(["held-out", "card"]), help=PROTOCOL_HELP),
    click.option("--validation-images", type=int, help="Training images held out (default: a twelfth, at most 5000)."),
    click.option("--epochs", type=int, help="Passes over the training images."),
    click.option("--lr", type=float, help="Learning rate. With a schedule, its peak."),
    click.option("--batch-size", type=int, help="Batch size."),
    UPDATE,
    click.option("--schedule", type=click.Choice(SCHEDULES), help=SCHEDULE_HELP),
    click.option("--ema", type=float, help=EMA_HELP),
    AUGMENTATION,
    click.option(
        "--find-best-lr", is_flag=True, default=None, help="Search a learning rate before each run and use it."
    ),
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
        raise UsageError("--seed and --seeds: give only one of them")
    if seeds is None:
        return None if seed is None else [seed]
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {short(seeds)}: expected a number of seeds, or a list such as 1,2,3") from None
    if "," in seeds:
        return numbers
    if not 1 <= numbers[0] <= 10_000:
        raise UsageError(f"--seeds {short(seeds)}: expected 1 to 10000 seeds. For one seed of this value, use --seed.")
    return list(range(42, 42 + numbers[0]))


def form_of(given: dict[str, object]) -> "Form":
    """The values of `FORM` as how files are read. Raises `UsageError` for others than it takes."""
    from modelflow.data.source import Form

    return Form.of(**{name: value for name, value in given.items() if value is not None})
