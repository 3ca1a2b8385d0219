"""A results folder as Python's users get it: `load_results("results").compare()`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelflow.analysis.archive import read_content
from modelflow.errors import DataError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.export.loaded_run import LoadedRun, load_run
from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.html import Markup
from modelflow.io.faces.table import Table
from modelflow.report.answer import answers
from modelflow.report.comparison import ShownComparison, compare
from modelflow.report.leaderboard import Leaderboard, leaderboard_of
from modelflow.results import layout
from modelflow.studies.pages import write_pages
from modelflow.text import one_line, sentence


class Runs(Face, list[LoadedRun]):
    """Finished runs, model by model."""

    def _tables(self) -> Sequence[Table]:
        shown = _figures_shown(self[0].metric if self else ACCURACY)
        header = ("Model", "Seed", *shown, "Seconds of training")
        lines = [_line(run, shown) for run in self]
        return [Table(header, lines, 1, "Finished runs, on their test images")]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [row for run in self for row in run._rows()]


def _figures_shown(metric: Metric) -> dict[str, Callable[[LoadedRun], str]]:
    """The columns of figures: what the runs are judged by, their accuracy, their loss."""
    own = {sentence(metric.title): lambda run: run.metric.text(run.score)}
    others: dict[str, Callable[[LoadedRun], str]] = {
        "Accuracy": lambda run: f"{run.record.metrics.accuracy:.2%}",
        "Loss": lambda run: f"{run.record.metrics.loss:.4f}",
    }
    return others if metric is ACCURACY else own | others


def _line(run: LoadedRun, shown: Mapping[str, Callable[[LoadedRun], str]]) -> tuple[str, ...]:
    record, seconds = run.record, run.record.seconds.get("training")
    figures = [figure(run) for figure in shown.values()]
    return record.model_name, str(record.seed), *figures, "" if seconds is None else f"{seconds:.1f}"


@dataclass(frozen=True)
class Report:
    """A report that was written at `path`; `answers` are its headlines."""

    path: Path
    answers: tuple[str, ...]

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        link = f'<p>Report: <a href="{html.text(self.path.as_posix())}" target="_blank">{html.text(self.path)}</a></p>'
        return html.block(*map(html.headline, self.answers), Markup(link))


@dataclass(frozen=True)
class Results(Face):
    """The finished runs of a results `folder`, read anew each time they are asked for."""

    folder: Path
    data_dir: Path | None = None

    @property
    def runs(self) -> Runs:
        """Each finished run, model by model, as `load_run` gives it. Raises `DataError` for a damaged record."""
        return Runs(load_run(folder, self.data_dir) for folder in layout.run_folders(self.folder))

    def leaderboard(
        self, sort: str | None = None, only: str = "*", where: Sequence[str] = (), metric: str | None = None
    ) -> Leaderboard:
        """The models, best first by the column `sort` of leaderboard.csv, as for `modelflow leaderboard`.

        `metric` is what they are judged by: accuracy, balanced_accuracy, macro_f1 or nll; left out, as the study says.

        `only` is a pattern of names, `where` are conditions such as "parameters < 10000". Raises `UsageError` for a
        column or a condition that is none, and `DataError` for a damaged record.
        """
        return leaderboard_of(self.folder, sort, only, where, metric)

    def compare(self, margin: float | None = None, metric: str | None = None) -> ShownComparison:
        """Which models are really better, and by how much, by `metric`; `margin` in its points, of nll in nats.

        Left out, both are the study's. Raises `UsageError` for fewer than two models, or models that may not be
        compared.
        """
        return compare(self.folder, margin, metric)

    def report(self, metric: str | None = None) -> Report:
        """Writes report.html, the leaderboard and the model cards again, by `metric`, left out the study's.

        Raises `DataError` as `load_results` does, and `UsageError` for a metric that is none.
        """
        content = write_pages(self.folder, self.data_dir, metric)
        return Report(self.folder / layout.REPORT, tuple(answers(content)))

    def _body(self) -> Sequence[Markup]:
        said = map(html.headline, answers(read_content(self.folder)))
        return [*said, *self.leaderboard()._body()]

    def _notes(self) -> Sequence[str]:
        return self.leaderboard()._notes()

    def _tables(self) -> Sequence[Table]:
        return self.leaderboard()._tables()

    def _paper_tables(self) -> Sequence[Table]:
        return self.leaderboard()._paper_tables()

    def _rows(self) -> Sequence[dict[str, Any]]:
        return self.leaderboard()._rows()


def load_results(folder: str | Path, data_dir: str | Path | None = None) -> Results:
    """The finished runs in a results folder: `leaderboard`, `compare`, `runs`, `report`.

    `data_dir` is where the data set lies, for the test images of the report and for exports. Raises `DataError` where
    there is no finished run.
    """
    folder = Path(folder)
    if next(layout.run_folders(folder), None) is None:
        raise DataError(
            f"{one_line(folder)}: no finished run in it. Give a results folder, such as the one `modelflow run` wrote."
        )
    return Results(folder, None if data_dir is None else Path(data_dir))
