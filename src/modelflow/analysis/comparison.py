"""Runs, or models with all their seeds, compared from the predictions that they left. No torch.

comparison = compare_folders([Path("results/generic_1"), Path("results/generic_2")])       # by the study's metric
for verdict in comparison.verdicts: print(verdict.words)
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.analysis.identity import differing, settings_apart, told_apart, unlike_words, why_not_compared
from modelflow.analysis.intervals import Interval, score_interval
from modelflow.analysis.reading import Found, one_a_seed, read_folder
from modelflow.analysis.verdicts import (
    MARGIN,
    RunVerdict,
    Verdict,
    compare,
    compare_runs,
    default_margin,
    margin_of,
    margin_words,
    trained_words,
)
from modelflow.errors import UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.io.array import Array
from modelflow.results.asked import NOTHING_ASKED, read_asked
from modelflow.results.layout import RUN, folders_in, model_folder, model_runs, read_predictions, read_run
from modelflow.results.protocol import Protocol, protocol_of
from modelflow.results.records import Run
from modelflow.text import one_line, short

OTHER_IMAGES = "tested on other images. Compare runs of one data set."


@dataclass(frozen=True)
class Entry:
    """A model with its seeds, or one run: mean accuracy, protocol, how many of its runs died.

    `interval` is the 95 % interval of the mean by the metric, which is `score`, left out the accuracy; None where it
    is not known. `settings` are those that not all entries share, `data` and `images` what they were tested on.
    """

    name: str
    seeds: int
    accuracy: float
    interval: Interval | None
    protocol: Protocol
    died: int = 0
    settings: str = ""
    score: float | None = None
    data: str = ""
    images: int = 0

    def by(self, metric: Metric) -> float:
        """The mean by the metric that the comparison is decided by."""
        return self.accuracy if metric is ACCURACY or self.score is None else self.score


@dataclass(frozen=True)
class Comparison:
    """The entries, best first by `metric`, and a verdict for each pair; models of one run beside several are left out.

    `copies` says which folders hold a model and seed that another one stands for. `margin` is what would matter, of 1
    (of nll in nats).
    """

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict | RunVerdict, ...]
    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    margin: float = MARGIN
    metric: Metric = ACCURACY


@dataclass(frozen=True)
class _Side:
    name: str
    folder: Path
    runs: list[Run]
    values_SN: Array
    labels_N: Array
    copies: tuple[str, ...] = ()


def compare_folders(
    folders: Sequence[str | Path] | str | Path, margin: float | None = None, metric: str | None = None
) -> Comparison:
    """The models in these folders, each with all its seeds; single runs where one of the folders is `…/seeds/N`.

    One folder without a run of its own, such as `results`, stands for the models in it, however many folders each is
    in. Models of one name have their folder behind it. `metric` is what is compared, such as balanced_accuracy, and
    `margin` in its points (of nll in nats); left out, both are as the study of all of them keeps them. Raises
    `UsageError` for fewer than two folders or one given twice, for runs in one of several folders that are not seeds of
    one model, for models that may not be compared (`identity`), for a margin below four images, and `DataError` for a
    damaged run.
    """
    folders = _paths(folders)
    of_study, study = _is_study(folders), study_of(folders)
    asked = NOTHING_ASKED if study is None else read_asked(study)
    by = asked.metric_of(metric)
    sides = _models_of(folders[0], by) if of_study else _given(folders, by)
    names = told_apart([side.name for side in sides], [side.folder for side in sides])
    for name, side in zip(names[1:], sides[1:], strict=True):
        _check_comparable([name, names[0]], [side, sides[0]])
    compared = {name: (side.runs, side.values_SN) for name, side in zip(names, sides, strict=True)}
    labels_N = sides[0].labels_N
    kept = asked.margin(by) if margin is None else None
    share = margin_of(margin, len(labels_N), by) if kept is None else kept
    found = compare_sides(compared, share, by, by.groups(labels_N))
    return replace(found, copies=tuple(copy for side in sides for copy in side.copies))


def _is_study(folders: Sequence[Path]) -> bool:
    return len(folders) == 1 and not (folders[0] / RUN).is_file()


def study_of(folders: Sequence[str | Path] | str | Path) -> Path | None:
    """The one study of these models, or that is given; None where they are of several."""
    folders = _paths(folders)
    if _is_study(folders):
        return folders[0]
    studies = {_model_folder(folder).resolve().parent for folder in folders}
    return studies.pop() if len(studies) == 1 else None


def _paths(folders: Sequence[str | Path] | str | Path) -> list[Path]:
    return [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]


def beside(folders: Sequence[str | Path] | str | Path) -> tuple[Path, int]:
    """The study that all these folders of models are in, and how many more models with a finished run are there."""
    folders = _paths(folders)
    own = {folder.resolve() for folder in folders}
    study = next(iter(own)).parent
    if len(own) < 2 or any(_model_folder(one) != one for one in own) or {one.parent for one in own} != {study}:
        return study, 0
    finished = {folder for folder in folders_in(study) if (folder / RUN).is_file()}
    return study, len(finished - own)


def _models_of(study: Path, metric: Metric) -> list[_Side]:
    """The models of a study. Raises `UsageError` for fewer than two."""
    if not study.is_dir():
        raise UsageError(f"compare {one_line(study)}: no such folder. Give a study or two models.")
    reading = read_folder(study, metric=metric)
    if len(reading.models) < 2:
        there = ", ".join(map(one_line, reading.names.values())) or "none"
        left = f". {note}" if (note := reading.missing) else ""
        raise UsageError(
            f"compare {one_line(study)}: models with a finished run there: {there}, expected at least two{left}"
        )
    return [_side(model.name, tally.folder, metric, *reading.runs_of(model)) for model, tally in reading.models.items()]


def _given(folders: Sequence[Path], metric: Metric) -> list[_Side]:
    """What each of these folders holds. Raises `UsageError` where that is not one model, or the same twice."""
    if len({folder.resolve() for folder in folders}) < 2:
        raise UsageError("compare: give at least two runs, such as results/generic_1 results/generic_2, or a study")
    _check_given_once(folders)
    if any(_model_folder(folder) != folder for folder in folders):
        runs = [(folder, read_run(folder)) for folder in folders]
        return [_side(f"{run.model_name}, seed {run.seed}", folder, metric, [(folder, run)]) for folder, run in runs]
    return [_read(folder, metric) for folder in folders]


def compare_sides(
    sides: dict[str, tuple[list[Run], Array]],
    margin: float | None = None,
    metric: Metric = ACCURACY,
    groups: tuple[int, ...] = (),
) -> Comparison:
    """The comparison of runs at hand: by name the runs and whether each (S) has each image (N) right.

    Of another `metric` these are its `values`, and `groups` are its own of the labels.
    """
    images = max(values_SN.shape[1] for _, values_SN in sides.values())
    margin = default_margin(images, metric) if margin is None else margin
    settings = settings_apart([runs[0] for runs, _ in sides.values()])
    entries = [
        _entry(name, runs, apart, metric, values_SN, groups)
        for (name, (runs, values_SN)), apart in zip(sides.items(), settings, strict=True)
    ]
    values = {name: values_SN for name, (_, values_SN) in sides.items()}
    died = {name: [run.died for run in runs] for name, (runs, _) in sides.items()}
    first_runs = {f"{name}, seed {runs[0].seed}" if len(runs) > 1 else name: v[0] for name, (runs, v) in sides.items()}
    return judged(entries, values, died, first_runs, margin, metric, groups)


def judged(
    entries: Sequence[Entry],
    values: Mapping[str, Array],
    died: Mapping[str, Sequence[bool]],
    first_runs: Mapping[str, Array],
    margin: float,
    metric: Metric,
    groups: tuple[int, ...],
) -> Comparison:
    """Verdicts on models of several runs, by name their `values` (S x N); else on the `first_runs` (N) of all."""
    best_first = tuple(sorted(entries, key=lambda entry: (-metric.merit(entry.by(metric)), entry.name)))
    several = {name: values_SN for name, values_SN in values.items() if len(values_SN) > 1}
    if len(several) > 1:
        left_out = tuple(name for name in values if name not in several)
        verdicts = tuple(compare(several, margin, died=died, metric=metric, groups=groups))
        return Comparison(best_first, verdicts, left_out, margin=margin, metric=metric)
    return Comparison(best_first, tuple(compare_runs(first_runs, metric, groups)), margin=margin, metric=metric)


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, with both intervals of each verdict and how many pairs its p-value counts.

    `interval` is the one in the words: the simultaneous one. Differences are by how much the first is better.
    """
    metric = comparison.metric
    entries = [_entry_data(one, metric) for one in comparison.entries]
    verdicts = [_verdict_data(one) for one in comparison.verdicts]
    whole = asdict(replace(comparison, entries=(), verdicts=()))
    return whole | {"entries": entries, "verdicts": verdicts, "metric": metric.word, "pairs": len(verdicts)}


