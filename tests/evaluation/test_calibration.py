"""Calibration against scikit-learn, torch and counts by hand."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from modelflow.evaluation.calibration import (
    brier_score,
    expected_calibration_error,
    probabilities,
    reliability,
    top_accuracy,
)


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 6)).astype(np.float32) * 3, rng.integers(0, 6, 500)


def test_probabilities_are_torchs_softmax(scored):
    logits_NK, _ = scored
    assert probabilities(logits_NK) == pytest.approx(torch.tensor(logits_NK).double().softmax(1).numpy(), abs=1e-12)
    assert np.isfinite(probabilities(np.array([[1e4, -1e4]], np.float32))).all()


def test_the_brier_score_is_scikit_learns_over_all_classes(scored):
    logits_NK, y_N = scored
    expected = sum(sklearn_metrics.brier_score_loss(y_N == k, probabilities(logits_NK)[:, k]) for k in range(6))
    assert brier_score(logits_NK, y_N) == pytest.approx(expected)


def test_top_accuracy_is_scikit_learns(scored):
    logits_NK, y_N = scored
    for k in (1, 2, 3):
        assert top_accuracy(logits_NK, y_N, k) == pytest.approx(
            sklearn_metrics.top_k_accuracy_score(y_N, logits_NK, k=k)
        )


def test_reliability_counts_by_confidence():
    logits_NK = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.55, 0.45]]))
    bins = reliability(logits_NK, np.array([0, 1, 0, 1]), n_bins=4)
    assert [(one.low, one.high, one.images) for one in bins] == [
        (0, 0.25, 0),
        (0.25, 0.5, 0),
        (0.5, 0.75, 2),
        (0.75, 1, 2),
    ]
    assert [one.accuracy for one in bins] == [0, 0, 0.5, 0.5]
    assert bins[2].confidence == pytest.approx(0.55)
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.05 + 2 * 0.35) / 4)


def test_confidence_at_the_edge_of_a_bin_belongs_below_it_and_certainty_to_the_last():
    bins = reliability(np.log(np.array([[0.5, 0.5], [1.0, 1e-300]])), np.array([0, 0]), n_bins=2)
    assert [one.images for one in bins] == [1, 1]


def test_every_image_is_in_one_bin(scored):
    bins = reliability(*scored)
    assert (len(bins), sum(one.images for one in bins)) == (15, 500)
    assert 0 <= expected_calibration_error(bins) <= 1
    right = scored[0].argmax(1) == scored[1]
    assert sum(one.images * one.accuracy for one in bins) == pytest.approx(right.sum())
