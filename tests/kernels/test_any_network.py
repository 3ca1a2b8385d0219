"""The step of any network, on random networks of the notation, against PyTorch in float64.

What a network makes worse (batch norm of a few values, say) it makes worse in PyTorch's float32 too: an error may be a
small share of the result, or some times that of PyTorch.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from of_torch import flat, running, train

from modelflow.kernels import network
from modelflow.kernels.extras import PLAIN, Extras, Targets
from modelflow.kernels.graph import graph
from modelflow.kernels.machine import Library, Machine, compile_text, host
from modelflow.kernels.network import Network, State
from modelflow.kernels.rules.sgd import SGD
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import resolve
from modelflow.networks.trace import Trace, trace
from random_layers import NETWORKS, that_fits

EXAMPLES = int(os.environ.get("EXAMPLES", 12))
SEED = 3
FEW_LANES = replace(host(), lanes=4, registers=16)  # a small batch has several blocks, which the phases take in turn
NO_MOMENTUM = {"weight_decay": 0.0, "momentum": 0.0}


def general(traced: Trace, machine: Machine, extras: Extras = PLAIN) -> Network:
    """As `compiled`, by the step of any network for the card's family too."""
    places, _, write = network._of_any(traced, SGD(), machine, extras)
    return Network(places, Library(compile_text(write(), machine, 1), machine), SGD(), extras)


def as_good(ours, exact, theirs, share=1e-4, least=1e-5):  # type: ignore[no-untyped-def]
    """Whether our numbers are as near to the exact ones as float32 makes them."""
    ours, exact, theirs = (np.asarray(values, np.float64) for values in (ours, exact, theirs))
    allowed = share * np.abs(exact).max(initial=0) + least + 30 * np.abs(theirs - exact).max(initial=0)
    return np.abs(ours - exact).max(initial=0) <= allowed


def set_norms(model: GenericCNN, generator: torch.Generator) -> None:
    """Scales, shifts and running statistics as a training leaves them: other than 1 and 0."""
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        for tensor, least in zip(tensors, (0.5, -0.5, -0.5, 0.5), strict=True):
            tensor.data = torch.rand(tensor.shape, generator=generator).to(tensor) + least


def check(spec, traced, batch, images, steps, lr, machine=None, smoothing=0.0):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(images)
    x = torch.randn(images, *spec.input_shape, generator=generator)
    y = torch.randint(0, spec.logits, (images,), generator=generator)
    weights_K = torch.rand(spec.logits, generator=generator).double() + 0.2 if smoothing else torch.ones(spec.logits)
    targets, extras = Targets(weights_K.double().numpy(), smoothing), Extras(weighted=bool(smoothing))
    compiled = general(traced, machine or host(), extras)
    exact, single = GenericCNN(spec).double(), GenericCNN(spec)
    single.lay_out(torch.contiguous_format)
    set_norms(exact, generator)
    single.load_state_dict(exact.state_dict())
    start = State(flat(single.parameters()).astype(np.float32), running=running(single).astype(np.float32))
    logits = [model.eval()(x.to(next(model.parameters()).dtype)).detach().numpy() for model in (exact, single)]
    assert as_good(compiled.logits(x.numpy(), start.params, running=start.running), *logits)
    order = np.random.default_rng(images).permutation(images)[: batch * steps]
    trained = [
        train(m, xs, y, order, batch, lr, SEED, weight=weights_K.to(xs), label_smoothing=smoothing)
        for m, xs in ((exact, x.double()), (single, x))
    ]
    options = NO_MOMENTUM | {"lr": lr}
    before = start.params.copy()
    made = compiled.train(x.numpy(), y.numpy(), order, batch, start, options, SEED, targets=targets)
    assert as_good(made.losses, *(one.losses for one in trained))
    assert as_good(start.params - before, *(one.params - before for one in trained))
    assert as_good(start.running, *(one.running for one in trained))


