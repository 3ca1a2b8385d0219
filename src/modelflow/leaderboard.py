"""The table of a study's models, best first, beside what the card reports. No torch."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelflow.errors import DataError
from modelflow.presets import CARD
from modelflow.records import Run
from modelflow.results import csv_text, read_run, run_folders

CARD_DATA = "fashionmnist"


@dataclass(frozen=True)
class Row:
    """One model: means and range over its seeds; shares of 1, seconds of training a run, how many runs have warnings.

    The card's figures stand beside its models on its data set.
    """

    model: str
    group: str
    seeds: int
    accuracy: float
    accuracy_least: float
    accuracy_greatest: float
    macro_f1: float
    loss: float
    parameters: int
    macs: int | None
    seconds: float
    card_accuracy: float | None
    card_macro_f1: float | None
    data: str
    protocol: str
    warnings: int


def leaderboard(where: str | Path) -> list[Row]:
    """The rows of a results folder, most accurate first. Raises `DataError` when it holds no finished run."""
    rows = rows_of(run_folders(where))
    if not rows:
        raise DataError(f"{where}: no finished run in it; give a results folder, such as the one `modelflow run` wrote")
    return rows


def rows_of(folders: Iterable[Path]) -> list[Row]:
    """The rows of the runs in these folders, most accurate first."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for folder in folders:
        run = read_run(folder)
        runs[run.model_name].append(run)
    return sorted((_row(name, of_model) for name, of_model in runs.items()), key=lambda row: -row.accuracy)


def _row(name: str, runs: list[Run]) -> Row:
    card = CARD.get(name) if runs[0].data.name.lower().replace("-", "") == CARD_DATA else None
    return Row(
        model=name,
        group=card.group if card else "own",
        seeds=len(runs),
        accuracy=statistics.fmean(run.metrics.accuracy for run in runs),
        accuracy_least=min(run.metrics.accuracy for run in runs),
        accuracy_greatest=max(run.metrics.accuracy for run in runs),
        macro_f1=statistics.fmean(run.metrics.macro_f1 for run in runs),
        loss=statistics.fmean(run.metrics.loss for run in runs),
        parameters=runs[0].parameters,
        macs=runs[0].macs,
        seconds=statistics.fmean(run.seconds.get("training", 0.0) for run in runs),
        card_accuracy=card.accuracy if card else None,
        card_macro_f1=card.macro_f1 if card else None,
        data=runs[0].data.name,
        protocol=runs[0].protocol,
        warnings=sum(bool(run.warnings) for run in runs),
    )


def as_csv(rows: Sequence[Row]) -> str:
    """leaderboard.csv: the fields of `Row`, unrounded."""
    return csv_text(list(Row.__dataclass_fields__), [tuple(vars(row).values()) for row in rows])


DEAD = "\N{DAGGER}"
HEADER = ("Model", "Group", "Seeds", "Accuracy", "Macro F1", "Parameters", "Card acc", "Card F1")


def cells(row: Row) -> tuple[str, ...]:
    """A row as it is shown, in the columns of `HEADER`; a model with dead runs is marked, see `dead_note`."""
    return (
        row.model + (f" {DEAD}" if row.warnings else ""),
        row.group if row.card_accuracy is not None else f"{row.group}, on {row.data}",
        str(row.seeds),
        f"{row.accuracy:.2%}" + _spread(row),
        f"{row.macro_f1:.4f}",
        f"{row.parameters:,}",
        "" if row.card_accuracy is None else f"{row.card_accuracy:.2%}",
        "" if row.card_macro_f1 is None else f"{row.card_macro_f1:.4f}",
    )


def _spread(row: Row) -> str:
    return f" ({row.accuracy_least:.1%} to {row.accuracy_greatest:.1%})" if row.seeds > 1 else ""


def heading(rows: Sequence[Row]) -> str:
    """What the table shows and by which protocol."""
    protocols = "; ".join(sorted({row.protocol for row in rows}))
    seeds = ", mean and range over the seeds" if any(row.seeds > 1 for row in rows) else ""
    return f"Test accuracy, best first{seeds}; the test images are also validated on (protocol {protocols})"


def dead_note(rows: Sequence[Row]) -> str:
    """What the mark at dead runs means; empty where there are none."""
    return (
        f"{DEAD} a run of it looks dead: see the warnings in its run.json" if any(row.warnings for row in rows) else ""
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """leaderboard.md: the table as it is shown, under its heading."""
    lines = [HEADER, ("---",) * 2 + ("---:",) * (len(HEADER) - 2), *(cells(row) for row in rows)]
    table = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
    note = dead_note(rows)
    table = f"{heading(rows)}\n\n{table}"
    return f"{table}\n{note}\n" if note else table
