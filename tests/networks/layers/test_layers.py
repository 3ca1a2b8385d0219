"""Networks of any layers against torch: shapes, parameters, MACs; read back as written; errors told by their place."""

import json
import math
import pickle
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from modern_networks import network
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from modelflow.errors import ShapeError, SpecError
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.networks.layers.registry import kinds
from modelflow.networks.modules import Sum
from modelflow.networks.resolve import CARD
from modelflow.networks.trace import trace
from modelflow.text import short
from random_layers import NETWORKS, that_fits

MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@given(NETWORKS)
@MANY
def test_shapes_parameters_and_macs_are_torchs(fields):
    spec, traced = that_fits(fields)
    model = GenericCNN(spec).eval()
    shapes, macs = {}, []
    for _, layer in traced.rows():
        model.get_submodule(layer.name).register_forward_hook(
            lambda _, __, output, name=layer.name: shapes.__setitem__(name, tuple(output.shape[1:]))
        )
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, _, output: macs.append(_macs(module, output)))
    logits = model(torch.zeros(2, *traced.input_shape))
    assert logits.shape == (2, spec.classes)
    assert shapes == {layer.name: layer.output_shape for _, layer in traced.rows()}
    own = [layer for _, layer in traced.rows() if layer.kind != "repeat"]  # which gives its last layer's output
    assert traced.activation_bytes == sum(4 * math.prod(shapes[layer.name]) for layer in own)
    assert traced.parameters == sum(p.numel() for p in model.parameters())
    assert traced.macs == sum(macs)


class Recorder(TorchDispatchMode):
    """Every operation of torch, as the memory that it reads and the new memory that it gives, in bytes."""

    def __init__(self, model):
        super().__init__()
        self.weights = {_memory(value) for value in model.state_dict().values()}
        self.operations, self.sizes, self.owners, self.kept = [], {}, {}, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        read = {self.owner(value) for value in _floats(args) if _memory(value) not in self.weights}
        for value in _floats(result):
            self.kept.append(value)  # so that no other takes its place
            if func is torch.ops.aten.constant_pad_nd.default:  # of an even kernel: part of its convolution
                self.owners[_memory(value)] = self.owner(args[0])
        given = {self.owner(value) for value in _floats(result)} - read - self.weights
        self.operations.append((read, given))
        return result

    def owner(self, value):
        memory = _memory(value)
        self.sizes.setdefault(memory, value.untyped_storage().nbytes())
        return self.owners.get(memory, memory)

    def peak(self):
        made = {memory: i for i, (_, given) in enumerate(self.operations) for memory in given}
        read = {memory: i for i, (reads, given) in enumerate(self.operations) for memory in reads | given}
        alive = [
            [memory for memory in read if made.get(memory, 0) <= i <= read[memory]] for i in range(len(self.operations))
        ]
        return max(sum(self.sizes[memory] for memory in memories) for memories in alive)


def _floats(values):
    return [
        value for value in pytree.tree_leaves(values) if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]


def _memory(tensor):
    return tensor.untyped_storage()._cdata


@given(NETWORKS)
@MANY
def test_the_peak_of_activations_is_torchs(fields):
    spec, traced = that_fits(fields)
    model = GenericCNN(spec).eval().to(memory_format=torch.contiguous_format)  # others are copied to be flattened
    x = torch.zeros(1, *traced.input_shape)
    with torch.no_grad(), Recorder(model) as recorder:
        model(x)
    assert traced.peak[0] == recorder.peak()


@pytest.mark.parametrize("name", CARD)
def test_the_peak_of_activations_is_torchs_for_the_cards_networks(name):
    model = GenericCNN(name).eval()
    x = torch.zeros(1, 1, 28, 28)
    with torch.no_grad(), Recorder(model) as recorder:
        model(x)
    assert model.trace.peak[0] == recorder.peak()


def test_a_residuals_input_lives_until_it_is_added():
    said = {"input": [2, 4, 4], "classes": 3, "layers": "-bn-act+same (c2 c8 c2)r gap fc"}
    most, layer = trace(parse_spec(said)).peak
    assert (most, layer.name) == (4 * 16 * (2 + 2 + 8), "layers.0")  # the input, then conv 2 to 8 or 8 to 2


def _macs(module, output):
    if isinstance(module, nn.Linear):
        return module.weight.numel()
    return output[0].numel() * module.weight[0].numel()


@given(NETWORKS)
@MANY
def test_a_network_that_is_refused_is_one_that_torch_cannot_run(fields):
    spec = parse_spec(fields)
    try:
        trace(spec)
    except ShapeError:
        accepted = False
    else:
        accepted = True
    assert accepted == _runs_in_torch(spec)


