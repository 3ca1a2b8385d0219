"""The initial weights of a spec: PyTorch's defaults, from the seed alone, whoever else draws."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from modelflow import CNN2, GerenicCNN
from modelflow.errors import SpecError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.seeds import stream


def as_torch_draws_them(spec, seed):
    """The weights of torch's own layers made in the order of the spec's, after `manual_seed`."""
    layers = []
    with torch.random.fork_rng():
        torch.manual_seed(stream(seed, "weights"))
        for layer in GenericCNN(spec).trace.layers:
            if layer.kind == "conv":
                layers.append(nn.Conv2d(layer.input_shape[0], layer.output_shape[0], layer.written.kernel))
            elif layer.kind == "linear":
                layers.append(nn.Linear(layer.input_shape[0], layer.output_shape[0]))
    return [p for layer in layers for p in (layer.weight, layer.bias)]


@pytest.mark.parametrize("name", CARD)
def test_weights_are_torchs_own_for_the_stream_of_the_seed(name):
    for seed in (42, 7):
        ours = list(GenericCNN(preset(name), seed).parameters())
        assert all(map(torch.equal, ours, as_torch_draws_them(preset(name), seed)))


def test_the_cards_classes_draw_as_their_specs_do():
    for model in (CNN2(3, seed=5), GerenicCNN(1, 10, verbose=False, seed=5)):
        assert all(map(torch.equal, model.parameters(), as_torch_draws_them(model.spec, 5)))


def test_building_leaves_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1]
    CNN2(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_threads_that_build_at_once_have_the_weights_of_their_seeds():
    wanted, wrong = list(CNN2(3).parameters()), []

    def build():
        made = (CNN2(3).parameters() for _ in range(60))
        wrong.extend("weights" for weights in made if not all(map(torch.equal, weights, wanted)))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(60):  # and whoever draws from torch's generator draws what he would draw alone
        torch.manual_seed(1)
        if torch.rand(2000).sum() != torch.rand(2000, generator=torch.Generator().manual_seed(1)).sum():
            wrong.append("another's numbers")
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_model_is_made_on_torchs_default_device():
    with torch.device("meta"):
        assert {p.device.type for p in CNN2(3).parameters()} == {"meta"}


def test_a_network_is_built_of_whatever_says_an_architecture(tmp_path):
    wanted, fields = list(GenericCNN(preset("generic_2")).parameters()), preset("generic_2").model_dump()
    (tmp_path / "net.json").write_text(json.dumps(fields))
    for given in ("generic_2", Path("generic_2"), fields, str(tmp_path / "net.json"), tmp_path / "net.json"):
        assert all(map(torch.equal, GenericCNN(given).parameters(), wanted))
    for model in (GenericCNN(GenericCNN("generic_2", seed=7)), GenericCNN(**fields), GenericCNN(**fields, seed=42)):
        assert all(map(torch.equal, model.parameters(), wanted))
    assert all(map(torch.equal, GenericCNN("generic_2", np.int64(42), np.int64(20_000)).parameters(), wanted))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, 10), r"GenericCNN: 1: expected a spec, .* For channels and classes: GerenicCNN\(1, 10\)"),
        ((), "GenericCNN: None: expected a spec, its fields, a preset's name"),
        ((CNN2,), "GenericCNN: <class .*: expected a spec"),
        ((nn.Linear(1, 1),), r"GenericCNN: Linear.*: expected a spec"),
        ((["generic_2"],), r"GenericCNN: \['generic_2'\]: expected a spec"),
        (("generic_22",), "no such preset. Did you mean 'generic_2'"),
        (("generic_2", "3"), "seed = '3': must be a whole number of 0 or more. Write 3"),
        (("generic_2", None), "seed = None: must be a whole number"),
        (("generic_2", -1), "seed = -1: must be 0 or more"),
        (("generic_2", 3, "9"), "max_parameters = '9': must be a whole number"),
    ],
)
def test_what_says_no_architecture_is_refused_with_the_form_to_write(arguments, said):
    with pytest.raises(UsageError, match=said):
        GenericCNN(*arguments)


def test_fields_are_checked_and_stand_alone():
    with pytest.raises(SpecError, match="num_classes is missing"):
        GenericCNN(in_channels=1)
    with pytest.raises(SpecError, match="unknown key 'chanels'"):
        GenericCNN(in_channels=1, num_classes=10, chanels=1)
    with pytest.raises(UsageError, match=r"GenericCNN: p beside a spec. Give the spec"):
        GenericCNN("generic_2", p=0.5)


def test_networks_lie_channels_last_unless_they_are_of_the_cards_family():
    layers = [{"conv": 4, "kernel": 3, "activation": "gelu"}, {"linear": "classes"}]
    modern = GenericCNN({"input": [3, 8, 8], "classes": 10, "layers": layers})
    assert all(
        p.is_contiguous(memory_format=torch.channels_last) for p in modern.parameters() if p.ndim == 4 and len(p) > 1
    )
    for notation in ("generic_1", preset("generic_1").short_form):
        assert all(p.is_contiguous() for p in GenericCNN(notation).parameters())


def test_a_convolution_that_torch_computes_wrongly_in_channels_last_is_right():
    fields = {"input": [1, 28, 2], "classes": 3, "layers": [{"conv": 6, "stride": [1, 2], "padding": 1}, {"linear": 3}]}
    model, x = GenericCNN(fields), torch.randn(4, 1, 28, 2)
    with torch.no_grad():
        logits = model(x)
        expected = model.double()(x.double())
    assert torch.allclose(logits.double(), expected, atol=1e-4)


def test_a_network_is_built_without_the_half_second_that_sympy_takes():
    code = "import sys, modelflow; modelflow.GenericCNN('c4 se2 gap fc'); sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