def _entry_data(entry: Entry, metric: Metric) -> dict[str, Any]:
    data = asdict(entry) | {"protocol": str(entry.protocol)}
    del data["score"]
    return data if metric is ACCURACY else data | {metric.name: entry.score}


DIFFERENCE = ("estimate", "of_seeds", "of_images", "freedom", "seeds")
INTERVALS = ("interval", "simultaneous_interval", "pair_interval")


def _verdict_data(verdict: Verdict | RunVerdict) -> dict[str, Any]:
    data = asdict(verdict) | {name: asdict(getattr(verdict, name)) for name in INTERVALS}
    for name in ("difference", "of_all_runs"):
        if found := getattr(verdict, name, None):
            data[name] = {field: getattr(found, field) for field in DIFFERENCE}
    return data


def notes(comparison: Comparison) -> list[str]:
    """What all verdicts share: settings that differ; of several seeds the intervals, the runs, the margin."""
    unlike = unlike_words({entry.name: entry.settings for entry in comparison.entries})
    said = [unlike] if unlike else []
    said += [] if comparison.metric is ACCURACY else [f"By {comparison.metric.title}. {comparison.metric.of_an_image}"]
    found = [one for one in comparison.verdicts if isinstance(one, Verdict)]
    if not found:
        return said
    judged = [entry for entry in comparison.entries if entry.name not in comparison.left_out]
    pairs = f" for all {len(found):,} pairs at once" if len(found) > 1 else ""
    margin = margin_words(comparison.margin, found[0].difference.images, comparison.metric.unit)
    return [
        *said,
        f"Intervals: 95 %{pairs}. Margin: {margin}.",
        trained_words([entry.died for entry in judged], [entry.seeds for entry in judged]),
    ]


