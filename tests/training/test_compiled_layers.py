"""The compiled step of networks outside the card's family: what autograd makes of them, and nothing of it lost."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modelflow import training
from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.io.config import read_fields
from modelflow.networks.build import GenericCNN
from modelflow.training.augmentation import Augmentation

PLAIN = "c6 m2 c8 m2 c12 gap fc"
SEPARABLE = "c6 s8/2e4 s8e4r gap fc"
RESIDUAL = "c6/2 c6r drop0.3 c8/2 gap fc"


class ByAutograd(GenericCNN):
    """The same network, which the compiled step does not take."""

    def forward(self, x_NCHW):
        return super().forward(x_NCHW)


@pytest.fixture
def trainer(fashion):
    """Makes an `Architecture` of a short form over 170 training images, so that the last batch is a smaller one."""

    def make(short=PLAIN, kind=GenericCNN, optimizer=torch.optim.Adam, n_images=170, batch=16, **options):
        model = kind(short)
        chosen = optimizer(model.parameters(), **({"lr": 1e-3} | options))
        arch = Architecture(model, nn.CrossEntropyLoss(), chosen, verbose=False)
        train = Batches(fashion.train_x_NCHW[:n_images], fashion.train_y_N[:n_images], batch, shuffle=True)
        arch.set_loaders(train, Batches(fashion.test_x_NCHW[:300], fashion.test_y_N[:300], 300))
        return arch

    return make


def tensors(arch):
    """All of the model's state, statistics of batch norm too, as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in arch.model.state_dict().items()}


def in_float64(loader):
    x_NCHW, y_N = loader.dataset.tensors
    return Batches(x_NCHW.double(), y_N, loader.batch_size, loader.shuffle)


def check_an_epoch(trainer, short, **options):
    """Losses, validation losses and weights of an epoch against those of autograd in float64."""
    compiled, exact = (trainer(short, kind, **options) for kind in (GenericCNN, ByAutograd))
    exact.model.double()
    exact.set_loaders(*(in_float64(loader) for loader in (exact.train_loader, exact.val_loader)))
    for arch in (compiled, exact):
        arch.train(1)
    assert compiled.engine == "compiled step"
    assert exact.engine.startswith("autograd")
    assert compiled.losses == pytest.approx(exact.losses, rel=1e-5)
    assert compiled.val_losses == pytest.approx(exact.val_losses, rel=1e-4)
    for name, expected in exact.model.state_dict().items():
        found = compiled.model.state_dict()[name]
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("short", [PLAIN, SEPARABLE])
@pytest.mark.parametrize(
    "options",
    [
        {"eps": 1e-3},
        {"optimizer": torch.optim.AdamW, "eps": 1e-3, "weight_decay": 0.1},
        {"optimizer": torch.optim.SGD, "lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    ],
    ids=["Adam", "AdamW", "SGD"],
)
def test_an_epoch_is_that_of_autograd_in_float64(trainer, short, options):
    check_an_epoch(trainer, short, **options)


EXAMPLE = Path(__file__).parents[2] / "examples" / "modern.yaml"
STYLES = {model["name"]: model["spec"] for model in read_fields(EXAMPLE)["models"]}


@pytest.mark.parametrize("name", STYLES)
def test_an_epoch_of_each_style_of_the_example_is_too(trainer, name):
    without_dropout = re.sub(r" ?drop[\d.]+", "", STYLES[name])
    check_an_epoch(trainer, without_dropout, eps=1e-3)


@pytest.mark.parametrize("short", [SEPARABLE, RESIDUAL])
def test_the_same_seed_gives_the_same_bytes_whoever_evaluates(trainer, short):
    alone, helped, other = (trainer(short) for _ in range(3))
    alone.threads, helped.threads = (lambda: 1), (lambda: 2)
    for arch, seed in ((alone, 1), (helped, 1), (other, 2)):
        arch.train(2, seed=seed)
    assert tensors(alone) == tensors(helped) != tensors(other)
    assert alone.val_losses == helped.val_losses


def test_it_resumes_in_mid_epoch_to_the_same_bytes(trainer, monkeypatch):
    """With dropout, and statistics of batch norm, which are part of a state."""
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 1.0)  # a state after each step
    arch, states = trainer(RESIDUAL), []
    arch.on_epoch = arch.on_midway = lambda: states.append(copy.deepcopy(arch.state()))
    arch.train(2)
    assert len(states) == 2 * (11 + 1)
    for saved in states[3::7]:
        again = trainer(RESIDUAL)
        again.resume_from(saved, "a state")
        again.train(2 - again.total_epochs)
        assert tensors(again) == tensors(arch)
        assert (again.losses, again.val_losses) == (arch.losses, arch.val_losses)


def test_the_epoch_is_the_same_however_it_is_cut(trainer, monkeypatch):
    whole, cut = trainer(RESIDUAL), trainer(RESIDUAL)
    whole.train(1)
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 1.0)
    cut.train(1)
    assert tensors(whole) == tensors(cut)
    assert whole.losses == cut.losses


