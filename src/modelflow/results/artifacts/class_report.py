"""classification_report.csv"""

from typing import ClassVar

from modelflow.evaluation.metrics import classification_report
from modelflow.results.artifacts.artifact import Artifact, Evaluated
from modelflow.results.layout import REPORT_CSV, csv_text


class ClassReport(Artifact):
    """A row a class, then accuracy, macro and weighted averages."""

    name: ClassVar[str] = REPORT_CSV
    caption: ClassVar[str] = "precision, recall and F1 of each class"

    def make(self, evaluated: Evaluated) -> str:
        report = classification_report(evaluated.confusion, evaluated.class_names)
        lines = [(row.name, row.precision, row.recall, row.f1, row.support, evaluated.kind) for row in report]
        return csv_text(("class", "precision", "recall", "f1-score", "support", "protocol"), lines)
