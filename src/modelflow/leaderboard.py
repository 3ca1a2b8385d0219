"""The table of a study's models, best first, beside what the card reports. No torch."""

import operator
import re
import statistics
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from modelflow.errors import DataError, UsageError
from modelflow.presets import CARD
from modelflow.records import Run, kept_apart
from modelflow.results import csv_text, read_run, run_folders
from modelflow.spec import short
from modelflow.statistics import accuracy_interval

CARD_DATA = "fashionmnist"


@dataclass(frozen=True)
class Row:
    """One model: means and range over its seeds; shares of 1, seconds of training a run, how many runs have warnings.

    `accuracy_low` to `accuracy_high` is the 95 % interval of the mean over seeds (Student's t), or of the one run over
    test images (Wilson). Figures that older records lack are None. The card's figures stand beside its models on its
    data set.
    """

    model: str
    group: str
    seeds: int
    accuracy: float
    accuracy_least: float
    accuracy_greatest: float
    accuracy_low: float
    accuracy_high: float
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
    validation_accuracy: float | None
    top2_accuracy: float | None
    brier: float | None
    calibration_error: float | None
    latency_ms_1: float | None
    latency_ms_64: float | None
    bytes_on_disk: int | None


def leaderboard(where: str | Path) -> list[Row]:
    """The rows of a results folder, most accurate first. Raises `DataError` when it holds no finished run."""
    rows = rows_of(run_folders(where))
    if not rows:
        raise DataError(f"{where}: no finished run in it; give a results folder, such as the one `modelflow run` wrote")
    return rows


def rows_of(folders: Iterable[Path]) -> list[Row]:
    """The rows of the runs in these folders, as `table` makes them. Raises `DataError` for a damaged record."""
    return table(map(read_run, folders))


def table(runs: Iterable[Run]) -> list[Row]:
    """One row a model, data set and protocol, most accurate first.

    Of each run only its figures are kept, so that a million of them take little memory.
    """
    models: dict[tuple[str, str, str], _Tally] = {}
    for run in runs:
        key = run.model_name, run.data.name, run.protocol
        models.setdefault(key, _Tally(run)).add(run)
    return sorted((_row(tally) for tally in models.values()), key=lambda row: -row.accuracy)


AVERAGED: dict[str, Callable[[Run], float | None]] = {
    "accuracy": lambda run: run.metrics.accuracy,
    "macro_f1": lambda run: run.metrics.macro_f1,
    "loss": lambda run: run.metrics.loss,
    "seconds": lambda run: run.seconds.get("training", 0.0),
    "validation_accuracy": lambda run: run.validation.accuracy if run.validation else None,
    "top2_accuracy": lambda run: run.metrics.top2_accuracy,
    "brier": lambda run: run.metrics.brier,
    "calibration_error": lambda run: run.metrics.calibration_error,
    "latency_ms_1": lambda run: run.latency_ms.get("1"),
    "latency_ms_64": lambda run: run.latency_ms.get("64"),
}


class _Tally:
    """What is kept of a model's runs: the record of one, the figures of all."""

    def __init__(self, run: Run) -> None:
        self.one = run
        self.figures: dict[str, array[float]] = {name: array("d") for name in AVERAGED}
        self.warnings = 0

    def add(self, run: Run) -> None:
        for name, figure in AVERAGED.items():
            if (value := figure(run)) is not None:
                self.figures[name].append(value)
        self.warnings += bool(run.warnings)


def _row(tally: _Tally) -> Row:
    run, accuracies = tally.one, tally.figures["accuracy"]
    interval = accuracy_interval(accuracies, run.metrics.images)
    card = CARD.get(run.model_name) if run.data.name.lower().replace("-", "") == CARD_DATA else None
    means: dict[str, Any] = {
        name: statistics.fmean(values) if values else None for name, values in tally.figures.items()
    }
    return Row(
        model=run.model_name,
        group=card.group if card else "own",
        seeds=len(accuracies),
        accuracy_least=min(accuracies),
        accuracy_greatest=max(accuracies),
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        parameters=run.parameters,
        macs=run.macs,
        card_accuracy=card.accuracy if card else None,
        card_macro_f1=card.macro_f1 if card else None,
        data=run.data.name,
        protocol=run.protocol,
        warnings=tally.warnings,
        bytes_on_disk=run.bytes_on_disk,
        **means,
    )


COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
ASCENDING = {
    *("model", "group", "data", "protocol", "loss", "brier", "calibration_error", "warnings"),
    *("parameters", "macs", "seconds", "latency_ms_1", "latency_ms_64", "bytes_on_disk"),
}


def arranged(rows: Sequence[Row], by: str = "accuracy", only: str = "*", where: Sequence[str] = ()) -> list[Row]:
    """Rows of models named like the pattern `only` that fulfil each of `where` ("parameters < 10000"), sorted.

    The best comes first: costs and losses ascend, accuracies descend; rows without the figure come last. Raises
    `UsageError` for a field that is none, or a condition that cannot be read.
    """
    _check_field(by, "--sort")
    conditions = [_condition(text) for text in where]
    kept = [row for row in rows if fnmatchcase(row.model, only) and all(holds(row) for holds in conditions)]
    known = [row for row in kept if getattr(row, by) is not None]
    known.sort(key=operator.attrgetter(by), reverse=by not in ASCENDING)
    return known + [row for row in kept if getattr(row, by) is None]


