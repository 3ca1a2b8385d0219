"""Batches goes wherever a torch DataLoader goes; its order is a function of its generator."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from modelflow.data.batches import Batches
from modelflow.errors import DataError, UsageError

X_NCHW = torch.arange(10 * 2 * 3 * 4, dtype=torch.float32).view(10, 2, 3, 4)
Y_N = torch.arange(10)


def shuffled(seed: int) -> Batches:
    return Batches(X_NCHW, Y_N, batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(seed))


def order(batches: Batches) -> list[int]:
    return torch.cat([y_B for _, y_B in batches]).tolist()


def test_looks_like_a_torch_loader() -> None:
    ours, theirs = Batches(X_NCHW, Y_N, batch_size=4), DataLoader(Batches(X_NCHW, Y_N).dataset, batch_size=4)
    assert (len(ours), len(ours.dataset), ours.batch_size) == (len(theirs), len(theirs.dataset), theirs.batch_size)
    for (x_BCHW, y_B), (expected_x_BCHW, expected_y_B) in zip(ours, theirs, strict=True):
        assert torch.equal(x_BCHW, expected_x_BCHW)
        assert torch.equal(y_B, expected_y_B)


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 10), (3, [3, 3, 3, 1]), (5, [5, 5]), (99, [10])])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_last_batch_is_smaller(batch_size: int, sizes: list[int], shuffle: bool) -> None:
    batches = Batches(X_NCHW, Y_N, batch_size, shuffle)
    assert [len(x_BCHW) for x_BCHW, _ in batches] == sizes
    assert len(batches) == len(sizes)


@pytest.mark.parametrize("shuffle", [False, True])
def test_what_a_model_writes_into_a_batch_changes_no_data(shuffle: bool) -> None:
    kept_NCHW, kept_N = X_NCHW.clone(), Y_N.clone()
    for x_BCHW, y_B in Batches(kept_NCHW, kept_N, batch_size=4, shuffle=shuffle):
        x_BCHW.zero_()
        y_B.zero_()
    assert torch.equal(kept_NCHW, X_NCHW)
    assert torch.equal(kept_N, Y_N)


def test_order_is_a_function_of_the_seed() -> None:
    assert order(shuffled(1)) == order(shuffled(1))
    assert order(shuffled(1)) != order(shuffled(2))


def test_global_random_state_plays_no_part() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = order(shuffled(1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert order(shuffled(1)) == first


def test_every_pass_has_every_image_once_in_a_new_order() -> None:
    batches = shuffled(1)
    passes = [order(batches) for _ in range(3)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_reseeding_the_generator_repeats_the_order() -> None:
    batches = shuffled(1)
    first = order(batches)
    batches.generator.manual_seed(1)
    assert order(batches) == first


def test_images_stay_with_their_labels() -> None:
    for x_BCHW, y_B in shuffled(1):
        assert torch.equal(x_BCHW, X_NCHW[y_B])


def test_refuses_what_makes_no_batches() -> None:
    with pytest.raises(DataError, match="no images"):
        Batches(X_NCHW[:0], Y_N[:0])
    with pytest.raises(DataError, match="10 images and 9 labels"):
        Batches(X_NCHW, Y_N[:9])


def test_numbers_and_arrays_of_numpy_are_taken() -> None:
    batches = Batches(X_NCHW.numpy(), Y_N.numpy(), np.int64(4))  # type: ignore[arg-type]
    assert (batches.batch_size, type(batches.batch_size), len(batches)) == (4, int, 3)
    assert torch.equal(next(iter(batches))[0], X_NCHW[:4])


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "16"])
def test_refuses_batch_sizes(batch_size: object) -> None:
    with pytest.raises(UsageError, match=r"batch_size is .*, expected a whole number of at least 1"):
        Batches(X_NCHW, Y_N, batch_size)  # type: ignore[arg-type]
