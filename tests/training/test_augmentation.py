"""Training images are changed as drawn, the draws are uniform and of their step alone, and evaluation sees none of it.

The oracle changes one image after the other, pixel by pixel, in NumPy.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelflow.data.batches import Batches
from modelflow.errors import DataError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.training.augmentation import Augmentation, Draws

LEAST_P = 1e-5  # of a test of draws that are always the same ones
KINDS = {
    "shift": Augmentation(shift=3),
    "flip": Augmentation(flip=True),
    "cutout": Augmentation(cutout=4),
    "an odd cutout": Augmentation(cutout=3),
    "all": Augmentation(shift=2, flip=True, cutout=5),
    "as far as can be": Augmentation(shift=5, flip=True, cutout=5),
}
SHAPES = [(6, 6), (6, 9), (11, 6)]


def slowly(image_CHW, augmentation, down, right, mirrored, row, column):
    """One image changed, pixel by pixel."""
    channels, height, width = image_CHW.shape
    made = np.zeros_like(image_CHW)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                from_i, from_j = i, j
                if augmentation.shift:
                    from_i, from_j = min(max(i - down, 0), height - 1), min(max(j - right, 0), width - 1)
                if augmentation.flip and mirrored:
                    from_j = width - 1 - from_j
                top, left, side = row - augmentation.cutout // 2, column - augmentation.cutout // 2, augmentation.cutout
                blank = top <= i < top + side and left <= j < left + side
                made[c, i, j] = 0 if blank else image_CHW[c, from_i, from_j]
    return made


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SHAPES, ids=str)
@pytest.mark.parametrize("augmentation", KINDS.values(), ids=KINDS)
def test_images_are_changed_as_one_by_one_in_numpy(augmentation, size, channels):
    x_BCHW = torch.randn(40, channels, *size, generator=torch.Generator().manual_seed(1))
    draws = augmentation.draws(40, *size, seed=2)
    expected = [
        slowly(image, augmentation, *(drawn_B[b].item() for drawn_B in draws)) for b, image in enumerate(x_BCHW.numpy())
    ]
    before = x_BCHW.clone()
    np.testing.assert_array_equal(augmentation.changed(x_BCHW, draws).numpy(), np.stack(expected))
    assert torch.equal(x_BCHW, before)


def test_a_shift_repeats_the_edge_and_a_mirrored_image_is_shifted_after():
    """Drawn by hand: one image of a row, mirrored, then one pixel to the right."""
    x_BCHW = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]] * 4]])
    one, zero = torch.tensor([1]), torch.tensor([0])
    drawn = Draws(zero, one, torch.tensor([True]), zero, zero)
    assert Augmentation(shift=1, flip=True).changed(x_BCHW, drawn)[0, 0, 0].tolist() == [4, 4, 3, 2]


def uniform_p(values, choices):
    counts = np.bincount(values, minlength=choices)
    assert len(counts) == choices
    return stats.chisquare(counts).pvalue


def test_each_choice_is_drawn_as_often_whatever_the_others_are():
    images, height, width, shift = 200_000, 28, 20, 2
    draws = Augmentation(shift=shift, flip=True, cutout=8).draws(images, height, width, seed=7)
    down, right, mirrored, row, column = (drawn_B.numpy().astype(int) for drawn_B in draws)
    columns = {"down": (down + shift, 5), "right": (right + shift, 5), "mirrored": (mirrored, 2)}
    columns |= {"row": (row, height), "column": (column, width)}
    for name, (values, choices) in columns.items():
        assert uniform_p(values, choices) > LEAST_P, name
    names = list(columns)
    for first in names:
        for second in names[names.index(first) + 1 :]:
            (a, n), (b, m) = columns[first], columns[second]
            assert uniform_p(a * m + b, n * m) > LEAST_P, (first, second)
    pairs = mirrored[:-1] * 2 + mirrored[1:]
    assert uniform_p(pairs, 4) > LEAST_P


def test_steps_epochs_and_seeds_draw_independently():
    augmentation, x_BCHW = Augmentation(flip=True), torch.arange(4.0).expand(16, 1, 4, 4)
    when = [(seed, epoch, step) for seed in range(20) for epoch in range(1, 11) for step in range(1, 11)]
    mirrored = np.array([augmentation.applied(x_BCHW, *at)[:, 0, 0, 0].numpy() > 0 for at in when]).astype(int)
    assert uniform_p(mirrored.ravel(), 2) > LEAST_P
    assert uniform_p((mirrored[:-1] * 2 + mirrored[1:]).ravel(), 4) > LEAST_P  # of one step and the next
    by_seed = mirrored.reshape(20, -1)
    assert uniform_p((by_seed[:-1] * 2 + by_seed[1:]).ravel(), 4) > LEAST_P
    counts = np.bincount(mirrored.sum(1), minlength=17)  # of a batch of 16
    expected = stats.binom.pmf(np.arange(17), 16, 0.5) * len(mirrored)
    kept = expected > 5
    assert stats.chisquare(counts[kept], expected[kept] * counts[kept].sum() / expected[kept].sum()).pvalue > LEAST_P


def test_draws_depend_on_their_step_alone_and_on_none_of_the_other_options():
    x_BCHW = torch.randn(8, 1, 12, 12)
    everything, shift = Augmentation(2, True, 4), Augmentation(shift=2)
    torch.manual_seed(1)
    first = everything.applied(x_BCHW, 42, 3, 17)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(everything.applied(x_BCHW, 42, 3, 17), first)
    assert torch.equal(torch.get_rng_state(), before)
    drawn = [one.draws(8, 12, 12, 5) for one in (everything, shift)]
    assert torch.equal(drawn[0].down_B, drawn[1].down_B)
    assert torch.equal(drawn[0].row_B, drawn[1].row_B)
    assert Augmentation().applied(x_BCHW, 42, 3, 17) is x_BCHW


class Seen(nn.Module):
    """A linear layer that keeps what it is given, by mode."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        self.seen = {True: [], False: []}

    def forward(self, x_NCHW):
        self.seen[self.training].append(x_NCHW.detach().clone())
        return self.layers(x_NCHW)


