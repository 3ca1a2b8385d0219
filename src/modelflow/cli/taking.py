"""Commands that take a finished run's model to other images and other places: `predict`, `export`."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelflow.cli import terminal
from modelflow.cli.options import DATA_DIR, HELP, JSON, RUN_FOLDER, example
from modelflow.errors import DataError
from modelflow.export import targets
from modelflow.io.found import files_in
from modelflow.io.lines import bar
from modelflow.text import one_line, shown

if TYPE_CHECKING:
    from modelflow.export.given import Given
    from modelflow.export.loaded_run import LoadedRun
    from modelflow.export.prediction import Guess

STDIN = "-"
BATCH = 256  # pictures predicted at once
SHOWN = 3  # classes an image
SECONDS_WITHOUT_BAR = 2

Row = tuple[str, "list[Guess]"]
ALLOW_CODE = click.option("--allow-code", is_flag=True, help="Run the Python file that makes the model of RUN.")


@click.command(
    context_settings=HELP,
    epilog=example(
        "predict results/generic_2 shirt.png",
        "predict results/generic_2 photos --seeds all --csv",
        "predict results/generic_2 - < shirt.png",
    ),
)
@RUN_FOLDER
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--seeds", type=click.Choice(["all"]), help="Average the probabilities over all seeds of the model.")
@click.option("--csv", "as_text", is_flag=True, help="Print CSV instead of a table.")
@ALLOW_CODE
@JSON
def predict(
    run_folder: Path, images: tuple[str, ...], seeds: str | None, as_text: bool, allow_code: bool, as_json: bool
) -> None:
    """Classify images with the model of RUN.

    RUN is the folder of a finished run. IMAGE is a PNG, JPEG, BMP, WebP or GIF file, or a folder of such files.
    With - one image comes from the standard input. The images are resized, recoloured and normalised like the
    training images.
    """
    from modelflow.export.loaded_run import load_run, seeds_of

    run = load_run(run_folder, allow_code=allow_code)
    _ = run.normalisation, run.model  # whose errors come first
    runs, left_out = ([run], []) if seeds is None else seeds_of(run)
    for line in left_out:
        terminal.log(line)
    places = [place for image in images for place in _files(image)]
    rows = list(_rows(runs, places))
    if as_json:
        terminal.say_json([_as_data(*row) for row in rows])
    elif as_text:
        terminal.say_csv(_as_csv(rows))
    elif rows:
        _show(rows, [one.record.seed for one in runs])
    if bad := len(places) - len(rows):
        raise DataError(f"{bad:,} of {len(places):,} images could not be read. Convert or remove them.")


def _files(image: str) -> Iterator[str]:
    """The file itself, or the pictures in a folder and those below it. Raises `DataError` for a folder without any."""
    from modelflow.export.pictures import SUFFIXES

    folder = Path(image)
    if image == STDIN or not folder.is_dir():
        yield image
        return
    hidden = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    found = [str(path) for path in sorted(hidden) if not _is_hidden(path.relative_to(folder))]
    if not found:
        raise DataError(
            f"{one_line(folder)}: no image in this folder, expected files that end in {', '.join(SUFFIXES)}"
        )
    yield from found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _rows(runs: "list[LoadedRun]", places: Sequence[str]) -> Iterator[Row]:
    """File and most probable classes of each picture that can be read; of the others a line is progress."""
    import numpy as np

    from modelflow.export.given import Given
    from modelflow.export.loaded_run import predict_by_all

    batch: dict[int, Given] = {}
    changes, progress = Counter[str](), bar(len(places), "image", "images", SECONDS_WITHOUT_BAR)
    for i, place in enumerate(places):
        try:
            batch[i] = _read(place, runs[0])
            changes.update(batch[i].notes)
        except DataError as error:
            progress.clear()
            terminal.fail(str(error))
        if batch and (len(batch) == BATCH or i == len(places) - 1):
            together = np.concatenate([given.shares_NCHW for given in batch.values()])
            top = predict_by_all(runs, Given(together)).top(SHOWN)
            yield from zip([places[k] for k in batch], top, strict=True)
            batch.clear()
        progress.update()
    progress.close()
    for note, count in changes.items():
        terminal.log(note if len(places) == 1 else f"{count:,} of {len(places):,} images: {note}")


def _read(place: str, run: "LoadedRun") -> "Given":
    from modelflow.export.pictures import MAX_BYTES, parse_picture, read_picture

    if place != STDIN:
        return run.picture_of(read_picture(Path(place)))
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"the standard input: larger than {MAX_BYTES:,} bytes, the limit")
    return run.picture_of(parse_picture(content, "the standard input"))


def _show(rows: Sequence[Row], seeds: Sequence[int]) -> None:
    title = f"Mean of the probabilities of seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    lines = [
        (shown(file), shown(first.name), f"{first.probability:.1%}", ", ".join(map(_guess, others)))
        for file, (first, *others) in rows
    ]
    terminal.table(("file", "class", "probability", "next"), lines, title, left=2)


def _guess(guess: "Guess") -> str:
    return f"{shown(guess.name)} {guess.probability:.1%}"


def _as_data(file: str, guesses: "list[Guess]") -> dict[str, object]:
    first, *others = ({"class": guess.name, "probability": guess.probability} for guess in guesses)
    return {"file": file, **first, "next": others}


def _as_csv(rows: Sequence[Row]) -> str:
    from modelflow.results.layout import csv_text

    count = max((len(guesses) for _, guesses in rows), default=0)
    header = ["file", *(name for n in range(1, count + 1) for name in (f"class_{n}", f"probability_{n}"))]
    return csv_text(header, [[file, *(value for guess in guesses for value in guess)] for file, guesses in rows])


@click.command(
    context_settings=HELP,
    epilog=example("export results/generic_2 --to onnx", "export results/generic_2 --to pt2 --output my_model"),
)
@RUN_FOLDER
@click.option("--to", required=True, type=click.Choice(files_in(targets)), help="Form of the exported model.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder to write (default: MODEL_FORM)."
)
@DATA_DIR
@ALLOW_CODE
def export(run_folder: Path, to: str, output: Path | None, data_dir: Path | None, allow_code: bool) -> None:
    """Export the model of RUN for use elsewhere.

    RUN is the folder of a finished run. The export takes images in bytes and gives probabilities. It is run on all test
    images and compared with RUN before it is put in place. If it differs, nothing is written.
    """
    from modelflow.export.export import export as write
    from modelflow.export.loaded_run import load_run

    run = load_run(run_folder, data_dir, allow_code=allow_code)
    written = write(run, to, output or Path(f"{run.record.model_name}_{to}"), terminal.log)
    for line in (written.agreement.words, *written.remarks):
        terminal.say(line)
    terminal.say(f"Model: {written.folder.resolve()}")
