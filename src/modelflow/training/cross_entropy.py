"""The loss of logits that are at hand; numpy only."""

import numpy as np

from modelflow.io.array import Array


def cross_entropy(logits_NK: Array, y_N: Array) -> float:
    """The mean negative log-likelihood of the true classes, in nats."""
    return float(cross_entropies(logits_NK, y_N).mean())


def cross_entropies(logits_NK: Array, y_N: Array) -> Array:
    """The negative log-likelihood of the true class of each image, in nats."""
    shifted_KN = np.ascontiguousarray(logits_NK.T, np.float64)  # sums over few classes of many images are fast so
    shifted_KN = shifted_KN - shifted_KN.max(0)
    of_truth_N = shifted_KN[y_N, np.arange(len(y_N))]
    losses_N: Array = np.log(np.exp(shifted_KN, out=shifted_KN).sum(0)) - of_truth_N
    return losses_N
