"""Small parts of the real Fashion-MNIST, and networks and architectures made anew for each test."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from modelflow.data.batches import Batches
from modelflow.models.build import GenericCNN
from modelflow.presets import preset
from modelflow.training.architecture import Architecture
from modelflow.training.optimizers import make_optimizer


@pytest.fixture(scope="session")
def images(fashion):
    """The first 1,000 training images with their labels."""
    return TensorDataset(fashion.train_x_NCHW[:1000], fashion.train_y_N[:1000])


@pytest.fixture(scope="session")
def unseen(fashion):
    """The first 500 test images with their labels."""
    return TensorDataset(fashion.test_x_NCHW[:500], fashion.test_y_N[:500])


@pytest.fixture
def make_arch(images, unseen):
    """Makes generic_2 (or another model) with its optimizer and batches of 30 shuffled images, the last one of 10."""

    def make(model=None, optimizer="adam", lr=1e-3, seed=42, **loaders):
        model = GenericCNN(preset("generic_2"), seed) if model is None else model
        optimizer = make_optimizer(optimizer, model.parameters(), lr) if isinstance(optimizer, str) else optimizer
        arch = Architecture(model, nn.CrossEntropyLoss(), optimizer, verbose=False)
        train_loader = loaders.get("train_loader", Batches(*images.tensors, 30, shuffle=True))
        arch.set_loaders(train_loader, loaders.get("val_loader", Batches(*unseen.tensors, 200)))
        return arch

    return make


@pytest.fixture
def snapshot():
    """What training changes, for comparison: weights, buffers, gradients, modes, the optimizer, and random states."""

    def of(arch):
        states = {f"model.{name}": value for name, value in arch.model.state_dict().items()}
        states |= {f"gradient.{name}": p.grad for name, p in arch.model.named_parameters()}
        states |= {f"mode.{name}": module.training for name, module in arch.model.named_modules()}
        optimizer = arch.optimizer.state_dict()
        states["groups"] = optimizer["param_groups"]
        for number, kept in optimizer["state"].items():
            states |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
        states |= {"torch": torch.get_rng_state(), "numpy": np.random.get_state()[1]}
        return {
            name: bytes(value.numpy().tobytes()) if isinstance(value, torch.Tensor) else repr(value)
            for name, value in states.items()
        }

    return of
