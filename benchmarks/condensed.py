"""A results folder in a small file: which test images each run has right, and what else is asked of the runs later.

condense("results-card", "benchmarks/results/revisited/card")       writes card.npz (bits) and card.json (the rest)
read("benchmarks/results/revisited/card").correct_by_model()        seeds x images of each model
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.io.files import write_atomic
from modelflow.results.layout import HISTORY, read_predictions, read_run, run_folders

Array = np.ndarray[Any, Any]
KEPT_SETTINGS = ("protocol", "epochs", "batch_size", "lr", "optimizer", "schedule")


@dataclass(frozen=True)
class Kept:
    """One run; `losses` and `val_losses` an epoch each, `accuracy` a share of the test images."""

    model: str
    seed: int
    protocol: str
    accuracy: float
    parameters: int
    macs: int | None
    settings: dict[str, Any]
    losses: list[float]
    val_losses: list[float | None]
    git_revision: str | None
    died: bool = False  # which no run kept before this was said did


@dataclass(frozen=True)
class Condensed:
    """Runs and, a line each, which test images they have right."""

    runs: list[Kept]
    correct_RN: Array

    def models(self) -> list[str]:
        """The models in the order of the folder."""
        return list(dict.fromkeys(run.model for run in self.runs))

    def correct_by_model(self) -> dict[str, Array]:
        """Seeds x images of each model."""
        return {name: self.correct_RN[[run.model == name for run in self.runs]] for name in self.models()}

    def died_by_model(self) -> dict[str, list[bool]]:
        """Which runs of each model died."""
        return {name: [run.died for run in self.of(name)] for name in self.models()}

    def of(self, model: str) -> list[Kept]:
        """The runs of a model."""
        return [run for run in self.runs if run.model == model]


def condense(results: Path, target: Path) -> None:
    """Writes TARGET.npz and TARGET.json. Raises `ValueError` when a run's predictions are not those of its record."""
    folders = sorted(run_folders(results), key=lambda folder: (read_run(folder).model_name, read_run(folder).seed))
    if not folders:
        raise ValueError(f"{results}: no finished run in it")
    rows, labels_N = [_right(folder) for folder in folders], read_predictions(folders[0])[1]
    if any(not np.array_equal(read_predictions(folder)[1], labels_N) for folder in folders):
        raise ValueError(f"{results}: its runs were tested on different images")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, bits=np.packbits(np.stack(rows), axis=1), images=np.int64(len(labels_N)))
    write_atomic(target.with_suffix(".npz"), buffer.getvalue())
    lines = [json.dumps(vars(_kept(folder))) for folder in folders]
    write_atomic(target.with_suffix(".json"), "[\n" + ",\n".join(lines) + "\n]\n")


def _right(folder: Path) -> Array:
    logits_NK, y_N = read_predictions(folder)
    right_N: Array = logits_NK.argmax(1) == y_N
    stored = read_run(folder).metrics.accuracy
    if abs(right_N.mean() - stored) > 1e-9:
        raise ValueError(f"{folder}: the predictions have {right_N.mean():.4%} right, the record {stored:.4%}")
    return right_N


def _kept(folder: Path) -> Kept:
    run = read_run(folder)
    with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
        history = list(csv.DictReader(file))
    return Kept(
        model=run.model_name,
        seed=run.seed,
        protocol=run.protocol,
        accuracy=run.metrics.accuracy,
        parameters=run.parameters,
        macs=run.macs,
        settings={name: run.settings.get(name) for name in KEPT_SETTINGS},
        losses=[round(float(line["loss"]), 6) for line in history],
        val_losses=[round(float(line["val_loss"]), 6) if line["val_loss"] else None for line in history],
        git_revision=run.git_revision,
        died=run.died,
    )


def read(target: Path) -> Condensed | None:
    """What `condense` wrote; None when it is not there."""
    if not target.with_suffix(".json").exists():
        return None
    runs = [Kept(**fields) for fields in json.loads(target.with_suffix(".json").read_text("utf-8"))]
    with np.load(target.with_suffix(".npz"), allow_pickle=False) as stored:
        bits_RB, images = stored["bits"], int(stored["images"])
    return Condensed(runs, np.unpackbits(bits_RB, axis=1, count=images).astype(bool))
