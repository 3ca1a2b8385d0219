"""What every score of an evaluation has. A score is one file of this folder with one class; it is found by that.

A `Metric` is a score that a study can be decided by (`--metric`): it says besides what each image has a part in it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from modelflow.io.array import Array


class Score(ABC):
    """A figure of how well the images of one evaluation were classified."""

    name: ClassVar[str]  # of its column in leaderboard.csv
    less_is_better: ClassVar[bool] = False

    @abstractmethod
    def of(self, logits_NK: Array, y_N: Array) -> float:
        """The score of logits, images x classes, and labels from 0."""


@dataclass(frozen=True)
class Unit:
    """In what a score is told: `scale` of it make 1, the `level` and a `difference` have names and digits of their own.

    `most` is the greatest value.
    """

    scale: float
    most: float
    level: str
    level_digits: int
    difference: str
    digits: int


SHARE = Unit(100, 1.0, "%", 2, "points", 1)
NATS = Unit(1, float("inf"), "nats", 4, "nats", 3)


class Metric(Score):
    """A score that a study can be decided by: the mean over images of a value for each."""

    title: ClassVar[str]  # in words; `--metric` takes it in lower case, with underscores
    unit: ClassVar[Unit] = SHARE
    margin: ClassVar[float] = 0.005  # what would matter, where nobody says: of a share half a point
    by_class: ClassVar[bool] = False  # whether it counts each class as much, however many images it has
    superlative: ClassVar[str] = ""  # "most accurate"; left out "best by" its title
    of_an_image: ClassVar[str]  # what the value of an image is, in a sentence

    @abstractmethod
    def values(self, logits_NK: Array, y_N: Array) -> Array:
        """A value of each image (N). Their mean is the score, and their spread how far other images would move it.

        Where the score is no mean, it is the score and what the image adds by its influence on it: the infinitesimal
        jackknife (Jaeckel, Bell Laboratories Memorandum 72-1215-11, 1972; Efron, The Jackknife, the Bootstrap and Other
        Resampling Plans, 1982, chapter 6).
        """

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return float(self.values(logits_NK, y_N).mean())

    @property
    def word(self) -> str:
        """What `--metric` and study files call it."""
        return self.title.lower().replace(" ", "_")

    @property
    def best(self) -> str:
        """What the best model is, in words: "most accurate", "best by macro F1"."""
        return self.superlative or f"best by {self.title}"

    @property
    def highest(self) -> str:
        """Where the best of several scores lies."""
        return "lowest" if self.less_is_better else "highest"

    def merit(self, score: float) -> float:
        """The score as a number of which more is better."""
        return -score if self.less_is_better else score

    def groups(self, y_N: Array) -> tuple[int, ...]:
        """How many images each class has, of those that have any, where each counts as much; else none."""
        counts_K = np.bincount(y_N.astype(np.int64))
        return tuple(counts_K[counts_K > 0].tolist()) if self.by_class else ()

    def text(self, score: float | None) -> str:
        """A score with its digits, and of a share the sign: "88.12 %", "0.3456"; empty for None."""
        if score is None:
            return ""
        number = f"{self.unit.scale * score:.{self.unit.level_digits}f}"
        return f"{number} %" if self.unit is SHARE else number
