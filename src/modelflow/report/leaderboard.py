"""The leaderboard as Python's users get it: rows that show themselves, best first. No torch.

leaderboard_of("results", sort="parameters").to_latex()
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from modelflow.analysis.leaderboard import (
    LeaderboardRow,
    as_markdown,
    columns_of,
    figure_of,
    filter_and_sort,
    heading,
    heading_of,
    leaderboard,
    notes,
    protocols_words,
    sorted_column,
    table_of,
)
from modelflow.analysis.units import range_words
from modelflow.evaluation.measure import ACCURACY, metric_named
from modelflow.evaluation.scores.score import Metric
from modelflow.io.faces.face import Face
from modelflow.io.faces.table import Table
from modelflow.report.answer import one_run_method
from modelflow.report.words import listed
from modelflow.results.asked import read_asked
from modelflow.text import counted, shown

OF_SEEDS = "Means over seeds, with the 95 % interval of the mean on these test images (Student's t)."
NO_TEST = "These intervals do not test whether two models differ. The comparison of each pair does."


def of_one_run(metric: Metric) -> str:
    """What the interval of a single run means, and by which method it is found."""
    method = one_run_method(metric)
    return f"The 95 % interval of a single run is over images like these ({method}) and leaves out the seed."


class Leaderboard(Face, list[LeaderboardRow]):
    """The models, best first: a list of `LeaderboardRow`, sorted by the column `sorted_by`, left out by the metric.

    `missing` says which runs of the study are not finished, `caution` that the study keeps another metric; both are
    empty where nothing is to be said.
    """

    def __init__(
        self,
        rows: Iterable[LeaderboardRow] = (),
        sorted_by: str | None = None,
        missing: str = "",
        caution: str = "",
    ) -> None:
        super().__init__(rows)
        self.sorted_by, self.missing, self.caution = sorted_by, missing, caution

    def _tables(self) -> Sequence[Table]:
        found = table_of(self, self.sorted_by)
        return [Table(found.header, found.lines, found.left, heading(self))]

    def _notes(self) -> Sequence[str]:
        return [note for note in (*notes(self), self.missing, self.caution) if note]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [{name: figure_of(row, name) for name in columns_of(self)} for row in self]

    def _paper_tables(self) -> Sequence[Table]:
        return [paper_table(self, [self.missing, self.caution], self.sorted_by)]

    def to_markdown(self) -> str:
        """As leaderboard.md: the table as it is shown, under its heading, and what there is to say of it."""
        return as_markdown(self, self.missing, self.caution, sorted_by=self.sorted_by)


def leaderboard_of(
    results: str | Path,
    sort: str | None = None,
    only: str = "*",
    where: Sequence[str] = (),
    metric: str | None = None,
) -> Leaderboard:
    """The models of a results folder whose names match the pattern `only`, that fulfil each of `where`, best first.

    `metric` is what they are judged by, left out that of the study. `sort` is a column of leaderboard.csv, left out the
    metric; `where` are conditions such as "parameters < 10000". Raises `UsageError` for a metric, a column or a
    condition that is none, and `DataError` where there is no finished run, or a damaged one.
    """
    rows = filter_and_sort(leaderboard(results, metric), sort, only, where)
    asked = read_asked(results)
    caution = "" if metric is None else asked.other_metric(metric_named(metric))
    return Leaderboard(rows, sort, asked.missing(), caution)


def paper_table(rows: Sequence[LeaderboardRow], further: Sequence[str] = (), sorted_by: str | None = None) -> Table:
    """The models with n and an interval of each; in the caption what was tested on, by which protocol, and how.

    `further` is to be said too.
    """
    metric = rows[0].metric if rows else ACCURACY
    data = _several(f"{shown(row.data)} ({row.images:,} images)" for row in rows)
    protocols = _several(row.protocol_name for row in rows)
    columns = {
        "Model": [row.model for row in rows],
        **({"Test images": [f"{shown(row.data)} ({row.images:,})" for row in rows]} if len(data) > 1 else {}),
        **({"Protocol": [shown(row.protocol_name or "not known") for row in rows]} if len(protocols) > 1 else {}),
        **({"Settings": [_text(row.settings) for row in rows]} if any(row.settings for row in rows) else {}),
        "Seeds": [str(row.seeds) for row in rows],
        f"{heading_of(metric)} ({metric.unit.level})": [metric.text(row.score).replace(" %", "") for row in rows],
        "95 % interval": [range_words(row.interval, metric.unit) if row.interval else "" for row in rows],
        **({} if metric is ACCURACY else {"Accuracy (%)": [f"{100 * row.accuracy:.2f}" for row in rows]}),
        **({} if metric.name == "macro_f1" else {"Macro F1": [f"{row.macro_f1:.4f}" for row in rows]}),
        "Parameters": [f"{row.parameters:,}" for row in rows],
        **{heading: list(map(cell, rows)) for heading, cell in sorted_column(sorted_by or metric.name, metric).items()},
    }
    lines = list(zip(*columns.values(), strict=True))
    whose = rows[0].model if len(rows) == 1 else counted(len(rows), "model")
    caption = f"Test {metric.title} of {whose}{_tested_on(rows) if len(data) == 1 else ''}"
    return Table(tuple(columns), lines, tuple(columns).index("Seeds"), caption, _method(rows, further))


def _several(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _text(words: str) -> str:
    return shown(words) if words else ""


def _tested_on(rows: Sequence[LeaderboardRow]) -> str:
    return f" on the {rows[0].images:,} test images of {shown(rows[0].data)}"


def _method(rows: Sequence[LeaderboardRow], further: Sequence[str]) -> str:
    """How the figures were found, and what a reader must know of them."""
    protocols = protocols_words(row.protocol_name for row in rows)
    said = [f"{protocols[:1].upper()}{protocols[1:]}."] if rows else []
    said += [OF_SEEDS] if any(row.seeds > 1 for row in rows) else []
    said += [of_one_run(rows[0].metric)] if any(row.seeds == 1 for row in rows) else []
    said += [NO_TEST] if len(rows) > 1 else []
    if dead := [row.model for row in rows if row.warnings]:
        said.append(f"Runs of {listed(dead)} look dead and are counted.")
    return " ".join(filter(None, [*said, *further]))
