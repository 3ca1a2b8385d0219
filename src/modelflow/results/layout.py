"""The results folder: what its files are called, how they are written and read back. No torch.

results/                 study.json, leaderboard.csv, …
  generic_2/             run.json and the other files of one run
    seeds/43/            the same of further seeds
"""

import csv
import io
import json
import math
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from modelflow.errors import DataError
from modelflow.evaluation.record import Metrics
from modelflow.io.bounds import MAX_CLASSES, MAX_PREDICTION_BYTES, MAX_RECORD_BYTES
from modelflow.io.files import read_bounded, sha256, sha256_of_file, write_atomic
from modelflow.io.validation import explain
from modelflow.networks.resolve import STUDY_FILES, check_spelling
from modelflow.results.records import Epoch, NewerRecordError, Run
from modelflow.text import CONTROL, cell, ended, one_line, short

if TYPE_CHECKING:
    import numpy as np

RUN, SPEC, HISTORY, PREDICTIONS = "run.json", "spec.json", "history.csv", "predictions.npz"
ARCHITECTURE, LOSSES = "architecture.svg", "losses.png"
CONFUSION_PNG, CONFUSION_CSV, REPORT_CSV = "confusion_matrix.png", "confusion_matrix.csv", "classification_report.csv"
CHECKPOINT, WEIGHTS = "model_checkpoint.pth", "model.safetensors"
OUTPUTS, LR_FINDER_PNG, LR_FINDER_CSV = "intermediate_outputs.png", "lr_finder.png", "lr_finder.csv"
SEEDS = "seeds"  # a folder of the runs of a model's further seeds
TRAINING, PLAN = "training", "plan.json"  # a folder while a run is under way: its states, and what was asked for
STUDY, STUDIES, SAMPLES, PARETO, REPORT, MODEL_CARD, LEADERBOARD_CSV, LEADERBOARD_MD = STUDY_FILES
OF_A_SEARCH = (LR_FINDER_PNG, LR_FINDER_CSV)

MAX_FIGURE = 1e100
MAX_LAYER_LENGTH = 100  # characters of a layer's name that stand in a file's
STORED = (PREDICTIONS, WEIGHTS, CHECKPOINT)
CENTRAL, END = struct.Struct("<4s4B4H3L5H2L"), struct.Struct("<4s4H2LH")  # of a zip: a member, the archive
SET_ASIDE = re.compile(r"\.old-\d+$")


def filters_png(layer_name: str) -> str:
    """The name of the picture of a layer's filters, whatever the layer is called and however long."""
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", layer_name)
    if len(name) > MAX_LAYER_LENGTH:
        name = f"{name[:MAX_LAYER_LENGTH]}-{sha256(layer_name.encode())[:8]}"
    return f"filters_{name}.png"


def folders_asked(results: Path, model_name: str, seeds: Sequence[int]) -> list[Path]:
    """Where the runs of a model go: its own folder for the first of the seeds, `seeds/SEED` below it for the others.

    Raises `DataError` where a symbolic link below `results` leads elsewhere. What is not there is not looked at.
    """
    model = results / model_name
    further = model / SEEDS
    _check_place(model)
    _check_no_link(further)
    folders = [further / str(seed) for seed in seeds[1:]]
    there = names(further)
    for folder in folders if there else ():
        if folder.name in there:
            _check_place(folder)
    return [model, *folders]


def model_folder(folder: Path, run: Run) -> Path:
    """That of the model whose `run` lies in `folder`: two above where that is `seeds/SEED`, else itself.

    A results folder may be called `seeds` too.
    """
    further = folder.parent.name == SEEDS and folder.name == str(run.seed) != run.model_name
    return folder.parent.parent if further else folder


def _check_place(folder: Path) -> None:
    """Raises `DataError` where a run's folder, or one above `seeds`, is a link: what is written would go astray."""
    further = folder.parent.name == SEEDS and folder.name.isdecimal()
    for place in (folder / TRAINING, folder, *(folder.parents[:2] if further else ())):
        _check_no_link(place)


