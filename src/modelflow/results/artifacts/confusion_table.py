"""confusion_matrix.csv"""

from typing import ClassVar

from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import CONFUSION_CSV, csv_text


class ConfusionTable(Artifact):
    """A row a true class, a column a predicted one."""

    name: ClassVar[str] = CONFUSION_CSV
    caption: ClassVar[str] = "confusion matrix: true class by predicted class"

    def make(self, evaluated: Evaluated) -> str:
        header = (f"true class (protocol {evaluated.kind})", *evaluated.class_names)
        counts = zip(evaluated.class_names, evaluated.confusion.tolist(), strict=True)
        return csv_text(header, [(name, *row) for name, row in counts])
