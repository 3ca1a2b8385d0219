"""The Brier score."""

from typing import ClassVar

from modelflow.evaluation.calibration import brier_score
from modelflow.evaluation.scores.score import Score
from modelflow.io.array import Array


class Brier(Score):
    """Summed over classes: from 0 to 2."""

    name: ClassVar[str] = "brier"
    less_is_better: ClassVar[bool] = True

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return brier_score(logits_NK, y_N)
