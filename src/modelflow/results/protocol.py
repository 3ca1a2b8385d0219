"""By which protocol a run was made: how validation and test images are kept apart, what is not as on the card."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from modelflow.results.records import OPTIONS, DataRecord, Run
from modelflow.text import short

Kept = Literal["held-out", "card", "not known"]
OF_THE_CARD = {
    "dataset": "fashion-mnist",
    "training_images": 60_000,
    "epochs": 10,
    "batch_size": 16,
    "lr": 3e-4,
    "optimizer": "adam",
    "schedule": "constant",
    "loss_fn": "CrossEntropyLoss",
    "find_best_lr": False,
}
USUAL = {"card": OF_THE_CARD, "held-out": OF_THE_CARD | {"training_images": 55_000}}


class Protocol(NamedTuple):
    """A protocol by its `name`, "held-out" or "card"; in a record from elsewhere it may have any.

    `differences` are the settings that are not the card's, each with its value as text.
    """

    name: str
    differences: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> Kept:
        """How validation and test images are kept apart."""
        return split_kind(self.name)

    @property
    def differing(self) -> str:
        """The settings that are not the card's: "epochs 3, lr 0.003"; empty where all are."""
        return ", ".join(f"{setting} {value}" for setting, value in self.differences)

    def __str__(self) -> str:
        """As run.json has it: "held-out but epochs 3, lr 0.003"."""
        return f"{self.name} but {self.differing}" if self.differences else self.name


def split_kind(name: str) -> Kept:
    """How the protocol of this name keeps validation and test images apart; by "card", not at all."""
    return name if name in USUAL else "not known"  # type: ignore[return-value]


def protocol_with(name: str, settings: Mapping[str, object], data: DataRecord, epochs: int) -> Protocol:
    """The protocol of this name, "card" or "held-out", with what differs from the card's settings."""
    asked = {**settings, "dataset": data.name, "epochs": epochs, "training_images": data.training_images}
    other = [(field, str(asked[field])) for field, value in USUAL[name].items() if asked.get(field, value) != value]
    other += [(option, short(value)) for option, value in settings.items() if option.startswith(OPTIONS)]
    return Protocol(name, tuple(other))


def protocol_name(run: Run) -> str:
    """The name of a run's protocol, by its settings, else as its record begins; one that is not ours is taken whole."""
    name = run.settings.get("protocol")
    if name not in USUAL:
        name = run.protocol.partition(" ")[0]
    return name if name in USUAL else run.protocol


def protocol_of(run: Run) -> Protocol:
    """The protocol of a run; one that is not ours has a name alone."""
    name = protocol_name(run)
    return protocol_with(name, run.settings, run.data, run.epochs) if name in USUAL else Protocol(name)
