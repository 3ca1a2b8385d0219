"""What a model says of some images. No torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from modelflow.io.array import Array
from modelflow.io.faces.face import Face
from modelflow.io.faces.table import Table
from modelflow.text import shown

MAX_SHOWN = 50  # images


class Guess(NamedTuple):
    """A class by its name, and its probability."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Face):
    """Of N images: the most probable class of each, and the probabilities of all K classes.

    `names` are the classes in the order of the columns. `logits` are those of the network, None for the mean of several
    networks. `notes` say how images were brought to the form of the training images.
    """

    probabilities: Array
    names: tuple[str, ...]
    logits: Array | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> Array:
        """The index of the most probable class, N."""
        classes_N: Array = self.probabilities.argmax(1)
        return classes_N

    @property
    def labels(self) -> list[str]:
        """The name of the most probable class, N."""
        return [self.names[k] for k in self.classes]

    def top(self, count: int = 3) -> list[list[Guess]]:
        """Of each image the `count` most probable classes, the most probable first."""
        order_NK = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return [
            [Guess(self.names[k], float(p_K[k])) for k in order_K]
            for p_K, order_K in zip(self.probabilities, order_NK, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.probabilities)

    def _tables(self) -> Sequence[Table]:
        guesses = list(zip(range(len(self)), self.top(), strict=False))
        lines = [
            (str(i), shown(first.name), f"{first.probability:.1%}", ", ".join(map(_words, others)))
            for i, (first, *others) in guesses[:MAX_SHOWN]
        ]
        return [Table(("Image", "Class", "Probability", "Next"), lines, 2)]

    def _notes(self) -> Sequence[str]:
        more = len(self) - MAX_SHOWN
        return [*self.notes, *([f"{more:,} more images"] if more > 0 else [])]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [
            {"class": label, **dict(zip(self.names, map(float, p_K), strict=True))}
            for label, p_K in zip(self.labels, self.probabilities, strict=True)
        ]


def _words(guess: Guess) -> str:
    return f"{shown(guess.name)} {guess.probability:.1%}"


def softmax(logits_NK: Array) -> Array:
    """Probabilities N x K (float32) of logits."""
    powers_NK = np.exp(logits_NK.astype(np.float64) - logits_NK.max(1, keepdims=True))
    probabilities: Array = (powers_NK / powers_NK.sum(1, keepdims=True)).astype(np.float32)
    return probabilities


def mean_of(predictions: Iterable[Prediction]) -> Prediction:
    """The mean of the probabilities that several networks give the same images."""
    several = list(predictions)
    probabilities_NK: Array = np.stack([one.probabilities for one in several]).mean(0, dtype=np.float64)
    notes = dict.fromkeys(note for one in several for note in one.notes)
    return Prediction(probabilities_NK.astype(np.float32), several[0].names, notes=tuple(notes))
