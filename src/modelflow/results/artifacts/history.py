"""history.csv"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import HISTORY, history_csv
from modelflow.results.records import Epoch


class History(Artifact):
    """A line an epoch, with its losses."""

    name: ClassVar[str] = HISTORY
    caption: ClassVar[str] = "losses, one line per epoch"

    def make(self, evaluated: Evaluated) -> str:
        losses = zip(evaluated.losses, evaluated.val_losses, strict=True)
        epochs = [Epoch(epoch=i, loss=loss, val_loss=val) for i, (loss, val) in enumerate(losses, start=1)]
        return history_csv(epochs, evaluated.kind)
