"""What every score of an evaluation has. A score is one file of this folder with one class; it is found by that."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray[Any, Any]


class Score(ABC):
    """A figure of how well the images of one evaluation were classified."""

    name: ClassVar[str]  # of its column in leaderboard.csv
    less_is_better: ClassVar[bool] = False

    @abstractmethod
    def of(self, logits_NK: Array, y_N: Array) -> float:
        """The score of logits, images x classes, and labels from 0."""
