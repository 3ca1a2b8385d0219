"""Networks as C: compiled with warnings as errors, their logits beside torch's, their bytes beside what was said."""

import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from modern_networks import network
from torch import nn

from modelflow.data.sources import read_source
from modelflow.errors import DataError, RunError, UsageError
from modelflow.export.c import quantise
from modelflow.export.c.compiled import FLAGS, logits_of
from modelflow.export.c.lowering import lowered
from modelflow.export.c.memory import planned
from modelflow.export.c.pixels import Pixels
from modelflow.export.c.source import c_model
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.resolve import CARD, preset
from modelflow.networks.trace import trace
from random_layers import NETWORKS, that_fits

FEW = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed"))
    for name in ("gcc", "clang")
]
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")


def network_of(spec, seed=0):
    """A network in eval mode whose batch norms have learned something."""
    model = GenericCNN(spec, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                *((module.running_mean, -0.5, 0.5), (module.running_var, 0.3, 2)),
                *((module.weight.data, 0.5, 1.5), (module.bias.data, -0.5, 0.5)),
            ):
                values.uniform_(low, high, generator=generator)
    return model


def state_of(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def images_for(model, count=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *model.trace.input_shape), dtype=np.uint8)


def pixels_for(channels):
    return Pixels(tuple(0.2 + 0.02 * c for c in range(channels)), tuple(0.3 + 0.02 * c for c in range(channels)))


def by_torch(model, pixels, images):
    """Logits in float32, the images normalised in float64."""
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (pixels.mean, pixels.std))
    normalised = ((images / pixels.white - mean) / std).astype(np.float32)
    with torch.no_grad():
        return model(torch.from_numpy(normalised)).numpy()


def written(model, folder, images, pixels, int8=False, title="net", names=None):
    names = names or [f"class {k}" for k in range(model.spec.logits)]
    calibration = images if int8 else None
    made = c_model(title, model.trace, state_of(model), pixels, names, images[0], calibration)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.files.items():
        (folder / name).write_text(content, "utf-8")
    return made


def assert_alike(found, expected, tolerance=1e-4):
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


@given(NETWORKS, st.integers(0, 5))
@FEW
def test_random_networks_give_torchs_logits(tmp_path_factory, fields, seed):
    spec, _ = that_fits(fields)
    model, folder = network_of(spec, seed), tmp_path_factory.mktemp("c")
    images, pixels = images_for(model), pixels_for(spec.input_shape[0])
    written(model, folder, images, pixels)
    assert_alike(logits_of(folder, images, "gcc"), by_torch(model, pixels, images))


@given(NETWORKS, st.integers(0, 5))
@FEW
def test_random_networks_in_int8_give_what_was_computed_without_a_compiler(tmp_path_factory, fields, seed):
    spec, traced = that_fits(fields)
    model, folder = network_of(spec, seed), tmp_path_factory.mktemp("c")
    images, pixels = images_for(model), pixels_for(spec.input_shape[0])
    written(model, folder, images, pixels, int8=True)
    made = quantise.quantised(lowered(traced, state_of(model)), pixels, images)
    expected = quantise.logits(made, images)
    assert np.array_equal(logits_of(folder, images, "gcc"), expected)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", [name for name in CARD if name != "generic_3"])
def test_the_presets_give_torchs_logits(tmp_path, name, compiler):
    model = network_of(preset(name))
    images, pixels = images_for(model, 20), Pixels((0.286,), (0.353,))
    written(model, tmp_path / "float", images, pixels)
    assert_alike(logits_of(tmp_path / "float", images, compiler), by_torch(model, pixels, images))
    written(model, tmp_path / "int8", images, pixels, int8=True)
    assert len(logits_of(tmp_path / "int8", images, compiler)) == 20