def _runs_in_torch(spec):
    """Whether layer after layer takes the other's output, each built by torch for what comes in."""
    x = torch.zeros(2, *spec.input)
    try:
        for layer in spec.layers:
            module = layer.module(tuple(x.shape[1:]), torch.Generator())
            if isinstance(module.eval(), Sum) and module.body(x).shape != module.shortcut(x).shape:
                return False  # torch would stretch the smaller one
            x = module(x)
    except (RuntimeError, ValueError, ShapeError, IndexError):
        return False
    return x.shape == (2, spec.classes)


@given(NETWORKS)
@MANY
def test_what_is_written_is_read_back(fields):
    spec = parse_spec(fields)
    again = parse_spec(json.loads(spec.to_json()))
    assert again == spec
    assert again.to_json() == spec.to_json()


@given(NETWORKS)
@MANY
def test_a_network_is_the_same_after_its_short_form(fields):
    spec = parse_spec(fields)
    said = {"input": fields["input"], "classes": fields["classes"], "layers": spec.short_form}
    assert spec.short_form is not None
    assert parse_spec(said) == spec
    assert parse_spec(said).short_form == spec.short_form


BASE = {"input": [1, 8, 8], "classes": 3}
RESNET = BASE | {
    "defaults": {"padding": "same", "norm": "batch", "activation": "relu"},
    "layers": [
        {"conv": 4},
        {"residual": [{"conv": 4}, {"conv": 4, "activation": "none"}]},
        {"residual": [{"conv": 6, "stride": 2}, {"conv": 6, "activation": "none"}], "shortcut": "conv"},
        {"pool": "global_average"},
        {"linear": "classes"},
    ],
}


def test_defaults_are_filled_in_but_not_at_the_logits():
    spec = parse_spec(RESNET)
    written = spec.model_dump(mode="json")["layers"]
    assert written[0] == {"conv": 4, "padding": "same", "norm": "batch", "activation": "relu"}
    assert written[1]["residual"][1] == {"conv": 4, "padding": "same", "norm": "batch"}
    assert written[-1] == {"linear": 3}
    said = parse_spec(BASE | {"layers": written})
    assert said == spec


def test_a_residual_adds_its_input():
    model = GenericCNN(parse_spec(RESNET)).eval()
    x = torch.randn(2, 1, 8, 8)
    first = model.layers[0](x)
    assert torch.equal(model.layers[1](first), torch.relu(model.layers[1].body(first) + first))
    second = model.layers[1](first)
    block = model.layers[2]
    assert torch.equal(block(second), torch.relu(block.body(second) + block.shortcut(second)))
    assert [name for name, _ in block.shortcut.named_children()] == ["conv", "norm"]


