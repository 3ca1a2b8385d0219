"""The figures of one evaluation as a record: frozen, validated, to and from JSON. No torch."""

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Record(BaseModel):
    """The base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(Record):
    """Figures of one evaluation: shares of 1, the loss (the mean negative log-likelihood) in nats.

    `brier` is the Brier score summed over classes (0 to 2), `calibration_error` the expected calibration error in 15
    bins of equal width. These three are None in records of before they were taken. `more` holds further scores.
    """

    accuracy: float
    macro_f1: float
    loss: float
    images: int
    brier: float | None = None
    calibration_error: float | None = None
    top2_accuracy: float | None = None
    more: dict[str, float] = {}

    def score(self, name: str) -> float | None:
        """A score by the name of its column; None where the record lacks it."""
        value: float | None = getattr(self, name) if name in Metrics.model_fields else self.more.get(name)
        return value

    @model_serializer(mode="wrap")
    def _without_what_is_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields if self.more else {name: value for name, value in fields.items() if name != "more"}
