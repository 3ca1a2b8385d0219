"""Runs, or models with all their seeds, compared from the predictions that they left. No torch.

comparison = compare_folders([Path("results/generic_1"), Path("results/generic_2")])
for verdict in comparison.verdicts: print(verdict.words)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.analysis.identity import Identity, differing, identity_of, other_weights, told_apart
from modelflow.analysis.intervals import Interval, accuracy_interval
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
from modelflow.errors import ModelFlowError, UsageError
from modelflow.results.asked import missing, read_written_study
from modelflow.results.layout import RUN, SET_ASIDE, model_folder, model_folders, model_runs, read_predictions, read_run
from modelflow.results.records import Run, other_data, split_kind
from modelflow.text import one_line, short, shown

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Entry:
    """A model with its seeds, or one run: mean accuracy with its 95 % interval, protocol, how many of its runs died."""

    name: str
    seeds: int
    accuracy: float
    interval: Interval
    protocol: str
    died: int = 0


@dataclass(frozen=True)
class Comparison:
    """The entries, most accurate first, and a verdict for each pair; models of one run beside several are left out.

    `copies` says which folders hold a model and seed that another one stands for. `margin` is what would matter, a
    share of 1.
    """

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict | RunVerdict, ...]
    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    margin: float = MARGIN


@dataclass(frozen=True)
class _Side:
    name: str
    folder: Path
    runs: list[Run]
    correct_SN: Array
    labels_N: Array
    copies: tuple[str, ...] = ()


def compare_folders(folders: Sequence[str | Path] | str | Path, margin: float | None = None) -> Comparison:
    """The models in these folders, each with all its seeds; single runs where one of the folders is `…/seeds/N`.

    One folder without a run of its own, such as `results`, stands for the models in it, however many folders each is
    in. Models of one name have their folder behind it, and protocols that differ in settings stand behind the names.
    `margin` is in points; left out, as the study of all of them keeps it. Raises `UsageError` for fewer than two
    folders or one given twice, for runs in one folder that are not seeds of one model (`identity`), for sides by
    protocols that cannot be compared, or other test images, for a margin below four images, and `DataError` for a
    damaged run.
    """
    folders = _paths(folders)
    of_study = len(folders) == 1 and not (folders[0] / RUN).is_file()
    if of_study:
        folders = _models_of(folders[0])
    if len({folder.resolve() for folder in folders}) < 2:
        raise UsageError("compare: give at least two runs, such as results/generic_1 results/generic_2, or a study")
    _check_given_once(folders)
    single = any(_model_folder(folder) != folder for folder in folders)
    groups = _by_model(folders) if of_study else [[folder] for folder in folders]
    sides = [_read(group, single) for group in groups]
    names = told_apart([side.name for side in sides], [side.folder for side in sides])
    for name, side in zip(names[1:], sides[1:], strict=True):
        _check_comparable([name, names[0]], [side, sides[0]])
    named = zip(_with_protocols(names, sides), sides, strict=True)
    compared = {name: (side.runs, side.correct_SN) for name, side in named}
    share = _margin(folders, margin, len(sides[0].labels_N))
    return replace(compare_sides(compared, share), copies=tuple(copy for side in sides for copy in side.copies))


def kept_margin(study: Path) -> float | None:
    """The margin of study.json, a share of 1: half a point in one of before any was kept; None without study.json."""
    try:
        points = read_written_study(study).margin
    except ModelFlowError:
        return None
    return MARGIN if points is None else points / 100


def _margin(folders: Sequence[Path], points: float | None, images: int) -> float:
    """As asked for, or as the one study of these models keeps it, or the default."""
    studies = {_model_folder(folder).resolve().parent for folder in folders}
    kept = kept_margin(studies.pop()) if points is None and len(studies) == 1 else None
    return margin_of(points, images) if kept is None else kept


def _paths(folders: Sequence[str | Path] | str | Path) -> list[Path]:
    return [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]


def beside(folders: Sequence[str | Path] | str | Path) -> tuple[Path, int]:
    """The study that all these folders of models are in, and how many more models with a finished run are there."""
    folders = _paths(folders)
    own = {folder.resolve() for folder in folders}
    study = next(iter(own)).parent
    if len(own) < 2 or any(_model_folder(one) != one for one in own) or {one.parent for one in own} != {study}:
        return study, 0
    finished = {path.parent for path in study.glob(f"*/{RUN}") if not SET_ASIDE.search(path.parent.name)}
    return study, len(finished - own)


def _models_of(study: Path) -> list[Path]:
    """The folders of a study's models. Raises `UsageError` for fewer than two."""
    if not study.is_dir():
        raise UsageError(f"compare {one_line(study)}: no such folder; give that of a study, or those of two models")
    folders = model_folders(study)
    if len(folders) < 2:
        there = one_line(folders[0].name) if folders else "none"
        left = f" ({note})" if (note := missing(study)) else ""
        raise UsageError(
            f"compare {one_line(study)}: models with a finished run there: {there}; expected at least two{left}"
        )
    return folders


