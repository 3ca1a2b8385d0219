"""What every artifact of an evaluation has: a file's name, a caption, and how it is made.

An artifact is one file of this folder with one class; it is found by that.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from modelflow.evaluation.metrics import confusion_matrix
from modelflow.evaluation.record import Metrics
from modelflow.io.array import Array


@dataclass(frozen=True)
class Evaluated:
    """A model and what its evaluation gave: logits, images x classes, and labels of the images tested on.

    `losses` and `val_losses` are those of each epoch, `kind` how validation and test images are kept apart, `warnings`
    what is wrong with a run that died.
    """

    model_name: str
    seed: int
    kind: str
    class_names: tuple[str, ...]
    logits_NK: Array
    y_N: Array
    metrics: Metrics
    losses: Sequence[float]
    val_losses: Sequence[float | None]
    warnings: Sequence[str]

    @cached_property
    def confusion(self) -> Array:
        """Counts, true class x predicted class."""
        return confusion_matrix(self.y_N, self.logits_NK.argmax(1), len(self.class_names))


class Artifact(ABC):
    """A file of a run's folder that is made from its evaluation."""

    name: ClassVar[str]  # of the file; a picture's ends in .png
    caption: ClassVar[str]  # what it is, for lists of files

    @abstractmethod
    def make(self, evaluated: Evaluated) -> str | bytes | None:
        """The file's content; None where there is none of this evaluation."""
