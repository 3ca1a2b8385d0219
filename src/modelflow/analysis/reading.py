"""A results folder read once, run by run: which models it holds, their figures, what cannot be read. No torch.

reading = read_folder("results")
for identity, model in reading.models.items(): print(reading.names[identity], model.figures["accuracy"])

Leaderboard, comparison, report and cards are views of it. Of each run only its figures and its seed are kept, so that a
million of them take little memory: what a view needs of a run's record is read again, of the models that it shows.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from modelflow.analysis.identity import Identity, called, identity_of, other_weights
from modelflow.errors import DataError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.results.asked import Asked, read_asked
from modelflow.results.layout import folders_in, model_runs, read_predictions, read_run
from modelflow.results.records import Run
from modelflow.text import one_line

Found = tuple[Path, Run]  # a finished run: its folder, its record
MAX_REASONS = 50
MAX_COPIES = 5  # of a model, that are named
FIGURES: dict[str, Callable[[Run], float | None]] = {
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


@dataclass
class LeftOut:
    """Folders that are not shown, and why: the first ones, then how many more."""

    reasons: list[tuple[str, str]] = field(default_factory=list)
    more: int = 0

    def copy(self) -> "LeftOut":
        """The same, to add further ones to."""
        return LeftOut([*self.reasons], self.more)

    def add(self, where: str, why: str) -> None:
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append((where, why))
        else:
            self.more += 1

    def all(self) -> list[tuple[str, str]]:
        further = [(f"{self.more:,} further folders", "for reasons such as these")] if self.more else []
        return self.reasons + further


class Tally:
    """What is kept of a model's runs: the record of one, the figures of all, the seeds in order.

    `folder` is that of the first run; `places` are the folders of models in which its runs lie.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.one = folder, run
        self.figures: dict[str, array[float]] = {name: array("d") for name in FIGURES}
        self.more: dict[str, array[float]] = {}
        self.seeds = array("Q")
        self.warnings = 0
        self.places: set[Path] = set()
        self._copies: list[str] = []
        self._further_copies = 0

    def add(self, folder: Path, run: Run) -> None:
        """One more run, unless one of its seed is there."""
        place = bisect_left(self.seeds, run.seed)
        if self.seeds[place : place + 1] == array("Q", [run.seed]):
            self._add_copy(f"{one_line(folder)} (seed {run.seed})")
            return
        self.seeds.insert(place, run.seed)
        for name, figure in FIGURES.items():
            if (value := figure(run)) is not None:
                self.figures[name].append(value)
        for name, value in run.metrics.more.items():
            self.more.setdefault(name, array("d")).append(value)
        self.warnings += bool(run.warnings)

    def _add_copy(self, copy: str) -> None:
        if len(self._copies) < MAX_COPIES:
            self._copies.append(copy)
        else:
            self._further_copies += 1

    def scores(self, metric: Metric) -> "array[float]":
        """Of the runs, by a metric that all records have."""
        return (self.figures | self.more)[metric.name]

    @property
    def copies(self) -> str:
        """The folders that hold a seed once more, which are in no figure."""
        return ", ".join(self._copies) + (f" and {self._further_copies:,} more" if self._further_copies else "")


Tallies = dict[Identity, Tally]


@dataclass(frozen=True, eq=False)
class Reading:
    """The models of a results folder, to be judged by `metric`, and what was `asked` for in it.

    `left_out` names the folders whose records cannot be read, and why.
    """

    where: Path
    models: Tallies
    left_out: LeftOut
    asked: Asked
    metric: Metric = ACCURACY

    @cached_property
    def names(self) -> dict[Identity, str]:
        """What each model is called."""
        return called({model: tally.folder for model, tally in self.models.items()})

    @cached_property
    def missing(self) -> str:
        """Which of the runs that were asked for are not finished, in words; empty where all are."""
        return self.asked.missing()

    @cached_property
    def other_metric(self) -> str:
        """What to know where the study keeps another metric than these are judged by."""
        return self.asked.other_metric(self.metric)

    def runs_of(self, model: Identity) -> tuple[list[Found], list[tuple[str, str]]]:
        """The runs of a model, read again, as `one_a_seed` gives them."""
        there = (found for place in sorted(self.models[model].places) for found in model_runs(place))
        runs = readable(there, self.where, LeftOut(), self.metric)
        return one_a_seed(((path, run) for path, run in runs if identity_of(run) == model), self.where)


def read_folder(results: str | Path, left_out: LeftOut | None = None, metric: Metric | str | None = None) -> Reading:
    """All finished runs of a results folder, one after the other, by `metric`; left out, by that which it keeps.

    Raises `DataError` for a record that cannot be read, unless there is `left_out` to name it in, and `UsageError` for
    a metric that is none.
    """
    where, models, asked = Path(results), Tallies(), read_asked(results)
    by = metric if isinstance(metric, Metric) else asked.metric_of(metric)
    for place in folders_in(where):
        for path, run in readable(model_runs(place), where, left_out, by):
            _add(models, path, run).places.add(place)
    return Reading(where, models, left_out or LeftOut(), asked, by)


def tallied(runs: Iterable[Found]) -> Tallies:
    """The models of these runs, as `identity` tells them apart; of a model and a seed the first run counts."""
    models = Tallies()
    for path, run in runs:
        _add(models, path, run)
    return models


def _add(models: Tallies, path: Path, run: Run) -> Tally:
    identity = identity_of(run)
    if (tally := models.get(identity)) is None:
        tally = models[identity] = Tally(path, run)
    tally.add(path, run)
    return tally


def read_scored(folder: Path, metric: Metric) -> Run:
    """A run's record, with its score by the metric also where the record is of before that was recorded.

    Raises `DataError` for a damaged record, or where that lacks the score and the predictions cannot be read.
    """
    run = read_run(folder)
    if run.metrics.score(metric.name) is not None:
        return run
    more = run.metrics.more | {metric.name: metric.of(*read_predictions(folder, run))}
    return run.model_copy(update={"metrics": run.metrics.model_copy(update={"more": more})})


def readable(
    folders: Iterable[Path], results: Path, left_out: LeftOut | None, metric: Metric = ACCURACY
) -> Iterator[Found]:
    """Those folders below `results` whose record can be read, as `read_scored`; raises as `read_folder` for others."""
    for path in folders:
        try:
            run = read_scored(path, metric)
        except DataError as error:
            if left_out is None:
                raise
            left_out.add(str(path.relative_to(results)), str(error))
            continue
        yield path, run


def one_a_seed(runs: Iterable[Found], results: Path | None = None) -> tuple[list[Found], list[tuple[str, str]]]:
    """The runs of one model, of each seed the first, the least seed first; and each further folder, with what it holds.

    Folders are named by their paths in `results`, where these are of one results folder.
    """
    taken: dict[int, Found] = {}
    copies = []
    for path, run in runs:
        first, of_first = taken.setdefault(run.seed, (path, run))
        if first != path:
            copy, original = (one_line(one if results is None else one.relative_to(results)) for one in (path, first))
            why = f"same model and seed as {original}, which counts for both{other_weights(run, of_first)}"
            copies.append((copy, why))
    return [taken[seed] for seed in sorted(taken)], copies
