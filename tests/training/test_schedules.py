"""Schedules: torch's one-cycle is the oracle, both engines follow it, and the optimizer keeps its rate."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from modelflow import ModelFlow, trace, training
from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.errors import UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.schedules import WARM_UP, Cosine, OneCycle

NO_DROPOUT = preset("cnn2_3").model_copy(update={"p": 0.0})


def of_torch(scheduler_of, steps):
    """What a scheduler of torch's multiplies the rate of each step by."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    scheduler, rates = scheduler_of(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def torch_one_cycle(steps):
    return of_torch(lambda optimizer: OneCycleLR(optimizer, 1, total_steps=steps, cycle_momentum=False), steps)


@pytest.mark.parametrize("steps", [4, 10, 77, 1000])
def test_one_cycle_is_that_of_torch(steps):
    assert OneCycle(steps)(np.arange(steps)) == pytest.approx(torch_one_cycle(steps), abs=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_cycle_of_few_steps_stays_between_nothing_and_its_top(steps):
    factors = OneCycle(steps)(np.arange(steps))
    assert ((factors > 0) & (factors <= 1)).all()


@pytest.mark.parametrize("steps", [1, 2, 10, 77, 1000])
def test_cosine_rises_in_a_line_and_falls_as_that_of_torch(steps):
    warm = max(1, round(WARM_UP * steps))
    factors, falling = Cosine(steps)(np.arange(steps)), steps - warm + 1
    assert factors[:warm] == pytest.approx(np.arange(1, warm + 1) / warm)
    assert factors[warm - 1 :] == pytest.approx(
        of_torch(lambda optimizer: CosineAnnealingLR(optimizer, falling), falling), abs=1e-12
    )
    assert (Cosine(steps, begin=30)(np.arange(30, 30 + steps)) == factors).all()


def test_a_cycle_that_begins_later_is_the_same_cycle():
    assert (OneCycle(50, begin=30)(np.arange(30, 80)) == OneCycle(50)(np.arange(50))).all()


class ByAutograd(GenericCNN):
    """The same network, which the compiled step does not take."""

    def forward(self, x_NCHW):
        return super().forward(x_NCHW)


def trained(few_loaders, kind, epochs=(2,), schedule=None, optimizer=torch.optim.Adam, **options):
    model = kind(NO_DROPOUT)
    arch = Architecture(model, nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=3e-3, **options), verbose=False)
    arch.set_loaders(*few_loaders)
    arch.schedule = schedule
    for n_epochs in epochs:
        arch.train(n_epochs)
    return arch


@pytest.fixture
def small_loaders(few_loaders):
    """The first 170 training images: so few steps that two ways of rounding do not drift apart."""
    return Batches(*(part[:170] for part in few_loaders[0].dataset.tensors), 16, shuffle=True), few_loaders[1]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW])
def test_both_engines_follow_it_as_torchs_scheduler_does(small_loaders, optimizer, monkeypatch):
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 4 * 16 * trace(NO_DROPOUT).macs)  # 4 steps of 11
    schedule = OneCycle(2 * len(small_loaders[0]))
    kinds = (GenericCNN, ByAutograd)
    compiled, autograd = (trained(small_loaders, kind, (2,), schedule, optimizer, eps=1e-3) for kind in kinds)
    assert (compiled.engine[:8], autograd.engine[:8]) == ("compiled", "autograd")
    by_torch = trained(small_loaders, ByAutograd, (0,), None, optimizer, eps=1e-3)
    steps = len(small_loaders[0])
    rates = [3e-3 * factor for factor in torch_one_cycle(2 * steps)]
    by_torch.on_step = lambda epoch, step, _loss: set_rate(by_torch, rates, (epoch - 1) * steps + step)
    set_rate(by_torch, rates, 0)
    by_torch.train(2)
    assert autograd.losses == pytest.approx(by_torch.losses, rel=1e-9)
    assert compiled.losses == pytest.approx(by_torch.losses, rel=1e-4)
    assert compiled.losses != pytest.approx(trained(small_loaders, GenericCNN, eps=1e-3).losses, rel=1e-3)


def set_rate(arch, rates, step):
    arch.optimizer.param_groups[0]["lr"] = rates[min(step, len(rates) - 1)]


@pytest.mark.parametrize("kind", [GenericCNN, ByAutograd])
def test_it_spans_calls_of_train_and_the_optimizer_keeps_its_rate(few_loaders, kind):
    schedule = OneCycle(2 * len(few_loaders[0]))
    at_once, in_two = (trained(few_loaders, kind, epochs, schedule) for epochs in ((2,), (1, 1)))
    assert at_once.losses == in_two.losses
    assert at_once.optimizer.param_groups[0]["lr"] == 3e-3


def test_a_flow_trains_a_cycle_in_each_call(few_loaders, tmp_path):
    def flow(name):
        model = GenericCNN(NO_DROPOUT)
        return ModelFlow(model, *few_loaders, name, lr=3e-3, schedule="one-cycle", results_dir=tmp_path, verbose=False)

    once, twice = flow("once"), flow("twice")
    once.train(2)
    twice.train(1)
    twice.train(1)
    assert once.arch.losses != twice.arch.losses
    assert once.arch.losses[0] != twice.arch.losses[0]
    assert once.optimizer.param_groups[0]["lr"] == 3e-3
    once.evaluate()
    assert '"schedule": "one-cycle"' in (tmp_path / "once" / "run.json").read_text()
    assert "schedule one-cycle" in (tmp_path / "once" / "run.json").read_text()


def test_an_unknown_schedule_and_a_loader_without_length_are_refused(few_loaders, tmp_path):
    model = GenericCNN(NO_DROPOUT)
    with pytest.raises(UsageError, match="schedule 'linear': expected one of constant, one-cycle, cosine"):
        ModelFlow(model, *few_loaders, schedule="linear", results_dir=tmp_path)
    stream = ModelFlow(model, iter(few_loaders[0]), few_loaders[1], schedule="one-cycle", results_dir=tmp_path)
    with pytest.raises(UsageError, match="the training loader has no length"):
        stream.train(1)


def test_a_flow_leaves_the_schedule_of_its_architecture_as_it_was(few_loaders, tmp_path):
    flow = ModelFlow(GenericCNN(NO_DROPOUT), *few_loaders, schedule="one-cycle", results_dir=tmp_path, verbose=False)
    flow.train(1)
    assert flow.arch.schedule is None
    mine = OneCycle(4 * len(few_loaders[0]))
    flow.settings["schedule"], flow.arch.schedule = "constant", mine
    flow.train(1)
    assert flow.arch.schedule is mine


def test_an_optimizer_may_change_its_own_rate(few_loaders):
    class Halving(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.param_groups[0]["lr"] /= 2

    arch = trained(few_loaders, GenericCNN, (1,), None, Halving)
    assert arch.optimizer.param_groups[0]["lr"] == pytest.approx(3e-3 / 2 ** len(few_loaders[0]))
