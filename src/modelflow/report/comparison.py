"""A comparison as Python's users get it: headline, accuracies, verdicts, the best pair first. No torch.

compare("results")                                        # the models of a study
compare(["results/generic_1", "results/generic_2"]).to_latex()
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from modelflow.analysis.comparison import Comparison, Entry, beside, compare_folders, notes, study_of
from modelflow.analysis.identity import unlike_words
from modelflow.analysis.leaderboard import heading_of, protocols_words
from modelflow.analysis.predictions import compare_predictions as of_predictions
from modelflow.analysis.units import difference_words, range_words
from modelflow.analysis.verdicts import Verdict, margin_words, trained_words
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric, Unit
from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.html import Markup
from modelflow.io.faces.table import Table
from modelflow.report.answer import headline_of, mean_words, standing_of
from modelflow.report.bars import Axis, VerdictRow, bars, best_first, best_of, estimate, p_words
from modelflow.report.leaderboard import OF_SEEDS, of_one_run
from modelflow.report.words import in_words, minus
from modelflow.results.asked import read_asked
from modelflow.text import counted, ended, one_line, sentence, shown

SAID = {"better": "better", "equivalent": "equivalent", "cannot tell": "inconclusive"}
OF_PAIRS = (
    "Differences are in {unit}. Intervals: 95 %{simultaneous}, by Student's t, whose variance counts seeds and test "
    "images. p: of no difference, by the same t test{adjusted}. Better: p below 0.05. Equivalent: within {margin}, by "
    "two one-sided t tests at 5 %{adjusted}."
)
OF_RUNS = (
    "Differences are in {unit}. One run of each: nothing is said of other seeds. Intervals: 95 %{simultaneous}, by "
    "{interval} over test images. p: of no difference, by {test}{adjusted}. Better: p below 0.05."
)
OF_ACCURACY = {"interval": "the paired bootstrap", "test": "McNemar's exact test"}
OF_VALUES = {"interval": "the paired t interval of the values of images", "test": "the same t test"}


@dataclass(frozen=True, repr=False)
class ShownComparison(Face, Comparison):
    """A `Comparison` that shows itself: `entries`, the best first, and `verdicts`, the best pair first.

    `beside` says that more models lie beside those that were compared, `caution` that their study keeps another metric;
    both are empty where nothing is to be said.
    """

    beside: str = field(default="", kw_only=True)
    caution: str = field(default="", kw_only=True)

    @property
    def headline(self) -> str:
        """Which model is best, in one sentence."""
        found = standing_of([entry.name for entry in self.entries], _of_models(self))
        if found is not None:
            best = next(entry for entry in self.entries if entry.name == found.best)
            mean = mean_words(best.by(self.metric), best.seeds, self.metric)
            return headline_of(found, self.margin, self.left_out, mean, self.metric)
        if len(self.verdicts) == 1:
            return ended(self.verdicts[0].words)
        return f"One run of each cannot tell which of the {in_words(len(self.entries))} is the {self.metric.best}."

    @property
    def notes(self) -> list[str]:
        """What is to be said below the verdicts."""
        alone = f"not compared, one seed only: {', '.join(self.left_out)}" if self.left_out else ""
        return [note for note in (*notes(self), alone, *(f"left out: {copy}" for copy in self.copies)) if note]

    def scores(self) -> Table:
        """Each model with its score and interval."""
        lines = [(entry.name, _seeds(entry), *_score(entry, self.metric, " %", "%")) for entry in self.entries]
        caption = f"Test {self.metric.title} · {protocols_words(entry.protocol.name for entry in self.entries)}"
        header = ("", "Seeds", heading_of(self.metric), f"95 % interval, {self.metric.unit.level}")
        return Table(header, lines, 1, caption)

    def _headline(self) -> str:
        return self.headline

    def _tables(self) -> Sequence[Table]:
        lines = [(SAID[one.kind], ended(one.words), p_words(one)) for one in self.verdicts]
        return [self.scores(), Table(("Verdict", "In words", "p (Holm)"), lines, 2)]

    def _notes(self) -> Sequence[str]:
        return [*self.notes, *filter(None, [self.beside, self.caution])]

    def _body(self) -> Sequence[Markup]:
        return [html.table(self.scores()), html.table(_verdicts_with_bars(self))]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [
            {
                "first": verdict.first,
                "second": verdict.second,
                "verdict": SAID[verdict.kind],
                "difference": estimate(verdict),
                "low": verdict.interval.low,
                "high": verdict.interval.high,
                "pair_low": verdict.pair_interval.low,
                "pair_high": verdict.pair_interval.high,
                "p_value": verdict.p_value,
                "words": verdict.words,
            }
            for verdict in self.verdicts
        ]

    def _paper_tables(self) -> Sequence[Table]:
        return [_paper_scores(self), _paper_verdicts(self)]


def compare(
    folders: Sequence[str | Path] | str | Path, margin: float | None = None, metric: str | None = None
) -> ShownComparison:
    """Which of these models, or of a study's, are really better, and by how much.

    `folders` are those of models, with all their seeds, or of single runs, such as results/generic_2/seeds/43. Or it is
    the one folder of a study. `metric` is what is compared: accuracy, balanced_accuracy, macro_f1 or nll. `margin` is
    the smallest difference that matters, in its points (of nll in nats). Left out, both are the study's own. The
    method: docs/statistics.md. Raises `UsageError` for what may not be compared, and `DataError` for a damaged run.
    """
    found, study = compare_folders(folders, margin, metric), study_of(folders)
    caution = "" if metric is None or study is None else read_asked(study).other_metric(found.metric)
    return showing(found, _beside_words(folders), caution)


def compare_predictions(
    predictions: Mapping[str, object], labels_N: object, margin: float | None = None, metric: str | None = None
) -> ShownComparison:
    """As `compare`, of predictions that were made elsewhere: see `analysis.predictions.compare_predictions`."""
    return showing(of_predictions(predictions, labels_N, margin, metric))


def showing(found: Comparison, beside: str = "", caution: str = "") -> ShownComparison:
    """A comparison as one that shows itself."""
    values = {one.name: getattr(found, one.name) for one in fields(found)}
    ordered = tuple(best_first(found.verdicts, best_of(found.verdicts)))
    return ShownComparison(**values | {"verdicts": ordered}, beside=beside, caution=caution)


def _beside_words(folders: Sequence[str | Path] | str | Path) -> str:
    study, more = beside(folders)
    if not more:
        return ""
    where = one_line(study)
    return (
        f"{counted(more, 'more model')} in {where}. A pair chosen by its results is called “better” too easily. "
        f"To count every pair: modelflow compare {where}"
    )


def _of_models(found: Comparison) -> list[Verdict]:
    return [verdict for verdict in found.verdicts if isinstance(verdict, Verdict)]


def _score(entry: Entry, metric: Metric, sign: str, shown_as: str) -> tuple[str, str]:
    """The score, of a share with its `sign` as it is to be shown, and its interval."""
    score = metric.text(entry.by(metric)).replace(sign, shown_as)
    return score, range_words(entry.interval, metric.unit) if entry.interval else ""


def _seeds(entry: Entry) -> str:
    return f"{entry.seeds}, {entry.died} died" if entry.died else str(entry.seeds)


# --- in a notebook ---------------------------------------------------------------------------------------------------


def _verdicts_with_bars(found: ShownComparison) -> Table:
    """As the report has them: each verdict in words, and its difference on an axis that all share."""
    unit = found.metric.unit
    rows, axis = bars(found.verdicts, found.margin, best_of(found.verdicts), unit)
    lines = [
        (_chip(row), minus(ended(row.verdict.words)), _bar(row, axis, unit), p_words(row.verdict))
        for row in rows
        if axis is not None
    ]
    ticks = _ticks(axis) if axis else ""
    difference = Markup(f"{sentence(unit.difference)}, 95 % for this pair alone{ticks}")
    header = ("Verdict", "In words", difference, "p (Holm)")
    return Table(header, lines, 3)


def _ticks(axis: Axis) -> Markup:
    marks = (
        f'<text x="{at}%" y="11" font-size="11" text-anchor="middle" fill="currentColor">{minus(mark)}</text>'
        for at, mark in axis.marks
    )
    return Markup(f'<svg class="bar" aria-hidden="true" width="210" height="14">{"".join(marks)}</svg>')


def _chip(row: VerdictRow) -> Markup:
    kind = row.verdict.kind
    return Markup(f'<span class="chip {kind.replace(" ", "-")}">{SAID[kind]}</span>')


def _bar(row: VerdictRow, axis: Axis, unit: Unit) -> Markup:
    """The interval of a pair as a line, its difference as a dot; upright no difference, about it the margin."""
    verdict = row.verdict
    says = (
        f"{difference_words(estimate(verdict), unit)}, this pair alone from {range_words(verdict.pair_interval, unit)}"
    )
    band = f'x="{axis.least}%" width="{axis.most - axis.least:.2f}%"'
    return Markup(
        f'<svg class="bar" role="img" aria-label="{minus(says)}" width="210" height="20">'
        f'<rect {band} height="20" fill="currentColor" opacity="0.12"/>'
        f'<line x1="{axis.zero}%" x2="{axis.zero}%" y1="0" y2="20" stroke="currentColor" opacity="0.5"/>'
        f'<line x1="{row.low}%" x2="{row.high}%" y1="10" y2="10" stroke="currentColor" stroke-width="2"/>'
        f'<circle cx="{row.middle}%" cy="10" r="4" fill="currentColor"/></svg>'
    )


# --- in a paper ------------------------------------------------------------------------------------------------------


def _paper_scores(found: ShownComparison) -> Table:
    metric = found.metric
    lines = [(one.name, _seeds(one), *_score(one, metric, " %", "")) for one in found.entries]
    seeds = [entry.seeds for entry in found.entries]
    said = [OF_SEEDS] if max(seeds) > 1 else []
    said += [of_one_run(metric)] if min(seeds) == 1 else []
    caption = f"Test {metric.title} of {_of_what(found)}. {_by_protocol(found)}"
    header = ("Model", "Seeds", f"{heading_of(metric)} ({metric.unit.level})", "95 % interval")
    return Table(header, lines, 1, caption, " ".join(said))


def _paper_verdicts(found: ShownComparison) -> Table:
    unit = found.metric.unit
    lines = [
        (
            *(one.first, one.second, SAID[one.kind]),
            *(_precisely(estimate(one), unit), minus(range_words(one.interval, unit)), p_words(one)),
        )
        for one in found.verdicts
    ]
    caption = f"Each pair of {_of_what(found)}, {_how_many_seeds(found)}. {_by_protocol(found)}"
    header = ("First", "Second", "Verdict", "Difference", "95 % interval", "p")
    return Table(header, lines, 3, caption, " ".join(filter(None, [_method(found), found.caution])))


def _precisely(difference: float, unit: Unit) -> str:
    return f"{unit.scale * difference:.{unit.digits + 1}f}"


def _of_what(found: Comparison) -> str:
    images = found.entries[0]
    what = "model" if _of_models(found) else "run"
    of_data = f" of {shown(images.data)}" if images.data else ""
    return f"{counted(len(found.entries), what)} on the {images.images:,} test images{of_data}"


def _by_protocol(found: Comparison) -> str:
    return sentence(protocols_words(entry.protocol.name for entry in found.entries))


def _how_many_seeds(found: Comparison) -> str:
    seeds = sorted({entry.seeds for entry in found.entries if entry.name not in found.left_out})
    if not _of_models(found):
        return "one run of each"
    return f"{seeds[0]} seeds of each" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds of each"


def _method(found: Comparison) -> str:
    """How verdicts were found, and of which runs."""
    verdicts, pairs = _of_models(found), len(found.verdicts)
    of_all = {
        "simultaneous": f", simultaneous for all {pairs:,} pairs (Bonferroni)" if pairs > 1 else "",
        "adjusted": ", adjusted by Holm's method" if pairs > 1 else "",
        "unit": found.metric.unit.difference,
        **(OF_ACCURACY if found.metric is ACCURACY else OF_VALUES),
    }
    values = "" if found.metric is ACCURACY else found.metric.of_an_image
    unlike = unlike_words({entry.name: entry.settings for entry in found.entries})
    if not verdicts:
        return " ".join(filter(None, [OF_RUNS.format(**of_all), values, unlike]))
    judged = [entry for entry in found.entries if entry.name not in found.left_out]
    trained = trained_words([entry.died for entry in judged], [entry.seeds for entry in judged])
    margin = margin_words(found.margin, verdicts[0].difference.images, found.metric.unit)
    return " ".join(filter(None, [OF_PAIRS.format(**of_all, margin=margin), values, trained, unlike]))
