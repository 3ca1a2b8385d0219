"""Small networks of today, beside the card's seven; for 1x28x28.

Three of the bench: batch norm, separable convolutions, residuals. Six styles: those of examples/modern.yaml.
"""

from pathlib import Path

from modelflow.io.config import read_fields
from modelflow.networks.description import Description, parse_spec
from modelflow.networks.resolve import resolve

DEFAULTS = {"padding": "same", "norm": "batch", "activation": "relu"}
LAYERS = {
    "plain_bn": [
        *({"conv": 12, "kernel": 3}, {"pool": "max"}, {"conv": 24, "kernel": 3}, {"pool": "max"}),
        {"conv": 36, "kernel": 3},
    ],
    "separable": [
        {"conv": 16, "kernel": 3},
        {"separable": 24, "kernel": 3, "stride": 2, "squeeze": 4},
        {"separable": 24, "kernel": 3, "squeeze": 4, "residual": True},
        {"separable": 48, "kernel": 3, "stride": 2, "squeeze": 4},
        {"separable": 48, "kernel": 3, "squeeze": 4, "residual": True},
    ],
    "resnet": [
        {"conv": 16, "kernel": 3},
        {"residual": [{"conv": 16, "kernel": 3}] * 2},
        {"conv": 32, "kernel": 3, "stride": 2},
        {"residual": [{"conv": 32, "kernel": 3}] * 2},
        {"conv": 40, "kernel": 3, "stride": 2},
        {"residual": [{"conv": 40, "kernel": 3}] * 2},
    ],
}


STYLES = {
    model["name"]: model["spec"]
    for model in read_fields(Path(__file__).parent.parent / "examples" / "modern.yaml")["models"]
}


def network(name: str) -> Description:
    """One of them by its name."""
    if name in STYLES:
        return resolve(STYLES[name])[1]
    layers = [*LAYERS[name], {"pool": "global_average"}, {"linear": "classes"}]
    return parse_spec({"input": [1, 28, 28], "classes": 10, "defaults": DEFAULTS, "layers": layers}, name)
