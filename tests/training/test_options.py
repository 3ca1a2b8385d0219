"""What of an optimizer and a loss is recorded: nothing of torch's own with their defaults, all that differs."""

import functools
import inspect
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelflow.training.augmentation import Augmentation
from modelflow.training.optimizers import KINDS, make_optimizer
from modelflow.training.options import options, plain_value


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def of(make, loss_fn=None):
    model = net()
    return options(make(model.parameters()), loss_fn or nn.CrossEntropyLoss(), model)


NOT_TRIED = (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.Muon)  # the last takes matrices alone
KNOWN = [kind for kind in vars(torch.optim).values() if inspect.isclass(kind) and kind not in NOT_TRIED]
ALONE = [kind for kind in KNOWN if issubclass(kind, torch.optim.Optimizer)]


@pytest.mark.parametrize("kind", ALONE, ids=lambda kind: kind.__name__)
def test_an_optimizer_of_torch_with_its_defaults_has_none(kind):
    assert of(functools.partial(kind, lr=0.1)) == {}


def test_an_average_of_the_weights_is_one():
    model = net()
    found = options(torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss(), model, ema=0.99)
    assert found == {"averaging.ema": 0.99}
    parts = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss(), model
    found = options(*parts, augmentation=Augmentation(shift=2, flip=True))
    assert found == {"augmentation.shift": 2, "augmentation.flip": True}
    assert options(*parts, augmentation=Augmentation()) == {}


@pytest.mark.parametrize("name", KINDS)
def test_those_of_studies_have_none(name):
    model = net()
    assert options(make_optimizer(name, model.parameters(), 1e-3), nn.CrossEntropyLoss(), model) == {}


LOSSES = [kind for name, kind in vars(nn).items() if name.endswith("Loss") and "Distance" not in name]  # nor parts


@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_a_loss_of_torch_with_its_defaults_has_none(kind):
    try:
        loss = kind()
    except TypeError:
        return  # it has no defaults
    assert of(torch.optim.Adam, loss) == {}


GIVEN = {
    "weight decay": (lambda p: torch.optim.Adam(p, weight_decay=5.0), None, {"optimizer.weight_decay": 5.0}),
    "betas": (lambda p: torch.optim.AdamW(p, betas=(0.5, 0.9)), None, {"optimizer.betas": [0.5, 0.9]}),
    "momentum": (lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True), None,
                 {"optimizer.momentum": 0.9, "optimizer.nesterov": True}),
    "how it computes": (lambda p: torch.optim.Adam(p, foreach=False, fused=True), None, {}),
    "label smoothing": (torch.optim.Adam, nn.CrossEntropyLoss(label_smoothing=0.5), {"loss_fn.label_smoothing": 0.5}),
    "class weights": (torch.optim.Adam, nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5])),
                      {"loss_fn.weight": [1.0, 2.0, 0.5]}),
    "reduction": (torch.optim.Adam, nn.CrossEntropyLoss(reduction="sum"), {"loss_fn.reduction": "sum"}),
    "a function": (torch.optim.Adam, F.cross_entropy, {}),
    "a function with options": (torch.optim.Adam, functools.partial(F.cross_entropy, label_smoothing=0.1),
                                {"loss_fn.func": "cross_entropy", "loss_fn.label_smoothing": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "loss_fn", "expected"), GIVEN.values(), ids=GIVEN)
def test_what_differs_is_there_as_plain_data(make, loss_fn, expected):
    found = of(make, loss_fn)
    assert found == expected
    assert json.loads(json.dumps(found)) == found


class Focal(nn.Module):
    def __init__(self, gamma, alpha=None, eps=1e-8):
        super().__init__()
        self.gamma, self.alpha, self.eps = gamma, alpha, eps
        self.inner = nn.CrossEntropyLoss(label_smoothing=0.25)

    def forward(self, outputs, y):
        return self.inner(outputs, y) ** self.gamma


def test_a_loss_of_ones_own_has_what_it_keeps_and_its_parts():
    expected = {"loss_fn.gamma": 2, "loss_fn.inner": "CrossEntropyLoss", "loss_fn.inner.label_smoothing": 0.25}
    assert of(torch.optim.Adam, Focal(2)) == expected
    assert of(torch.optim.Adam, Focal(2, torch.tensor([1.0, 3.0]))) == expected | {"loss_fn.alpha": [1.0, 3.0]}

    class Plain:
        def __init__(self, scale=1.0):
            self.scale = scale

        def __call__(self, outputs, y):
            return self.scale * F.cross_entropy(outputs, y)

    assert of(torch.optim.Adam, Plain()) == {}
    assert of(torch.optim.Adam, Plain(2.0)) == {"loss_fn.scale": 2.0}


def test_groups_of_parameters_and_those_that_are_not_trained():
    model = net()
    weight, bias = model.parameters()
    groups = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0, "lr": 0.5}]
    found = options(torch.optim.AdamW(groups, lr=0.1), nn.CrossEntropyLoss(), model)
    assert found == {"optimizer.1.lr": 0.5, "optimizer.1.weight_decay": 0.0, "optimizer.parameters": [12, 3]}
    assert options(torch.optim.Adam([bias]), nn.CrossEntropyLoss(), model) == {"optimizer.parameters": 3}
    weight.requires_grad_(False)
    assert options(torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss(), model) == {"optimizer.parameters": 3}


def test_an_optimizer_of_ones_own_without_defaults_has_all_that_it_was_given():
    class Own(torch.optim.SGD):
        def __init__(self, params, lr, momentum):
            super().__init__(params, lr, momentum)

    assert of(lambda p: Own(p, 0.1, 0.5))["optimizer.momentum"] == 0.5


LONG = torch.arange(100.0)
PLAIN = {
    "numpy's number": (np.float64(0.5), 0.5),
    "a tensor of one number": (torch.tensor(3), 3),
    "an array": (np.array([1, 2]), [1, 2]),
    "none": (None, None),
    "true": (True, True),
    "infinity": (float("inf"), "inf"),
    "a huge number": (1e200, "1e+200"),
    "a function": (net, "net"),
    "an object": (object(), "<object object>"),
    "mixed": ([1, "a"], "[1, 'a']"),
}


@pytest.mark.parametrize(("value", "expected"), PLAIN.values(), ids=PLAIN)
def test_values_are_as_a_record_can_hold_them(value, expected):
    assert plain_value(value) == expected


def test_what_is_long_is_known_by_its_sha_256():
    changed = LONG.clone()
    changed[7] = 0
    texts = [plain_value(value) for value in (LONG, changed, LONG.view(10, 10), [*range(99)], "x" * 300, "a\nb")]
    assert all(text.startswith("SHA-256 ") and len(text) == 72 for text in texts)
    assert len(set(texts)) == len(texts)
    assert plain_value(LONG.clone()) == texts[0]
    assert plain_value(torch.tensor([1.0, float("nan")])).startswith("SHA-256 ")

    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.__dict__ |= {f"option_{i}": i for i in range(100)}

    (only,) = of(torch.optim.Adam, Many()).items()
    assert only[0] == "loss_fn.options"
    assert only[1].startswith("SHA-256 ")
