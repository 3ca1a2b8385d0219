"""The share of images whose class is among the two most probable."""

from typing import ClassVar

from modelflow.evaluation.calibration import top_accuracy
from modelflow.evaluation.scores.score import Score
from modelflow.io.array import Array


class Top2Accuracy(Score):
    """A share of 1."""

    name: ClassVar[str] = "top2_accuracy"

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return top_accuracy(logits_NK, y_N, 2)
