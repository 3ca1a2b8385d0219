"""What the runs of a study leave together: tables, pictures, report, cards; also of those so far. No torch."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelflow.errors import ModelFlowError
from modelflow.evaluation.scores.score import Metric
from modelflow.io.files import write_atomic
from modelflow.io.signals import raise_if_heard
from modelflow.results import layout
from modelflow.studies.plan import Outcome, Plan
from modelflow.studies.resolved import ResolvedStudy
from modelflow.text import ended, sentence

if TYPE_CHECKING:
    from modelflow.analysis.archive import Content
    from modelflow.analysis.leaderboard import LeaderboardRow
    from modelflow.analysis.reading import Reading
    from modelflow.report.leaderboard import Leaderboard

SECONDS_BETWEEN_WRITINGS = 10.0  # of what the runs so far say together
SHARE_OF_WRITING = 0.01  # of the time, at most


def write_study(study: ResolvedStudy) -> "Content":
    """Samples of the study's data, and `write_pages`; the report's `Content`. Raises `DataError` as that does."""
    content = _write_all_but_cards(study)
    _write_cards(content)
    return content


def _write_all_but_cards(study: ResolvedStudy, training: bool = False) -> "Content":
    _write_samples(study)
    return _write_page(study.where, study.data_dir, training=training)


def _write_samples(study: ResolvedStudy) -> None:
    """dataset_samples.png, of the very data that the runs were trained on."""
    from modelflow.figures.samples import plot_samples
    from modelflow.figures.style import png

    data = study.data
    finished = [plan.folder for plan in study.planned if (plan.folder / layout.RUN).is_file()]
    if finished and layout.read_run(finished[0]).data.checksums == data.checksums:
        images, labels = data.samples()
        figure = plot_samples(images, labels, data.class_names, f"{data.name}: training images")
        write_atomic(study.where / layout.SAMPLES, png(figure))


def write_pages(where: str | Path, data_dir: str | Path | None = None, metric: str | None = None) -> "Content":
    """The leaderboard, pareto.png, report.html, and MODEL_CARD.md of the folder and of the runs shown.

    All of it is of all finished runs that the folder holds, decided by `metric`, left out by that which the study
    keeps; the `Content` of the report. Raises `DataError` when there is no finished run, and `UsageError` for a metric
    that is none.
    """
    content = _write_page(where, data_dir, metric)
    _write_cards(content)
    return content


def _write_page(
    where: str | Path, data_dir: str | Path | None, metric: str | None = None, training: bool = False
) -> "Content":
    """All that `write_pages` writes but the cards of the runs; while runs are `training`, a report that follows."""
    from modelflow.analysis.archive import content_of
    from modelflow.report.model_card import study_card
    from modelflow.report.page import render

    where = Path(where)
    reading = _read(where, metric)
    content = content_of(reading)
    _write_pareto(where, _write_tables(reading), reading.metric)
    _write_shared(where / layout.REPORT, render(content, data_dir, training))
    _write_shared(where / layout.MODEL_CARD, study_card(content))
    return content


def _write_cards(content: "Content") -> None:
    """MODEL_CARD.md of the runs shown."""
    from modelflow.report.model_card import run_card

    for seed in content.seeds:
        _write_shared(seed.folder / layout.MODEL_CARD, run_card(seed, metric=content.metric))


def _write_shared(path: Path, content: str | bytes) -> None:
    """Writes where another process may be at work, and anew if that has taken what was half written for left over."""
    try:
        write_atomic(path, content)
    except FileNotFoundError:
        write_atomic(path, content)


def _read(where: Path, metric: str | None = None) -> "Reading":
    """All finished runs of a results folder whose records can be read."""
    from modelflow.analysis.reading import LeftOut, read_folder

    return read_folder(where, LeftOut(), metric)


def _write_tables(reading: "Reading") -> "list[LeaderboardRow]":
    """leaderboard.csv and leaderboard.md of the runs that were read; the rows."""
    from modelflow.analysis.leaderboard import as_csv, as_markdown, rows_in

    rows = rows_in(reading.models, reading.metric)
    left_out = [f"Left out, {place}: {why}" for place, why in reading.left_out.all()]
    as_text = as_markdown(rows, reading.missing, reading.other_metric, *left_out)
    for name, table in ((layout.LEADERBOARD_CSV, as_csv(rows)), (layout.LEADERBOARD_MD, as_text)):
        _write_shared(reading.where / name, table)
    return rows


def _write_pareto(where: Path, rows: "list[LeaderboardRow]", metric: Metric) -> None:
    from modelflow.figures.pareto import plot_pareto
    from modelflow.figures.style import png

    points = [(row.model, row.parameters, row.score) for row in rows]
    protocols = ", ".join(sorted({row.protocol_name for row in rows}))
    best = f"{rows[0].model} has the {metric.highest} {metric.title} of {len(rows)} models" if rows else ""
    title = best or f"{sentence(metric.title)} against parameters"
    picture = png(plot_pareto(points, f"{title} (protocol {protocols})", metric))
    _write_shared(where / layout.PARETO, picture)


def finished_rows(planned: list[Plan], metric: Metric) -> "Leaderboard":
    """The leaderboard of those planned runs that are finished, best first by the metric."""
    from modelflow.analysis.leaderboard import rows_of
    from modelflow.report.leaderboard import Leaderboard

    finished = (plan.folder for plan in planned if (plan.folder / layout.RUN).is_file())
    return Leaderboard(rows_of(finished, metric))


class SoFar:
    """The tables and the report of the runs that have ended so far, written anew when another one does.

    The tables, and the report with its pictures, each at most every few seconds and so seldom that it takes a hundredth
    of the time, however long one writing takes. What goes wrong is said once and stops nothing.
    """

    def __init__(self, study: ResolvedStudy, due: int) -> None:
        self._left = due
        self._report = study.where / layout.REPORT
        self._said: set[str] = set()
        self._tables = _NowAndThen(lambda: _write_tables(_read(study.where)))
        self._page = _NowAndThen(partial(_write_all_but_cards, study, training=True))

    def __call__(self, outcome: Outcome) -> str:
        self._left -= 1
        if isinstance(outcome, ModelFlowError) or not self._left:  # after the last one everything is written
            return ""
        try:
            self._tables()
            if not self._page():
                return ""
            how, said = "written", f"Report so far: {self._report.resolve()}, updated as runs end"
        except Exception as error:
            raise_if_heard()
            why = getattr(error, "strerror", None) or error
            how, said = "failed", f"the report could not be written yet: {ended(str(why))} Training continues."
        new = how not in self._said
        self._said.add(how)
        return said if new else ""


class _NowAndThen:
    """Calls a function when it is called, unless too little time has gone by since."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._ended, self._took = time.monotonic(), 0.0

    def __call__(self) -> bool:
        """Whether it did."""
        start = time.monotonic()
        if start - self._ended < max(SECONDS_BETWEEN_WRITINGS, self._took / SHARE_OF_WRITING):
            return False
        try:
            self._function()
        finally:
            self._ended = time.monotonic()
            self._took = self._ended - start
        return True