def test_training_sees_changed_images_and_evaluation_the_images_as_they_are(make_arch, images, unseen):
    torch.manual_seed(0)
    arch = make_arch(Seen(), train_loader=Batches(*images.tensors, 100))
    arch.augmentation = Augmentation(2, True, 8)
    arch.train(2, seed=5)
    arch.predictions(arch.val_loader)
    trained, evaluated = arch.model.seen[True], torch.cat(arch.model.seen[False])
    assert torch.equal(evaluated, torch.cat([unseen.tensors[0]] * 3))
    given = images.tensors[0]
    expected = [
        arch.augmentation.applied(given[100 * step : 100 * step + 100], 5, epoch, step + 1)
        for epoch in (1, 2)
        for step in range(10)
    ]
    assert torch.equal(torch.cat(trained), torch.cat(expected))
    changed = (torch.cat(trained) != torch.cat([given] * 2)).flatten(1).any(1)
    assert changed.float().mean() > 0.99


def test_by_a_loader_of_torch_and_by_batches_in_the_same_order_the_weights_are_the_same(make_arch, images):
    weights = []
    for loader in (Batches(*images.tensors, 100), DataLoader(TensorDataset(*images.tensors), 100)):
        arch = make_arch(GenericCNN("+valid-bn c5k5 m2 fc", 1), train_loader=loader)
        arch.augmentation = Augmentation(1, True, 6)
        arch.train(1, seed=3)
        weights.append(torch.cat([p.detach().ravel() for p in arch.model.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=2e-4)  # one by the compiled step, one by autograd


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": -1}, "shift = -1: must be 0 or more"),
        ({"shift": 1.5}, "shift = 1.5: must be a whole number"),
        ({"shift": True}, "shift = True: must be a whole number"),
        ({"cutout": "8"}, r"cutout = '8': must be a whole number of 0 or more. Write 8\."),
        ({"cutout": 10**9}, "cutout = 1000000000: must be less than 32,768"),
        ({"flip": 1}, "flip = 1: must be true or false"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Augmentation(**changes)


def test_numbers_of_numpy_become_pythons():
    made = Augmentation(np.int64(2), np.bool_(True), torch.tensor(3))
    assert made == Augmentation(2, True, 3)
    assert [type(value) for value in made.asked.values()] == [int, bool, int]


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        (Augmentation(shift=28), r"shift = 28: the images of the training loader are 28x28\. Give at most 27\."),
        (Augmentation(cutout=30), r"cutout = 30: the images of the training loader are 28x28\. Give at most 27\."),
    ],
)
def test_what_the_images_are_too_small_for_is_refused_before_the_first_step(make_arch, augmentation, message):
    arch = make_arch()
    arch.augmentation = augmentation
    with pytest.raises(DataError, match=message):
        arch.train(1)
    assert arch.total_epochs == 0


def test_rows_of_features_are_refused(make_arch, images):
    x_NF, y_N = images.tensors[0].flatten(1), images.tensors[1]
    arch = make_arch(nn.Linear(784, 10), train_loader=Batches(x_NF, y_N, 100), val_loader=None)
    arch.augmentation = Augmentation(flip=True, cutout=3)
    with pytest.raises(
        DataError, match="flip and cutout: the images of the training loader are 784, expected channels"
    ):
        arch.train(1)
