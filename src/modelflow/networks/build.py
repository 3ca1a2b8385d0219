"""A spec built as an ordinary `nn.Module`, layer by layer along its trace."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init
from torch.nn.utils import skip_init

from modelflow.errors import ShapeError, UsageError
from modelflow.io.arguments import MAX_SEED, whole
from modelflow.io.files import sha256
from modelflow.networks.description import Spec
from modelflow.networks.resolve import spec_of, trace
from modelflow.networks.seeds import stream
from modelflow.networks.trace import MAX_PARAMETERS, Layer, Shape, shape_text

CHANNELS = (1, 3, 4)  # of usual images


class GenericCNN(nn.Module):
    """Blocks of convolution, ReLU and max-pooling, then fully connected layers, as `spec` says.

    In place of the spec, its fields (by name too), a preset's name, the path of a spec file, or a model built from a
    spec will do. The initial weights are PyTorch's defaults, drawn on the CPU from a generator of their own: the same
    call gives the same network, in any thread, on any device, and torch's global generators are left alone. Raises
    `ShapeError`, or `UsageError` and `SpecError` for what is no spec, before anything is allocated.
    """

    def __init__(
        self,
        spec: Spec | Mapping[str, Any] | str | os.PathLike[str] | nn.Module | None = None,
        seed: int = 42,
        max_parameters: int = MAX_PARAMETERS,
        **fields: Any,
    ) -> None:
        name = type(self).__name__
        if fields and spec is not None:
            raise UsageError(f"{name}: {', '.join(fields)} beside a spec; give the spec, or its fields")
        spec = spec_of(fields or spec, name)
        traced = trace(spec, max_parameters)
        seed = whole("seed", seed, 0, MAX_SEED)
        super().__init__()
        self.spec = spec
        self.trace = traced
        self.p = spec.p
        self.drop = nn.Dropout(spec.p)
        self.flattened_dim = traced.of_kind("flatten")[0].output_shape[0]
        generator = torch.Generator().manual_seed(stream(seed, "weights"))
        for layer in traced.layers:
            self._add(layer.name, _module(layer, spec.family, generator))

    def _add(self, name: str, module: nn.Module | None) -> None:
        group, _, index = name.partition(".")
        if module is None:
            return
        if not index:
            self.add_module(group, module)
            return
        if group not in self._modules:
            self.add_module(group, nn.ModuleList())
        modules = self.get_submodule(group)
        assert isinstance(modules, nn.ModuleList)
        modules.append(module)

    def featurizer(self, x_NCHW: Tensor) -> Tensor:
        """The flattened feature maps, N x flattened_dim. Raises `ShapeError` for images of another shape."""
        given = tuple(x_NCHW.shape[1:])
        if given != self.trace.input_shape:
            raise ShapeError(
                f"the model takes images of {shape_text(self.trace.input_shape)}, got {shape_text(given)}; "
                + (layout_advice(given) or "build it with the input_size and in_channels of the data")
            )
        for layer in self.trace.layers:
            if layer.kind == "conv":
                x_NCHW = F.relu(self.get_submodule(layer.name)(x_NCHW))
            elif layer.kind == "pool" and self.spec.family == "cnn2":
                x_NCHW = F.max_pool2d(x_NCHW, layer.kernel_size)
            elif layer.kind == "pool":
                x_NCHW = self.get_submodule(layer.name)(x_NCHW)
        return x_NCHW.flatten(1)

    def classifier(self, x_NF: Tensor) -> Tensor:
        """Logits, N x num_classes, from the flattened feature maps."""
        for layer in self.trace.of_kind("linear"):
            x_NF = self.drop(x_NF) if layer.dropout else x_NF
            x_NF = self.get_submodule(layer.name)(x_NF)
            x_NF = F.relu(x_NF) if layer.relu else x_NF
        return x_NF

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Logits, N x num_classes, of images N x in_channels x input_size x input_size."""
        return self.classifier(self.featurizer(x_NCHW))


def module_sha256(model: nn.Module) -> str:
    """Of how a module prints itself, and of the names and shapes of its state: what tells it from others of its class.

    Not of what its `forward` does with them, which no module tells.
    """
    printed = re.sub(r"0x[0-9a-f]+", "", repr(model))
    state = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items() if isinstance(value, Tensor)]
    return sha256("\n".join([printed, *state]).encode())


def layout_advice(shape: Shape) -> str:
    """What to do where images are height x width x channels, or have no channels; empty for any other `shape`."""
    if len(shape) == 3 and shape[2] in CHANNELS and shape[0] not in CHANNELS:
        return "they are height x width x channels: give x.permute(0, 3, 1, 2)"
    if len(shape) == 2:
        return "they have no channels, and are height x width: give x.unsqueeze(1)"
    return ""


def _module(layer: Layer, family: str, generator: torch.Generator) -> nn.Module | None:
    if layer.kind == "conv":
        sizes = layer.input_shape[0], layer.output_shape[0], layer.kernel_size
        return _initialised(nn.Conv2d, sizes, generator)
    if layer.kind == "pool" and family == "generic":
        return nn.MaxPool2d(layer.kernel_size)
    if layer.kind == "linear":
        return _initialised(nn.Linear, (layer.input_shape[0], layer.output_shape[0]), generator)
    return None


def _initialised(
    kind: type[nn.Conv2d] | type[nn.Linear], sizes: tuple[int, ...], generator: torch.Generator
) -> nn.Module:
    """A layer with PyTorch's default weights and biases, which it would draw itself from the global generator."""
    layer: nn.Conv2d | nn.Linear = skip_init(kind, *sizes)  # type: ignore[no-untyped-call]
    init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(layer.weight[0].numel())
    if layer.bias is not None:
        init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer.to(torch.get_default_device())
