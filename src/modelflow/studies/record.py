"""What a run records: its data, its times, and what stays of a training that is evaluated again."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelflow.data.batches import Batches
from modelflow.data.memory import checksums, held, seen_in_training
from modelflow.errors import DataError
from modelflow.io.files import sha256_of_file
from modelflow.results import layout
from modelflow.results.records import OF_LOADERS, OPTIONS, DataRecord, Run
from modelflow.text import short
from modelflow.training.preflight import length

OF_THE_TRAINING = (
    *("settings", "versions", "processor", "device", "engine", "threads", "git_revision"),
    *("data", "protocol", "latency_ms"),
)
CONTINUED = "continued.after_epoch_"  # of a setting that says how the epochs before were trained otherwise
REPEATS = ("test_in_training", "test_in_training_other_label")
OF_A_DATA_SET = (
    *("name", "mean", "std", "checksums", "folder", "form", "labels_from"),
    *REPEATS,
    *("validation_in_training", "test_in_validation"),
)


def data_record(train_loader: object, val_loader: object, test_loader: object) -> DataRecord:
    """Of loaders as they are; of what lies in memory with its SHA-256."""
    source = getattr(train_loader, "source", None)
    known = {} if source is None else {name: getattr(source, name) for name in OF_A_DATA_SET}
    roles = {"training": train_loader, "validation": val_loader, "test": test_loader}
    counts = {f"{role}_images": images_of(loader) for role, loader in roles.items()}
    in_memory = {role: held(loader) for role, loader in roles.items()}
    own = [role for role, loader in roles.items() if source is None or getattr(loader, "source", None) is not source]
    known["checksums"] = known.get("checksums", {}) | checksums({role: in_memory[role] for role in own})
    tested = "validation" if test_loader is None else "test"
    if tested in own:
        known |= zip(REPEATS, seen_in_training(in_memory["training"], in_memory[tested]), strict=True)
    return DataRecord(**{"name": type(getattr(train_loader, "dataset", train_loader)).__name__} | known | counts)


def images_of(loader: object) -> int | None:
    """How many images a loader goes through; None where nobody knows."""
    return loader.images if isinstance(loader, Batches) else length(getattr(loader, "dataset", None))


def evaluated_again(run: Run, stored: Run) -> Run:
    """The record of an evaluation, with what was stored of the training."""
    of_training = {name: getattr(stored, name) for name in OF_THE_TRAINING}
    return run.model_copy(update=of_training | {"data": _data_evaluated_on(run.data, stored.data)})


def _data_evaluated_on(now: DataRecord, stored: DataRecord) -> DataRecord:
    """The data of a stored training, evaluated on what is in memory `now`."""
    of_now = {name: digest for name, digest in now.checksums.items() if not name.startswith("training ")}
    if not of_now or stored.checksums.keys() - OF_LOADERS:
        return stored
    of_then = {name: digest for name, digest in stored.checksums.items() if name.startswith("training ")}
    same = of_then == {name: digest for name, digest in now.checksums.items() if name not in of_now}
    kept = now if same else now.model_copy(update=dict.fromkeys(REPEATS))
    of_training = {"name": stored.name, "training_images": stored.training_images}
    return kept.model_copy(update=of_training | {"checksums": of_then | of_now})


def training_facts(settings: dict[str, object], data: DataRecord) -> dict[str, Any]:
    """By what epochs are trained: settings, and the data that are trained on."""
    trained = {name: digest for name, digest in data.checksums.items() if not name.startswith(("validation ", "test "))}
    return (
        settings
        | {"training_images": data.training_images}
        | {f"SHA-256 of {name}": of for name, of in trained.items()}
    )


def unlike(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """In what the epochs `before` were trained otherwise, in words; empty where in nothing."""
    names = [name for name in now if name in before or name.startswith(OPTIONS)]
    names += [name for name in before if name not in now and name.startswith(OPTIONS)]
    differing = [name for name in names if before.get(name) != now.get(name) and not name.startswith(CONTINUED)]
    if now.get("schedule", "constant") != "constant" and "schedule" not in differing:
        differing.insert(0, "schedule")
    return ", ".join(f"{name} {short(before.get(name))}" for name in differing)


def training_before(checkpoint: Path, epochs: int) -> dict[str, Any] | None:
    """By what the epochs of a checkpoint were trained, by the run.json beside it; None where that is of others."""
    run = _run_of(checkpoint, epochs)
    return None if run is None else training_facts(run.settings, run.data)


def seconds_before(checkpoint: Path, epochs: int) -> float | None:
    """How long the epochs of a checkpoint took, by the run.json beside it; None where that is of other weights."""
    run = _run_of(checkpoint, epochs)
    return None if run is None else run.seconds.get("training")


def _run_of(checkpoint: Path, epochs: int) -> Run | None:
    """The finished run of which a checkpoint is; None where none lies beside it."""
    with suppress(DataError):
        run = layout.read_run(checkpoint.parent)
        known = run.files.get(checkpoint.name)
        if run.epochs == epochs > 0 and known in (None, sha256_of_file(checkpoint)):
            return run
    return None
