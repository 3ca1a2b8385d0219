"""losses.png"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import LOSSES


class Losses(Artifact):
    """Training and validation losses over epochs, where any were trained."""

    name: ClassVar[str] = LOSSES
    caption: ClassVar[str] = "the same drawn"

    def make(self, evaluated: Evaluated) -> bytes | None:
        if not evaluated.losses:
            return None
        from modelflow.figures.losses import plot_losses
        from modelflow.figures.style import png

        title = f"{evaluated.model_name}: loss over epochs (protocol {evaluated.kind})"
        return png(plot_losses(evaluated.losses, evaluated.val_losses, title))
