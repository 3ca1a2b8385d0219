"""A loss takes outputs and labels in the form it needs; its value is a mean over images; what cannot be is said."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from modelflow.errors import DataError, UsageError
from modelflow.training.loop import mean_loss
from modelflow.training.loss import FittedLoss, cross_entropy, is_plain_cross_entropy, loss_of

LOGITS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3
EXPECTED = F.cross_entropy(LOGITS, Y)


def given(loss_fn, outputs, y):
    """The loss of a batch, twice, and the notes of it."""
    notes = []
    fitted = FittedLoss(loss_fn, notes.append)
    first, again = fitted(outputs, y), fitted(outputs, y)
    assert torch.equal(first, again)
    return first, notes


@pytest.mark.parametrize(
    ("outputs", "y", "note"),
    [
        (LOGITS, Y, None),
        (LOGITS, Y.to(torch.uint8), None),
        (LOGITS, F.one_hot(Y, 3).float(), None),
        (LOGITS, Y.int(), "labels are int32 N: the loss uses them as one class per image (int64)"),
        (LOGITS, Y.float(), "labels are float32 N: "),
        (LOGITS, Y[:, None], "labels are int64 N x 1: "),
        (LOGITS, F.one_hot(Y, 3), "labels are int64 N x 3: "),
        ((LOGITS, Y), Y, "the model gives a tuple: its logits are used (float32 N x 3)"),
        (LOGITS[:, :, None, None], Y, "the model gives float32 N x 3 x 1 x 1: its logits are used (float32 N x 3)"),
        ({"logits": LOGITS}, Y.int(), "the model gives a dict: its logits are used"),
    ],
)
@pytest.mark.parametrize("loss_fn", [nn.CrossEntropyLoss(), F.cross_entropy, lambda o, t: F.cross_entropy(o, t)])
def test_the_form_that_the_loss_takes_is_found_and_noted(loss_fn, outputs, y, note):
    loss, notes = given(loss_fn, outputs, y)
    torch.testing.assert_close(loss, EXPECTED)
    assert bool(notes) == (note is not None)
    assert note is None or any(text.startswith(note) for text in notes)


def test_labels_that_the_loss_takes_as_they_are_stay_so():
    seen = []

    def loss_fn(outputs, y):
        seen.append(y)
        return F.mse_loss(outputs, y)

    wanted = torch.rand(8, 3)
    given(loss_fn, LOGITS, wanted)
    assert all(y is wanted or y.shape != wanted.shape for y in seen)
    ones = torch.ones(8, 1)
    loss, notes = given(nn.BCEWithLogitsLoss(), LOGITS[:, :1], ones)
    assert (loss, notes) == (F.binary_cross_entropy_with_logits(LOGITS[:, :1], ones), [])


@pytest.mark.parametrize(
    ("loss_fn", "outputs", "y", "said"),
    [
        (nn.CrossEntropyLoss(reduction="none"), LOGITS, Y, r"gives float32 8, expected a tensor of one number.*'mean'"),
        (lambda *_: 1.0, LOGITS, Y, "gives a float, expected a tensor of one number"),
        (nn.CrossEntropyLoss(weight=torch.ones(5)), LOGITS, Y, "one float32 number per class"),
        (nn.CrossEntropyLoss(weight=torch.ones(3).double()), LOGITS, Y, "one float32 number per class"),
        (nn.CrossEntropyLoss(), LOGITS, torch.ones(8, 2), "loss_fn cannot take .*8x3.* and labels .*8x2"),
        (nn.CrossEntropyLoss(), LOGITS[:, :1], Y * 0, "one output, for which cross-entropy is always 0"),
        (nn.MSELoss(), LOGITS, torch.ones(3), "loss_fn cannot take .*broadcasting.*Use nn.CrossEntropyLoss"),
        (nn.MSELoss(), LOGITS[:, :1], torch.ones(8), "loss_fn cannot take .*broadcasting"),
        (
            nn.NLLLoss(),
            LOGITS,
            Y,
            r"the outputs are no log-probabilities, .*nn.LogSoftmax\(1\)",
        ),
        (F.nll_loss, LOGITS.softmax(1), Y, "the outputs are no log-probabilities"),
    ],
)
def test_what_cannot_be_right_is_refused(loss_fn, outputs, y, said):
    with pytest.raises(UsageError, match=said):
        FittedLoss(loss_fn)(outputs, y)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (Y + 1, "labels go from 1 to 3, the model's outputs are 0 to 2. Subtract 1 from them"),
        (Y - 1, "labels go from -1 to 1, the model's outputs are 0 to 2. Fix the labels"),
        (Y + 5, "labels go from 5 to 7"),
        ((Y + 1)[:, None].float(), "Subtract 1 from them"),
    ],
)
def test_labels_that_no_output_is_for_are_refused(y, said):
    with pytest.raises(DataError, match=said):
        FittedLoss(nn.CrossEntropyLoss())(LOGITS, y)


def test_labels_that_the_loss_ignores_are_none_of_the_classes():
    y = torch.where(Y == 2, -100, Y)
    torch.testing.assert_close(FittedLoss(nn.CrossEntropyLoss())(LOGITS, y), F.cross_entropy(LOGITS, y))
    with pytest.raises(DataError, match="labels go from -7 to 1"):
        FittedLoss(nn.CrossEntropyLoss())(LOGITS, torch.where(Y == 2, -7, Y))


def test_log_probabilities_are_right_by_both_losses():
    outputs = LOGITS.log_softmax(1)
    for loss_fn in (nn.NLLLoss(), nn.CrossEntropyLoss()):
        torch.testing.assert_close(FittedLoss(loss_fn)(outputs, Y), EXPECTED)


class OwnSum(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, outputs, y):
        self.calls += 1
        return F.cross_entropy(outputs, y, reduction="sum")


SUMS = {
    "by its word": nn.CrossEntropyLoss(reduction="sum"),
    "a function": lambda o, t: F.cross_entropy(o, t, reduction="sum"),
    "a module": OwnSum(),
}


@pytest.mark.parametrize("loss_fn", SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("size", [3, 4, 8])
def test_the_mean_of_a_sum_is_over_the_images_whatever_the_batch(loss_fn, size):
    batches = [(LOGITS[i : i + size], Y[i : i + size]) for i in range(0, 8, size)]
    assert mean_loss(nn.Identity(), loss_fn, batches, "cpu") == pytest.approx(EXPECTED.item(), rel=1e-6)


def test_a_mean_is_taken_for_none_and_a_module_is_called_once_a_batch():
    for loss_fn in (nn.CrossEntropyLoss(), lambda o, t: F.cross_entropy(o, t), lambda o, _: (o * 0).mean()):
        fitted = FittedLoss(loss_fn)
        fitted(LOGITS, Y)
        assert not fitted.summed
    loss_fn = OwnSum()
    FittedLoss(loss_fn)(LOGITS, Y)
    assert loss_fn.calls == 1


def test_looking_for_a_sum_draws_no_random_number():
    def loss_fn(outputs, y):
        return F.cross_entropy(F.dropout(outputs, 0.5), y)

    torch.manual_seed(0)
    expected = loss_fn(LOGITS, Y), torch.rand(1)
    torch.manual_seed(0)
    assert (FittedLoss(loss_fn)(LOGITS, Y), torch.rand(1)) == expected


def test_a_class_is_called_and_nothing_is_cross_entropy():
    assert isinstance(loss_of(nn.CrossEntropyLoss), nn.CrossEntropyLoss)
    assert isinstance(loss_of(None), nn.CrossEntropyLoss)
    assert loss_of(F.cross_entropy) is F.cross_entropy
    for wrong in ("cross_entropy", 5):
        with pytest.raises(UsageError, match=r"loss_fn = .*: expected a loss such as nn.CrossEntropyLoss\(\)"):
            loss_of(wrong)

    class Needs(nn.Module):
        def __init__(self, alpha):
            super().__init__()
            self.alpha = alpha

    with pytest.raises(UsageError, match=r"loss_fn is the class Needs, expected a loss: .*alpha.*Call it first"):
        loss_of(Needs)


def test_errors_of_ones_own_stay_what_they_are():
    class OwnError(Exception):
        pass

    def loss_fn(*_):
        raise OwnError

    with pytest.raises(OwnError):
        FittedLoss(loss_fn)(LOGITS, Y)


def test_balanced_weights_are_those_of_the_classes_that_have_images():
    y_N = np.array([0] * 7 + [2] * 2 + [3])
    weight_K = cross_entropy(0.0, torch.bincount(torch.from_numpy(y_N), minlength=5)).weight
    assert weight_K[[0, 2, 3]].numpy() == pytest.approx(compute_class_weight("balanced", classes=np.unique(y_N), y=y_N))
    assert weight_K[[1, 4]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("loss_fn", "plain"),
    [
        (nn.CrossEntropyLoss(), True),
        (F.cross_entropy, True),
        (nn.CrossEntropyLoss(label_smoothing=0.1), False),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), False),
        (nn.NLLLoss(), False),
    ],
)
def test_guessing_costs_what_it_costs_by_plain_cross_entropy_alone(loss_fn, plain):
    assert is_plain_cross_entropy(loss_fn) is plain
