"""What a loader holds in memory, against hashing and comparing the batches that it gives."""

import hashlib
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from modelflow.data import memory
from modelflow.data.batches import Batches
from modelflow.data.memory import checksums, held, seen_in_training, sha256_of

X_NCHW = torch.arange(60 * 9, dtype=torch.float32).view(60, 1, 3, 3)
Y_N = torch.arange(60) % 3
PIXELS, LABELS = X_NCHW[:, 0].numpy().astype(np.uint8), Y_N.tolist()
ORDER = torch.Generator().manual_seed(0)


class Kept(Dataset):
    """As torchvision's data sets: arrays kept as they were read, a transform when an image is asked for."""

    def __init__(self, names=("data", "targets"), x=None, y=None):
        values = PIXELS if x is None else x, LABELS if y is None else y
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)

    def __len__(self):
        return 60

    def __getitem__(self, i):
        raise AssertionError("no transform may run")


def batches_of(loader):
    found = list(loader)
    return [torch.cat([batch[part] for batch in found]) for part in (0, 1)]


def by_hand(values):
    values = np.asarray(values)
    shape = "x".join(map(str, values.shape))
    return hashlib.sha256(f"{values.dtype} {shape}\n".encode() + values.tobytes()).hexdigest()


ODD = [5, 3, 7, 1]
LOADERS = {
    "tensors": lambda: DataLoader(TensorDataset(X_NCHW, Y_N), 16),
    "three tensors": lambda: DataLoader(TensorDataset(X_NCHW, Y_N, Y_N), 16),
    "a subset": lambda: DataLoader(Subset(TensorDataset(X_NCHW, Y_N), ODD), 3),
    "a subset of a subset": lambda: DataLoader(Subset(Subset(TensorDataset(X_NCHW, Y_N), range(50, 0, -1)), ODD), 3),
    "a split": lambda: DataLoader(random_split(TensorDataset(X_NCHW, Y_N), [50, 10], ORDER)[0], 16),
    "batches": lambda: Batches(X_NCHW, Y_N, 16),
    "batches of some": lambda: Batches(X_NCHW, Y_N, 16, index_N=torch.tensor(ODD)),
    "a view": lambda: DataLoader(TensorDataset(X_NCHW.transpose(2, 3)[::2], Y_N[::2]), 16),
    "float64": lambda: DataLoader(TensorDataset(X_NCHW.double(), Y_N.int()), 16),
    "a module's parameter": lambda: DataLoader(TensorDataset(nn.Parameter(X_NCHW), Y_N), 60),
}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_the_checksums_are_of_the_images_and_labels_that_the_batches_have(make, monkeypatch):
    monkeypatch.setattr(memory, "CHUNK", 100)
    loader = make()
    x_NCHW, y_N = batches_of(loader)
    found = checksums({"training": held(loader), "test": None})
    assert found == {"training images": by_hand(x_NCHW.detach()), "training labels": by_hand(y_N)}


def test_a_shuffled_loader_is_of_what_it_shuffles_and_draws_nothing():
    data = TensorDataset(X_NCHW, Y_N)
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), ORDER.get_state()
    plain = checksums({"training": held(DataLoader(data, 16))})
    for loader in (
        DataLoader(data, 16, shuffle=True, generator=ORDER),
        DataLoader(data, 16, sampler=WeightedRandomSampler([1.0] * 60, 60, generator=ORDER)),
        Batches(X_NCHW, Y_N, 7, shuffle=True, generator=ORDER),
    ):
        assert checksums({"training": held(loader)}) == plain
    some = held(DataLoader(data, 16, sampler=SubsetRandomSampler(ODD, generator=ORDER)))
    assert checksums({"x": some}) == {"x images": by_hand(X_NCHW[ODD]), "x labels": by_hand(Y_N[ODD])}
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), ORDER.get_state()
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("names", [("data", "targets"), ("imgs", "labels"), ("x", "y"), ("images", "_labels")])
def test_arrays_kept_by_a_data_set_are_taken_before_any_transform(names):
    kept = Kept(names)
    found = held(DataLoader(Subset(kept, ODD), 16))
    assert not found.as_they_are
    assert checksums({"x": found}) == {"x images": by_hand(PIXELS[ODD]), "x labels": by_hand(Y_N[ODD])}


