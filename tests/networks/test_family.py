"""The card's family of networks: the same whichever way one is written, and what is outside is named."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from modelflow.networks.build import GenericCNN, is_as_described
from modelflow.networks.description import LayerSpec, parse_spec
from modelflow.networks.family import Block, Dense, Family, OutsideFamilyError, family, outside_family
from modelflow.networks.layers.activation import Activation
from modelflow.networks.layers.conv import Conv
from modelflow.networks.layers.linear import Linear
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import trace
from notations import as_layers, notations, specs

MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def by_hand(spec):
    """The family's network by the card's fields."""
    depth, size, blocks, dense = spec.in_channels, spec.input_size, [], []
    for kernel, channels, pool in zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True):
        blocks.append(Block(depth, size, channels, kernel, pool))
        depth, size = channels, (size - kernel + 1) // pool
    inputs = depth * size**2
    for outputs in (*spec.fc_sizes, spec.num_classes):
        drops = spec.family == "cnn2" or len(dense) < len(spec.fc_sizes)
        dense.append(Dense(inputs, outputs, spec.p if drops else 0.0))
        inputs = outputs
    return Family(tuple(blocks), tuple(dense))


@pytest.mark.parametrize("name", CARD)
def test_a_preset_is_the_same_network_in_each_notation(name):
    spec = preset(name)
    short = parse_spec({"input": spec.input_shape, "classes": spec.num_classes, "layers": spec.short_form})
    assert short == as_layers(spec)
    assert family(trace(spec)) == family(trace(short)) == by_hand(spec)


@MANY
@given(st.data())
def test_random_networks_are_the_same_in_each_notation(data):
    spec = data.draw(specs())
    traced = trace(data.draw(notations(spec)))
    found = family(traced)
    assert found == family(trace(spec)) == by_hand(spec)
    assert sum(part.parameters for part in found.blocks + found.dense) == traced.parameters
    assert found.dense[0].inputs == found.blocks[-1].channels * found.blocks[-1].pooled ** 2


@MANY
@given(st.data())
def test_both_notations_draw_the_same_weights_and_give_the_same_logits(data):
    spec = data.draw(specs())
    ours, theirs = GenericCNN(data.draw(notations(spec)), seed=7), GenericCNN(spec, seed=7)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert all(p.is_contiguous() for p in ours.parameters())
    x = torch.randn(3, *spec.input_shape)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)


CONV, LINEAR = {"conv": 4, "activation": "relu"}, {"linear": "classes"}
OUTSIDE = [
    ([CONV, CONV | {"stride": 2}, LINEAR], "layers.1: a convolution with stride 2"),
    ([CONV | {"stride": [2, 1]}, LINEAR], "layers.0: a convolution with stride 2x1"),
    ([CONV | {"padding": "same"}, LINEAR], "layers.0: a convolution with padding"),
    ([CONV | {"padding": 1}, LINEAR], "layers.0: a convolution with padding"),
    ([CONV, CONV | {"groups": 2}, LINEAR], "layers.1: a convolution in 2 groups"),
    ([CONV, {"depthwise": 3, "activation": "relu"}, LINEAR], "layers.1: a convolution in 4 groups"),
    ([CONV, {"separable": 8, "activation": "relu"}, LINEAR], "layers.1: a convolution in 4 groups"),
    ([CONV | {"kernel": [3, 5]}, LINEAR], "layers.0: a convolution with a kernel of 3x5"),
    ([CONV | {"bias": False}, LINEAR], "layers.0: a convolution without bias"),
    ([{"conv": 4}, LINEAR], "layers.0: a convolution without ReLU"),
    ([{"conv": 4}, {"pool": "max"}, CONV, LINEAR], "layers.0: a convolution without ReLU"),
    ([CONV | {"norm": "batch"}, LINEAR], "layers.0: batch norm"),
    ([CONV, {"norm": "batch"}, LINEAR], "layers.1: batch norm"),
    ([CONV | {"activation": "gelu"}, LINEAR], "layers.0: GELU"),
    ([CONV, {"pool": "average"}, LINEAR], "layers.1: average pool 2x2"),
    ([CONV, {"pool": "max", "size": 3, "stride": 2}, LINEAR], "layers.1: max-pool 3x3, stride 2"),
    ([CONV, {"pool": "max", "size": [2, 3]}, LINEAR], "layers.1: max-pool 2x3"),
    ([CONV, {"pool": "max", "padding": 1}, LINEAR], "layers.1: max-pool 2x2, padding 1"),
    ([CONV, {"pool": "max"}, {"pool": "max"}, LINEAR], "layers.2: max-pool 2x2 in this place"),
    ([{"pool": "max"}, CONV, LINEAR], "layers.0: max-pool 2x2 in this place"),
    ([CONV, {"pool": "global_average"}, LINEAR], "layers.1: global average pool"),
    ([CONV, {"conv": "classes", "kernel": 1}, {"pool": "global_max"}], "layers.1: a convolution that gives the logits"),
    ([CONV, {"conv": "classes", "kernel": 10}, {"flatten": "maps"}], "layers.1: a convolution that gives the logits"),
    ([CONV, {"activation": "relu"}, LINEAR], "layers.1: ReLU in this place"),
    ([CONV, {"dropout": 0.1, "spatial": True}, LINEAR], "layers.1: spatial dropout 0.1"),
    ([CONV, {"dropout": 0.1}, CONV, LINEAR], "layers.2: a convolution with dropout before it"),
    ([{"dropout": 0.1}, CONV, LINEAR], "layers.0: dropout 0.1 in this place"),
    ([CONV, {"dropout": 0.1}, LINEAR | {"dropout": 0.2}], "layers.2: dropout 0.2 in this place"),
    ([CONV, {"dropout": 0.1}, {"pool": "max"}, LINEAR], "layers.2: max-pool 2x2 in this place"),
    ([CONV, {"squeeze": 2}, LINEAR], "layers.1: squeeze 2"),
    ([CONV, {"residual": [CONV | {"padding": "same"}]}, LINEAR], "layers.1: a residual"),
    ([{"repeat": 2, "layers": [CONV, {"norm": "batch"}]}, LINEAR], "layers.0: batch norm"),
    ([CONV, {"linear": 5}, LINEAR], "layers.1: a linear layer without ReLU"),
    ([CONV, {"linear": 5, "activation": "tanh"}, LINEAR], "layers.1: tanh"),
    ([CONV, {"linear": 5, "activation": "relu", "bias": False}, LINEAR], "layers.1: a linear layer without bias"),
    ([CONV, LINEAR | {"bias": False}], "layers.1: a linear layer without bias"),
    ([CONV, LINEAR | {"activation": "relu"}], "layers.1: ReLU in this place"),
    ([CONV, LINEAR, {"dropout": 0.1}], "layers.2: dropout 0.1 in this place"),
    ([LINEAR], "layers.0: a linear layer without a convolution before it"),
    ([{"linear": 5, "activation": "relu"}, LINEAR], "layers.0: a linear layer without a convolution before it"),
]


@pytest.mark.parametrize(("layers", "said"), OUTSIDE, ids=[said for _, said in OUTSIDE])
def test_what_is_outside_the_family_is_named(layers, said):
    traced = trace(parse_spec({"input": [1, 12, 12], "classes": 7, "layers": layers}))
    assert outside_family(traced) == said
    with pytest.raises(OutsideFamilyError, match=said.partition("(")[0]):
        family(traced)


def test_maps_that_are_not_square_are_outside():
    traced = trace(parse_spec({"input": [1, 12, 10], "classes": 7, "layers": [CONV, LINEAR]}))
    assert outside_family(traced) == "layers.0: a convolution of maps that are not square"


def test_a_network_without_weights_is_outside():
    traced = trace(parse_spec({"input": [1, 1, 7], "classes": 7, "layers": [{"flatten": "maps"}]}))
    assert outside_family(traced) == "a network without weights"


class Doubled(Activation):
    """Called as ReLU is, of a module of its own."""

    def module(self, *_):
        return nn.Identity()


class Other(Conv):
    """Made of what a convolution is made of, but computed otherwise."""

    def module(self, *_):
        return nn.Identity()


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([Conv(features=4), Doubled(name="relu")], "layers.1: ReLU"),
        ([Other(features=4, activation="relu")], "layers.0: conv 3x3, ReLU"),
    ],
)
def test_a_kind_that_only_seems_to_be_one_of_the_familys_is_outside(kinds, said):
    traced = trace(LayerSpec(input=(1, 8, 8), classes=3, layers=(*kinds, Linear(features=3))))
    assert outside_family(traced) == said


def changed_option(model):
    model.layers[0].conv.padding = (1, 1)


def other_class(model):
    model.layers[0].activation = nn.GELU()


def own_forward(model):
    model.layers[0].activation.forward = lambda x: x


def one_layer_more(model):
    model.layers[0].append(nn.Identity())


def other_weight(model):
    model.layers[3].linear.weight = nn.Parameter(torch.zeros(100, 50))


def shared_weight(model):
    model.layers[2].linear.weight = model.layers[3].linear.weight


@pytest.mark.parametrize(
    "change", [changed_option, other_class, own_forward, one_layer_more, other_weight, shared_weight]
)
def test_a_layer_that_is_not_as_it_was_built_is_found(change):
    hidden = {"linear": 100, "activation": "relu"}
    model = GenericCNN({"input": [1, 12, 12], "classes": 100, "layers": [CONV, hidden, hidden, LINEAR]})
    assert is_as_described(model)
    change(model)
    assert not is_as_described(model)
