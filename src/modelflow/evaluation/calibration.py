"""How far a classifier's probabilities can be believed, as pure functions of logits and labels; numpy only."""

from dataclasses import dataclass

import numpy as np

from modelflow.io.array import Array

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Images whose confidence, the probability of the class predicted, lies above `low` and up to `high`."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def probabilities(logits_NK: Array) -> Array:
    """The softmax of each row, N x K in float64."""
    shifted_NK = logits_NK.astype(np.float64)
    p_NK: Array = np.exp(shifted_NK - shifted_NK.max(1, keepdims=True))
    p_NK /= p_NK.sum(1, keepdims=True)
    return p_NK


def brier_score(logits_NK: Array, y_N: Array) -> float:
    """The mean over images of the squared differences from the one-hot label, summed over classes: from 0 to 2.

    Brier (1950), in its original form; scikit-learn's `brier_score_loss` halves it for two classes.
    """
    differences_NK = probabilities(logits_NK)
    differences_NK[np.arange(len(y_N)), y_N] -= 1
    return float((differences_NK**2).sum(1).mean())


def reliability(logits_NK: Array, y_N: Array, n_bins: int = BINS) -> list[Bin]:
    """Confidence and accuracy in bins of equal width; a bin without images has both 0.

    Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    p_NK = probabilities(logits_NK)
    confidence_N, right_N = p_NK.max(1), p_NK.argmax(1) == y_N
    which_N = np.clip(np.ceil(confidence_N * n_bins).astype(int) - 1, 0, n_bins - 1)
    images_B = np.bincount(which_N, minlength=n_bins)
    sums_B = (np.bincount(which_N, values, n_bins) for values in (confidence_N, right_N.astype(float)))
    confidence_B, accuracy_B = (sums / np.maximum(images_B, 1) for sums in sums_B)
    ends = np.linspace(0, 1, n_bins + 1).tolist()
    figures = zip(ends[:-1], ends[1:], images_B.tolist(), confidence_B.tolist(), accuracy_B.tolist(), strict=True)
    return [Bin(*values) for values in figures]


def expected_calibration_error(bins: list[Bin]) -> float:
    """The mean over images of the difference between confidence and accuracy of their bin: a share of 1."""
    images = sum(one.images for one in bins)
    return sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / images


def top_accuracy(logits_NK: Array, y_N: Array, k: int = 2) -> float:
    """The share of images whose class is among the `k` with the greatest logits."""
    own_N1 = logits_NK[np.arange(len(y_N)), y_N][:, None]
    return float(((logits_NK > own_N1).sum(1) < k).mean())
