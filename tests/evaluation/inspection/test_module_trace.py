"""Any module traced: beside the trace of a spec, and torch's own flop counter."""

import base64
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

import modelflow as mf
from modelflow.compat.card import CNN2
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.inspection.leaves import module_trace
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import CARD, preset
from random_layers import NETWORKS, that_fits


class Odd(nn.Module):
    """Attention, a product of functions, a parameter of its own, a layer that runs twice and one that never does."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 7, stride=7)
        self.place = nn.Parameter(torch.zeros(1, 16, 16))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.twice = weight_norm(nn.Linear(16, 16))
        self.never = nn.Linear(3, 3)
        self.end = nn.Linear(16, 10)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        x = x + self.attention(x, x, x)[0]
        x = torch.dropout(self.twice(self.twice(x)), 0.5, True)
        return self.end((x @ x.transpose(1, 2) @ x).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.LSTM(28, 8, batch_first=True)
        self.end = nn.Linear(8, 10)

    def forward(self, x):
        return self.end(self.rows(x[:, 0])[0][:, -1])


def by_torch(model, shape):
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", CARD)
def test_the_cards_networks_cost_as_their_specs_say(name):
    spec = preset(name)
    model = GenericCNN(spec)
    found = mf.trace(model, input=spec.input_shape)
    assert (found.parameters, found.macs) == (model.trace.parameters, model.trace.macs)
    assert found.known_macs == by_torch(model, spec.input_shape)
    assert found.layers[-1].output_shape == (10,)


@settings(max_examples=25, deadline=None)
@given(NETWORKS)
def test_random_networks_cost_as_their_specs_say(fields):
    spec, expected = that_fits(fields)
    found = mf.trace(GenericCNN(spec), input=spec.input_shape)
    assert (found.parameters, found.macs) == (expected.parameters, expected.macs)


def test_an_odd_module_is_counted_whole():
    model = Odd()
    found = mf.trace(model, input=[1, 28, 28])
    assert found.parameters == parameters(model)
    assert found.known_macs == found.macs == by_torch(Odd(), (1, 28, 28))
    rows = {layer.name: layer for layer in found.layers}
    assert list(rows) == ["patches", "attention", "twice", "end", "(outside)"]
    assert [layer.parameters for layer in found.layers if layer.name == "twice"] == [parameters(model.twice), 0]
    assert rows["patches"].what == "conv 7x7, stride 7"
    assert rows["attention"].parameters == parameters(model.attention)
    assert rows["(outside)"].parameters == 16 * 16 + parameters(model.never)
    assert rows["(outside)"].macs == 2 * 16 * 16 * 16
    assert found.idle == ("never",)
    assert "Did not run: never." in found.to_markdown()


def test_a_layer_of_two_names_is_called_by_its_first():
    shared = nn.ReLU()
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), shared), nn.Sequential(nn.Conv2d(2, 2, 3), shared))
    found = mf.trace(model, input=(1, 8, 8))
    assert [layer.name for layer in found.layers] == ["0.0", "0.1", "1.0", "0.1"]
    assert found.idle == ()


def test_what_nobody_can_count_is_said():
    found = mf.trace(Recurrent(), input=(1, 28, 28))
    assert found.known_macs is None
    assert found.macs == 80
    assert "MACs not counted: those of mkldnn_rnn_layer." in found.to_latex().replace(r"\_", "_")
    assert "at least 80 multiply-accumulates per image" in found._repr_html_()


def test_the_module_stays_as_it_was():
    model = Odd()
    model.attention.eval()
    model(torch.ones(2, 1, 28, 28)).sum().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    modes, random = {name: m.training for name, m in model.named_modules()}, torch.get_rng_state()
    mf.trace(model, input=(1, 28, 28))
    with pytest.raises(DataError, match="trace of Odd: images float32 1x3x28x28: Given groups=1"):
        mf.trace(model, input=(3, 28, 28))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, gradients[name]) for name, p in model.named_parameters() if name in gradients)
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert torch.equal(random, torch.get_rng_state())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_it_shows_itself():
    found = mf.trace(CNN2(3), input=(1, 28, 28))
    drawn = base64.b64decode(re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', found._repr_html_())[1])
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    frame = found.to_frame()
    assert list(frame["layer"]) == ["conv1", "conv2", "drop", "fc1", "drop", "fc2"]
    assert list(frame["kind"])[:4] == ["Conv2d", "Conv2d", "Dropout", "Linear"]
    assert frame["macs"].sum() == found.macs


@pytest.mark.parametrize("model", [Odd(), Recurrent(), nn.Sequential(nn.Flatten(), nn.Linear(784, 10))])
def test_any_shape_is_drawn(model):
    ElementTree.fromstring(re.search(r"<svg.*</svg>", _svg(model), re.S)[0])


def _svg(model):
    from modelflow.networks.diagram import svg, text

    found = mf.trace(model, input=(1, 28, 28))
    assert all(len(line) <= 100 for line in text(found).splitlines())
    return svg(found, "a net")


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (Odd(), None, r"Odd is a module\. Give the shape of an image: input=\(1, 28, 28\)"),
        (Odd(), "1x28x28", "expected channels, height and width"),
        (Odd(), (1, 0, 28), r"input\[1\] = 0: must be 1 or more"),
        (Odd(), (1, 99999, 99999), "values of an input = 9999800001: must be less than 16,777,216"),
        ("generic_2", (1, 28, 28), "a spec has its own"),
        (nn.LazyLinear(3), (1, 28, 28), "lazy layers"),
        (3, None, "trace: 3: expected a spec"),
    ],
)
def test_what_cannot_be_traced_is_told(model, given, said):
    with pytest.raises(UsageError, match=said):
        mf.trace(model, input=given)


def test_a_compiled_module_is_traced_as_it_is_written():
    model = GenericCNN("generic_2")
    compiled = torch.compile(model, backend="eager")
    compiled(torch.zeros(1, 1, 28, 28))
    found = module_trace(compiled, torch.zeros(2, 1, 28, 28), "compiled")
    assert found.macs == model.trace.macs
    assert found.layers[0].name == "conv_layers.0"


def test_torch_is_not_imported_for_a_spec():
    code = "import sys, modelflow; modelflow.trace('generic_2'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
