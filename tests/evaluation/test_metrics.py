"""Metrics against scikit-learn, also where classes are missing or never predicted."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import tensor
from torch.nn.functional import cross_entropy as torchs_cross_entropy

from modelflow.evaluation.metrics import classification_report, confusion_matrix
from modelflow.training.cross_entropy import cross_entropy

N_CLASSES = 5
LABELS = st.integers(0, N_CLASSES - 1)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60).map(lambda pairs: np.array(pairs).T)
NAMES = tuple(f"class {k}" for k in range(N_CLASSES))


@given(PAIRS)
def test_counts_equal_scikit_learns(pairs):
    y_N, predicted_N = pairs
    counts_KK = confusion_matrix(y_N, predicted_N, N_CLASSES)
    expected_KK = sklearn_metrics.confusion_matrix(y_N, predicted_N, labels=range(N_CLASSES))
    assert np.array_equal(counts_KK, expected_KK)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int64])
def test_counts_do_not_overflow_in_small_integers(kind):
    y_N, predicted_N = np.arange(100, dtype=kind), np.arange(100, dtype=kind)[::-1]
    assert np.array_equal(confusion_matrix(y_N, predicted_N, 100), np.eye(100, dtype=int)[::-1])


@given(PAIRS)
def test_report_equals_scikit_learns(pairs):
    y_N, predicted_N = pairs
    report = classification_report(confusion_matrix(y_N, predicted_N, N_CLASSES), NAMES)
    # averages over the labels that occur in either, as scikit-learn takes them when it is given none
    present = sklearn_metrics.classification_report(y_N, predicted_N, output_dict=True, zero_division=0)
    every = sklearn_metrics.classification_report(
        y_N, predicted_N, labels=range(N_CLASSES), target_names=NAMES, output_dict=True, zero_division=0
    )
    assert [row.name for row in report] == [*NAMES, "accuracy", "macro avg", "weighted avg"]
    for row in report:
        if row.name == "accuracy":
            assert (row.precision, row.recall, row.f1) == pytest.approx([present["accuracy"]] * 3)
            assert row.support == len(y_N)
            continue
        expected = (present if row.name.endswith("avg") else every)[row.name]
        scores = (row.precision, row.recall, row.f1, row.support)
        assert scores == pytest.approx([expected[key] for key in ("precision", "recall", "f1-score", "support")])


def test_a_class_never_predicted_has_precision_0_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = classification_report(confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2), ("a", "b"))
    assert (report[1].precision, report[1].recall, report[1].f1, report[1].support) == (0.0, 0.0, 0.0, 1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 50.0, 1e4]))
def test_cross_entropy_equals_torchs_in_float64(seed, scale):
    rng = np.random.default_rng(seed)
    logits_NK, y_N = rng.normal(size=(20, 7)) * scale, rng.integers(0, 7, 20)
    expected = torchs_cross_entropy(tensor(logits_NK), tensor(y_N)).item()
    assert cross_entropy(logits_NK, y_N) == pytest.approx(expected, rel=1e-12, abs=1e-12)
