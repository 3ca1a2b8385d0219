"""The share of images whose class is predicted."""

from typing import ClassVar

from modelflow.evaluation.scores.score import Metric
from modelflow.io.array import Array


class Accuracy(Metric):
    """A share of 1."""

    name: ClassVar[str] = "accuracy"
    title: ClassVar[str] = "accuracy"
    superlative: ClassVar[str] = "most accurate"
    of_an_image: ClassVar[str] = "An image counts 1 where it is right, else 0."

    def values(self, logits_NK: Array, y_N: Array) -> Array:
        """Whether each image is right, as bools."""
        right_N: Array = logits_NK.argmax(1) == y_N
        return right_N
