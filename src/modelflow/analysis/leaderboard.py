"""The table of a study's models, best first, beside what the card reports. No torch."""

import operator
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from modelflow.analysis.identity import called, short_form_of, told_by_settings
from modelflow.analysis.intervals import Interval, accuracy_interval, score_interval
from modelflow.analysis.reading import Tallies, Tally, read_folder, read_scored, tallied
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import SHARE, Metric
from modelflow.io.faces.table import Table
from modelflow.io.validation import did_you_mean
from modelflow.networks.resolve import CARD, CardResult, is_preset
from modelflow.results.layout import csv_text, read_predictions
from modelflow.results.protocol import protocol_name, split_kind
from modelflow.results.records import Run
from modelflow.text import escaped, markdown_table, sentence, short, shown

CARD_DATA = "fashionmnist"


@dataclass(frozen=True)
class LeaderboardRow:
    """One model: means and range over its seeds; shares of 1, seconds of training a run, how many runs have warnings.

    `accuracy_low` to `accuracy_high` is the 95 % interval of the mean over seeds (Student's t), or of the one run over
    test images (Wilson). Figures that older records lack are None. The card's figures stand beside its models on its
    data set. Models that share a name and are not one (`identity`) have their folder behind it; `left_out` names the
    folders that hold a seed of the model once more, which are in no figure. `protocol` is as in run.json,
    `protocol_name` its name alone; `settings` are those that the models it may be compared with do not share;
    `network` is its short form, where it has one; `images` are those that a run was tested on. `metric` is what the
    models are sorted by; of another than accuracy `more` has the 95 % interval too, such as `macro_f1_low` and
    `macro_f1_high`.
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
    flash_bytes: int | None
    ram_bytes: int | None
    int8_flash_bytes: int | None
    int8_ram_bytes: int | None
    left_out: str = ""
    more: dict[str, float] = field(default_factory=dict)  # further scores by name
    protocol_name: str = ""
    settings: str = ""
    network: str = ""
    images: int = 0
    metric: Metric = ACCURACY

    @property
    def score(self) -> float:
        """The mean by its metric."""
        return float(figure_of(self, self.metric.name))

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the mean by its metric; None where it is not known."""
        low, high = (figure_of(self, f"{self.metric.name}_{end}") for end in ("low", "high"))
        return None if low is None or high is None else Interval(low, high)


def figure_of(row: LeaderboardRow, name: str) -> Any:
    """A row's figure by the name of its column; None where it has none."""
    return getattr(row, name) if name in COLUMNS else row.more.get(name)


def leaderboard(where: str | Path, metric: str | None = None) -> list[LeaderboardRow]:
    """The rows of a results folder, best first by `metric`; left out, by that which the study keeps.

    Raises `DataError` when it holds no finished run, and `UsageError` for a metric that is none.
    """
    reading = read_folder(where, metric=metric)
    rows = rows_in(reading.models, reading.metric)
    if not rows:
        raise DataError(
            f"{where}: no finished run in it. Give a results folder, such as the one `modelflow run` wrote."
        )
    return rows


def rows_of(folders: Iterable[Path], metric: Metric = ACCURACY) -> list[LeaderboardRow]:
    """The rows of the runs in these folders, as `table` makes them. Raises `DataError` for a damaged record."""
    return table(((folder, read_scored(folder, metric)) for folder in folders), metric)


def table(runs: Iterable[tuple[Path, Run]], metric: Metric = ACCURACY) -> list[LeaderboardRow]:
    """One row a model, as `identity` tells them apart, best first by the metric; the first run of each seed counts."""
    return rows_in(tallied(runs), metric)


def rows_in(models: Tallies, metric: Metric = ACCURACY) -> list[LeaderboardRow]:
    """A row for each of these models, best first by a metric that all their records have."""
    names = called({model: tally.folder for model, tally in models.items()})
    settings = told_by_settings({model: tally.one for model, tally in models.items()})
    rows = [_row(names[model], tally, settings[model], metric) for model, tally in models.items()]
    return sorted(rows, key=lambda row: (-metric.merit(row.score), row.model))


HIDDEN = ("more", "protocol_name", "settings", "images", "metric")  # of a row's fields, those that are no columns
COLUMNS = tuple(name for name in LeaderboardRow.__dataclass_fields__ if name not in HIDDEN)


def _row(name: str, tally: Tally, settings: str, metric: Metric) -> LeaderboardRow:
    run, accuracies = tally.one, tally.figures["accuracy"]
    card, ends = _card_result(run), _ends(tally, metric)
    interval = accuracy_interval(accuracies, run.metrics.images)
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
        flash_bytes=run.bytes_on_device.get("flash"),
        ram_bytes=run.bytes_on_device.get("ram"),
        int8_flash_bytes=run.bytes_on_device.get("int8_flash"),
        int8_ram_bytes=run.bytes_on_device.get("int8_ram"),
        left_out=tally.copies,
        more={name: statistics.fmean(values) for name, values in tally.more.items()} | ends,
        protocol_name=protocol_name(run),
        settings=settings,
        network=short_form_of(run),
        images=run.metrics.images,
        metric=metric,
        **means,
    )


