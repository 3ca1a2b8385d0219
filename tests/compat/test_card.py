"""The card's classes: interface, module names, forward pass, printed trace and refusal, as their users know them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelflow import CNN2, GenericCNN, GerenicCNN
from modelflow.errors import SpecError
from modelflow.networks.resolve import CARD, preset


def card_builder(**changes):
    arguments = {
        "amnt_cov_layers": 1,
        "cov_kernel_sizes": [5],
        "cov_features": [4],
        "max_pool_sizes": [2],
        "fc_sizes": [20],
    }
    return GerenicCNN(1, 10, **(arguments | changes))


def test_gerenic_cnn_has_the_cards_modules_and_attributes():
    model = card_builder(verbose=False)
    assert [name for name, _ in model.named_parameters()] == [
        *("conv_layers.0.weight", "conv_layers.0.bias"),
        *("fc_layers.0.weight", "fc_layers.0.bias", "fc_layers.1.weight", "fc_layers.1.bias"),
    ]
    assert isinstance(model.max_pool_layers[0], nn.MaxPool2d)
    assert isinstance(model.drop, nn.Dropout)
    assert (model.amnt_cov_layers, model.cov_kernel_sizes, model.cov_features) == (1, [5], [4])
    assert (model.max_pool_sizes, model.amnt_fc_layers, model.fc_sizes, model.p) == ([2], 2, [20], 0.3)
    assert (model.in_channels, model.num_classes, model.input_size, model.flattened_dim) == (1, 10, 28, 576)


def test_lists_left_out_take_the_cards_defaults():
    model = GerenicCNN(3, 7, amnt_fc_layers=3, verbose=False)
    assert (model.cov_kernel_sizes, model.cov_features, model.max_pool_sizes) == ([3, 3], [16, 16], [2, 2])
    assert model.fc_sizes == [50, 50]
    assert [fc.out_features for fc in model.fc_layers] == [50, 50, 7]


def test_it_prints_its_trace_while_it_builds(capsys):
    card_builder()
    printed = capsys.readouterr().out
    assert "conv0 output size (after max pool): 12x12\n" in printed
    assert "conv0: 1x28x28 -> 4x24x24 (4 channels, kernel 5x5), max pool 2x2 -> 4x12x12" in printed
    assert "fc0: 576 -> 20\nfc1: 20 -> 10" in printed
    card_builder(verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "block"),
    [({"amnt_cov_layers": 4}, 3), ({"input_size": 1}, 0), ({"input_size": 8, "amnt_cov_layers": 3}, 1)],
)
def test_what_cannot_be_built_is_refused_in_the_cards_words(arguments, block):
    with pytest.raises(ValueError, match=f"^Cannot create conv layer {block}, input size is too small.$"):
        GerenicCNN(1, 10, **arguments)


def test_a_refusal_comes_before_anything_is_allocated():
    with pytest.raises(ValueError, match="Cannot create conv layer 1"):
        GerenicCNN(1, 10, input_size=8, cov_kernel_sizes=[3, 9], cov_features=[1 << 20, 1 << 20])


def test_values_out_of_range_name_their_field():
    with pytest.raises(SpecError, match="cov_features"):
        GerenicCNN(1, 10, cov_features=[0, 5])


def test_the_forward_pass_is_conv_relu_pool_then_dropout_before_each_fc_but_the_last(fashion):
    torch.manual_seed(0)
    model, x = card_builder(amnt_fc_layers=3, fc_sizes=[20, 15], verbose=False), fashion.test_x_NCHW[:5]
    state = torch.get_rng_state()
    given = model(x)
    torch.set_rng_state(state)
    hidden = F.max_pool2d(F.relu(model.conv_layers[0](x)), 2).flatten(1)
    assert torch.equal(model.featurizer(x), hidden)
    for fc in model.fc_layers[:-1]:
        hidden = F.relu(fc(F.dropout(hidden, 0.3)))
    assert torch.equal(given, model.fc_layers[-1](hidden))


def test_cnn2_drops_out_before_both_fc_layers(fashion):
    model, x = CNN2(5), fashion.test_x_NCHW[:5]
    assert [name for name, _ in model.named_children()] == ["drop", "conv1", "conv2", "fc1", "fc2"]
    torch.manual_seed(0)
    given = model(x)
    torch.manual_seed(0)
    hidden = F.max_pool2d(F.relu(model.conv1(x)), 2)
    hidden = F.dropout(F.max_pool2d(F.relu(model.conv2(hidden)), 2).flatten(1), 0.3)
    assert torch.equal(given, model.fc2(F.dropout(F.relu(model.fc1(hidden)), 0.3)))


def test_weights_come_from_the_seed_alone_and_leave_the_global_generator():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = card_builder(verbose=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = card_builder(verbose=False), card_builder(verbose=False, seed=43)
    assert torch.equal(first.fc_layers[0].weight, again.fc_layers[0].weight)
    assert not torch.equal(first.fc_layers[0].weight, other.fc_layers[0].weight)


@pytest.mark.parametrize(
    ("name", "parameters"),
    list(zip(CARD, [4_424, 7_090, 9_828, 7_090, 14_748, 11_854, 2_955_014], strict=True)),
)
def test_presets_have_exactly_the_cards_parameters(name, parameters):
    model = GenericCNN(preset(name))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_base_model_is_the_same_network_through_class_builder_and_preset(fashion):
    x = fashion.test_x_NCHW[:3]
    base, builder = CNN2(5).eval(), GerenicCNN(1, 10, cov_features=[5, 5], verbose=False).eval()
    assert torch.equal(base(x), builder(x))
    assert torch.equal(base(x), GenericCNN(preset("cnn2_5")).eval()(x))


@pytest.mark.parametrize("given", ["generic_2", preset("generic_2"), preset("generic_2").model_dump()])
def test_a_spec_in_place_of_a_number_is_told_where_to_give_it(given):
    for build in (CNN2, GerenicCNN):
        with pytest.raises(SpecError, match=rf"^{build.__name__}: .*: expected a whole number, .* GenericCNN\('gener"):
            build(given)
    with pytest.raises(SpecError, match=r"GerenicCNN: num_classes = None: expected a whole number"):
        GerenicCNN(1)
    with pytest.raises(SpecError, match=r"CNN2: .* = '5': expected a whole number. Write 5"):
        CNN2("5")
