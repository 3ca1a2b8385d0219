"""Runs, or models with all their seeds, compared from the predictions that they left. No torch.

comparison = compare_folders([Path("results/generic_1"), Path("results/generic_2")])
for verdict in comparison.verdicts: print(verdict.words)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.errors import UsageError
from modelflow.plans import missing
from modelflow.records import Run, kept_apart
from modelflow.results import RUN, SEEDS, SET_ASIDE, read_predictions, read_run, run_folders, seed_folders
from modelflow.statistics import Interval, accuracy_interval
from modelflow.verdicts import MARGIN, RunVerdict, Verdict, compare, compare_runs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Entry:
    """A model with its seeds, or one run: the mean accuracy with its 95 % interval, and the protocol."""

    name: str
    seeds: int
    accuracy: float
    interval: Interval
    protocol: str


@dataclass(frozen=True)
class Comparison:
    """The entries, most accurate first, and a verdict for each pair; models of one run beside several are left out."""

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict | RunVerdict, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Side:
    name: str
    runs: list[Run]
    correct_SN: Array
    labels_N: Array


def compare_folders(folders: Sequence[Path]) -> Comparison:
    """The models in these folders, each with all its seeds; single runs where one of the folders is `…/seeds/N`.

    One folder without a run of its own, such as `results`, stands for the models in it. One model in two folders, such
    as by two settings, is called by them; protocols that differ in settings stand behind the names. Raises `UsageError`
    for fewer than two folders or one given twice, for seeds of a model or sides by protocols that cannot be compared,
    or other test images, and `DataError` for a damaged run.
    """
    if len(folders) == 1 and not (folders[0] / RUN).is_file():
        folders = _models_of(folders[0])
    if len({folder.resolve() for folder in folders}) < 2:
        raise UsageError("compare: give at least two runs, such as results/generic_1 results/generic_2, or a study")
    _check_given_once(folders)
    single = any(_model_folder(folder) != folder for folder in folders)
    sides = [_read(folder, single) for folder in folders]
    for side in sides[1:]:
        _check_comparable(side, sides[0])
    names = _names(sides, folders)
    return compare_sides({name: (side.runs, side.correct_SN) for name, side in zip(names, sides, strict=True)})


def beside(folders: Sequence[Path]) -> tuple[Path, int]:
    """The study that all these folders of models are in, and how many more models with a finished run are there."""
    own = {folder.resolve() for folder in folders}
    study = next(iter(own)).parent
    if len(own) < 2 or study.name == SEEDS or {folder.parent for folder in own} != {study}:
        return study, 0
    finished = {path.parent for path in study.glob(f"*/{RUN}") if not SET_ASIDE.search(path.parent.name)}
    return study, len(finished - own)


def _models_of(study: Path) -> list[Path]:
    """The folders of a study's models. Raises `UsageError` for fewer than two."""
    if not study.is_dir():
        raise UsageError(f"compare {study}: no such folder; give that of a study, or those of two models")
    folders = sorted({_model_folder(folder) for folder in run_folders(study)})
    if len(folders) < 2:
        there = folders[0].name if folders else "none"
        left = f" ({note})" if (note := missing(study)) else ""
        raise UsageError(f"compare {study}: models with a finished run there: {there}; expected at least two{left}")
    return folders


def compare_sides(sides: dict[str, tuple[list[Run], Array]]) -> Comparison:
    """The comparison of runs at hand: by name the runs and whether each (S) has each image (N) right."""
    entries = [_entry(name, runs) for name, (runs, _) in sides.items()]
    best_first = tuple(sorted(entries, key=lambda entry: -entry.accuracy))
    several = {name: correct_SN for name, (_, correct_SN) in sides.items() if len(correct_SN) > 1}
    if len(several) > 1:
        left_out = tuple(name for name in sides if name not in several)
        return Comparison(best_first, tuple(compare(several)), left_out)
    first_runs = {f"{name}, seed {runs[0].seed}" if len(runs) > 1 else name: c[0] for name, (runs, c) in sides.items()}
    return Comparison(best_first, tuple(compare_runs(first_runs)))


def as_data(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain data, with the interval of each verdict and how many pairs its p-value counts."""
    verdicts = [asdict(one) | {"interval": asdict(one.interval)} for one in comparison.verdicts]
    return asdict(comparison) | {"verdicts": verdicts, "margin": MARGIN, "pairs": len(verdicts)}


def _entry(name: str, runs: list[Run]) -> Entry:
    accuracies = [run.metrics.accuracy for run in runs]
    interval = accuracy_interval(accuracies, runs[0].metrics.images)
    return Entry(name, len(runs), float(np.mean(accuracies)), interval, runs[0].protocol)


def _model_folder(folder: Path) -> Path:
    return folder.parent.parent if folder.parent.name == "seeds" else folder


def _read(folder: Path, single: bool) -> _Side:
    folders = [folder] if single else seed_folders(folder)
    records = [read_run(path) for path in folders]
    name = f"{records[0].model_name}, seed {records[0].seed}" if single else records[0].model_name
    correct, labels = zip(*(_correct(path) for path in folders), strict=True)
    for path, run, labels_N in zip(folders, records, labels, strict=True):
        if not np.array_equal(labels_N, labels[0]):
            raise UsageError(f"{path} and {folder} were tested on other images; compare runs of one data set")
        if run.protocol != records[0].protocol:
            raise UsageError(
                f"{path} was made by protocol {run.protocol}, {folder} by {records[0].protocol}; the seeds of a model "
                "are averaged, so give folders with runs of one protocol"
            )
    return _Side(name, records, np.stack(correct), labels[0])


def _correct(folder: Path) -> tuple[Array, Array]:
    """Whether each image is predicted right, and the labels."""
    logits_NK, labels_N = read_predictions(folder)
    return logits_NK.argmax(1) == labels_N, labels_N


def _check_given_once(folders: Sequence[Path]) -> None:
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice; give each folder once")


def _names(sides: list[_Side], folders: Sequence[Path]) -> list[str]:
    """What each side is called: by its model, by its folder where two hold one; with protocols that differ."""
    names = [side.name for side in sides]
    shared = [folder for folder, name in zip(folders, names, strict=True) if names.count(name) > 1]
    paths = dict(zip(shared, _told_apart(shared), strict=True))
    names = [paths.get(folder, name) for folder, name in zip(folders, names, strict=True)]
    protocols = [side.runs[0].protocol for side in sides]
    if len(set(protocols)) < 2:
        return names
    return [f"{name} ({protocol})" for name, protocol in zip(names, protocols, strict=True)]


def _told_apart(folders: Sequence[Path]) -> list[str]:
    """As few parts of each path, from its end, as tell all apart; two at least, so that none is a model's name."""
    parts = [folder.resolve().parts for folder in folders]
    most = max((len(one) for one in parts), default=0)
    enough = next((n for n in range(2, most) if len({one[-n:] for one in parts}) == len(parts)), most)
    return [str(Path(*one[-enough:])) for one in parts]


def _check_comparable(side: _Side, first: _Side) -> None:
    """Raises `UsageError` for another protocol or other test images."""
    run, other = side.runs[0], first.runs[0]
    kinds = [kept_apart(one.protocol) for one in (run, other)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{side.name} was made by protocol {kinds[0]}, {first.name} by {kinds[1]}; compare runs of one protocol"
        )
    if not np.array_equal(side.labels_N, first.labels_N) or run.data.checksums != other.data.checksums:
        raise UsageError(
            f"{side.name} and {first.name} were tested on other images ({run.data.name}, {other.data.name}); compare "
            "runs of one data set"
        )
