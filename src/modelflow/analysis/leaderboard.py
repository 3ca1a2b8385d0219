"""The table of a study's models, best first, beside what the card reports. No torch."""

import operator
import re
import statistics
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from modelflow.analysis.identity import Identity, called, identity_of
from modelflow.analysis.intervals import accuracy_interval
from modelflow.errors import DataError, UsageError
from modelflow.io.validation import did_you_mean
from modelflow.networks.resolve import CARD, CardResult, preset
from modelflow.results.layout import csv_text, read_run, run_folders
from modelflow.results.records import Run, split_kind
from modelflow.text import escaped, markdown_table, one_line, short, shown

CARD_DATA = "fashionmnist"
MAX_LEFT_OUT = 5  # folders that a row names


@dataclass(frozen=True)
class LeaderboardRow:
    """One model: means and range over its seeds; shares of 1, seconds of training a run, how many runs have warnings.

    `accuracy_low` to `accuracy_high` is the 95 % interval of the mean over seeds (Student's t), or of the one run over
    test images (Wilson). Figures that older records lack are None. The card's figures stand beside its models on its
    data set. Models that share a name and are not one (`identity`) have their folder behind it; `left_out` names the
    folders that hold a seed of the model once more, which are in no figure.
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
    left_out: str = ""
    more: dict[str, float] = field(default_factory=dict)  # further scores by name


def figure_of(row: LeaderboardRow, name: str) -> Any:
    """A row's figure by the name of its column; None where it has none."""
    return getattr(row, name) if name in COLUMNS else row.more.get(name)


def leaderboard(where: str | Path) -> list[LeaderboardRow]:
    """The rows of a results folder, most accurate first. Raises `DataError` when it holds no finished run."""
    rows = rows_of(run_folders(where))
    if not rows:
        raise DataError(f"{where}: no finished run in it; give a results folder, such as the one `modelflow run` wrote")
    return rows


def rows_of(folders: Iterable[Path]) -> list[LeaderboardRow]:
    """The rows of the runs in these folders, as `table` makes them. Raises `DataError` for a damaged record."""
    return table((folder, read_run(folder)) for folder in folders)


def table(runs: Iterable[tuple[Path, Run]]) -> list[LeaderboardRow]:
    """One row a model, as `identity` tells them apart, most accurate first; of a model and a seed the first run counts.

    Of each run only its figures and its seed are kept, so that a million of them take little memory.
    """
    models: dict[Identity, _Tally] = {}
    for folder, run in runs:
        models.setdefault(identity_of(run), _Tally(folder, run)).add(folder, run)
    names = called({identity: tally.folder for identity, tally in models.items()})
    rows = [_row(names[identity], tally) for identity, tally in models.items()]
    return sorted(rows, key=lambda row: -row.accuracy)


