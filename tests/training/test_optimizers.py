"""Optimizers by name, and what one must be to train a model."""

import pytest
import torch
from torch import nn

from modelflow.errors import UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training import schedules
from modelflow.training.choices import OPTIMIZERS, SCHEDULES
from modelflow.training.optimizers import KINDS, check_trains, make_optimizer, set_lr, settle


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_has_torchs_defaults(name, kind):
    model = nn.Linear(3, 2)
    ours, theirs = make_optimizer(name, model.parameters(), 0.1), kind(model.parameters(), lr=0.1)
    assert type(ours) is type(theirs)
    assert ours.defaults | {"fused": None} == theirs.defaults | {"fused": None}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_fused_form_gives_the_same_weights(name, kind):
    def trained(make):
        torch.manual_seed(0)
        model = nn.Linear(30, 4)
        optimizer = make(model.parameters())
        for _ in range(20):
            optimizer.zero_grad()
            (model(torch.randn(16, 30)) ** 2).mean().backward()
            optimizer.step()
        return model.weight

    ours = trained(lambda parameters: make_optimizer(name, parameters, 0.01))
    theirs = trained(lambda parameters: kind(parameters, lr=0.01, foreach=False))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_refuses_other_names():
    with pytest.raises(UsageError, match=r"optimizer 'lion': expected one of adam, adamw, sgd, rmsprop"):
        make_optimizer("lion", nn.Linear(1, 1).parameters(), 0.1)


def test_what_can_be_asked_for_is_what_there_is():
    assert (set(KINDS), set(schedules.KINDS)) == (set(OPTIMIZERS), set(SCHEDULES))


def other_model():
    return GenericCNN(preset("generic_2"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (lambda _: other_model().parameters(), "none of its parameters is the model's"),
        (lambda model: [*other_model().parameters(), *list(model.parameters())[:2]], "lacks 4 of the model's"),
    ],
)
def test_an_optimizer_that_trains_another_model_is_refused(parameters, message):
    model = other_model()
    with pytest.raises(UsageError, match=message):
        check_trains(torch.optim.Adam(parameters(model)), model, nn.CrossEntropyLoss())


def test_an_optimizer_of_some_layers_or_of_the_loss_too_is_fine():
    model, loss = other_model(), nn.PReLU()  # a loss with a parameter
    parameters = list(model.parameters())
    for held in (parameters, parameters[-2:], [*parameters, *loss.parameters()], [*parameters[:2], *loss.parameters()]):
        check_trains(torch.optim.Adam(held), model, loss)
    parameters[0].requires_grad_(False)
    check_trains(torch.optim.Adam([*parameters[1:], nn.Parameter(torch.zeros(1))]), model, loss)


@pytest.mark.parametrize("lay", [lambda w: w[:, ::2], lambda w: w[:, 1:4], lambda w: w[::2], lambda w: w.t()[:6]])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_fused_optimizers_train_views_as_the_others_do(lay, kind):
    def trained(fused):
        model = nn.Linear(8, 6, bias=False)
        model.weight.data = lay(torch.arange(48.0).view(6, 8) / 48)
        optimizer = kind(model.parameters(), lr=0.1, fused=fused)
        for _ in range(3):
            settle(model, optimizer)
            optimizer.zero_grad()
            (model.weight**3).sum().backward()
            optimizer.step()
        return model.weight.detach()

    torch.testing.assert_close(trained(True), trained(False))


def test_averages_of_weights_that_were_turned_stay_with_their_weights():
    def trained(fused):
        model = nn.Linear(4, 4, bias=False)
        model.weight.data = torch.arange(16.0).view(4, 4)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
        for turned in (False, True, True):
            if turned:
                model.weight.data = model.weight.data.t()
            settle(model, optimizer)
            optimizer.zero_grad()
            (model.weight * torch.arange(16.0).view(4, 4)).sum().backward()
            optimizer.step()
        return model.weight.detach()

    torch.testing.assert_close(trained(True), trained(False))


def test_what_repeats_one_number_gets_memory_of_its_own_and_what_is_dense_keeps_its_layout():
    model = nn.Conv2d(3, 4, 3)
    model.weight.data = torch.full((1,), 0.5).expand(4, 3, 3, 3)
    model.bias.data = torch.zeros(8)[::2]
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    settle(model, optimizer)
    assert [p.is_contiguous() for p in model.parameters()] == [True, True]
    assert torch.equal(model.weight, torch.full((4, 3, 3, 3), 0.5))
    model.to(memory_format=torch.channels_last)
    before = model.weight.data_ptr(), model.weight.stride()
    settle(model, optimizer)
    assert (model.weight.data_ptr(), model.weight.stride()) == before


@pytest.mark.parametrize("lr", [-1, float("nan"), float("inf"), "fast", None])
def test_a_rate_that_is_none_is_refused(lr):
    with pytest.raises(UsageError, match="expected a finite number of at least 0"):
        set_lr(torch.optim.Adam(other_model().parameters()), lr)


def test_a_rate_is_set_for_every_group_also_where_it_is_a_tensor():
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [{"params": first.parameters(), "lr": torch.tensor(0.5)}, {"params": second.parameters()}]
    optimizer = torch.optim.Adam(groups, lr=0.1)
    set_lr(optimizer, 0.25)
    assert [float(group["lr"]) for group in optimizer.param_groups] == [0.25, 0.25]
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