class Stream(IterableDataset):
    data, targets = X_NCHW, Y_N

    def __iter__(self):
        return iter(zip(X_NCHW, Y_N, strict=True))


PLAIN = TensorDataset(X_NCHW, Y_N)
UNKNOWN = {
    "a stream": lambda: DataLoader(Stream(), 16),
    "a list of batches": lambda: [(X_NCHW, Y_N)],
    "none": lambda: None,
    "joined sets": lambda: DataLoader(ConcatDataset([PLAIN, PLAIN]), 16),
    "batches by rules of their own": lambda: DataLoader(PLAIN, batch_sampler=[[0, 1], [2]]),
    "paths": lambda: DataLoader(Kept(x=[f"{i}.png" for i in range(60)]), 16),
    "other numbers of them": lambda: DataLoader(Kept(x=np.zeros((59, 3, 3), np.uint8)), 16),
    "no images": lambda: DataLoader(Kept(x=np.zeros((60, 3), np.uint8)), 16),
    "texts": lambda: DataLoader(Kept(y=["a"] * 60), 16),
    "objects": lambda: DataLoader(Kept(x=np.zeros((60, 3, 3), object)), 16),
    "no place in memory": lambda: DataLoader(TensorDataset(X_NCHW.to("meta"), Y_N.to("meta")), 16),
    "sparse": lambda: DataLoader(TensorDataset(X_NCHW.to_sparse(), Y_N), 16),
    "images that are not there": lambda: DataLoader(Subset(PLAIN, [60]), 16),
    "images by name": lambda: DataLoader(Subset(PLAIN, ["a"]), 16),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_of_anything_else_nothing_is_known(make):
    assert held(make()) is None
    assert checksums({"training": held(make())}) == {}
    assert seen_in_training(held(make()), held(DataLoader(PLAIN, 16))) == (None, None)


def test_kind_shape_and_order_are_part_of_a_checksum():
    zeros = torch.zeros(4, 2, 2)
    others = [zeros.int(), zeros.view(4, 4), zeros[:3], zeros.bfloat16(), zeros.numpy().astype(np.float64)]
    assert len({sha256_of(values) for values in (zeros, *others)}) == 6
    assert sha256_of(zeros) == sha256_of(zeros.numpy()) == sha256_of(torch.zeros(1).expand(4, 2, 2))
    assert sha256_of(X_NCHW) != sha256_of(X_NCHW.flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float64, torch.bool])
def test_test_images_in_training_are_those_found_by_comparing_every_pair(dtype):
    train_NCHW = torch.randint(0, 2, (50, 1, 2, 3), generator=torch.Generator().manual_seed(1)).to(dtype)
    test_NCHW = torch.randint(0, 2, (20, 1, 2, 3), generator=torch.Generator().manual_seed(2)).to(dtype)
    train_y_N, test_y_N = torch.arange(50) % 2, torch.arange(20) % 2
    kept = list(range(40, 10, -1))
    train = DataLoader(Subset(TensorDataset(train_NCHW, train_y_N), kept), 8, shuffle=True)
    places = [[j for j in kept if torch.equal(train_NCHW[j], x)] for x in test_NCHW]
    other = sum(bool(at) and int(y) not in train_y_N[at] for at, y in zip(places, test_y_N, strict=True))
    count = sum(map(bool, places))
    assert 0 < other < count < 20
    for test in (Batches(test_NCHW, test_y_N, 7), DataLoader(TensorDataset(test_NCHW, test_y_N[:, None]), 7)):
        assert seen_in_training(held(train), held(test)) == (count, other)


def test_images_of_another_kind_or_too_many_are_not_compared(monkeypatch):
    train, test = held(Batches(X_NCHW, Y_N)), held(Batches(X_NCHW[:5].double(), Y_N[:5]))
    assert seen_in_training(train, test) == (None, None)
    assert seen_in_training(train, held(Batches(X_NCHW[:5], torch.rand(5, 3)))) == (5, None)
    monkeypatch.setattr(memory, "MAX_COMPARED_BYTES", 100)
    assert seen_in_training(train, train) == (None, None)