def test_a_model_of_layers_is_the_same_for_a_seed_and_can_be_pickled():
    model = GenericCNN(parse_spec(RESNET), seed=7)
    again = pickle.loads(pickle.dumps(model))
    for one, other, third in zip(
        model.state_dict().values(),
        again.state_dict().values(),
        GenericCNN(parse_spec(RESNET), seed=7).state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_weights_are_pytorchs_own_draws():
    spec = parse_spec(BASE | {"layers": [{"conv": 4, "kernel": 3}, {"linear": 5}, {"linear": "classes"}]})
    for layer in GenericCNN(spec).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / layer.weight[0].numel() ** 0.5
            assert layer.weight.abs().max() <= bound
            assert layer.weight.detach().std() == pytest.approx(bound / 3**0.5, rel=0.25)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"cnov": 4}], ["layers[0]", "'cnov'", "Did you mean 'conv'?"]),
        ([{"conv": 4, "kernal": 3}], ["layers[0]: conv", "kernal", "'kernel'"]),
        ([{"conv": 4}, {"conv": 0}], ["layers[1]: conv", "features = 0", "at least 1"]),
        ([{"conv": 4, "pool": "max"}], ["layers[0]", "conv and pool", "two items"]),
        ([{"pool": "global_average", "size": 2}], ["layers[0]", "global_average", "Leave out size"]),
        ([{"pool": "max", "size": 2, "padding": 2}], ["layers[0]", "padding = 2", "half the size"]),
        ([{"residual": [{"conv": 4}, {"conv": "x"}]}], ["layers[0].residual[1]: conv", "features = 'x'"]),
        ([{"residual": 4}], ["layers[0]", "residual = 4", "a list of 1 to 1,000 layers"]),
        ([{"residual": []}], ["layers[0]", "residual has 0 items", "such as [{conv: 16}]"]),
        ([{"repeat": 3}], ["layers[0]: repeat without layers", "{repeat: 3, layers: [{conv: 16}]}"]),
        ([{"repeat": [{"conv": 4}]}], ["layers[0]: repeat without layers"]),
        ([{"repeat": 3, "layers": {"conv": 4}}], ["layers[0]: layers = {'conv': 4}: expected a list"]),
        ([{"repeat": 0, "layers": [{"conv": 4}]}], ["layers[0]: repeat: times = 0: expected at least 1"]),
        ([{"conv": 4, "kernel": [3]}], ["layers[0]: conv: kernel = [3]", "one whole number, or two such as [3, 5]"]),
        ([{"conv": 4, "kernel": "3x5"}], ["layers[0]: conv: kernel = '3x5'", "Write [3, 5]"]),
        ([{"conv": 4, "residual": True, "shortcut": "cnov"}], ["layers[0]: residual: shortcut", "mean 'conv'"]),
        ([{"conv": 4}, {"kernel": 3}], ["layers[1]: 'kernel'", "an option of conv: write it into that item"]),
        ([{"pool": 2}], ["layers[0]: pool = 2", "{pool: max, size: 2}"]),
        ([{"linear": "clases"}], ["layers[0]: linear: features = 'clases'", "Did you mean 'classes'?"]),
        ([{"linear": "np.int64(10)"}], ["layers[0]: linear: features = 'np.int64(10)'", "Write 10."]),
        ([{"linear": "\uff11\uff16"}], ["a whole number. Write 16."]),
        ([{"conv": 4, "norm": False}], ["layers[0]: conv: norm = False: expected 'none' or 'batch'. Write none: YAML"]),
        ([{"activation": "softmax"}], ["layers[0]: activation: name = 'softmax'", "Leave it out"]),
        ([{"linear": 3, "activation": "softmax"}], ["activation = 'softmax': expected no softmax"]),
        ([{"norm": "layer"}], ["layers[0]: norm", "'batch'"]),
        (["conv"], ["layers[0] = 'conv'", "{conv: 16, kernel: 3}"]),
        ([{}], ["layers[0]", "{conv: 16, kernel: 3}"]),
        ([], ["spec: layers has 0 items, expected a list of 1 to 1,000 layers"]),
        (4, ["spec: layers = 4: expected a list of 1 to 1,000 layers"]),
        (None, ["spec: layers = None: expected a list"]),
        ([{"conv": 4}] * 1001, ["spec: layers has 1,001 items"]),
    ],
    ids=short,
)
def test_a_wrong_item_is_told_by_its_place(layers, said):
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE | {"layers": layers})
    assert not [words for words in said if words not in str(caught.value)]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"conv": 4, "kernel": 9}, {"linear": "classes"}], ["layers.0", "1x8x8", "9x9", "padding: same"]),
        ([{"pool": "max", "size": 9}, {"linear": "classes"}], ["layers.0", "smaller than the pool"]),
        ([{"residual": [{"conv": 4}]}, {"linear": "classes"}], ["layers.0", "1x8x8 into 4x6x6", "shortcut: conv"]),
        ([{"residual": [{"conv": 4, "kernel": 9}]}], ["layers.0.body.0", "smaller than the kernel"]),
        ([{"linear": 4}, {"conv": 4}], ["layers.1", "4 features", "before linear layers"]),
        ([{"conv": 4, "groups": 2}, {"linear": "classes"}], ["layers.0", "groups = 2", "divisor", "such as 1"]),
        ([{"conv": 6}, {"conv": 9, "groups": 2}], ["layers.1", "6 input channels and 9 features, such as 3"]),
        ([{"conv": 4}, {"squeeze": 8}], ["layers.1: squeeze = 8: expected at most the 4 channels of its input"]),
        ([{"conv": 4}], ["ends with 4x6x6", "3 logits", "{linear: classes}", "short form: fc"]),
        ([{"linear": 4}], ["ends with 4", "3 logits"]),
        ([{"conv": 16}, {"depthwise": 16, "padding": "same"}], ["layers.1", "16x16 for an input of 16x6x6", "maps?"]),
        ([{"conv": 8, "padding": "same"}, {"depthwise": 8}], ["layers.1", "8x8 for an input of 8x8x8"]),
        ([{"conv": 4, "kernel": 2, "stride": 2, "padding": "same"}], ["layers.0", "even kernel 2x2", "odd"]),
        ([{"conv": 4, "kernel": [4, 3], "stride": [1, 3], "padding": "same"}], ["layers.0", "even kernel 4x3", "odd"]),
    ],
)
def test_what_does_not_fit_is_told_by_the_layers_name(layers, said):
    with pytest.raises(ShapeError) as caught:
        trace(parse_spec(BASE | {"layers": layers}))
    assert not [words for words in said if words not in str(caught.value)]