COLUMNS = tuple(name for name in LeaderboardRow.__dataclass_fields__ if name != "more")
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
    """What is kept of a model's runs: the record of one, the figures of all, the seeds in order."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.one = folder, run
        self.figures: dict[str, array[float]] = {name: array("d") for name in AVERAGED}
        self.more: dict[str, array[float]] = {}
        self.seeds = array("Q")
        self.warnings = 0
        self.left_out: list[str] = []

    def add(self, folder: Path, run: Run) -> None:
        place = bisect_left(self.seeds, run.seed)
        if self.seeds[place : place + 1] == array("Q", [run.seed]):
            self.left_out.append(f"{one_line(folder)} (seed {run.seed})")
            return
        self.seeds.insert(place, run.seed)
        for name, figure in AVERAGED.items():
            if (value := figure(run)) is not None:
                self.figures[name].append(value)
        for name, value in run.metrics.more.items():
            self.more.setdefault(name, array("d")).append(value)
        self.warnings += bool(run.warnings)


def _row(name: str, tally: _Tally) -> LeaderboardRow:
    run, accuracies = tally.one, tally.figures["accuracy"]
    interval = accuracy_interval(accuracies, run.metrics.images)
    card = _card_result(run)
    means: dict[str, Any] = {
        name: statistics.fmean(values) if values else None for name, values in tally.figures.items()
    }
    return LeaderboardRow(
        model=name,
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
        left_out=_some(tally.left_out),
        more={name: statistics.fmean(values) for name, values in tally.more.items()},
        **means,
    )


def _card_result(run: Run) -> CardResult | None:
    """What the card reports of this very network on its data set."""
    if run.model_name not in CARD or run.data.name.lower().replace("-", "") != CARD_DATA:
        return None
    own = run.spec is None or run.spec == preset(run.model_name).model_dump(mode="json")
    return CARD[run.model_name] if own else None


def _some(folders: Sequence[str]) -> str:
    more = len(folders) - MAX_LEFT_OUT
    return ", ".join(folders[:MAX_LEFT_OUT]) + (f" and {more:,} more" if more > 0 else "")


COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
ASCENDING = {
    *("model", "group", "data", "protocol", "left_out", "loss", "brier", "calibration_error", "warnings"),
    *("parameters", "macs", "seconds", "latency_ms_1", "latency_ms_64", "bytes_on_disk"),
}


def filter_and_sort(
    rows: Sequence[LeaderboardRow], by: str = "accuracy", only: str = "*", where: Sequence[str] = ()
) -> list[LeaderboardRow]:
    """Rows of models named like the pattern `only` that fulfil each of `where` ("parameters < 10000"), sorted.

    The best comes first: costs and losses ascend, accuracies descend; rows without the figure come last. Raises
    `UsageError` for a field that is none, or a condition that cannot be read.
    """
    _check_field(by, "--sort", rows)
    conditions = [_condition(text, rows) for text in where]
    kept = [row for row in rows if _is_called(row, only) and all(holds(row) for holds in conditions)]
    known = [row for row in kept if figure_of(row, by) is not None]
    known.sort(key=lambda row: figure_of(row, by), reverse=not _ascends(by))
    return known + [row for row in kept if figure_of(row, by) is None]


def _ascends(name: str) -> bool:
    """Whether less is better."""
    if name in COLUMNS:
        return name in ASCENDING
    from modelflow.evaluation.measure import scores

    return name in scores() and scores()[name].less_is_better


def _is_called(row: LeaderboardRow, only: str) -> bool:
    return fnmatchcase(row.model, only) or fnmatchcase(row.model.partition(" ")[0], only)


def columns_of(rows: Sequence[LeaderboardRow]) -> list[str]:
    """Of leaderboard.csv: the fields of a row, then the further scores of these."""
    return [*COLUMNS, *sorted({name for row in rows for name in row.more})]


def _check_field(name: str, where: str, rows: Sequence[LeaderboardRow]) -> None:
    if name not in (known := columns_of(rows)):
        hint = did_you_mean(name, known) or "choose one"
        raise UsageError(f"{where} {short(name)[1:-1]}: expected one of {', '.join(known)}; {hint}")


def _condition(text: str, rows: Sequence[LeaderboardRow]) -> Callable[[LeaderboardRow], bool]:
    parts = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*([-+.\deE]+)\s*", text)
    try:
        name, sign, limit = parts.group(1), parts.group(2), float(parts.group(3))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise UsageError(
            f"--where {short(text)}: expected a condition such as 'parameters < 10000'; for another, give --where again"
        ) from None
    _check_field(name, "--where", rows)

    def holds(row: LeaderboardRow) -> bool:
        value = figure_of(row, name)
        return isinstance(value, int | float) and COMPARED[sign](value, limit)

    return holds


def as_csv(rows: Sequence[LeaderboardRow]) -> str:
    """leaderboard.csv: the fields of `LeaderboardRow` and further scores, unrounded."""
    names = columns_of(rows)
    return csv_text(names, [tuple(figure_of(row, name) for name in names) for row in rows])


DEAD = "\N{DAGGER}"
Cell = Callable[[LeaderboardRow], str]


@dataclass(frozen=True)
class Table:
    """The rows as they are shown: the first `left` columns are text, the others figures."""

    header: tuple[str, ...]
    lines: list[tuple[str, ...]]
    left: int


def table_of(rows: Sequence[LeaderboardRow], sorted_by: str = "accuracy") -> Table:
    """The usual columns, with the protocol where rows differ in it, and what they are sorted by."""
    columns = {
        "Model": lambda row: row.model + (f" {DEAD}" if row.warnings else ""),
        "Group": lambda row: row.group if row.card_accuracy is not None else f"{row.group}, on {shown(row.data)}",
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


def _accuracy(row: LeaderboardRow) -> str:
    half = max(row.accuracy_high - row.accuracy, row.accuracy - row.accuracy_low)  # one end may be cut at 0 or 1
    return f"{row.accuracy:.2%} ±{100 * half:.2f}" if row.seeds > 1 else f"{row.accuracy:.2%}"


def _protocol_column(rows: Sequence[LeaderboardRow]) -> dict[str, Cell]:
    """By name where that tells the rows' protocols apart, else whole."""
    protocols = {row.protocol for row in rows}
    if len(protocols) < 2:
        return {}
    if len({split_kind(protocol) for protocol in protocols}) == len(protocols):
        return {"Protocol": lambda row: split_kind(row.protocol)}
    return {"Protocol": lambda row: shown(row.protocol or split_kind(row.protocol))}