def _ends(tally: Tally, metric: Metric) -> dict[str, float]:
    """The interval by another metric than accuracy, as columns of their own; none where it is not known."""
    interval = None if metric is ACCURACY else _interval(tally, metric)
    return {} if interval is None else {f"{metric.name}_low": interval.low, f"{metric.name}_high": interval.high}


def _interval(tally: Tally, metric: Metric) -> Interval | None:
    """Of one run from its predictions, unless these cannot be read."""
    scores, images = tally.scores(metric), tally.one.metrics.images
    if len(scores) == 1:
        with suppress(DataError):
            logits_NK, y_N = read_predictions(tally.folder, tally.one)
            return score_interval(metric, scores, images, metric.values(logits_NK, y_N), metric.groups(y_N))
    return score_interval(metric, scores, images)


def _card_result(run: Run) -> CardResult | None:
    """What the card reports of this very network on its data set."""
    if run.model_name not in CARD or run.data.name.lower().replace("-", "") != CARD_DATA:
        return None
    return CARD[run.model_name] if run.spec is None or is_preset(run.model_name, run.spec) else None


COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}
ASCENDING = {
    *("model", "group", "network", "data", "protocol", "left_out", "loss", "brier", "calibration_error", "warnings"),
    *("parameters", "macs", "seconds", "latency_ms_1", "latency_ms_64", "bytes_on_disk"),
    *("flash_bytes", "ram_bytes", "int8_flash_bytes", "int8_ram_bytes"),
}


def filter_and_sort(
    rows: Sequence[LeaderboardRow], by: str | None = None, only: str = "*", where: Sequence[str] = ()
) -> list[LeaderboardRow]:
    """Rows of models named like the pattern `only` that fulfil each of `where` ("parameters < 10000"), sorted.

    They are sorted `by` a column, left out that of their metric. The best comes first: costs and losses ascend,
    accuracies descend; rows without the figure come last. Raises `UsageError` for a field that is none, or a condition
    that cannot be read.
    """
    by = by or _metric_of(rows).name
    _check_field(by, "--sort", rows)
    conditions = [_condition(text, rows) for text in where]
    kept = [row for row in rows if _is_called(row, only) and all(holds(row) for holds in conditions)]
    known = [row for row in kept if figure_of(row, by) is not None]
    known.sort(key=lambda row: figure_of(row, by), reverse=not _ascends(by))
    return known + [row for row in kept if figure_of(row, by) is None]


def _metric_of(rows: Sequence[LeaderboardRow]) -> Metric:
    return rows[0].metric if rows else ACCURACY


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
        hint = sentence(did_you_mean(name, known))
        raise UsageError(f"{where} {short(name)[1:-1]}: expected one of {', '.join(known)}. {hint}".rstrip())


def _condition(text: str, rows: Sequence[LeaderboardRow]) -> Callable[[LeaderboardRow], bool]:
    parts = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>|=)\s*([-+.\deE]+)\s*", text)
    try:
        name, sign, limit = parts.group(1), parts.group(2), float(parts.group(3))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        raise UsageError(
            f"--where {short(text)}: expected a condition such as 'parameters < 10000'. For another, repeat --where."
        ) from None
    _check_field(name, "--where", rows)

    def holds(row: LeaderboardRow) -> bool:
        value = figure_of(row, name)
        return isinstance(value, int | float) and COMPARED[sign](value, limit)

    return holds


def as_data(row: LeaderboardRow) -> dict[str, Any]:
    """A row as plain data: its columns, and further scores as `more`."""
    return {**{name: figure_of(row, name) for name in COLUMNS}, "more": row.more}


def as_csv(rows: Sequence[LeaderboardRow]) -> str:
    """leaderboard.csv: the fields of `LeaderboardRow` and further scores, unrounded."""
    names = columns_of(rows)
    return csv_text(names, [tuple(figure_of(row, name) for name in names) for row in rows])


MAX_NETWORK = 80  # characters in a table that people read
DEAD = "\N{DAGGER}"
Cell = Callable[[LeaderboardRow], str]