def _entry(
    name: str, runs: list[Run], settings: str, metric: Metric, values_SN: Array, groups: tuple[int, ...]
) -> Entry:
    accuracies = [run.metrics.accuracy for run in runs]
    scores = accuracies if metric is ACCURACY else values_SN.mean(1).tolist()
    interval = score_interval(metric, scores, runs[0].metrics.images, values_SN[0], groups)
    accuracy, score = (float(np.mean(of)) for of in (accuracies, scores))
    died, tested = sum(run.died for run in runs), (runs[0].data.name, runs[0].metrics.images)
    return Entry(name, len(runs), accuracy, interval, protocol_of(runs[0]), died, settings, score, *tested)


def _model_folder(folder: Path) -> Path:
    return model_folder(folder, read_run(folder)) if (folder / RUN).is_file() else folder


def _read(folder: Path, metric: Metric) -> _Side:
    """The model in a folder. Raises `UsageError` for runs that are not of one model."""
    found = [(path, read_run(path)) for path in list(model_runs(folder)) or [folder]]
    for path, run in found:
        _check_one_model(path, run, *found[0])
    return _side(found[0][1].model_name, folder, metric, *one_a_seed(found))


def _side(
    name: str, folder: Path, metric: Metric, runs: Sequence[Found], copies: Sequence[tuple[str, str]] = ()
) -> _Side:
    values, labels = zip(*(_values(path, run, metric) for path, run in runs), strict=True)
    for (path, _), labels_N in zip(runs, labels, strict=True):
        if not np.array_equal(labels_N, labels[0]):
            raise UsageError(f"{one_line(path)} and {one_line(runs[0][0])} were {OTHER_IMAGES}")
    said = tuple(f"{copy}: {why}" for copy, why in copies)
    return _Side(name, folder, [run for _, run in runs], np.stack(values), labels[0], said)


def _check_one_model(path: Path, run: Run, first: Path, of_first: Run) -> None:
    if found := differing(run, of_first):
        name, here, there = found
        raise UsageError(
            f"{one_line(path)} has another {name} ({short(here)}) than {one_line(first)} ({short(there)}). The seeds "
            "of a model are averaged: give each model its own folder."
        )


def _values(folder: Path, run: Run, metric: Metric) -> tuple[Array, Array]:
    """The metric's value of each image, and the labels."""
    logits_NK, labels_N = read_predictions(folder, run)
    return metric.values(logits_NK, labels_N), labels_N


def _check_given_once(folders: Sequence[Path]) -> None:
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{one_line(twice)} is given twice. Give each folder once.")


def _check_comparable(names: Sequence[str], sides: Sequence[_Side]) -> None:
    """Raises `UsageError` where two sides may not be compared, or were tested on images with other labels."""
    first, other = (side.runs[0] for side in sides)
    why = why_not_compared(first, other)
    if not why and not np.array_equal(sides[0].labels_N, sides[1].labels_N):
        why = OTHER_IMAGES
    if why:
        raise UsageError(f"{names[0]} and {names[1]} were {why}")
