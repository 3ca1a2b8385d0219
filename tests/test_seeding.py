"""Streams: pure, independent, and without a trace in the global generators or the loader's."""

import random
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from modelflow.data.batches import Batches
from modelflow.seeding import drawn_from, ordered_by, stream

NUMBERS = TensorDataset(torch.arange(40.0), torch.arange(40))
WEIGHTS = torch.linspace(1, 5, 40)


def states():
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]


@given(st.integers(0, 2**70), st.sampled_from(["weights", "order", "dropout"]), st.integers(1, 1000))
def test_a_stream_is_pure_and_differs_by_seed_name_and_epoch(seed, name, epoch):
    number = stream(seed, name, epoch)
    assert number == stream(seed, name, epoch)
    assert 0 <= number < 2**63
    others = {
        stream(seed + 1, name, epoch),
        stream(seed, name, epoch + 1),
        stream(seed, name),
        stream(seed, "x", epoch),
    }
    assert number not in others
    assert len(others) == 4


def test_draws_are_those_of_the_stream_and_differ_between_streams():
    def drawn(*names):
        with drawn_from(*names):
            return draws()

    torch.rand(7)
    first = drawn(42, "weights")
    np.random.rand(5)
    assert drawn(42, "weights") == first
    for other in (drawn(42, "order"), drawn(43, "weights"), drawn(42, "weights", 1)):
        assert all(ours != theirs for ours, theirs in zip(first, other, strict=True))


def test_streams_are_not_correlated():
    def uniform(name):
        with drawn_from(42, name):
            return torch.rand(20_000)

    both = torch.corrcoef(torch.stack([uniform("order"), uniform("dropout")]))[0, 1]
    assert abs(both) < 5 / 20_000**0.5


def test_global_states_are_put_back_also_after_an_exception_and_when_nested():
    before = states()
    with suppress(KeyError), drawn_from(1, "a"):
        draws()
        with drawn_from(2, "b"):
            draws()
        raise KeyError
    assert states() == before


def with_own_generator(make):
    generator = torch.Generator().manual_seed(5)
    loader = make(generator)
    return loader, generator


LOADERS = {
    "batches": lambda g: Batches(*NUMBERS.tensors, 8, shuffle=True, generator=g),
    "shuffle": lambda g: DataLoader(NUMBERS, 8, shuffle=True, generator=g),
    "random sampler": lambda g: DataLoader(NUMBERS, 8, sampler=RandomSampler(NUMBERS, generator=g)),
    "weighted": lambda g: DataLoader(NUMBERS, 8, sampler=WeightedRandomSampler(WEIGHTS, 40, generator=g)),
    "subset": lambda g: DataLoader(NUMBERS, 8, sampler=SubsetRandomSampler(range(20), generator=g)),
    "batch sampler": lambda g: DataLoader(
        NUMBERS, batch_sampler=BatchSampler(RandomSampler(NUMBERS, generator=g), 8, drop_last=False)
    ),
}


def order(loader):
    return torch.cat([y_B for _, y_B in loader]).tolist()


def ordered(loader, *names):
    with ordered_by(loader, *names), drawn_from(*names, "global"):
        return order(loader)


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("own", [True, False], ids=["own generator", "no generator"])
def test_the_order_is_a_function_of_the_stream(make, own):
    loaders = [make(torch.Generator().manual_seed(seed) if own else None) for seed in (1, 2)]
    first = ordered(loaders[0], 42, "order", 1)
    torch.rand(3)
    assert ordered(loaders[0], 42, "order", 1) == first == ordered(loaders[1], 42, "order", 1)
    assert first != ordered(loaders[0], 42, "order", 2)
    assert first != ordered(loaders[0], 43, "order", 1)
    assert first != sorted(first)


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_the_loaders_own_generator_is_put_back_untouched_also_after_an_exception(make):
    generator = torch.Generator().manual_seed(5)
    loader, before = make(generator), generator.get_state()
    sampler = getattr(loader, "batch_sampler", None)
    owners = [owner for owner in (loader, getattr(loader, "sampler", None), getattr(sampler, "sampler", None)) if owner]
    found = [getattr(owner, "generator", "none") for owner in owners]
    with suppress(KeyError), ordered_by(loader, 42, "order"):
        order(loader)
        raise KeyError
    assert all(now is then for now, then in zip([getattr(o, "generator", "none") for o in owners], found, strict=True))
    assert generator in found
    assert torch.equal(generator.get_state(), before)


def test_other_attributes_called_generator_are_left_alone():
    class Loader(list):
        generator = np.random.default_rng(0)

        def __len__(self):
            return 0

    loader = Loader()
    with ordered_by(loader, 42, "order"):
        assert isinstance(loader.generator, np.random.Generator)


def test_plain_lists_of_batches_are_loaders_too():
    assert ordered([NUMBERS.tensors], 42, "order") == list(range(40))
