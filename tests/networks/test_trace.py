"""The tracer against torch: shapes, parameters, MACs, and accepted exactly when torch can build and run the network."""

import math

import pytest
import torch
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modelflow.errors import ShapeError, SpecError
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import as_data, trace

MANY = settings(max_examples=400, suppress_health_check=list(HealthCheck))
PARAMETERS = {
    "cnn2_3": 4_424,
    "cnn2_5": 7_090,
    "cnn2_7": 9_828,
    "generic_0": 7_090,
    "generic_1": 14_748,
    "generic_2": 11_854,
    "generic_3": 2_955_014,
}


@st.composite
def specs(draw):
    """Specs of both families; some fit, some do not."""
    n_blocks, n_hidden = draw(st.integers(1, 4)), draw(st.integers(0, 3))

    def sizes(most, n):
        return draw(st.lists(st.integers(1, most), min_size=n, max_size=n))

    return Spec(
        in_channels=draw(st.integers(1, 3)),
        num_classes=draw(st.integers(1, 12)),
        input_size=draw(st.integers(1, 30)),
        amnt_cov_layers=n_blocks,
        cov_kernel_sizes=sizes(7, n_blocks),
        cov_features=sizes(6, n_blocks),
        max_pool_sizes=sizes(4, n_blocks),
        amnt_fc_layers=n_hidden + 1,
        fc_sizes=sizes(20, n_hidden),
        p=draw(st.sampled_from([0.0, 0.3])),
        family=draw(st.sampled_from(["generic", "cnn2"])),
    )


def plain_torch(spec):
    """The network of `spec` by torch alone, and the output shapes of its steps for one image.

    Linear layers are lazy: torch itself finds the number of their inputs. Raises what torch raises.
    """
    steps, channels = [], spec.in_channels
    for kernel, features, pool in zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True):
        steps += [nn.Sequential(nn.Conv2d(channels, features, kernel), nn.ReLU()), nn.MaxPool2d(pool)]
        channels = features
    steps.append(nn.Flatten())
    for size in spec.fc_sizes:
        steps.append(nn.Sequential(nn.Dropout(spec.p), nn.LazyLinear(size), nn.ReLU()))
    steps.append(nn.LazyLinear(spec.num_classes))
    x, shapes = torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size), []
    for step in steps:
        x = step(x)
        shapes.append(tuple(x.shape[1:]))
    return nn.Sequential(*steps), shapes


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def hooked_shapes(model, spec):
    """Layer name -> the shape that a forward hook sees."""
    seen = {}
    for name, module in model.named_modules():
        if name and not list(module.children()) and not isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _m, _x, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    with torch.no_grad():
        model(torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size))
    return seen


@MANY
@given(specs())
def test_a_spec_is_accepted_exactly_when_torch_can_build_and_run_it(spec):
    try:
        network, shapes = plain_torch(spec)
    except RuntimeError:
        event("refused")
        with pytest.raises(ShapeError):
            trace(spec)
        with pytest.raises(ShapeError):
            GenericCNN(spec)
        return
    event("accepted")
    traced = trace(spec)
    assert [layer.output_shape for layer in traced.layers] == shapes
    assert traced.parameters == count(network)


@MANY
@given(specs())
def test_the_trace_is_what_a_forward_pass_does(spec):
    try:
        traced = trace(spec)
    except ShapeError:
        assume(False)
    model = GenericCNN(spec)
    told = {layer.name: layer.output_shape for layer in traced.layers}
    seen = hooked_shapes(model, spec)
    assert seen == {name: told[name] for name in seen}
    without_modules = {"pool", "flatten"} if spec.family == "cnn2" else {"flatten"}
    assert set(seen) == {layer.name for layer in traced.layers if layer.kind not in without_modules}
    modules = dict(model.named_modules())
    assert all(layer.parameters == count(modules[layer.name]) for layer in traced.layers if layer.name in modules)
    assert traced.parameters == count(model)
    assert model.flattened_dim == traced.of_kind("flatten")[0].output_shape[0]