def compare_sides(sides: dict[str, tuple[list[Run], Array]], margin: float | None = None) -> Comparison:
    """The comparison of runs at hand: by name the runs and whether each (S) has each image (N) right."""
    margin = default_margin(max(correct_SN.shape[1] for _, correct_SN in sides.values())) if margin is None else margin
    entries = [_entry(name, runs) for name, (runs, _) in sides.items()]
    best_first = tuple(sorted(entries, key=lambda entry: -entry.accuracy))
    several = {name: correct_SN for name, (_, correct_SN) in sides.items() if len(correct_SN) > 1}
    if len(several) > 1:
        left_out = tuple(name for name in sides if name not in several)
        died = {name: [run.died for run in runs] for name, (runs, _) in sides.items()}
        return Comparison(best_first, tuple(compare(several, margin, died=died)), left_out, margin=margin)
    first_runs = {f"{name}, seed {runs[0].seed}" if len(runs) > 1 else name: c[0] for name, (runs, c) in sides.items()}
    return Comparison(best_first, tuple(compare_runs(first_runs)), margin=margin)


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, with both intervals of each verdict and how many pairs its p-value counts.

    `interval` is the one in the words: the simultaneous one.
    """
    verdicts = [_verdict_data(one) for one in comparison.verdicts]
    return asdict(comparison) | {"verdicts": verdicts, "pairs": len(verdicts)}


DIFFERENCE = ("estimate", "of_seeds", "of_images", "freedom", "seeds")
INTERVALS = ("interval", "simultaneous_interval", "pair_interval")


def _verdict_data(verdict: Verdict | RunVerdict) -> dict[str, Any]:
    data = asdict(verdict) | {name: asdict(getattr(verdict, name)) for name in INTERVALS}
    for name in ("difference", "of_all_runs"):
        if found := getattr(verdict, name, None):
            data[name] = {field: getattr(found, field) for field in DIFFERENCE}
    return data


def notes(comparison: Comparison) -> list[str]:
    """What all verdicts of several seeds share: their intervals, their runs, the margin."""
    found = [one for one in comparison.verdicts if isinstance(one, Verdict)]
    if not found:
        return []
    judged = [entry for entry in comparison.entries if entry.name not in comparison.left_out]
    pairs = f" for all {len(found):,} pairs at once" if len(found) > 1 else ""
    return [
        f"Intervals: 95 %{pairs}. Margin: {margin_words(comparison.margin, found[0].difference.images)}.",
        trained_words([entry.died for entry in judged], [entry.seeds for entry in judged]),
    ]


def _entry(name: str, runs: list[Run]) -> Entry:
    accuracies = [run.metrics.accuracy for run in runs]
    interval = accuracy_interval(accuracies, runs[0].metrics.images)
    died = sum(run.died for run in runs)
    return Entry(name, len(runs), float(np.mean(accuracies)), interval, runs[0].protocol, died)


def _model_folder(folder: Path) -> Path:
    return model_folder(folder, read_run(folder)) if (folder / RUN).is_file() else folder


def _by_model(folders: Sequence[Path]) -> list[list[Path]]:
    """The folders of models, those of one model together. Raises `UsageError` where only one is left."""
    found: dict[Identity, list[Path]] = {}
    for folder in folders:
        found.setdefault(identity_of(read_run(next(model_runs(folder)))), []).append(folder)
    if len(found) < 2:
        named = ", ".join(map(one_line, folders))
        raise UsageError(f"compare: {named} hold one model by one protocol; give a folder with two models")
    return list(found.values())


def _read(folders: Sequence[Path], single: bool) -> _Side:
    """One side, of a model's folders with a run a seed. Raises `UsageError` for runs that are not of one model."""
    paths = folders if single else [path for folder in folders for path in list(model_runs(folder)) or [folder]]
    taken: dict[int, tuple[Path, Run]] = {}
    copies = []
    for path in paths:
        run = read_run(path)
        first, of_first = taken.setdefault(run.seed, (path, run))
        _check_one_model(path, run, *next(iter(taken.values())))
        if first != path:
            same = f"{one_line(path)} holds the same model and seed as {one_line(first)}"
            copies.append(same + other_weights(run, of_first))
    return _side(taken, single, tuple(copies))


