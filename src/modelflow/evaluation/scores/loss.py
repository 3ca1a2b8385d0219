"""The mean negative log-likelihood."""

from typing import ClassVar

from modelflow.evaluation.scores.score import Array, Score
from modelflow.training.cross_entropy import cross_entropy


class Loss(Score):
    """In nats."""

    name: ClassVar[str] = "loss"
    less_is_better: ClassVar[bool] = True

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return cross_entropy(logits_NK, y_N)
