"""Pages of docs/reference/, written from the code: python docs/generate.py

commands.md     from the command line's own help
fields.md       from the records: a column or a field without a meaning here ends in a KeyError
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click

from modelflow.analysis.leaderboard import COLUMNS
from modelflow.cli import cli
from modelflow.evaluation.record import Metrics
from modelflow.results.records import DataRecord, Run

REFERENCE = Path(__file__).parent / "reference"
COMMANDS = """# Commands

Written by `docs/generate.py` from `modelflow COMMAND --help`. Exit codes: 0 success, 1 failure, 2 invalid input.
"""
FIELDS = """# Columns and fields

Written by `docs/generate.py` from the code.
Shares go from 0 to 1. An unknown figure is empty in a table, null in `run.json`.
The other files: [results folder](results-folder.md).
"""
OF_LEADERBOARD = {
    "model": "the model, with its folder if names collide",
    "group": "the card's group of its models, else own",
    "seeds": "runs averaged",
    "accuracy": "mean test accuracy over the seeds",
    "accuracy_least": "lowest of the seeds",
    "accuracy_greatest": "highest of the seeds",
    "accuracy_low": "lower end of the mean's 95 % interval",
    "accuracy_high": "upper end of the mean's 95 % interval",
    "macro_f1": "mean over classes of F1",
    "loss": "mean negative log-likelihood, nats",
    "parameters": "trainable parameters",
    "macs": "multiply-accumulates per image",
    "seconds": "seconds of training per run",
    "card_accuracy": "what the card reports",
    "card_macro_f1": "what the card reports",
    "data": "data set",
    "protocol": "protocol, and what differs from the card's settings",
    "warnings": "runs with warnings",
    "validation_accuracy": "mean accuracy on the validation images",
    "top2_accuracy": "share right by the first two guesses",
    "brier": "Brier score, 0 to 2",
    "calibration_error": "expected calibration error, 15 bins",
    "latency_ms_1": "milliseconds per forward pass, batch of 1",
    "latency_ms_64": "milliseconds per forward pass, batch of 64",
    "bytes_on_disk": "size of model.safetensors",
    "flash_bytes": "flash as C code, float32",
    "ram_bytes": "RAM as C code, float32",
    "int8_flash_bytes": "flash as C code, int8",
    "int8_ram_bytes": "RAM as C code, int8",
    "left_out": "folders with a copy of a seed",
    "network": "the network in the short form",
}
OF_RUN = {
    "version": "version of this format",
    "model_name": "the model",
    "model_class": "class of the module",
    "spec": "the network, null for your own module",
    "settings": "data set, protocol and settings of the training",
    "protocol": "protocol, and what differs from the card's settings",
    "seed": "the seed",
    "epochs": "epochs trained",
    "lr": "learning rate, or its peak",
    "parameters": "trainable parameters",
    "macs": "multiply-accumulates per image",
    "data": "the data: fields below",
    "versions": "Python and the packages",
    "processor": "processor",
    "device": "cpu, cuda or another",
    "engine": "compiled step, or autograd and why",
    "threads": "threads of PyTorch",
    "git_revision": "ModelFlow's revision, + if files were changed",
    "started": "when training started, UTC",
    "seconds": "seconds of training, compiling, evaluation",
    "metrics": "scores on the test images: fields below",
    "validation": "the same on the validation images",
    "test_reads": "how often the test images were evaluated",
    "latency_ms": "milliseconds per forward pass, by batch size",
    "bytes_on_disk": "size of model.safetensors",
    "bytes_on_device": "flash and RAM as C code",
    "dead_units": "per layer: units that never fire, units",
    "warnings": "signs that the run died",
    "notes": "what was converted, chosen or left out",
    "files": "SHA-256 of predictions, weights, checkpoint",
    "module_sha256": "identity of your own module",
    "code": "file and name of your own module",
    "traced": "layers of your own module",
}
OF_DATA = {
    "name": "data set",
    "training_images": "images trained on",
    "validation_images": "images validated on",
    "test_images": "images tested on",
    "mean": "mean of the pixels, per channel if coloured",
    "std": "standard deviation of the pixels, likewise",
    "checksums": "SHA-256 of the uncompressed files",
    "folder": "where the files lay",
    "test_in_training": "test images that are training images",
    "test_in_training_other_label": "of these, those with other labels",
    "validation_in_training": "validation images that are training images",
    "test_in_validation": "test images that are validation images",
    "form": "options of how the files were read",
    "labels_from": "label of the first class",
}
OF_METRICS = {
    "accuracy": "share of images that are right",
    "macro_f1": OF_LEADERBOARD["macro_f1"],
    "loss": OF_LEADERBOARD["loss"],
    "images": "images evaluated",
    "brier": OF_LEADERBOARD["brier"],
    "calibration_error": OF_LEADERBOARD["calibration_error"],
    "top2_accuracy": OF_LEADERBOARD["top2_accuracy"],
    "more": "further scores, such as balanced_accuracy",
}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command below a group with the words that call it, groups left out."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def section(path: tuple[str, ...], command: click.Command) -> str:
    """What a command does, its options, and its examples."""
    context = click.Context(command, info_name=" ".join(("modelflow", *path)))
    arguments = [param.make_metavar(context) for param in command.params if isinstance(param, click.Argument)]
    usage = " ".join(["modelflow", *path, "[OPTIONS]", *arguments])
    records = [param.get_help_record(context) for param in command.params if isinstance(param, click.Option)]
    rows = [f"| `{cell(names)}` | {cell(text)} |" for names, text in filter(None, records)]
    parts = [f"## {' '.join(path)}", f"```\n{usage}\n```", paragraphs(command.help or "")]
    if rows:
        parts.append("\n".join(["| Option | Meaning |", "| --- | --- |", *rows]))
    return "\n\n".join([*parts, examples(command.epilog or "")])


def examples(epilog: str) -> str:
    """The lines of a command's help that can be run."""
    lines = [line.strip() for line in epilog.splitlines() if line.startswith("  ")]
    return "\n".join(["Examples:\n", "```sh", *lines, "```"])


def paragraphs(text: str) -> str:
    """A help text with each paragraph on a line of its own."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def cell(text: str) -> str:
    """A text that ends no cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def commands_page() -> str:
    """commands.md"""
    return "\n\n".join([COMMANDS.rstrip(), *(section(path, command) for path, command in commands(cli))]) + "\n"


def meanings(first: str, names: Iterable[str], meaning: Mapping[str, str]) -> str:
    """A table of each name with what it is."""
    rows = [f"| `{name}` | {cell(meaning[name])} |" for name in names]
    return "\n".join([f"| {first} | Meaning |", "| --- | --- |", *rows])


def fields_page() -> str:
    """fields.md"""
    parts = [
        *("## leaderboard.csv", "One row per model.", meanings("Column", COLUMNS, OF_LEADERBOARD)),
        "Further scores follow, such as `balanced_accuracy`. Another metric also has `METRIC_low` and `METRIC_high`.",
        *("## run.json", "One file per run.", meanings("Field", Run.model_fields, OF_RUN)),
        *("### data", meanings("Field", DataRecord.model_fields, OF_DATA)),
        *("### metrics, validation", meanings("Field", Metrics.model_fields, OF_METRICS)),
    ]
    return "\n\n".join([FIELDS.rstrip(), *parts]) + "\n"


PAGES = {REFERENCE / "commands.md": commands_page, REFERENCE / "fields.md": fields_page}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page(), "utf-8")
