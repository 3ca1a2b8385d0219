"""Logits of a loader: in eval mode, in its order, with the model as it was; what does not fit is said."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelflow.data.batches import Batches
from modelflow.errors import DataError, RunError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.predict import predict


@pytest.fixture
def model():
    return GenericCNN(preset("generic_2")).train()


@pytest.fixture
def few(fashion):
    return fashion.test_x_NCHW[:250], fashion.test_y_N[:250]


def test_equals_one_pass_in_eval_mode(model, few):
    x_NCHW, y_N = few
    logits_NK, labels_N = predict(model, DataLoader(TensorDataset(x_NCHW, y_N), 60), "cpu")
    assert model.training
    expected_NK = model.eval()(x_NCHW).detach().numpy()
    np.testing.assert_allclose(logits_NK, expected_NK, rtol=1e-5, atol=1e-5)
    assert np.array_equal(labels_N, y_N.numpy())
    assert (logits_NK.dtype, labels_N.dtype) == (np.float32, np.int64)


def test_a_network_that_keeps_tensors_of_its_first_pass_can_be_trained_afterwards(few):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.mask = nn.Linear(784, 10), None

        def forward(self, x_NCHW):
            if self.mask is None:
                self.mask = x_NCHW.flatten(1).abs().mean(0)
            return self.linear(x_NCHW.flatten(1) * self.mask)

    model = Masked()
    predict(model, Batches(*few, 100), "cpu")
    model(few[0].requires_grad_()).sum().backward()
    few[0].requires_grad_(False)
    assert model.linear.weight.grad.abs().sum() > 0


def test_modes_come_back_when_the_forward_raises(few):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(3, 10))
    model[1].eval()
    with pytest.raises(RuntimeError):
        predict(model, Batches(*few, 100), "cpu")
    assert [module.training for module in model.modules()] == [True, True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda *_: [], "the validation loader has no images"),
        (
            lambda x, y: [(x, y + 5)],
            r"a label is 1[0-4], expected 0 to 9. Fix the labels, or build the model with more",
        ),
        (lambda x, y: [(x, y - 9)], r"a label is -\d, expected 0 to 9"),
        (lambda x, y: [(x, y % 9 + 1.5)], r"the labels have shape \(250,\) and are not whole numbers"),
        (lambda x, y: [(x, torch.stack([y, y], 1))], r"the labels have shape \(250, 2\), expected one class per image"),
        (lambda x, y: [(x, y % 10 + 1)], r"a label is 10, expected 0 to 9. Subtract 1 from them"),
    ],
)
def test_what_does_not_fit_is_said(model, few, change, message):
    with pytest.raises(DataError, match=message):
        predict(model, change(*few), "cpu")


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y[:, None],
        lambda y: nn.functional.one_hot(y, 10),
        lambda y: y.float(),
        lambda y: y.to(torch.uint8),
        lambda y: y.tolist(),
        lambda y: y.numpy(),
    ],
)
def test_labels_that_say_one_class_an_image_in_another_way_are_taken(model, few, labels):
    expected = predict(model, [few], "cpu")
    for ours, theirs in zip(predict(model, [(few[0], labels(few[1]))], "cpu"), expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_logits_are_taken_out_of_what_a_model_gives(few):
    class Gives(nn.Module):
        def __init__(self, gives):
            super().__init__()
            self.linear, self.gives = nn.Linear(784, 10), gives

        def forward(self, x):
            return self.gives(self.linear(x.flatten(1)), x)

    for gives in (
        lambda logits, x: (logits, x),
        lambda logits, x: {"features": x, "logits": logits},
        lambda logits, _: logits[:, :, None, None],
    ):
        model = Gives(gives)
        expected_NK = model.linear(few[0].flatten(1)).detach().numpy()
        np.testing.assert_allclose(predict(model, [few], "cpu")[0], expected_NK, rtol=1e-5, atol=1e-5)
    with pytest.raises(DataError, match="the model gives a NoneType, expected images x classes"):
        predict(Gives(lambda *_: None), [few], "cpu")


def test_outputs_that_are_no_logits_are_said(few):
    for model in (nn.Flatten(0), nn.Sequential(nn.Flatten(), nn.Linear(784, 1)), nn.Identity()):
        with pytest.raises(DataError, match=r"the model's output has shape .*, expected images x classes"):
            predict(model, [few], "cpu")


def test_logits_that_are_not_finite_are_said(model, few):
    x_NCHW, y_N = few[0].clone(), few[1]
    x_NCHW[[3, 7]] = float("nan")
    with pytest.raises(RunError, match=r"the logits of 2 of 250 images are not finite"):
        predict(model, Batches(x_NCHW, y_N, 100), "cpu")