def table_of(rows: Sequence[LeaderboardRow], sorted_by: str | None = None) -> Table:
    """The usual columns, with data, protocol and settings where rows differ in these, and what they are sorted by."""
    metric = _metric_of(rows)
    columns = {
        "Model": lambda row: row.model + (f" {DEAD}" if row.warnings else ""),
        **_network_columns(rows),
        **_columns_apart(rows),
        "Seeds": lambda row: str(row.seeds),
        heading_of(metric): _score,
        **({} if metric is ACCURACY else {"Accuracy": lambda row: f"{row.accuracy:.2%}"}),
        **({} if metric.name == "macro_f1" else {"Macro F1": lambda row: f"{row.macro_f1:.4f}"}),
        "Parameters": lambda row: f"{row.parameters:,}",
        **sorted_column(sorted_by or metric.name, metric),
        **_card_columns(rows),
    }
    lines = [tuple(cell(row) for cell in columns.values()) for row in rows]
    return Table(tuple(columns), lines, left=tuple(columns).index("Seeds"))


def _network_columns(rows: Sequence[LeaderboardRow]) -> dict[str, Cell]:
    """What each model is: the card's group of the card's models, the short form of others."""
    columns: dict[str, Cell] = {}
    if any(row.card_accuracy is not None for row in rows):
        columns["Group"] = lambda row: "own" if row.card_accuracy is None else row.group
    if any(row.card_accuracy is None and row.network for row in rows):
        columns["Network"] = _network
    return columns


def _network(row: LeaderboardRow) -> str:
    """The short form, cut where it is long."""
    return row.network if len(row.network) <= MAX_NETWORK else f"{row.network[: MAX_NETWORK - 1]}…"


def heading_of(metric: Metric) -> str:
    """A metric as a column is headed."""
    return sentence(metric.title)


def _score(row: LeaderboardRow) -> str:
    unit, score = row.metric.unit, row.score
    number = f"{score:.2%}" if unit is SHARE else row.metric.text(score)
    if row.seeds == 1:
        return number
    low, high = (figure_of(row, f"{row.metric.name}_{end}") for end in ("low", "high"))
    half = max(high - score, score - low)  # one end may be cut
    return f"{number} ±{unit.scale * half:.{unit.level_digits}f}"


def _columns_apart(rows: Sequence[LeaderboardRow]) -> dict[str, Cell]:
    """What tells the rows apart: on which data, by which protocol, with which settings."""
    columns: dict[str, Cell] = {}
    if len({row.data for row in rows}) > 1:
        columns["Data"] = lambda row: shown(row.data)
    if len({row.protocol_name for row in rows}) > 1:
        columns["Protocol"] = lambda row: _name(row.protocol_name)
    if any(row.settings for row in rows):
        columns["Settings"] = lambda row: shown(row.settings) if row.settings else ""
    return columns


def _name(protocol: str) -> str:
    return shown(protocol) if protocol else "not known"


USUAL = {"model", "group", "protocol", "seeds", "accuracy", "macro_f1", "parameters", "card_accuracy", "card_macro_f1"}


def sorted_column(field: str, metric: Metric) -> dict[str, Cell]:
    """Headed as in leaderboard.csv."""
    return {} if field in {*USUAL, metric.name} else {field: lambda row: _figure(field, figure_of(row, field))}


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
    seeds = ", mean ± half its 95 % interval over seeds" if several else ", one run each: other seeds would differ"
    return f"Test {_metric_of(rows).title}{seeds} · {protocols_words(row.protocol_name for row in rows)}"


def protocols_words(names: Iterable[str]) -> str:
    """What the protocols of these names mean for a test accuracy."""
    return " · ".join(f"{protocol_words(name)} (protocol {_name(name)})" for name in sorted(set(names)))


def protocol_words(name: str) -> str:
    """What the protocol of this name means for a test accuracy."""
    return {
        "held-out": "validated on held-out images",
        "card": "also validated on the test images, so choose nothing by them",
        "not known": "unknown how validation and test images were kept apart",
    }[split_kind(name)]


def dead_note(rows: Sequence[LeaderboardRow]) -> str:
    """What the mark at dead runs means; empty where there are none."""
    return f"{DEAD} a run looks dead: see the warnings in its run.json" if any(row.warnings for row in rows) else ""


def left_out_note(rows: Sequence[LeaderboardRow]) -> str:
    """Which folders are in no figure, for their seed is there already; empty where there are none."""
    places = [row.left_out for row in rows if row.left_out]
    return f"Left out, because a model and seed count once: {', '.join(places)}" if places else ""


def notes(rows: Sequence[LeaderboardRow]) -> list[str]:
    """What is to be said below the table, a line each."""
    return [note for note in (dead_note(rows), left_out_note(rows)) if note]


def as_markdown(rows: Sequence[LeaderboardRow], *further: str, sorted_by: str | None = None) -> str:
    """leaderboard.md: the table as it is shown, under its heading, and what there is to say of it, `further` too."""
    table = table_of(rows, sorted_by)
    said = [f"{escaped(note)}\n" for note in (*notes(rows), *further) if note]
    return "\n".join([f"{escaped(heading(rows))}\n\n{markdown_table([table.header, *table.lines], table.left)}", *said])
