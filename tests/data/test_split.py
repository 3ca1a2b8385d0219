"""Images held out: each class gives its share, nothing is in both parts, and the seed decides."""

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from modelflow.data.split import held_out
from modelflow.errors import UsageError


def test_fashion_mnist_gives_500_of_each_class(fashion):
    y_N = fashion.train_y_N.numpy()
    train, chosen = held_out(y_N, 5000, 0)
    assert np.bincount(y_N[chosen]).tolist() == [500] * 10
    assert (len(train), len(chosen), len(np.union1d(train, chosen))) == (55_000, 5000, 60_000)


@pytest.mark.parametrize("count", [1, 7, 50, 149])
def test_classes_of_different_sizes_give_their_share(count):
    y_N = np.repeat([0, 1, 5], [100, 30, 20])
    shares = np.bincount(y_N[held_out(y_N, count, 3)[1]], minlength=6)[[0, 1, 5]]
    assert shares.sum() == count
    assert np.abs(shares - np.array([100, 30, 20]) * count / 150).max() < 1
    if count >= 3 and 150 - count >= 3:
        theirs = train_test_split(y_N, test_size=count, stratify=y_N, random_state=0)[1]
        assert np.abs(shares - np.bincount(theirs, minlength=6)[[0, 1, 5]]).max() <= 1


def test_the_seed_decides():
    y_N = np.arange(1000) % 10
    first, again, other = (held_out(y_N, 100, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [0, -1, 10, 11])
def test_nothing_left_on_either_side_is_refused(count):
    with pytest.raises(UsageError, match=f"{count} images held out of 10"):
        held_out(np.zeros(10, int), count, 0)
