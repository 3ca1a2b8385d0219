"""What the layers of a network put out, read through forward hooks that always come off again.

with captured(model, ["conv1", "fc1"]) as outputs:
    model(x_NCHW)
outputs["conv1"]  ->  an array N x C x H x W that nothing else holds
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from modelflow.errors import UsageError
from modelflow.text import short
from modelflow.training.modes import as_written

Keep = Callable[[str, np.ndarray], None]
COMPILED = "_orig_mod"  # what torch.compile calls the module it wraps


class Captured(Mapping[str, np.ndarray]):
    """Layer name -> all its outputs so far, joined along the first axis in the order of the calls."""

    def __init__(self) -> None:
        self._parts: dict[str, list[np.ndarray]] = {}

    def add(self, layer_name: str, output: np.ndarray) -> None:
        """Keep the output of one call of a layer."""
        self._parts.setdefault(layer_name, []).append(output)

    def __getitem__(self, layer_name: str) -> np.ndarray:
        parts = self._parts[layer_name]
        shapes = sorted({part.shape[1:] for part in parts})
        if len(shapes) > 1:
            raise UsageError(
                f"layer {layer_name!r}: its outputs have different shapes, {shapes[0]} and {shapes[1]} without the "
                "batch. It runs at several places of the network. Name a layer that runs once."
            )
        if len(parts) > 1:
            parts[:] = [np.concatenate(parts)]
        return parts[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


@contextmanager
def captured(model: nn.Module, layer_names: Sequence[str]) -> Iterator[Captured]:
    """Within the block every forward pass adds copies of the named layers' outputs to what is yielded.

    A layer that did not run is not in it. The mode (train or eval) is left alone and the hooks are removed whatever
    happens; what torch.compile made runs as it was written meanwhile. Raises `UsageError` for a name that is no layer,
    and in the forward pass for an output that is no tensor.
    """
    outputs = Captured()
    handles = attach(model, layer_names, outputs.add)
    try:
        with as_written():
            yield outputs
    finally:
        for handle in handles.values():
            handle.remove()


def attach(model: nn.Module, layer_names: Sequence[str], keep: Keep) -> dict[str, RemovableHandle]:
    """Hooks that call `keep(layer_name, copy_of_the_output)`; the caller removes the handles.

    Raises `UsageError` for a name that is no layer, before any hook is attached.
    """
    layers = {name: layer(model, name) for name in layer_names}
    return {name: module.register_forward_hook(_hook(name, keep)) for name, module in layers.items()}


def layer(model: nn.Module, layer_name: str) -> nn.Module:
    """The layer of that name. Raises `UsageError` with the known names."""
    layer_name = layer_name if isinstance(layer_name, str) else short(layer_name)
    named = model.named_modules(remove_duplicate=False)
    layers: dict[str, nn.Module] = {plain_name(name): module for name, module in named if plain_name(name)}
    if plain_name(layer_name) not in layers:
        known = ", ".join(layers) or "(it has none)"
        raise UsageError(f"layer {layer_name!r}: {type(model).__name__} has no such layer. Name one of {known}.")
    return layers[plain_name(layer_name)]


def plain_name(layer_name: str) -> str:
    """The name of a layer without what torch.compile puts into it."""
    return ".".join(part for part in layer_name.split(".") if part != COMPILED)


def _hook(layer_name: str, keep: Keep) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, torch.Tensor):
            raise UsageError(
                f"layer {layer_name!r} ({type(module).__name__}) gives a {type(output).__name__}, expected one tensor. "
                "Name another layer."
            )
        keep(layer_name, copied(output))

    return hook


def copied(values: torch.Tensor) -> np.ndarray:
    """The values as an array of their own, free of gradients and devices."""
    values = values.detach().cpu()
    if values.dtype == torch.bfloat16:
        values = values.float()
    return np.array(values.numpy(), copy=True)