WEIGHTS_K = torch.linspace(0.5, 2, 10)
ASKED = {
    "smoothing": {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
    "weights of classes": {"loss": nn.CrossEntropyLoss(weight=WEIGHTS_K)},
    "average": {"ema": 0.9},
    "augmentation": {"augmentation": Augmentation(shift=2, flip=True, cutout=6)},
    "one image joined": {"n_images": 161},
    "all": {
        "loss": nn.CrossEntropyLoss(weight=WEIGHTS_K, label_smoothing=0.2),
        "ema": 0.95,
        "augmentation": Augmentation(shift=1),
        "n_images": 177,
    },
}


@pytest.fixture
def asked(trainer):
    """Makes an `Architecture` that does what is asked for beside the plain step."""

    def make(short, kind=GenericCNN, loss=None, ema=None, augmentation=None, **options):
        arch = trainer(short, kind, eps=1e-3, **options)
        arch.train_loader.joins_a_last_one = True
        arch.loss_fn = copy.deepcopy(loss)
        arch.ema = ema
        arch.augmentation = augmentation or arch.augmentation
        return arch

    return make


@pytest.mark.parametrize("short", [PLAIN, "+valid-bn c5k5 m2 c7k3 m2 fc20 fc"], ids=["batch norm", "the card's family"])
@pytest.mark.parametrize("options", ASKED.values(), ids=list(ASKED))
def test_what_is_asked_for_beside_the_plain_step_is_that_of_autograd(asked, short, options):
    compiled, exact = (asked(short, kind, **options) for kind in (GenericCNN, ByAutograd))
    exact.model.double()
    exact.loss_fn.double()
    loaders = [in_float64(loader) for loader in (exact.train_loader, exact.val_loader)]
    loaders[0].joins_a_last_one = True
    exact.set_loaders(*loaders)
    for arch in (compiled, exact):
        arch.train(2)
    assert compiled.engine == "compiled step"
    assert compiled.losses == pytest.approx(exact.losses, rel=1e-5)
    assert compiled.val_losses == pytest.approx(exact.val_losses, rel=1e-4)
    for name, expected in exact.model.state_dict().items():
        found = compiled.model.state_dict()[name]
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-3, atol=2e-4, msg=name)


def test_what_is_asked_for_resumes_in_mid_epoch_to_the_same_bytes(asked, monkeypatch):
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 1.0)  # a state after each step
    arch, states = asked(RESIDUAL, **ASKED["all"]), []
    arch.on_epoch = arch.on_midway = lambda: states.append(copy.deepcopy(arch.state()))
    arch.train(2)
    assert len(states) == 2 * (11 + 1)
    for saved in states[3::7]:
        again = asked(RESIDUAL, **ASKED["all"])
        again.resume_from(saved, "a state")
        again.train(2 - again.total_epochs)
        assert tensors(again) == tensors(arch)
        assert (again.losses, again.val_losses) == (arch.losses, arch.val_losses)


def test_autograd_goes_on_from_it_and_back(trainer):
    changing, steady = (trainer(eps=1e-3) for _ in range(2))
    steady.train(3)
    changing.train(1)
    changing.attach_hooks(["layers.0"])
    changing.train(1)
    assert changing.engine == "autograd: hooks are attached"
    changing.remove_hooks()
    changing.train(1)
    assert changing.engine == "compiled step"
    assert changing.losses == pytest.approx(steady.losses, rel=1e-4)
    counted = [changing.model.state_dict()[f"layers.{i}.norm.num_batches_tracked"].item() for i in (0, 2, 4)]
    assert counted == [33, 33, 33]


def test_what_it_validates_and_predicts_is_what_the_module_gives(trainer):
    arch = trainer(SEPARABLE)
    arch.train(1)
    x, y = next(iter(arch.val_loader))
    with torch.no_grad():
        logits_NK = arch.model.eval()(x)
    assert arch.val_losses[-1] == pytest.approx(nn.functional.cross_entropy(logits_NK, y).item(), rel=1e-5)
    np.testing.assert_allclose(arch.predictions(arch.val_loader)[0], logits_NK.numpy(), rtol=1e-4, atol=1e-5)


def test_checkpoints_hold_the_statistics_of_batch_norm(trainer, tmp_path):
    arch, again = trainer(), trainer()
    arch.train(1)
    arch.save_checkpoint(tmp_path / "c.pth")
    again.load_checkpoint(tmp_path / "c.pth")
    for trained in (arch, again):
        trained.train(1)
    assert tensors(arch) == tensors(again)


@pytest.mark.parametrize(("n_images", "batch"), [(33, 16), (5, 1), (1, 16)])
def test_a_batch_of_one_under_batch_norm_is_left_to_autograd(trainer, n_images, batch):
    arch = trainer(n_images=n_images, batch=batch)
    assert arch.why_autograd() == "batch norm sees a batch of one image"


def test_statistics_of_another_kind_are_left_to_autograd(trainer):
    arch = trainer()
    arch.model.layers[0].norm.running_var = arch.model.layers[0].norm.running_var.double()
    assert arch.why_autograd() == "not all running statistics of batch norm are float32 on the CPU"
