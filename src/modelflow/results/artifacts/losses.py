"""losses.png"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import LOSSES


class Losses(Artifact):
    """Training and validation losses over epochs, where any were trained."""

    name: ClassVar[str] = LOSSES
    caption: ClassVar[str] = "the same as a picture"

    def make(self, evaluated: Evaluated) -> bytes | None:
        if not evaluated.losses:
            return None
        from modelflow.figures.losses import plot_losses
        from modelflow.figures.style import png

        return png(plot_losses(evaluated.losses, evaluated.val_losses, _title(evaluated)))


def _title(evaluated: Evaluated) -> str:
    from modelflow.figures.losses import loss_curves

    best, epochs = loss_curves(evaluated.losses, evaluated.val_losses).best_epoch, len(evaluated.losses)
    if best is None:
        return f"{evaluated.model_name}: loss over {epochs} epochs, without validation"
    finding = f"lowest loss over {epochs} epochs after epoch {best}" if epochs > 1 else "loss after its only epoch"
    return f"{evaluated.model_name}: {finding} (protocol {evaluated.kind})"