USUAL = {"model", "group", "protocol", "seeds", "accuracy", "macro_f1", "parameters", "card_accuracy", "card_macro_f1"}


def _sorted_column(field: str) -> dict[str, Cell]:
    """Headed as in leaderboard.csv."""
    return {} if field in USUAL else {field: lambda row: _figure(field, figure_of(row, field))}


def _figure(field: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return shown(value) if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2%}" if "accuracy" in field else f"{value:,.{1 if abs(value) >= 100 else 4}f}"


def _card_columns(rows: Sequence[LeaderboardRow]) -> dict[str, Cell]:
    """What the card reports, where it reports anything of these rows."""
    if all(row.card_accuracy is None for row in rows):
        return {}
    return {
        "Card acc": lambda row: "" if row.card_accuracy is None else f"{row.card_accuracy:.2%}",
        "Card F1": lambda row: "" if row.card_macro_f1 is None else f"{row.card_macro_f1:.4f}",
    }


def heading(rows: Sequence[LeaderboardRow]) -> str:
    """What the table shows and by which protocol."""
    several = any(row.seeds > 1 for row in rows)
    seeds = (
        ", mean ± half its 95 % interval over seeds" if several else " of one run each, which other seeds would move"
    )
    names = sorted({row.protocol for row in rows})
    protocols = "; ".join(f"{protocol_words(name)} (protocol {shown(name)})" for name in names)
    return f"Test accuracy{seeds}; {protocols}"


def protocol_words(protocol: str) -> str:
    """What a run's protocol means for its test accuracy."""
    return {
        "held-out": "validated on training images held out",
        "card": "the test images are also validated on, so nothing may be chosen by them",
        "not known": "how validation and test images were kept apart is not known",
    }[split_kind(protocol)]


def dead_note(rows: Sequence[LeaderboardRow]) -> str:
    """What the mark at dead runs means; empty where there are none."""
    return (
        f"{DEAD} a run of it looks dead: see the warnings in its run.json" if any(row.warnings for row in rows) else ""
    )


def left_out_note(rows: Sequence[LeaderboardRow]) -> str:
    """Which folders are in no figure, for their seed is there already; empty where there are none."""
    places = [row.left_out for row in rows if row.left_out]
    return f"Left out, for a run of the same model and seed counts once: {', '.join(places)}" if places else ""


def notes(rows: Sequence[LeaderboardRow]) -> list[str]:
    """What is to be said below the table, a line each."""
    return [note for note in (dead_note(rows), left_out_note(rows)) if note]


def as_markdown(rows: Sequence[LeaderboardRow], *further: str) -> str:
    """leaderboard.md: the table as it is shown, under its heading, and what there is to say of it, `further` too."""
    table = table_of(rows)
    said = [f"{escaped(note)}\n" for note in (*notes(rows), *further) if note]
    return "\n".join([f"{escaped(heading(rows))}\n\n{markdown_table([table.header, *table.lines], table.left)}", *said])
