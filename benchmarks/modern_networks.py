"""Three small networks of today, beside the card's seven: batch norm, separable convolutions, residuals; for 1x28x28."""

from modelflow.networks.description import Description, parse_spec

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


def network(name: str) -> Description:
    """One of them by its name."""
    layers = [*LAYERS[name], {"pool": "global_average"}, {"linear": "classes"}]
    return parse_spec({"input": [1, 28, 28], "classes": 10, "defaults": DEFAULTS, "layers": layers}, name)
