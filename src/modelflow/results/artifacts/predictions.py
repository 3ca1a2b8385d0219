"""predictions.npz"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import PREDICTIONS, predictions_npz


class Predictions(Artifact):
    """Logits and labels in the images' order."""

    name: ClassVar[str] = PREDICTIONS
    caption: ClassVar[str] = "logits and labels of the test images"

    def make(self, evaluated: Evaluated) -> bytes:
        return predictions_npz(evaluated.logits_NK, evaluated.y_N)
