"""Training images held out for validation: the same share of each class, drawn by a seed."""

import numpy as np

from modelflow.errors import UsageError
from modelflow.io.array import Array


def held_out(y_N: Array, count: int, seed: int) -> tuple[Array, Array]:
    """Indices to train on and indices held out, `count` of them, each in ascending order.

    Each class gives its share of them, rounded so that they add up. Raises `UsageError` unless some are left of either.
    """
    if not 0 < count < len(y_N):
        raise UsageError(f"{count} images held out of {len(y_N)}: expected at least 1, and fewer than there are")
    classes, sizes = np.unique(y_N, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = [
        rng.permutation(np.flatnonzero(y_N == label))[:share]
        for label, share in zip(classes, _shares(sizes, count), strict=True)
    ]
    chosen = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(y_N)), chosen, assume_unique=True), chosen


def _shares(sizes: Array, count: int) -> Array:
    """`count` in proportion to `sizes`: rounded down, and what is left to the largest remainders."""
    exact = sizes * count / sizes.sum()
    shares: Array = np.floor(exact).astype(int)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1
    return shares