@pytest.mark.parametrize("size", [{"conv": 4, "kernel": -2}, {"conv": 4, "stride": -2}, {"pool": "max", "size": -2}])
def test_a_wrong_size_is_told_once_as_it_was_given(size):
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE | {"layers": [size, {"linear": "classes"}]})
    option = list(size)[1]
    assert str(caught.value).endswith(f": {option} = -2: expected at least 1.")
    with pytest.raises(SpecError, match=rf": {option}\[1\] = -2: expected at least 1.$"):
        parse_spec(BASE | {"layers": [size | {option: [2, -2]}, {"linear": "classes"}]})


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ({"paddin": "same"}, "defaults: 'paddin' is no option that layers take from there. Did you mean 'padding'?"),
        ({"padding": "smae"}, "defaults: padding = 'smae': expected 'valid' or 'same' or a whole number. Did you mean"),
        ({"kernel": [3, 0]}, "defaults: kernel[1] = 0: expected at least 1."),
        ({"norm": "layer", "bias": 2}, "defaults: bias = 2: expected true or false. norm = 'layer': expected 'none'"),
        ({"activation": False}, "defaults: activation = False: expected 'none', 'relu'"),
        (4, "defaults = 4: expected options such as {padding: same}"),
    ],
    ids=short,
)
def test_wrong_defaults_are_told_as_defaults(defaults, said):
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE | {"defaults": defaults, "layers": [{"conv": 4}, {"linear": "classes"}]})
    assert said in str(caught.value)
    assert "layers[" not in str(caught.value)


def test_what_is_wrong_with_the_classes_is_not_said_of_the_layer_that_has_as_many():
    with pytest.raises(SpecError, match=r"^spec: classes = 'ten': expected a whole number.$"):
        parse_spec({"input": [1, 8, 8], "classes": "ten", "layers": [{"linear": "classes"}]})


def test_a_residual_around_one_layer_may_have_a_shortcut_too():
    layers = [{"conv": 4, "residual": True, "shortcut": "conv"}, {"linear": "classes"}]
    written = {"defaults": RESNET["defaults"], **BASE, "layers": layers}
    around = [{"residual": [{"conv": 4}], "shortcut": "conv", "activation": "none"}, {"linear": "classes"}]
    assert parse_spec(written) == parse_spec(written | {"layers": around})
    assert [layer.output_shape for layer in trace(parse_spec(written)).layers] == [(4, 8, 8), (3,)]
    without = [{"conv": 4, "residual": False}, {"linear": "classes"}]
    assert parse_spec(written | {"layers": without}) == parse_spec(written | {"layers": [{"conv": 4}, layers[1]]})


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("plain_bn", 10_990, 1.0e6), ("separable", 8_598, 0.58e6), ("resnet", 69_050, 10e6)],
)
def test_networks_of_a_few_lines(name, parameters, macs):
    traced = trace(network(name))
    assert traced.parameters == parameters
    assert traced.macs == pytest.approx(macs, rel=0.06)


def test_the_parts_of_a_separable_layer_have_names():
    names = [name for name, _ in GenericCNN(network("separable")).layers[1].named_children()]
    assert names == ["depthwise", "squeeze", "pointwise"]


def test_a_repeat_has_weights_of_its_own_each_time():
    spec = parse_spec(BASE | {"layers": [{"repeat": 3, "layers": [{"conv": 2, "padding": "same"}]}, {"linear": 3}]})
    model = GenericCNN(spec)
    first, second, third = (model.layers[0][i].conv.weight for i in range(3))
    assert first.shape == (2, 1, 3, 3)
    assert second.shape == third.shape == (2, 2, 3, 3)
    assert not torch.equal(second, third)
    assert [layer.name for _, layer in trace(spec).rows()] == [
        *("layers.0.0", "layers.0.1", "layers.0.2", "layers.0", "layers.1"),
    ]


def test_deep_nests_are_traced_at_once():
    item = {"conv": 1, "padding": "same"}
    for _ in range(18):
        item = {"residual": [item, {"conv": 1, "padding": "same"}]}
    spec = parse_spec(BASE | {"layers": [item, {"linear": "classes"}]})
    start = time.monotonic()
    assert trace(spec).parameters > 19
    assert time.monotonic() - start < 5  # and not for years


def test_many_layers_are_refused_however_they_are_written():
    item = {"conv": 1, "padding": "same"}
    for _ in range(12):
        item = {"repeat": 10, "layers": [item]}
    with pytest.raises(SpecError, match="at most 1,000"):
        parse_spec(BASE | {"layers": [item, {"linear": "classes"}]})


def test_layers_within_layers_have_an_end():
    item = {"conv": 1, "padding": "same"}
    for _ in range(40):
        item = {"residual": [item]}
    with pytest.raises(SpecError, match="more than 20 deep"):
        parse_spec(BASE | {"layers": [item, {"linear": "classes"}]})


def test_each_kind_is_one_file_found_by_its_key():
    plain = {"activation", "conv", "depthwise", "dropout", "flatten", "linear", "norm", "pool", "separable", "squeeze"}
    assert set(kinds()) == plain | {"repeat", "residual"}
    assert {kind.__module__.rpartition(".")[2] for kind in kinds().values()} == set(kinds())