@settings(MANY, max_examples=100)
@given(specs())
def test_multiply_accumulates_are_half_of_the_flops_that_torch_counts(spec):
    try:
        traced = trace(spec)
    except ShapeError:
        assume(False)
    x = torch.zeros(1, spec.in_channels, spec.input_size, spec.input_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        GenericCNN(spec)(x)
    assert traced.macs == counter.get_total_flops() / 2


def test_multiply_accumulates_counted_by_hand():
    conv, pool, flatten, hidden, last = trace(preset("generic_2")).layers
    assert conv.macs == 24 * 24 * 4 * 5 * 5  # positions x channels x taps
    assert pool.macs == flatten.macs == 0
    assert (hidden.macs, last.macs) == (12 * 12 * 4 * 20, 20 * 10)
    assert conv.activation_bytes == 4 * 24 * 24 * 4
    assert conv.parameters == 4 * 5 * 5 + 4


@pytest.mark.parametrize("name", CARD)
def test_presets_have_exactly_the_parameters_of_the_card(name):
    assert trace(preset(name)).parameters == count(GenericCNN(preset(name))) == PARAMETERS[name]


def refusal(max_parameters=None, **fields):
    spec = parse_spec({"in_channels": 1, "num_classes": 10} | fields)
    with pytest.raises(SpecError) as caught:
        trace(spec) if max_parameters is None else trace(spec, max_parameters)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"cov_features": [8, 8, 16], "cov_kernel_sizes": [3, 3, 5], "max_pool_sizes": [4, 4, 2]},
            "conv_layers.2: cov_kernel_sizes[2] = 5: its input 8x1x1 is smaller than the kernel, expected at most 1. "
            "Make it 1 or smaller, or drop block 3, or set a pool size before it to 1.",
        ),
        (
            {"cov_features": [8, 8], "cov_kernel_sizes": [3, 27], "max_pool_sizes": [1, 1]},
            "conv_layers.1: cov_kernel_sizes[1] = 27: its input 8x26x26 is smaller than the kernel, "
            "expected at most 26. Make it 26 or smaller, or drop block 2.",
        ),
        (
            {"cov_features": [8], "cov_kernel_sizes": [29]},
            "conv_layers.0: cov_kernel_sizes[0] = 29: its input 1x28x28 is smaller than the kernel, "
            "expected at most 28. Make it 28 or smaller.",
        ),
        (
            {"cov_features": [8, 8], "max_pool_sizes": [2, 12], "family": "cnn2"},
            "pool2: max_pool_sizes[1] = 12: its input 8x11x11 is smaller than the pool, expected at most 11. "
            "Make it 11 or smaller, or drop block 2, or set a pool size before it to 1.",
        ),
    ],
    ids=["kernel", "kernel, nothing pooled", "first kernel", "pool"],
)
def test_what_does_not_fit_is_refused_with_field_value_expected_and_mend(fields, message):
    assert refusal(**fields) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"fc_sizes": [1_000_000]},
            "fc_layers.0 alone has 401,000,000 (fc_sizes[0] = 1,000,000, input 400). "
            "Make fc_sizes[0] or its input smaller, or raise --max-parameters",
        ),
        ({"fc_sizes": [], "num_classes": 1 << 20}, "(num_classes = 1,048,576, input 400)"),
        (
            {"cov_features": [1 << 20, 1 << 10]},
            "(cov_features[1] = 1,024, input 1,048,576). Make cov_features[1] smaller",
        ),
    ],
    ids=["hidden", "classes", "conv"],
)
def test_what_is_too_large_is_refused_with_what_makes_it_so(fields, message):
    told = refusal(**fields)
    assert "parameters, expected at most 200,000,000: " in told
    assert message in told


def test_the_limit_on_parameters_is_exact():
    assert trace(preset("generic_2"), 11_854).parameters == 11_854
    assert refusal(11_853, cov_features=[4], cov_kernel_sizes=[5], fc_sizes=[20]).startswith(
        "11,854 parameters, expected at most 11,853: fc_layers.0 alone has 11,540"
    )


def test_a_trace_as_plain_data():
    data = as_data(trace(preset("cnn2_5")))
    assert (data["parameters"], data["input_shape"]) == (7_090, [1, 28, 28])
    assert data["macs"] == sum(layer["macs"] for layer in data["layers"])
    assert [layer["name"] for layer in data["layers"]] == ["conv1", "pool1", "conv2", "pool2", "flatten", "fc1", "fc2"]
    assert data["layers"][0]["output_shape"] == [5, 26, 26]
    assert all(layer["activation_bytes"] == 4 * math.prod(layer["output_shape"]) for layer in data["layers"])


def test_the_largest_spec_is_traced_at_once():
    spec = parse_spec(
        {
            "in_channels": 1,
            "num_classes": 1,
            "input_size": 1 << 20,
            "amnt_cov_layers": 1000,
            "max_pool_sizes": [1] * 1000,
        }
    )
    assert len(trace(spec, 10**15).layers) == 2003
