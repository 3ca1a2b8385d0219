"""Plain data that leaves a run: frozen, validated, to and from JSON. No torch."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from modelflow.data.source import IN_MEMORY, Form
from modelflow.evaluation.record import Metrics, Record
from modelflow.evaluation.signs import is_sign_of_death
from modelflow.io.bounds import MAX_CLASSES
from modelflow.networks.code import Code
from modelflow.text import short

RECORD_VERSION = 1
SHOWN_DIGITS = 12
MAX_TRACED = 1000  # layers
OnDevice = Literal["flash", "ram", "int8_flash", "int8_ram"]
BatchSize = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]  # a key of JSON


OPTIONS = (
    "optimizer.",
    "loss_fn.",
    "loader.",
    "averaging.",
    "augmentation.",
    "continued.",
)  # settings that begin so are recorded where they are not the defaults
OF_LOADERS = tuple(f"{role} {part}" for role in ("training", "validation", "test") for part in ("images", "labels"))


def _plain(value: object) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, list) and all(type(part) in (int, float, bool) for part in value):
        return value
    raise ValueError("a text, a number, true, false, null or a list of numbers")


def _lists_in_options(settings: dict[str, object]) -> dict[str, Any]:
    if any(isinstance(value, list) and not name.startswith(OPTIONS) for name, value in settings.items()):
        raise ValueError(f"lists of numbers only where a name begins with {' or '.join(OPTIONS)}")
    return settings


Setting = Annotated[Any, AfterValidator(_plain)]
RecordedSettings = Annotated[dict[str, Setting], AfterValidator(_lists_in_options)]


def _form(form: dict[str, object]) -> dict[str, Any]:
    return Form.of(**form).asked


RecordedForm = Annotated[dict[Literal["image_size", "channels", "transpose", "skip_bad"], Any], AfterValidator(_form)]


class NewerRecordError(ValueError):
    """A record that a later version of ModelFlow has written."""


class Epoch(Record):
    """One line of history.csv: mean losses over the images, in nats where the loss is cross-entropy."""

    epoch: int
    loss: float
    val_loss: float | None


class DataRecord(Record):
    """What a run was trained and evaluated on; `checksums` are SHA-256 of the uncompressed files.

    Of loaders that no file describes they are of what lies in memory, before any transform (`data/memory.py`), by
    `OF_LOADERS`: "training images", "training labels" and so on. `folder` is where the files of a path lay, or the
    folder of data that was named for a known set. `test_in_training` counts the test images whose very pixels are among
    the training images of the data set, `test_in_training_other_label` those of them that have only other labels there;
    `validation_in_training` and `test_in_validation` are of a validation split of the data set's own. `mean` and `std`
    are numbers of grey images, else lists of one per channel. `form` has the options of how the files were read that
    are not the defaults, `labels_from` is the label of the first class in the files. All are None where not known.
    """

    name: str
    training_images: int | None
    validation_images: int | None
    test_images: int | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    checksums: dict[str, str] = Field(default_factory=dict)
    folder: str | None = None
    test_in_training: int | None = Field(default=None, ge=0)
    test_in_training_other_label: int | None = Field(default=None, ge=0)
    validation_in_training: int | None = Field(default=None, ge=0)
    test_in_validation: int | None = Field(default=None, ge=0)
    form: RecordedForm | None = None
    labels_from: int = Field(default=0, ge=0, le=MAX_CLASSES)

    @property
    def data_dir(self) -> Path | None:
        """The folder of its files, of a single file that which it lies in; None where nothing is there any more."""
        if self.folder is None or not os.path.exists(self.folder):
            return None
        place = Path(self.folder)
        return place if place.is_dir() else place.parent


RecordedShape = tuple[Annotated[int, Field(ge=0)], ...]  # without the batch


class RecordedLayer(Record):
    """A call of a layer of a module: what it does, the shape that it gives for one image, what it costs."""

    name: str
    what: str
    output_shape: RecordedShape
    parameters: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]


class TraceRecord(Record):
    """What a module that no spec describes did in a forward pass of one image, channels x height x width."""

    input_shape: Annotated[RecordedShape, Field(min_length=1)]
    output_shape: RecordedShape
    layers: Annotated[tuple[RecordedLayer, ...], Field(max_length=MAX_TRACED)]
    notes: tuple[str, ...] = ()


class Run(Record):
    """run.json: all that is needed to repeat a run, and what came out.

    `settings` has the options of optimizer and loss that are not their defaults, as `optimizer.weight_decay`. `metrics`
    are of the test images, `validation` of the images held out, where there are such; `test_reads` counts how often the
    test images were evaluated, None where they served as validation too, each epoch. `seconds` are elapsed, in
    training and evaluation; those of compiling apart, which older records count to training;
    `latency_ms` the least milliseconds of a forward pass of PyTorch by its batch size, on one thread; `bytes_on_disk`
    the size of model.safetensors; `bytes_on_device` what the network needs as C code, in float32 and in int8; `files`
    the SHA-256 of those files that are read back; `dead_units` gives per layer (units that never fire, units); `spec`
    is None for a module that was not built from one, `module_sha256` then of how the module prints itself and of the
    names and shapes of its state, `code` what made it in a study, and `traced` its layers, if they could be traced.
    """

    version: int = RECORD_VERSION
    model_name: str
    model_class: str
    spec: dict[str, Any] | None
    settings: RecordedSettings
    protocol: str
    seed: int
    epochs: int
    lr: float
    parameters: int
    macs: int | None
    data: DataRecord
    versions: dict[str, str]
    processor: str
    device: str
    engine: str = ""
    threads: int
    git_revision: str | None
    started: str
    seconds: dict[str, float]
    metrics: Metrics
    validation: Metrics | None = None
    test_reads: int | None = None
    latency_ms: dict[BatchSize, float] = Field(default_factory=dict)
    bytes_on_disk: int | None = None
    bytes_on_device: dict[OnDevice, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    dead_units: dict[str, tuple[int, int]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
    module_sha256: str | None = None
    code: Code | None = None
    traced: TraceRecord | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_not_newer(cls, given: object) -> Any:
        version = given.get("version") if isinstance(given, dict) else None
        if type(version) is int and version > RECORD_VERSION:
            raise NewerRecordError(f"a record of version {min(version, 10**9)}, expected {RECORD_VERSION}")
        return given

    @property
    def made_in_python(self) -> bool:
        """Whether the run was of a module, or of loaders or arrays, that no file of data describes."""
        in_memory = str(self.settings.get("dataset", IN_MEMORY)).startswith(IN_MEMORY)
        return self.spec is None or self.code is not None or in_memory

    @property
    def died(self) -> bool:
        """Whether a warning of it is a sign of death."""
        return any(map(is_sign_of_death, self.warnings))


def other_data(checksums: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """The files, or images and labels of loaders, in whose SHA-256 two records of data differ.

    What lies in no file is not always known: it differs where both say what it is.
    """
    names = (name for name in {**checksums, **others} if checksums.get(name) != others.get(name))
    return [name for name in names if name not in OF_LOADERS or (name in checksums and name in others)]


def other_files(stored: Any, now: dict[str, str]) -> str:
    """Which files have another SHA-256 than is stored, in words."""
    stored = stored if isinstance(stored, dict) else {}
    return ", ".join(
        f"{short(name)[1:-1]} (SHA-256 stored {_digits(stored, name)}, now {_digits(now, name)})"
        for name in other_data(stored, now)
    )


def _digits(sums: dict[str, Any], name: str) -> str:
    """Enough of a SHA-256 to tell it from others."""
    return short(sums[name])[1:-1][:SHOWN_DIGITS] if name in sums else "none"