def _check_no_link(folder: Path) -> None:
    if os.path.islink(folder):
        raise DataError(f"{one_line(folder)}: is a symbolic link, expected a folder. Replace it with a copy.")


def names(folder: Path) -> set[str]:
    """Of all that is in a folder; of none where it cannot be read."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, each value as `text.cell` has it: None is an empty cell, a text is never a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([cell(value) for value in row] for row in (header, *rows))
    return buffer.getvalue()


def history_csv(history: Sequence[Epoch], protocol: str) -> str:
    """history.csv: a line an epoch; by the protocol `card`, `val_loss` is that of the test images."""
    rows = [(*epoch.model_dump().values(), protocol) for epoch in history]
    return csv_text([*Epoch.model_fields, "protocol"], rows)


def predictions_npz(logits_NK: "np.ndarray[Any, Any]", y_N: "np.ndarray[Any, Any]") -> bytes:
    """predictions.npz: `logits` (float32) and `labels` of the evaluated images, in their order."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=logits_NK.astype(np.float32), labels=y_N.astype(np.int32))
    return buffer.getvalue()


def read_predictions(folder: str | Path, run: Run | None = None) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Logits N x K (float32) and labels N of a finished run. Raises `DataError` when they are missing or damaged.

    Where run.json, whose record `run` is when it is read already, knows the file's SHA-256, that is checked first. What
    the archive says of its sizes is checked before anything is unpacked, and nothing is unpickled.
    """
    path, fix = Path(folder) / PREDICTIONS, f"Evaluate the run again: modelflow evaluate {one_line(folder)}"
    try:
        return _arrays(read_stored(path, MAX_PREDICTION_BYTES, run))
    except FileNotFoundError:
        raise DataError(f"{one_line(path)}: no such file. {fix}") from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{one_line(path)}: {ended(error)} {fix}") from None


def read_stored(path: Path, limit: int, run: Run | None = None) -> bytes:
    """A file of a run's folder, which is as run.json (or `run`, its record) says when that is there and knows it.

    Raises `FileNotFoundError`, and `ValueError` with the reason alone for what is too large, no file, or altered.
    """
    content = read_bounded(path, limit, links=False)
    if run is not None or os.path.lexists(path.parent / RUN):
        expected = (run or read_run(path.parent)).files.get(path.name)
        if expected is not None and sha256(content) != expected:
            raise ValueError(f"its SHA-256 differs from {RUN}: it is damaged or of another run")
    return content


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of those files of a run that are read back, by file name."""
    there = [folder / name for name in STORED if (folder / name).is_file()]
    return {path.name: sha256_of_file(path) for path in there}


def _arrays(content: bytes) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """What `predictions_npz` made into `content`. Raises `ValueError` for anything else."""
    import numpy as np

    try:
        logits_NK, y_N = (_array(part) for part in _parts(content))
    except Exception as error:  # whatever zipfile and numpy make of a file that is none of ours
        raise ValueError(str(error) or "it ends early") from None
    if logits_NK.ndim != 2 or logits_NK.dtype != np.float32 or not np.isfinite(logits_NK).all():
        raise ValueError("the logits are not finite float32, images x classes")
    if logits_NK.shape[1] > MAX_CLASSES:
        raise ValueError(f"{logits_NK.shape[1]:,} classes, expected at most {MAX_CLASSES:,}")
    fits = y_N.dtype == np.int32 and y_N.shape == logits_NK.shape[:1] and y_N.size > 0
    if not fits or y_N.min() < 0 or y_N.max() >= logits_NK.shape[1]:
        raise ValueError("the labels are not one class per image")
    return logits_NK, y_N


