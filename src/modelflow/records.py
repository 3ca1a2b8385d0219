"""Plain data that leaves a run: frozen, validated, to and from JSON. No torch."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

RECORD_VERSION = 1
Kept = Literal["held-out", "card", "not known"]
BatchSize = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]  # a key of JSON


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise ValueError("a text, a number, true, false or null")


Setting = Annotated[Any, AfterValidator(_plain)]


class Record(BaseModel):
    """The base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Epoch(Record):
    """One line of history.csv: mean losses over the images, in nats where the loss is cross-entropy."""

    epoch: int
    loss: float
    val_loss: float | None


class Metrics(Record):
    """Figures of one evaluation: shares of 1, the loss (the mean negative log-likelihood) in nats.

    `brier` is the Brier score summed over classes (0 to 2), `calibration_error` the expected calibration error in 15
    bins of equal width. The last three are None in records of before they were taken.
    """

    accuracy: float
    macro_f1: float
    loss: float
    images: int
    brier: float | None = None
    calibration_error: float | None = None
    top2_accuracy: float | None = None


def kept_apart(protocol: str) -> Kept:
    """How a run's protocol, "held-out but epochs 3", keeps validation and test images apart; by "card", not at all."""
    name = protocol.partition(" ")[0]
    return name if name in ("held-out", "card") else "not known"  # type: ignore[return-value]


class DataRecord(Record):
    """What a run was trained and evaluated on; `checksums` are SHA-256 of the uncompressed files."""

    name: str
    training_images: int | None
    validation_images: int | None
    test_images: int | None = None
    mean: float | None = None
    std: float | None = None
    checksums: dict[str, str] = Field(default_factory=dict)


class Run(Record):
    """run.json: all that is needed to repeat a run, and what came out.

    `metrics` are of the test images, `validation` of the images held out, where there are such; `test_reads` counts how
    often the test images were evaluated, None where they served as validation too, each epoch. `seconds` are elapsed;
    `latency_ms` the least milliseconds of a forward pass of PyTorch by its batch size, on one thread; `bytes_on_disk`
    the size of model.safetensors; `files` the SHA-256 of those files that are read back; `dead_units` gives per layer
    (units that never fire, units); `spec` is None for a module that was not built from one.
    """

    version: int = RECORD_VERSION
    model_name: str
    model_class: str
    spec: dict[str, Any] | None
    settings: dict[str, Setting]
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
    dead_units: dict[str, tuple[int, int]]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, str] = Field(default_factory=dict)
