"""The filters that convolutional layers have learnt."""

import numpy as np
from torch import nn

from modelflow.errors import UsageError
from modelflow.evaluation.inspection.hooks import copied, layer, plain_name


def conv_layers(model: nn.Module) -> list[str]:
    """The names of every `nn.Conv2d`, in the order of the model's modules."""
    return [plain_name(name) for name, module in model.named_modules() if name and isinstance(module, nn.Conv2d)]


def filters(model: nn.Module, layer_name: str) -> np.ndarray:
    """A copy of a convolutional layer's weights, out channels x in channels x height x width.

    Raises `UsageError` for a name that is no `nn.Conv2d`, with the names that are.
    """
    module = layer(model, layer_name)
    if not isinstance(module, nn.Conv2d):
        known = ", ".join(conv_layers(model)) or "(this model has none)"
        raise UsageError(f"layer {layer_name!r} is a {type(module).__name__}, expected a Conv2d. Name one of {known}.")
    return copied(module.weight)
