"""Optimizers by name."""

import pytest
import torch
from torch import nn

from modelflow.errors import UsageError
from modelflow.training.optimizers import KINDS, make_optimizer


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
