"""Networks of every kind of layer with their states, images for them, and what torch says of these."""

import copy

import numpy as np
import torch
from torch import nn

from modelflow.export.c.pixels import Pixels
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec

EVERY_KIND = parse_spec(
    {
        "input": [3, 12, 12],
        "classes": 5,
        "layers": [
            {"conv": 8, "padding": "same", "norm": "batch", "activation": "relu"},
            {"activation": "gelu"},
            {"dropout": 0.1},
            {"pool": "max"},
            {"norm": "batch"},
            {"depthwise": 3, "padding": "same", "activation": "leaky_relu"},
            {"squeeze": 2},
            {"separable": 8, "squeeze": 2, "activation": "hard_swish"},
            {"residual": [{"conv": 6, "activation": "tanh"}], "shortcut": "conv", "activation": "relu6"},
            {"repeat": 2, "layers": [{"conv": 6, "padding": "same", "activation": "silu"}]},
            {"pool": "average", "size": 1},
            {"flatten": "maps"},
            {"linear": 12, "activation": "sigmoid"},
            {"linear": "classes"},
        ],
    }
)
PREACTIVATED = parse_spec(
    {
        "input": [2, 6, 6],
        "classes": 3,
        "layers": [
            {"conv": 4},
            {"residual": [{"norm": "batch"}, {"activation": "relu"}, {"conv": 4, "padding": "same"}]},
            {"residual": [{"activation": "gelu"}, {"squeeze": 2}]},
            {"residual": [{"squeeze": 2}]},
            {"linear": "classes"},
        ],
    }
)


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
    """Logits in float64, where torch's convolutions are right in every layout."""
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (pixels.mean, pixels.std))
    with torch.no_grad():
        return copy.deepcopy(model).double()(torch.from_numpy((images / pixels.white - mean) / std)).numpy()


def assert_alike(found, expected, tolerance=1e-4):
    assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())
