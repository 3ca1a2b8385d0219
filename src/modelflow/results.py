"""The results folder: what its files are called, how they are written and read back. No torch.

results/                 study.json, leaderboard.csv, …
  generic_2/             run.json and the other files of one run
    seeds/43/            the same of further seeds
"""

import csv
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelflow.errors import DataError
from modelflow.files import write_whole
from modelflow.presets import check_name
from modelflow.records import Epoch, Run
from modelflow.spec import explain, short

if TYPE_CHECKING:
    import numpy as np

RUN, SPEC, HISTORY, PREDICTIONS = "run.json", "spec.json", "history.csv", "predictions.npz"
ARCHITECTURE, LOSSES = "architecture.svg", "losses.png"
CONFUSION_PNG, CONFUSION_CSV, REPORT_CSV = "confusion_matrix.png", "confusion_matrix.csv", "classification_report.csv"
CHECKPOINT, WEIGHTS = "model_checkpoint.pth", "model.safetensors"
OUTPUTS, LR_FINDER_PNG, LR_FINDER_CSV = "intermediate_outputs.png", "lr_finder.png", "lr_finder.csv"
TRAINING, PLAN = "training", "plan.json"  # a folder while a run is under way: its states, and what was asked for
STUDY, SAMPLES, PARETO = "study.json", "dataset_samples.png", "pareto.png"
REPORT, MODEL_CARD = "report.html", "MODEL_CARD.md"
LEADERBOARD_CSV, LEADERBOARD_MD = "leaderboard.csv", "leaderboard.md"

MAX_RECORD_BYTES = 4 << 20
MAX_PREDICTION_BYTES = 1 << 30
MAX_FIGURE = 1e100
SET_ASIDE = re.compile(r"\.old-\d+$")


def filters_png(layer_name: str) -> str:
    """The name of the picture of a layer's filters."""
    return f"filters_{layer_name}.png"


def run_folder(results: Path, model_name: str, seed: int, first_seed: int) -> Path:
    """Where a run's files go: the model's folder for the study's first seed, `seeds/SEED` below it for the others."""
    return results / model_name if seed == first_seed else results / model_name / "seeds" / str(seed)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return buffer.getvalue()


def history_csv(history: Sequence[Epoch]) -> str:
    """history.csv: a line an epoch."""
    return csv_text(list(Epoch.model_fields), [tuple(epoch.model_dump().values()) for epoch in history])


def predictions_npz(logits_NK: "np.ndarray[Any, Any]", y_N: "np.ndarray[Any, Any]") -> bytes:
    """predictions.npz: `logits` (float32) and `labels` of the evaluated images, in their order."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=logits_NK.astype(np.float32), labels=y_N.astype(np.int32))
    return buffer.getvalue()


def read_predictions(folder: str | Path) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Logits N x K (float32) and labels N of a finished run. Raises `DataError` when they are missing or damaged.

    What the archive says of its sizes is checked before anything is unpacked, and nothing is unpickled.
    """
    path = Path(folder) / PREDICTIONS
    try:
        logits_NK, y_N = _unpacked(path)
    except FileNotFoundError:
        raise DataError(f"{path}: not there; evaluate the run again: modelflow evaluate {folder}") from None
    except Exception as error:  # whatever zipfile and numpy make of a file that is none of ours
        raise DataError(f"{path}: {error}; evaluate the run again: modelflow evaluate {folder}") from None
    return logits_NK, y_N


def _unpacked(path: Path) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    import numpy as np

    with zipfile.ZipFile(path) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
    if set(sizes) != {"logits.npy", "labels.npy"} or sum(sizes.values()) > MAX_PREDICTION_BYTES:
        raise ValueError(f"expected logits and labels of at most {MAX_PREDICTION_BYTES:,} bytes")
    with np.load(path, allow_pickle=False) as stored:
        logits_NK, y_N = stored["logits"], stored["labels"]
    if logits_NK.ndim != 2 or logits_NK.dtype != np.float32 or not np.isfinite(logits_NK).all():
        raise ValueError("the logits are not finite float32, images x classes")
    fits = y_N.dtype == np.int32 and y_N.shape == logits_NK.shape[:1] and y_N.size > 0
    if not fits or y_N.min() < 0 or y_N.max() >= logits_NK.shape[1]:
        raise ValueError("the labels are not one class an image")
    return logits_NK, y_N


def write_run(folder: Path, run: Run) -> None:
    """run.json, written last: a folder that has one holds a finished run."""
    write_whole(folder / RUN, run.model_dump_json(indent=2) + "\n")


def read_run(folder: str | Path) -> Run:
    """The record of a finished run. Raises `DataError` when there is none or it is damaged."""
    path = Path(folder) / RUN
    if not os.path.isfile(path):
        raise DataError(f"{folder}: no {RUN} there; give the folder of a finished run, such as results/generic_2")
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise DataError(f"{path}: larger than {MAX_RECORD_BYTES:,} bytes; is it a run of ModelFlow?")
    try:
        run = Run.model_validate_json(path.read_bytes())
        _check_plausible(run)
    except ValidationError as error:
        raise _damaged(path, explain(error, list(Run.model_fields))) from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    return run


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: {reason}; it is damaged: take it from a copy, or train the run again")


def _check_plausible(run: Run) -> None:
    """Raises `ValueError` for what the types let through and no run can have written."""
    check_name(run.model_name)
    datetime.fromisoformat(run.started)
    figures = {"parameters": run.parameters, "epochs": run.epochs, "metrics.loss": run.metrics.loss, **run.seconds}
    for name, value in figures.items():
        if not abs(value) < MAX_FIGURE:
            raise ValueError(f"{name} = {short(value)}: expected a number below {MAX_FIGURE:g}")
    for name, share in (("accuracy", run.metrics.accuracy), ("macro_f1", run.metrics.macro_f1)):
        if not 0 <= share <= 1:
            raise ValueError(f"metrics.{name} = {share}: expected a share between 0 and 1")
    if not 0 <= run.seed < 2**63:
        raise ValueError(f"seed = {short(run.seed)}: expected at least 0 and less than 2**63")


def write_plan(folder: Path, asked: dict[str, Any]) -> None:
    """What a run under way was asked for: spec, seed and settings."""
    write_whole(folder / TRAINING / PLAN, json.dumps(asked, indent=2) + "\n")


def read_plan(folder: Path) -> dict[str, Any]:
    """What the run under way in a folder was asked for. Raises `DataError` when that is missing or damaged."""
    path = folder / TRAINING / PLAN
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ValueError("too large")
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); give another folder, or --restart") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path}: expected what a run was asked for; give another folder, or --restart")
    return stored


def has_states(folder: Path) -> bool:
    """Whether a training in this folder was broken off and can go on."""
    return any((folder / TRAINING).glob("state-*.pth"))


def remove_states(folder: Path) -> None:
    """Takes away what was kept of a training under way."""
    shutil.rmtree(folder / TRAINING, ignore_errors=True)


def run_folders(results: str | Path) -> Iterator[Path]:
    """The folders of all finished runs below a results folder, first seeds before further ones.

    Those that `--restart` has set aside as FOLDER.old-N are left out.
    """
    for pattern in (f"*/{RUN}", f"*/seeds/*/{RUN}"):
        for path in sorted(Path(results).glob(pattern)):
            set_aside = any(SET_ASIDE.search(part) for part in path.relative_to(results).parts)
            if path.is_file() and not set_aside:
                yield path.parent
