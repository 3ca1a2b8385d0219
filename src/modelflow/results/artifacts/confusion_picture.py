"""confusion_matrix.png"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import CONFUSION_PNG


class ConfusionPicture(Artifact):
    """Rows normalised; a run that died is marked."""

    name: ClassVar[str] = CONFUSION_PNG
    caption: ClassVar[str] = "the same as a picture"

    def make(self, evaluated: Evaluated) -> bytes:
        from modelflow.figures.confusion import most_common_mistake, plot_confusion_matrix
        from modelflow.figures.style import png

        found = evaluated.metrics
        mistake = most_common_mistake(evaluated.confusion, evaluated.class_names)
        accuracy = f"accuracy {found.accuracy:.2%} of {found.images:,} images"
        title = f"{evaluated.model_name}, seed {evaluated.seed}: {accuracy}"
        title += f". Most common mistake: {mistake}" if mistake else ""
        title += f" (protocol {evaluated.kind})"
        warning = next(iter(evaluated.warnings), None)
        return png(plot_confusion_matrix(evaluated.confusion, evaluated.class_names, title, warning))
