"""The results folder: what its files are called, how they are written and read back. No torch.

    results/                 study.json, leaderboard.csv, …
      generic_2/             run.json and the other files of one run
        seeds/43/            the same of further seeds
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelflow.errors import DataError
from modelflow.files import write_whole
from modelflow.records import Epoch, Run

if TYPE_CHECKING:
    import numpy as np

RUN, SPEC, HISTORY, PREDICTIONS = "run.json", "spec.json", "history.csv", "predictions.npz"
ARCHITECTURE, LOSSES = "architecture.svg", "losses.png"
CONFUSION_PNG, CONFUSION_CSV, REPORT_CSV = "confusion_matrix.png", "confusion_matrix.csv", "classification_report.csv"
CHECKPOINT, WEIGHTS = "model_checkpoint.pth", "model.safetensors"
OUTPUTS, LR_FINDER_PNG, LR_FINDER_CSV = "intermediate_outputs.png", "lr_finder.png", "lr_finder.csv"
STUDY, SAMPLES, PARETO = "study.json", "dataset_samples.png", "pareto.png"
LEADERBOARD_CSV, LEADERBOARD_MD = "leaderboard.csv", "leaderboard.md"

MAX_RECORD_BYTES = 4 << 20


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
    np.savez_compressed(buffer, logits=logits_NK.astype(np.float32), labels=y_N.astype(np.uint16))
    return buffer.getvalue()


def write_run(folder: Path, run: Run) -> None:
    """run.json, written last: a folder that has one holds a finished run."""
    write_whole(folder / RUN, run.model_dump_json(indent=2) + "\n")


def read_run(folder: str | Path) -> Run:
    """The record of a finished run. Raises `DataError` when there is none or it is damaged."""
    path = Path(folder) / RUN
    if not path.is_file():
        raise DataError(f"{folder}: no {RUN} there; give the folder of a finished run, such as results/generic_2")
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise DataError(f"{path}: larger than {MAX_RECORD_BYTES:,} bytes; is it a run of ModelFlow?")
    try:
        return Run.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {field}: {first['msg'][0].lower()}{first['msg'][1:]}; train the run again") from None


def run_folders(results: str | Path) -> Iterator[Path]:
    """The folders of all finished runs below a results folder, first seeds before further ones."""
    results = Path(results)
    for path in sorted(results.glob(f"*/{RUN}")):
        yield path.parent
    for path in sorted(results.glob(f"*/seeds/*/{RUN}")):
        yield path.parent
