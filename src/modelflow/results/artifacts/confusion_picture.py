"""confusion_matrix.png"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import CONFUSION_PNG


class ConfusionPicture(Artifact):
    """Rows normalised; a run that died is marked."""

    name: ClassVar[str] = CONFUSION_PNG
    caption: ClassVar[str] = "the same drawn"

    def make(self, evaluated: Evaluated) -> bytes:
        from modelflow.figures.confusion import plot_confusion_matrix
        from modelflow.figures.style import png

        found = evaluated.metrics
        accuracy = f"accuracy {found.accuracy:.2%} of {found.images:,} images (protocol {evaluated.kind})"
        title = f"{evaluated.model_name}, seed {evaluated.seed}: {accuracy}"
        warning = next(iter(evaluated.warnings), None)
        return png(plot_confusion_matrix(evaluated.confusion, evaluated.class_names, title, warning))
