"""The share of images whose class is predicted."""

from typing import ClassVar

from modelflow.evaluation.scores.score import Array, Score


class Accuracy(Score):
    """A share of 1."""

    name: ClassVar[str] = "accuracy"

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return float((logits_NK.argmax(1) == y_N).mean())
