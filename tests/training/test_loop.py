"""The loop against a plain PyTorch loop in float64; losses that are no numbers; means over images."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from modelflow.data.batches import Batches
from modelflow.errors import DataError, RunError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.loop import mean_loss, train_epoch


@pytest.fixture
def in_float64(images):
    """A network without dropout and ragged batches (30 images, then 10), in float64."""
    spec = preset("generic_2").model_copy(update={"p": 0.0})
    x_NCHW, y_N = images.tensors
    return GenericCNN(spec).double(), Batches(x_NCHW.double(), y_N, 30)


def test_equals_a_plain_loop_in_float64(in_float64):
    model, batches = in_float64
    plain = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    told = []
    mean = train_epoch(model, cross_entropy, optimizer, batches, "cpu", lambda made, _: told.extend(made), 1)

    adam, losses = torch.optim.Adam(plain.parameters(), lr=1e-3), []
    x_NCHW, y_N = batches.dataset.tensors
    for start in range(0, 1000, 30):
        logits_NK = plain(x_NCHW[start : start + 30])
        losses += [-logits_NK.log_softmax(1)[torch.arange(len(logits_NK)), y_N[start : start + 30]]]
        adam.zero_grad()
        losses[-1].mean().backward()
        adam.step()
    assert told == pytest.approx([loss.mean().item() for loss in losses], rel=1e-12)
    assert mean == pytest.approx(torch.cat(losses).mean().item(), rel=1e-12)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_validation_is_the_mean_over_images_of_a_ragged_loader(in_float64):
    model, batches = in_float64
    x_NCHW, y_N = batches.dataset.tensors
    expected = cross_entropy(model(x_NCHW), y_N).item()
    assert mean_loss(model, cross_entropy, batches, "cpu") == pytest.approx(expected, rel=1e-12)


def test_validation_is_in_eval_mode_and_gives_each_module_its_mode_back(images):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(784), nn.Linear(784, 10)).train()
    model[2].eval()
    before = copy.deepcopy(model.state_dict())
    losses = {mean_loss(model, cross_entropy, Batches(*images.tensors, 300), "cpu") for _ in range(2)}
    assert len(losses) == 1
    assert [module.training for module in model] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_modes_come_back_when_the_forward_raises(images):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)).train()
    model[0].eval()
    with pytest.raises(DataError, match=r"validation: images float32 300x1x28x28: mat1 and mat2 shapes cannot be"):
        mean_loss(model, cross_entropy, Batches(*images.tensors, 300), "cpu")
    assert [module.training for module in model.modules()] == [True, False, True]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_no_number_stops_before_its_update(make_arch, snapshot, value):
    arch, steps = make_arch(), []

    def loss_fn(logits_NK, y_N):
        factor = value if len(steps) == 4 else 1.0
        return cross_entropy(logits_NK, y_N) * factor

    def on_step(_losses, midway):
        steps.append(midway.steps)
        states.append(snapshot(arch))

    states = []
    with pytest.raises(RunError, match=rf"epoch 3, step 5: the loss is {value}, expected a finite number. Try"):
        train_epoch(arch.model, loss_fn, arch.optimizer, arch.train_loader, "cpu", on_step, 3)
    left = snapshot(arch)
    assert {k: v for k, v in left.items() if k != "torch"} == {k: v for k, v in states[-1].items() if k != "torch"}


def test_pixels_that_are_no_numbers_stop_the_run(make_arch, images):
    x_NCHW, y_N = images.tensors[0].clone(), images.tensors[1]
    x_NCHW[70] = np.nan
    arch = make_arch(train_loader=Batches(x_NCHW, y_N, 30))
    with pytest.raises(RunError, match=r"epoch 1, step 3: the loss is nan"):
        arch.train(2)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (0, [], [])
    assert all(p.isfinite().all() for p in arch.model.parameters())


def test_a_validation_loss_that_is_no_number_stops_the_run_and_keeps_what_was_there(make_arch, unseen):
    arch = make_arch()
    arch.train(1)
    losses, saved = list(arch.losses), []
    arch.on_epoch = lambda: saved.append(arch.total_epochs)
    arch.val_loader = Batches(unseen.tensors[0] * np.inf, unseen.tensors[1], 200)
    with pytest.raises(RunError, match=r"epoch 2, after its last step: the validation loss is nan"):
        arch.train(1)
    assert (arch.total_epochs, arch.losses, len(arch.val_losses), saved) == (1, losses, 1, [])


def test_loaders_without_batches_are_refused(make_arch):
    model = make_arch().model
    with pytest.raises(DataError, match="the validation loader gave no batches"):
        mean_loss(model, cross_entropy, [], "cpu")
    with pytest.raises(DataError, match="the training loader gave no batches"):
        make_arch(train_loader=[]).train(1)