def _array(part: bytes) -> "np.ndarray[Any, Any]":
    """The array in a member. Raises `ValueError`, and whatever numpy does, before room is made for more."""
    import numpy as np

    file = io.BytesIO(part)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("its arrays were not written by ModelFlow")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != len(part) - file.tell():
        raise ValueError(f"an array's header says {short(shape)}, which does not match its data")
    array: np.ndarray[Any, Any] = np.load(io.BytesIO(part), allow_pickle=False)
    return array


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """Both members of the archive. Raises as zipfile does, or `ValueError` for one that is written otherwise."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        size = sum(info.file_size for info in infos)
        if [info.filename for info in infos] != ["logits.npy", "labels.npy"] or size > MAX_PREDICTION_BYTES:
            raise ValueError(f"expected logits and labels of at most {MAX_PREDICTION_BYTES:,} bytes")
        _check_frame(content, infos)
        return archive.read(infos[0]), archive.read(infos[1])


def _check_frame(content: bytes, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Raises `ValueError` unless each byte around the members' contents is as numpy writes it.

    The archive's headers have no checksum: they are written again from what they say, and compared.
    """
    local, central, place = [], b"", 0
    for info in infos:
        header = info.FileHeader(zip64=True)
        local.append((place, header))
        sizes = (info.CRC, info.compress_size, info.file_size, len(info.filename), 0, 0, 0, 0, 0o600 << 16, place)
        central += CENTRAL.pack(b"PK\1\2", 45, info.create_system, 45, 0, 0, info.compress_type, 0, 33, *sizes)
        central += info.filename.encode()
        place += len(header) + info.compress_size
    end = END.pack(b"PK\5\6", 0, 0, len(infos), len(infos), len(central), place, 0)
    sound = content[place:] == central + end and all(info.create_system in (0, 3) for info in infos)
    if not sound or any(content[at : at + len(header)] != header for at, header in local):
        raise ValueError("its headers have been altered")


def write_run(folder: Path, run: Run) -> None:
    """run.json, written last: a folder that has one holds a finished run."""
    write_atomic(folder / RUN, run.model_dump_json(indent=2) + "\n")


def read_run(folder: str | Path) -> Run:
    """The record of a finished run. Raises `DataError` when there is none or it is damaged."""
    path = Path(folder) / RUN
    if not os.path.isfile(path):
        inside = None
        with suppress(DataError, OSError, ValueError):  # whatever a path may be
            inside = next(run_folders(folder), None)
        such = "such as results/generic_2" if inside is None else f"such as {one_line(inside)}"
        raise DataError(f"{one_line(folder)}: no {RUN} there. Give the folder of a finished run, {such}.")
    _check_place(path.parent)
    try:
        content = read_bounded(path, MAX_RECORD_BYTES, links=False)
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"{one_line(path)}: {ended(error)} Is it a run of ModelFlow?") from None
    try:
        run = Run.model_validate_json(content)
        _check_plausible(run)
    except ValidationError as error:
        if isinstance(newer := error.errors()[0].get("ctx", {}).get("error"), NewerRecordError):
            raise DataError(f"{one_line(path)}: {ended(newer)} Update ModelFlow.") from None
        raise _damaged(path, explain(error, list(Run.model_fields))) from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    return run


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{one_line(path)}: {ended(reason)} It is damaged. Restore it from a copy, or train the run again."
    )


def _check_plausible(run: Run) -> None:
    """Raises `ValueError` for what the types let through and no run can have written."""
    check_spelling(run.model_name)
    try:
        datetime.fromisoformat(run.started)
    except ValueError:
        raise ValueError(f"started = {short(run.started)}: expected a date and a time") from None
    if not 0 <= run.seed < 2**63:
        raise ValueError(f"seed = {short(run.seed)}: expected at least 0 and less than 2**63")
    for kind, metrics in (("metrics", run.metrics), ("validation", run.validation)):
        if metrics is not None:
            _check_metrics(kind, metrics)
    for name in ("epochs", "parameters", "macs", "threads", "test_reads", "bytes_on_disk"):
        if (getattr(run, name) or 0) < 0:
            raise ValueError(f"{name} = {short(getattr(run, name))}: expected at least 0")
    _check_leaves(run.model_dump())


