"""The mean over classes of the F1 score."""

from typing import ClassVar

import numpy as np

from modelflow.evaluation.metrics import classification_report, confusion_matrix
from modelflow.evaluation.scores.score import Metric
from modelflow.io.array import Array


class MacroF1(Metric):
    """A share of 1, as scikit-learn's `f1_score(average="macro", zero_division=0)`."""

    name: ClassVar[str] = "macro_f1"
    title: ClassVar[str] = "macro F1"
    by_class: ClassVar[bool] = True
    of_an_image: ClassVar[str] = "An image counts by its influence on the F1 of its true and its predicted class."

    def of(self, logits_NK: Array, y_N: Array) -> float:
        n_classes = logits_NK.shape[1]
        counts_KK = confusion_matrix(y_N, logits_NK.argmax(1), n_classes)
        report = {row.name: row for row in classification_report(counts_KK, tuple(map(str, range(n_classes))))}
        return report["macro avg"].f1

    def values(self, logits_NK: Array, y_N: Array) -> Array:
        """The score, and the influence of each image: that on F1 = 2 hits / (images + predictions) of its two classes.

        Of a class with `whole` images and predictions together, a hit adds (2 - 2 F1) / whole, an image missed or a
        prediction missing it takes F1 / whole; each times N over the number of classes.
        """
        predicted_N, n_classes = logits_NK.argmax(1), logits_NK.shape[1]
        counts_KK = confusion_matrix(y_N, predicted_N, n_classes)
        whole_K = counts_KK.sum(0) + counts_KK.sum(1)
        f1_K = 2 * np.diag(counts_KK) / np.maximum(whole_K, 1)
        seen = int((whole_K > 0).sum())
        weights_K = len(y_N) / (seen * np.maximum(whole_K, 1))
        hits_N = 2.0 * (predicted_N == y_N) * weights_K[y_N]
        values_N: Array = f1_K.sum() / seen + hits_N - (f1_K * weights_K)[y_N] - (f1_K * weights_K)[predicted_N]
        return values_N
