"""The expected calibration error."""

from typing import ClassVar

from modelflow.evaluation.calibration import expected_calibration_error, reliability
from modelflow.evaluation.scores.score import Score
from modelflow.io.array import Array


class CalibrationError(Score):
    """A share of 1, in 15 bins of equal width."""

    name: ClassVar[str] = "calibration_error"
    less_is_better: ClassVar[bool] = True

    def of(self, logits_NK: Array, y_N: Array) -> float:
        return expected_calibration_error(reliability(logits_NK, y_N))
