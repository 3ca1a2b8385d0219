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
from modelflow.records import Run, kept_apart
from modelflow.results import RUN, read_predictions, read_run, run_folders, seed_folders
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

    One folder without a run of its own, such as `results`, stands for the models in it. Raises `UsageError` for fewer
    than two, or when they were not tested on the same images, and `DataError` for a damaged run.
    """
    if len(folders) == 1 and not (folders[0] / RUN).is_file():
        folders = sorted({_model_folder(folder) for folder in run_folders(folders[0])})
    if len(set(folders)) < 2:
        raise UsageError("compare: give at least two runs, such as results/generic_1 results/generic_2, or a study")
    single = any(_model_folder(folder) != folder for folder in folders)
    sides = [_read(folder, single) for folder in folders]
    _check_names(sides)
    for side in sides[1:]:
        _check_comparable(side, sides[0])
    return compare_sides({side.name: (side.runs, side.correct_SN) for side in sides})


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
    for path, labels_N in zip(folders, labels, strict=True):
        if not np.array_equal(labels_N, labels[0]):
            raise UsageError(f"{path} and {folder} were tested on other images; compare runs of one data set")
    return _Side(name, records, np.stack(correct), labels[0])


def _correct(folder: Path) -> tuple[Array, Array]:
    """Whether each image is predicted right, and the labels."""
    logits_NK, labels_N = read_predictions(folder)
    return logits_NK.argmax(1) == labels_N, labels_N


def _check_names(sides: list[_Side]) -> None:
    names = [side.name for side in sides]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two of the folders hold {twice}; give each once")


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
