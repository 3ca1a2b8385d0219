"""Commands of data sets: `data fetch`, `data verify`, `data show`."""

from pathlib import Path
from typing import Any

import click

from modelflow.cli import terminal
from modelflow.cli.options import DATA_DIR, FORM, HELP, JSON, example, form_of
from modelflow.text import shown


@click.group(context_settings=HELP, epilog=example("data fetch", "data verify fashion-mnist", "data show digits"))
def data() -> None:
    """Get, check and show data sets.

    DATASET is fashion-mnist (the default), another from `modelflow data list`, or a path.
    """


@data.command("list", context_settings=HELP, epilog=example("data list"))
@JSON
def list_(as_json: bool) -> None:
    """List the data sets and where they come from."""
    from modelflow.data.sources import names, origin_of

    rows = [(name, origin_of(name).words) for name in names()]
    if as_json:
        terminal.say_json([dict(zip(("dataset", "origin"), row, strict=True)) for row in rows])
        return
    terminal.table(("dataset", "origin"), rows, left=2)


@data.command(context_settings=HELP, epilog=example("data fetch", "data fetch fashion-mnist --data-dir my_data"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@JSON
def fetch(dataset: str, data_dir: Path | None, as_json: bool) -> None:
    """Download missing files of DATASET and check all of them."""
    terminal.log(f"looking for {dataset} and checking its files …")
    from modelflow.data.sources import fetch_dataset

    _show_files(fetch_dataset(dataset, data_dir), as_json)


@data.command(context_settings=HELP, epilog=example("data verify", "data verify idx:my_folder"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@FORM
@JSON
def verify(dataset: str, data_dir: Path | None, as_json: bool, **form: Any) -> None:
    """Check each file of DATASET: header, length, labels, SHA-256."""
    terminal.log(f"checking the files of {dataset} …")
    from modelflow.data.sources import verify as verify_dataset

    _show_files(verify_dataset(dataset, data_dir, form_of(form)), as_json)


def _show_files(rows: list[Any], as_json: bool) -> None:
    if as_json:
        terminal.say_json([row._asdict() for row in rows])
        return
    for row in rows:
        terminal.say(f"{row.sha256}  {Path(row.place) / row.file}")
    terminal.say("all files are sound (SHA-256 of the uncompressed files)")


@data.command(context_settings=HELP, epilog=example("data show", "data show digits --output digits.png"))
@click.argument("dataset", default="fashion-mnist")
@DATA_DIR
@FORM
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Picture to write (default: DATASET_classes.png)."
)
@JSON
def show(dataset: str, data_dir: Path | None, output: Path | None, as_json: bool, **form: object) -> None:
    """Show the facts of DATASET and draw examples of each class."""
    terminal.log(f"reading {dataset} …")
    from modelflow.data.datasets import load_dataset
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png
    from modelflow.io.files import write_atomic

    loaded = load_dataset(dataset, data_dir, **form_of(form)._asdict())
    output = output or Path(f"{Path(dataset.rpartition(':')[2]).resolve().stem.replace('-', '_')}_classes.png")
    write_atomic(output, png(plot_samples(*loaded.samples(), loaded.class_names, f"{loaded.name}: training images")))
    facts = loaded.facts()
    if as_json:
        terminal.say_json(facts | {"picture": str(output)})
        return
    notes, counts = facts.pop("notes"), zip(facts["classes"], facts["training_images_per_class"], strict=True)
    facts["training_images_per_class"] = [f"{name}: {number:,}" for name, number in counts]
    terminal.table(
        ("property", "value"),
        [(name.replace("_", " "), _fact(value)) for name, value in facts.items() if value is not None],
        left=2,
    )
    for note in notes:
        terminal.say(f"warning: {note}")
    terminal.say(f"Picture: {output.resolve()}")


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {entry}" for name, entry in value.items())
    return ", ".join(map(shown, value)) if isinstance(value, list) else str(value)
