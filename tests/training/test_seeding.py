"""Streams: pure, independent, and without a trace in the global generators or the loader's."""

import os
import random
import signal
import threading
import time
import warnings
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
from modelflow.networks.seeds import stream
from modelflow.training.seeding import seeded_order, seeded_rng

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
        with seeded_rng(*names):
            return draws()

    torch.rand(7)
    first = drawn(42, "weights")
    np.random.rand(5)
    assert drawn(42, "weights") == first
    for other in (drawn(42, "order"), drawn(43, "weights"), drawn(42, "weights", 1)):
        assert all(ours != theirs for ours, theirs in zip(first, other, strict=True))


def test_streams_are_not_correlated():
    def uniform(name):
        with seeded_rng(42, name):
            return torch.rand(20_000)

    both = torch.corrcoef(torch.stack([uniform("order"), uniform("dropout")]))[0, 1]
    assert abs(both) < 5 / 20_000**0.5


def test_global_states_are_put_back_also_after_an_exception_and_when_nested():
    before = states()
    with suppress(KeyError), seeded_rng(1, "a"):
        draws()
        with seeded_rng(2, "b"):
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
    with seeded_order(loader, *names), seeded_rng(*names, "global"):
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
    with suppress(KeyError), seeded_order(loader, 42, "order"):
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
    with seeded_order(loader, 42, "order"):
        assert isinstance(loader.generator, np.random.Generator)


def test_plain_lists_of_batches_are_loaders_too():
    assert ordered([NUMBERS.tensors], 42, "order") == list(range(40))


def in_threads(*works):
    """What each gives, run side by side and begun at once."""
    gate, found = threading.Barrier(len(works)), {}

    def do(place, work):
        gate.wait()
        found[place] = work()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [found.get(place) for place in range(len(works))]


def drawn_slowly(seed, steps=30, give_way=True):
    numbers = []
    with seeded_rng(seed, "dropout") as others_first:
        for _ in range(steps):
            numbers.append(draws())
            time.sleep(0.001)
            if give_way:
                others_first()
    return numbers


@pytest.mark.parametrize("give_way", [True, False])
def test_threads_draw_each_from_its_own_stream_and_leave_the_generators_as_they_were(give_way):
    before = states()
    alone = [drawn_slowly(seed) for seed in (1, 2, 3)]
    together = in_threads(*(lambda seed=seed: drawn_slowly(seed, give_way=give_way) for seed in (1, 2, 3)))
    assert together == alone
    assert states() == before


def test_a_long_block_lets_another_thread_have_its_turn():
    ends = []

    def long():
        drawn_slowly(1, 200)
        ends.append("long")

    def short():
        time.sleep(0.02)
        with seeded_rng(2, "a"):
            ends.append("short")

    in_threads(long, short)
    assert ends == ["short", "long"]


def test_nested_blocks_of_one_thread_do_not_wait_for_each_other_and_give_way_as_one():
    def nested():
        with seeded_rng(1, "a") as others_first:
            first = draws()
            with seeded_rng(2, "b") as others_first_within:
                within = draws()
                others_first_within()
                within += draws()
            others_first()
            return first, within, draws()

    alone = nested()
    assert in_threads(nested, nested, lambda: drawn_slowly(3))[:2] == [alone, alone]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_process_forked_while_another_thread_has_its_turn_does_not_wait_for_it():
    begun, done = threading.Event(), threading.Event()

    def hold():
        with seeded_rng(1, "a"):
            begun.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    begun.wait(60)
    with warnings.catch_warnings(action="ignore"):  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if not child:
        signal.alarm(20)  # which ends a child that waits
        with seeded_rng(2, "b"):
            os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    holder.join()
    assert status == 0


@pytest.mark.parametrize("first_out", ["first in", "last in"])
def test_a_loader_shared_by_threads_has_its_own_generator_again_at_the_end(first_out):
    loader, own = with_own_generator(LOADERS["random sampler"])
    blocks = [seeded_order(loader, 1, "order"), seeded_order(loader, 2, "order")]
    for block in blocks:
        block.__enter__()
    for block in blocks if first_out == "first in" else blocks[::-1]:
        assert loader.sampler.generator is not own
        block.__exit__(None, None, None)
    assert loader.sampler.generator is own


def test_batches_are_gone_through_by_several_threads_each_in_its_own_order():
    loader = LOADERS["batches"](None)

    def passes(seed):
        found = []
        for epoch in range(40):
            with seeded_order(loader, seed, epoch) as ordered_loader:
                found.append(order(ordered_loader))
        return found

    alone = [passes(seed) for seed in (1, 2)]
    assert in_threads(lambda: passes(1), lambda: passes(2)) == alone
