"""The mean over classes of the F1 score."""

from typing import ClassVar

from modelflow.evaluation.metrics import classification_report, confusion_matrix
from modelflow.evaluation.scores.score import Array, Score


class MacroF1(Score):
    """A share of 1, as scikit-learn's `f1_score(average="macro", zero_division=0)`."""

    name: ClassVar[str] = "macro_f1"

    def of(self, logits_NK: Array, y_N: Array) -> float:
        n_classes = logits_NK.shape[1]
        counts_KK = confusion_matrix(y_N, logits_NK.argmax(1), n_classes)
        report = {row.name: row for row in classification_report(counts_KK, tuple(map(str, range(n_classes))))}
        return report["macro avg"].f1
