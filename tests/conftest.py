"""What tests share: the real Fashion-MNIST, small parts of it, and single-threaded torch."""

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings

from modelflow.data.batches import Batches
from modelflow.data.datasets import Dataset, load_dataset

mpl.use("agg")
torch.set_num_threads(1)
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def fashion() -> Dataset:
    """The whole data set, fetched once if it is nowhere on this machine."""
    return load_dataset("fashion-mnist")


@pytest.fixture
def few_loaders(fashion: Dataset) -> tuple[Batches, Batches]:
    """Training batches of 2,000 images and validation batches of 1,000, new for each test."""
    train = Batches(fashion.train_x_NCHW[:2000], fashion.train_y_N[:2000], 16, shuffle=True)
    return train, Batches(fashion.test_x_NCHW[:1000], fashion.test_y_N[:1000], 500)