def _check_leaves(fields: dict[str, object]) -> None:
    if _all_plausible(fields):
        return
    for name, value in _leaves(fields):
        if not _all_plausible(value):
            kind = "text without control characters" if isinstance(value, str) else f"number below {MAX_FIGURE:g}"
            raise ValueError(f"{name:.100} = {short(value)}: expected a {kind}")


def _all_plausible(value: object) -> bool:
    """Whether no number is vast and no text, keys too, holds control characters; without names, which take time."""
    if isinstance(value, str):
        return value.isprintable() or not CONTROL.search(value)
    if isinstance(value, int | float):
        return abs(value) < MAX_FIGURE
    if isinstance(value, dict):
        return all(map(_all_plausible, value)) and all(map(_all_plausible, value.values()))
    return not isinstance(value, list | tuple) or all(map(_all_plausible, value))


def _check_metrics(kind: str, metrics: Metrics) -> None:
    for name in ("accuracy", "macro_f1", "top2_accuracy"):
        share = getattr(metrics, name)
        if share is not None and not 0 <= share <= 1:
            raise ValueError(f"{kind}.{name} = {share}: expected a share between 0 and 1")
    if not 1 <= metrics.images < 2**53:
        raise ValueError(f"{kind}.images = {short(metrics.images)}: expected at least 1 and less than 2**53")


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text in nested data, keys too, with where it stands."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"a key of {name or RUN}", key
            yield from _leaves(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{name}[{i}]")
    else:
        yield name, value


def write_plan(folder: Path, asked: dict[str, object]) -> None:
    """What a run under way was asked for: spec, seed and settings."""
    write_atomic(folder / TRAINING / PLAN, json.dumps(asked, indent=2) + "\n")


def read_plan(folder: Path) -> dict[str, Any]:
    """What the run under way in a folder was asked for. Raises `DataError` when that is missing or damaged."""
    path = folder / TRAINING / PLAN
    try:
        stored = json.loads(read_bounded(path, MAX_RECORD_BYTES, links=False))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}). Give another folder, or --restart.") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path}: expected the settings of a run. Give another folder, or --restart.")
    return stored


def has_states(folder: Path) -> bool:
    """Whether a training in this folder was interrupted and can resume."""
    return any(name.startswith("state-") and name.endswith(".pth") for name in names(folder / TRAINING))


def remove_training(folder: Path) -> None:
    """Takes away what was kept of a training under way."""
    shutil.rmtree(folder / TRAINING, ignore_errors=True)


def run_folders(results: str | Path) -> Iterator[Path]:
    """The folders of all finished runs below a results folder, model by model, its first seed before the others.

    Those that `--restart` has set aside as FOLDER.old-N are left out. Raises `DataError` where one is a symbolic link.
    """
    for model in folders_in(Path(results)):
        yield from model_runs(model)


def model_runs(folder: Path) -> Iterator[Path]:
    """The folders of the finished runs in a model's folder. Raises as `run_folders` does."""
    yield from _finished([folder])
    yield from _finished(folders_in(folder / SEEDS), folder, folder / SEEDS)


def _finished(folders: Iterable[Path], *above: Path) -> Iterator[Path]:
    """Those that hold a finished run. Raises `DataError` where one, or one `above` them, is a symbolic link."""
    for folder in folders:
        if os.path.isfile(folder / RUN):
            for place in (folder, *above):
                _check_no_link(place)
            yield folder


def folders_in(top: Path) -> list[Path]:
    """The folders in `top`, sorted, but those that were set aside."""
    try:
        with os.scandir(top) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not SET_ASIDE.search(entry.name)]
    except OSError:
        return []
    return [top / name for name in sorted(names)]
