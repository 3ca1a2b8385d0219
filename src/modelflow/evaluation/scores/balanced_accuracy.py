"""The mean over classes of the share of their images that is right."""

from typing import ClassVar

import numpy as np

from modelflow.evaluation.scores.score import Metric
from modelflow.io.array import Array


class BalancedAccuracy(Metric):
    """A share of 1, as scikit-learn's `balanced_accuracy_score`: classes without images do not count."""

    name: ClassVar[str] = "balanced_accuracy"
    title: ClassVar[str] = "balanced accuracy"
    by_class: ClassVar[bool] = True
    of_an_image: ClassVar[str] = "An image counts by its influence on the mean recall of the classes."

    def of(self, logits_NK: Array, y_N: Array) -> float:
        _, recalls_C = _recalls(logits_NK, y_N)
        return float(recalls_C.mean())

    def values(self, logits_NK: Array, y_N: Array) -> Array:
        """The score, and of each image right or not, less the recall of its class, by the weight of that class.

        The weight has the factor sqrt(n / (n - 1)) of the n images of the class: so the variance of the mean is that of
        a stratified sample (Cochran, Sampling Techniques, 1977, section 5.4), also of few images.
        """
        class_N, recalls_C = _recalls(logits_NK, y_N)
        counts_C = np.bincount(class_N)
        weights_C = len(y_N) / (len(counts_C) * counts_C) * np.sqrt(counts_C / np.maximum(counts_C - 1, 1))
        apart_N = (logits_NK.argmax(1) == y_N) - recalls_C[class_N]
        values_N: Array = recalls_C.mean() + weights_C[class_N] * apart_N
        return values_N


def _recalls(logits_NK: Array, y_N: Array) -> tuple[Array, Array]:
    """The place of each image's class among the classes that have images (C), and the recall of each of these."""
    _, class_N = np.unique(y_N, return_inverse=True)
    right_N = logits_NK.argmax(1) == y_N
    return class_N, np.bincount(class_N, right_N) / np.bincount(class_N)
