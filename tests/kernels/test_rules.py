"""Each update rule by itself: against its reference and PyTorch in float64; what it keeps, what it leaves zero."""

import ctypes

import numpy as np
import pytest
import torch

from modelflow.kernels import cache
from modelflow.kernels.machine import host
from modelflow.kernels.network import Network, State, _by_step, _scalars, compiled
from modelflow.kernels.rules.registry import rules
from modelflow.networks.description import Spec
from modelflow.networks.trace import trace

SPEC = Spec(in_channels=1, num_classes=4, input_size=9, cov_kernel_sizes=[2], cov_features=[30], fc_sizes=[7])
STEPS = 10
CASES = [
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.95), "eps": 1e-4}),
    ("AdamW", {"weight_decay": 0.1}),
    ("SGD", {}),
    ("SGD", {"weight_decay": 0.1, "dampening": 0.5}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
]


def torch_optimizer(name, param, options):
    return getattr(torch.optim, name)([param], lr=0.05, **options)


def updated(network: Network, start, gradients, scalars):
    """Rows of parameters and averages after each step, by the compiled function that updates the small parameters."""
    places = network.layout
    rows = network._pack([np.zeros(places.parameters, np.float32)])
    rows[0, : start.size] = start
    update = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(network.library.address("update"))
    for gradient, numbers in zip(gradients, scalars, strict=True):
        update(*(array.ctypes.data for array in (rows, numbers, aligned_copy(gradient))))
        yield rows[:, : start.size].copy()


def aligned_copy(values):
    raw = np.zeros(values.size + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    raw[skip : skip + values.size] = values
    return raw[skip : skip + values.size]


def test_there_is_a_case_for_each_rule():
    assert {name for name, _ in CASES} == set(rules())


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_rule_is_its_reference_and_torchs(name, options):
    rng = np.random.default_rng(0)
    param = torch.nn.Parameter(torch.empty(0, dtype=torch.float64))
    optimizer = torch_optimizer(name, param, options)
    group = optimizer.param_groups[0]
    assert rules()[name].unsupported_reason(group) == ""
    network = compiled(trace(SPEC), rules()[name].of(group))
    rule, size = network.rule, network.layout.small
    start, gradients = rng.normal(size=size).astype(np.float32), rng.normal(size=(STEPS, size)).astype(np.float32)
    scalars = _by_step(_scalars(rule, group, 0, STEPS), STEPS)
    param.data = torch.from_numpy(start).double()
    reference = [start.astype(np.float64), *[np.zeros(size) for _ in rule.averages]]
    for step, rows in enumerate(updated(network, start, gradients, scalars)):
        param.grad = torch.from_numpy(gradients[step]).double()
        optimizer.step()
        kept = [param.detach(), *(optimizer.state[param][average] for average in rule.averages)]
        assert ("step" in optimizer.state[param]) is rule.counts_steps
        reference = rule.reference(reference[0], reference[1:], gradients[step].astype(np.float64), scalars[step])
        for row, expected, torchs in zip(rows, reference, kept, strict=True):
            np.testing.assert_allclose(row, expected, rtol=2e-5, atol=2e-6)
            np.testing.assert_allclose(row, torchs.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_padding_stays_zero(name, options):
    optimizer = torch_optimizer(name, torch.nn.Parameter(torch.zeros(1)), options)
    group = optimizer.param_groups[0]
    network = compiled(trace(SPEC), rules()[name].of(group))
    zeros = np.zeros(network.layout.small, np.float32)
    scalars = _by_step(_scalars(network.rule, group, 0, STEPS), STEPS)
    for rows in updated(network, zeros, [zeros] * STEPS, scalars):
        assert (rows == 0).all()


def test_compiled_code_is_kept_apart_by_its_rule():
    """Also by what of the options chooses code; numbers are no part of it."""
    groups = [torch_optimizer(name, torch.nn.Parameter(torch.zeros(1)), {}).param_groups[0] for name in rules()]
    chosen = {rules()[name].of(group) for name, group in zip(rules(), groups, strict=True)}
    momenta = [{"momentum": m, "nesterov": n} for m, n in ((0.9, False), (0.8, False), (0.9, True))]
    chosen |= {rules()["SGD"].of(options) for options in momenta}
    assert len({cache.key("", rule, host()) for rule in (*chosen, None)}) == 5


def test_without_a_rule_a_network_only_evaluates():
    x, params = np.ones((5, 1, 9, 9), np.float32), np.full(trace(SPEC).parameters, 0.01, np.float32)
    alone, whole = (compiled(trace(SPEC), rule) for rule in (None, rules()["Adam"]()))
    np.testing.assert_array_equal(alone.logits(x, params), whole.logits(x, params))
    assert alone.library.address("train") == 0


def test_averages_of_another_rule_are_refused():
    network = compiled(trace(SPEC), rules()["SGD"](momentum=True))
    x, params = np.ones((5, 1, 9, 9), np.float32), np.zeros(trace(SPEC).parameters, np.float32)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    with pytest.raises(ValueError, match=r"0 averages, expected \('momentum_buffer',\)"):
        network.train(x, np.zeros(5, np.int64), np.arange(5), 5, State(params), options, seed=1)