def _side(taken: dict[int, tuple[Path, Run]], single: bool, copies: tuple[str, ...]) -> _Side:
    folders, records = zip(*taken.values(), strict=True)
    name = f"{records[0].model_name}, seed {records[0].seed}" if single else records[0].model_name
    correct, labels = zip(*(_correct(path) for path in folders), strict=True)
    for path, labels_N in zip(folders, labels, strict=True):
        if not np.array_equal(labels_N, labels[0]):
            both = f"{one_line(path)} and {one_line(folders[0])}"
            raise UsageError(f"{both} were tested on other images; compare runs of one data set")
    return _Side(name, folders[0], list(records), np.stack(correct), labels[0], copies)


def _check_one_model(path: Path, run: Run, first: Path, of_first: Run) -> None:
    if run.protocol != of_first.protocol:
        raise UsageError(
            f"{one_line(path)} was made by protocol {shown(run.protocol)}, {one_line(first)} by "
            f"{shown(of_first.protocol)}; the seeds of a model are averaged, so give folders with runs of one protocol"
        )
    if found := differing(run, of_first):
        name, here, there = found
        raise UsageError(
            f"{one_line(path)} has another {name} ({short(here)}) than {one_line(first)} ({short(there)}); the seeds "
            "of a model are averaged, so give each model a folder of its own"
        )


def _correct(folder: Path) -> tuple[Array, Array]:
    """Whether each image is predicted right, and the labels."""
    logits_NK, labels_N = read_predictions(folder)
    return logits_NK.argmax(1) == labels_N, labels_N


def _check_given_once(folders: Sequence[Path]) -> None:
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{one_line(twice)} is given twice; give each folder once")


def _with_protocols(names: Sequence[str], sides: Sequence[_Side]) -> list[str]:
    """The names, behind each its protocol where these differ."""
    protocols = [shown(side.runs[0].protocol) for side in sides]
    if len(set(protocols)) < 2:
        return list(names)
    return [f"{name} ({protocol})" for name, protocol in zip(names, protocols, strict=True)]


def _check_comparable(names: Sequence[str], sides: Sequence[_Side]) -> None:
    """Raises `UsageError` where two sides have unlike protocols or test images."""
    kinds = [split_kind(side.runs[0].protocol) for side in sides]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{names[0]} was made by protocol {kinds[0]}, {names[1]} by {kinds[1]}; compare runs of one protocol"
        )
    data = [side.runs[0].data for side in sides]
    differ = other_data(data[0].checksums, data[1].checksums)
    of_training = differ and all(name.startswith("training ") for name in differ)
    if differ or not np.array_equal(sides[0].labels_N, sides[1].labels_N):
        raise UsageError(
            f"{names[0]} and {names[1]} were {'trained' if of_training else 'tested'} on other images "
            f"({shown(data[0].name)}, {shown(data[1].name)}); compare runs of one data set"
        )
