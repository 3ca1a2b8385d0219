"""All figures of one evaluation, as a record."""

from typing import Any

import numpy as np

from modelflow.evaluation.calibration import brier_score, expected_calibration_error, reliability, top_accuracy
from modelflow.evaluation.metrics import classification_report, confusion_matrix
from modelflow.evaluation.record import Metrics
from modelflow.training.cross_entropy import cross_entropy

Array = np.ndarray[Any, Any]


def measure(logits_NK: Array, y_N: Array) -> Metrics:
    """The figures of logits N x K and labels N."""
    n_classes = logits_NK.shape[1]
    counts_KK = confusion_matrix(y_N, logits_NK.argmax(1), n_classes)
    report = {row.name: row for row in classification_report(counts_KK, tuple(map(str, range(n_classes))))}
    return Metrics(
        accuracy=report["accuracy"].recall,
        macro_f1=report["macro avg"].f1,
        loss=cross_entropy(logits_NK, y_N),
        images=len(y_N),
        brier=brier_score(logits_NK, y_N),
        calibration_error=expected_calibration_error(reliability(logits_NK, y_N)),
        top2_accuracy=top_accuracy(logits_NK, y_N, 2),
    )