def has_single_values(traced: Trace, last: int) -> bool:
    """Whether a batch norm would see one value a channel, which PyTorch refuses."""
    norms = network._of_any(traced, SGD(), host())[0].graph.norms
    return last == 1 and any(len(norm.output.shape) == 3 and norm.output.shape[1:] == (1, 1) for norm in norms)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # each example is compiled anew: too slow to make it smaller
    suppress_health_check=list(HealthCheck),
)
@given(
    NETWORKS, st.integers(1, 19), st.integers(1, 3), st.sampled_from([0.0, 0.2]), st.sampled_from([FEW_LANES, host()])
)
def test_random_networks_train_as_in_float64(fields, batch, steps, smoothing, machine):
    spec, traced = that_fits(fields)
    assume(traced.parameters)
    images = batch * steps - (batch // 2 if steps > 1 else 0)
    assume(not has_single_values(traced, min(batch, images - batch * (steps - 1))))
    assume(not has_single_values(traced, batch))
    check(spec, traced, batch, images, steps, 0.5 if steps == 1 else 0.05, machine, smoothing)


FIRST = {
    "activation": {"activation": "gelu"},
    "norm": {"norm": "batch"},
    "conv": {"conv": 3, "kernel": 3, "padding": "same"},
    "depthwise": {"depthwise": 3, "padding": "same"},
    "max pool": {"pool": "max", "size": 3, "stride": 1, "padding": 1},
    "average pool": {"pool": "average", "size": 3, "stride": 1, "padding": 1},
    "dropout": {"dropout": 0.3},
    "squeeze": {"squeeze": 2},
    "residual": {"residual": [{"conv": 3, "kernel": 3, "padding": "same"}]},
}


@pytest.mark.parametrize("first", FIRST.values(), ids=list(FIRST))
def test_the_gradients_of_a_value_that_both_ways_of_a_residual_read_are_added(first):
    body = [first, {"conv": 3, "kernel": 3, "padding": "same"}]
    layers = [{"conv": 3, "kernel": 3}, {"residual": body}, {"pool": "global_average"}, {"linear": 4}]
    spec, traced = that_fits({"input": [1, 7, 7], "classes": 4, "layers": layers})
    check(spec, traced, batch=5, images=5, steps=1, lr=0.5)


def test_a_convolution_that_sees_borders_alone_gives_its_input_no_gradient():
    body = [{"conv": 3, "kernel": 1, "stride": 3, "padding": 1}]
    layers = [{"conv": 3, "kernel": 1}, {"residual": body}, {"linear": 4}]
    spec, traced = that_fits({"input": [2, 1, 1], "classes": 4, "layers": layers})
    check(spec, traced, batch=5, images=5, steps=1, lr=0.5)


def test_activations_are_pooled_before_as_after():
    conv = {"conv": 4, "kernel": 3, "padding": "same"}
    layers = [
        *({**conv, "activation": "relu"}, {"pool": "max", "size": 2}),
        *({**conv, "activation": "relu6"}, {"pool": "max", "size": 3, "stride": 2, "padding": 1}),
        *({**conv, "activation": "leaky_relu"}, {"pool": "global_max"}, {"linear": 4}),
    ]
    spec, traced = that_fits({"input": [2, 14, 13], "classes": 4, "layers": layers})
    names = [type(operation).__name__ for operation in graph(traced).operations]
    assert names == ["Convolve", "Largest", *["Convolve", "Largest", "Activate"] * 2, "Dense"]  # relu is the pool's
    check(spec, traced, batch=9, images=18, steps=2, lr=0.5, machine=FEW_LANES)


def test_a_window_of_zeros_passes_no_gradient_through_relu():
    conv = {"conv": 3, "kernel": 3, "padding": "same", "bias": True, "activation": "relu"}
    _, traced = that_fits({"input": [1, 4, 4], "classes": 4, "layers": [conv, {"pool": "max"}, {"linear": 4}]})
    of_first = 3 * 9 + 3
    params = np.random.default_rng(0).normal(size=traced.parameters).astype(np.float32)
    params[:of_first] = 0
    state, y = State(params.copy()), np.array([0, 3])
    images = np.zeros((2, 1, 4, 4), np.float32)
    general(traced, host()).train(images, y, np.arange(2), 2, state, NO_MOMENTUM | {"lr": 0.5}, SEED)
    assert not state.params[:of_first].any()
    assert (state.params[of_first:] != params[of_first:]).any()


def test_a_pool_that_leaves_an_edge_gives_it_no_gradient():
    """The place of its input's gradient holds another one, of an earlier layer, from the step before."""
    layers = [*[{"conv": 4, "kernel": 3, "padding": "same"}] * 4, {"pool": "max", "size": 2}, {"linear": 4}]
    spec, traced = that_fits({"input": [2, 9, 9], "classes": 4, "layers": layers})
    check(spec, traced, batch=9, images=27, steps=3, lr=0.05, machine=FEW_LANES)


OF_ONE_FORM = {
    "convolutions": "c6 c6 c6",
    "separable": "c6 s6 s6",
    "residual": "c6 s6r 2*s6r",
    "two in a residual": "c6 (c6 c6 c6-act)r (c6 s6-act)r c6",
    "shortcut": "c6 (c8/2 c8-act)r+conv (c8/2 c8-act)r+conv",
}


@pytest.mark.parametrize("layers", OF_ONE_FORM.values(), ids=list(OF_ONE_FORM))
def test_layers_of_one_form_after_each_other_are_evaluated_and_trained(layers):
    _, spec = resolve(f"{layers} gap fc")
    check(spec, trace(spec), batch=9, images=18, steps=2, lr=0.05, machine=FEW_LANES)


def test_evaluation_folds_running_statistics_and_a_bias():
    layers = [{"conv": 3, "kernel": 3, "bias": True, "norm": "batch", "activation": "relu"}, {"linear": 4}]
    spec, traced = that_fits({"input": [2, 6, 5], "classes": 4, "layers": layers})
    model, generator = GenericCNN(spec).double().eval(), torch.Generator().manual_seed(1)
    for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
        tensor.data = torch.rand(tensor.shape, generator=generator).double() + 0.1
    x = torch.randn(9, *spec.input_shape, generator=generator)
    params, statistics = (v.astype(np.float32) for v in (flat(model.parameters()), running(model)))
    logits = general(traced, host()).logits(x.numpy(), params, running=statistics)
    np.testing.assert_allclose(logits, model(x.double()).detach().numpy(), rtol=1e-5, atol=1e-5)
