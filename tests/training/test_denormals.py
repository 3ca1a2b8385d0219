"""Denormal numbers while torch trains: zero on each of its threads, and each thread's own mode afterwards."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.denormals import flushed_to_zero, flushes
from modelflow.training.predict import predict


def test_within_the_block_denormals_are_zero_and_afterwards_not():
    smallest = torch.full((64,), 2e-38)
    assert not flushes()
    with flushed_to_zero():
        assert flushes()
        assert (smallest * 0.1).numpy().view(np.uint32).max() == 0
    assert not flushes()
    assert (smallest * 0.1).numpy().view(np.uint32).min() > 0


@pytest.mark.parametrize("own", [False, True])
def test_the_mode_comes_back_after_an_error(own):
    try:
        torch.set_flush_denormal(own)
        with pytest.raises(RuntimeError, match="lost"), flushed_to_zero():
            raise RuntimeError("lost")
        assert flushes() is own
    finally:
        torch.set_flush_denormal(False)


def test_another_thread_keeps_its_own_mode():
    found = []
    with flushed_to_zero():
        pass
    other = threading.Thread(target=lambda: found.append(flushes()))
    other.start()
    other.join()
    assert found == [False]


POOL = """
import numpy as np, torch
from modelflow.training.denormals import flushed_to_zero
torch.set_num_threads(2)
values = torch.full((4_000_000,), 2e-38)
def zero():
    return [bool((part == 0).all()) for part in np.split((values * 0.1).numpy().view(np.uint32), 2)]
{first}
with flushed_to_zero():
    print(zero())
print(zero())
"""


@pytest.mark.parametrize("first", ["zero()", ""], ids=["pool before", "pool within"])
def test_each_thread_of_torch_flushes_and_gets_its_mode_back(first):
    """In a process of its own: which threads torch has depends on what was done before."""
    done = subprocess.run([sys.executable, "-c", POOL.format(first=first)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[True, True]", "[False, False]"]


class ByAutograd(GenericCNN):
    def forward(self, x_NCHW):
        return super().forward(x_NCHW)


@pytest.mark.parametrize("kind", [GenericCNN, ByAutograd])
def test_training_leaves_no_denormal_average(fashion, kind):
    """Of a unit without gradient: its average fades by 0.9 a step, and would be denormal after some 850 steps."""
    model = kind(preset("cnn2_3"))
    with torch.no_grad():
        model.fc1.bias.fill_(-1e3)  # no unit fires, so that nothing below learns
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    arch = Architecture(model, nn.CrossEntropyLoss(), optimizer, verbose=False)
    arch.set_loaders(Batches(fashion.train_x_NCHW[:160], fashion.train_y_N[:160], 16), None)
    arch.train(1)
    for p in model.parameters():
        optimizer.state[p]["exp_avg"].fill_(2e-38)
    arch.train(1)
    averages = optimizer.state[model.conv1.weight]["exp_avg"].numpy().view(np.uint32)
    assert averages.max() == 0
    assert arch.engine.startswith("compiled" if kind is GenericCNN else "autograd")
    assert not flushes()


class Asked(ByAutograd):
    """Keeps whether denormals counted as zero, at each of its forward passes."""

    found: list[bool]

    def forward(self, x_NCHW):
        self.found.append(flushes())
        return super().forward(x_NCHW)


def test_all_that_runs_a_model_flushes(fashion):
    model = Asked(preset("cnn2_3"))
    batches = Batches(fashion.train_x_NCHW[:160], fashion.train_y_N[:160], 16)
    arch = Architecture(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3), verbose=False)
    arch.set_loaders(batches, batches)
    for work in (
        lambda: arch.train(1),
        lambda: predict(model, batches, "cpu"),
        lambda: arch.predict(fashion.train_x_NCHW[:16]),
        lambda: arch.lr_range_test(batches, num_iter=5),
    ):
        Asked.found = []
        work()
        assert Asked.found
        assert all(Asked.found)
