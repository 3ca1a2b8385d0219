"""The mean negative log-likelihood."""

from typing import ClassVar

from modelflow.evaluation.scores.score import NATS, Metric, Unit
from modelflow.io.array import Array
from modelflow.training.cross_entropy import cross_entropies


class Loss(Metric):
    """In nats. A margin of 0.01 is 1 % of the probability of the true class, in the geometric mean."""

    name: ClassVar[str] = "loss"
    title: ClassVar[str] = "NLL"
    unit: ClassVar[Unit] = NATS
    margin: ClassVar[float] = 0.01
    less_is_better: ClassVar[bool] = True
    of_an_image: ClassVar[str] = "An image counts its negative log-likelihood."

    def values(self, logits_NK: Array, y_N: Array) -> Array:
        """The negative log-likelihood of each image."""
        return cross_entropies(logits_NK, y_N)