def _check_field(name: str, where: str) -> None:
    if name not in Row.__dataclass_fields__:
        raise UsageError(f"{where} {short(name)[1:-1]}: expected one of {', '.join(Row.__dataclass_fields__)}")


def _condition(text: str) -> Callable[[Row], bool]:
    parts = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*([-+.\deE]+)\s*", text)
    try:
        name, sign, limit = parts.group(1), parts.group(2), float(parts.group(3))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise UsageError(f"--where {short(text)}: expected such as 'parameters < 10000'") from None
    _check_field(name, "--where")

    def holds(row: Row) -> bool:
        value = getattr(row, name)
        return isinstance(value, int | float) and COMPARED[sign](value, limit)

    return holds


def as_csv(rows: Sequence[Row]) -> str:
    """leaderboard.csv: the fields of `Row`, unrounded."""
    return csv_text(list(Row.__dataclass_fields__), [tuple(vars(row).values()) for row in rows])


DEAD = "\N{DAGGER}"
Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Table:
    """The rows as they are shown: the first `left` columns are text, the others figures."""

    header: tuple[str, ...]
    lines: list[tuple[str, ...]]
    left: int


def table_of(rows: Sequence[Row], sorted_by: str = "accuracy") -> Table:
    """The usual columns, with the protocol where rows differ in it, and what they are sorted by."""
    columns = {
        "Model": lambda row: row.model + (f" {DEAD}" if row.warnings else ""),
        "Group": lambda row: row.group if row.card_accuracy is not None else f"{row.group}, on {row.data}",
        **_protocol_column(rows),
        "Seeds": lambda row: str(row.seeds),
        "Accuracy": _accuracy,
        "Macro F1": lambda row: f"{row.macro_f1:.4f}",
        "Parameters": lambda row: f"{row.parameters:,}",
        **_sorted_column(sorted_by),
        **_card_columns(rows),
    }
    lines = [tuple(cell(row) for cell in columns.values()) for row in rows]
    return Table(tuple(columns), lines, left=2 + ("Protocol" in columns))


def _accuracy(row: Row) -> str:
    half = max(row.accuracy_high - row.accuracy, row.accuracy - row.accuracy_low)  # one end may be cut at 0 or 1
    return f"{row.accuracy:.2%} ±{100 * half:.2f}" if row.seeds > 1 else f"{row.accuracy:.2%}"


def _protocol_column(rows: Sequence[Row]) -> dict[str, Cell]:
    """By name where that tells the rows' protocols apart, else whole."""
    protocols = {row.protocol for row in rows}
    if len(protocols) < 2:
        return {}
    if len({kept_apart(protocol) for protocol in protocols}) == len(protocols):
        return {"Protocol": lambda row: kept_apart(row.protocol)}
    return {"Protocol": lambda row: row.protocol or kept_apart(row.protocol)}


USUAL = {"model", "group", "protocol", "seeds", "accuracy", "macro_f1", "parameters", "card_accuracy", "card_macro_f1"}


def _sorted_column(field: str) -> dict[str, Cell]:
    """Headed as in leaderboard.csv."""
    return {} if field in USUAL else {field: lambda row: _figure(field, getattr(row, field))}


def _figure(field: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2%}" if "accuracy" in field else f"{value:,.{1 if abs(value) >= 100 else 4}f}"


def _card_columns(rows: Sequence[Row]) -> dict[str, Cell]:
    """What the card reports, where it reports anything of these rows."""
    if all(row.card_accuracy is None for row in rows):
        return {}
    return {
        "Card acc": lambda row: "" if row.card_accuracy is None else f"{row.card_accuracy:.2%}",
        "Card F1": lambda row: "" if row.card_macro_f1 is None else f"{row.card_macro_f1:.4f}",
    }


def heading(rows: Sequence[Row]) -> str:
    """What the table shows and by which protocol."""
    several = any(row.seeds > 1 for row in rows)
    seeds = (
        ", mean ± half its 95 % interval over seeds" if several else " of one run each, which other seeds would move"
    )
    protocols = "; ".join(f"{protocol_words(name)} (protocol {name})" for name in sorted({r.protocol for r in rows}))
    return f"Test accuracy{seeds}; {protocols}"


def protocol_words(protocol: str) -> str:
    """What a run's protocol means for its test accuracy."""
    return {
        "held-out": "validated on training images held out",
        "card": "the test images are also validated on, so nothing may be chosen by them",
        "not known": "how validation and test images were kept apart is not known",
    }[kept_apart(protocol)]


def dead_note(rows: Sequence[Row]) -> str:
    """What the mark at dead runs means; empty where there are none."""
    return (
        f"{DEAD} a run of it looks dead: see the warnings in its run.json" if any(row.warnings for row in rows) else ""
    )


def as_markdown(rows: Sequence[Row], missing: str = "") -> str:
    """leaderboard.md: the table as it is shown, under its heading; `missing` says what is not there."""
    shown = table_of(rows)
    rule = ("---",) * shown.left + ("---:",) * (len(shown.header) - shown.left)
    lines = (shown.header, rule, *shown.lines)
    table = "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)
    return "\n".join([f"{heading(rows)}\n\n{table}", *(f"{note}\n" for note in (dead_note(rows), missing) if note)])
