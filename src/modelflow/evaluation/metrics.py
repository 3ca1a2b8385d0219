"""Metrics of a classifier as pure functions of labels and predictions; numpy only."""

from dataclasses import dataclass

import numpy as np

from modelflow.io.array import Array


@dataclass(frozen=True)
class ReportRow:
    """One line of a classification report; `name` is a class, "accuracy", "macro avg" or "weighted avg"."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(y_N: Array, predicted_N: Array, n_classes: int) -> Array:
    """Counts, true class x predicted class."""
    flat = np.bincount(y_N.astype(np.int64) * n_classes + predicted_N, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def classification_report(counts_KK: Array, class_names: tuple[str, ...]) -> list[ReportRow]:
    """Precision, recall, F1 and support of each class, then accuracy, macro and weighted averages.

    As scikit-learn's `classification_report` with `zero_division=0`: a class never predicted has precision 0. Every
    field of the row "accuracy" but its support is the accuracy.
    """
    hits_K = np.diag(counts_KK).astype(float)
    support_K, predicted_K = counts_KK.sum(1), counts_KK.sum(0)
    precision_K = _share(hits_K, predicted_K)
    recall_K = _share(hits_K, support_K)
    f1_K = _share(2 * hits_K, support_K + predicted_K)
    total = int(support_K.sum())
    scores = np.stack([precision_K, recall_K, f1_K])
    rows = [
        _row(name, scores_of_class, support)
        for name, scores_of_class, support in zip(class_names, scores.T, support_K, strict=True)
    ]
    accuracy = float(hits_K.sum() / total)
    # a class with neither images nor predictions has no score to average, as in scikit-learn
    seen_K = (support_K + predicted_K) > 0
    macro = scores[:, seen_K].mean(1)
    weighted = scores @ support_K / total
    return [
        *rows,
        ReportRow("accuracy", accuracy, accuracy, accuracy, total),
        _row("macro avg", macro, total),
        _row("weighted avg", weighted, total),
    ]


def _row(name: str, scores: Array, support: int) -> ReportRow:
    precision, recall, f1 = (float(score) for score in scores)
    return ReportRow(name, precision, recall, f1, int(support))


def _share(part_K: Array, whole_K: Array) -> Array:
    return np.divide(part_K, whole_K, out=np.zeros(len(part_K)), where=whole_K > 0)
