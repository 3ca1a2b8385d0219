"""A spec built as an ordinary `nn.Module`, layer by layer along its trace."""

import os
import re
from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelflow.errors import ShapeError, UsageError
from modelflow.io.arguments import MAX_SEED, whole
from modelflow.io.files import sha256
from modelflow.networks.description import Description, Spec
from modelflow.networks.family import outside_family
from modelflow.networks.layers.conv import Conv
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.linear import Linear
from modelflow.networks.layers.pool import Pool
from modelflow.networks.resolve import spec_of, trace
from modelflow.networks.seeds import stream
from modelflow.networks.trace import MAX_PARAMETERS, Layer, Shape, shape_text

CHANNELS = (1, 3, 4)  # of usual images

Structure = tuple[list[tuple[str, type[nn.Module], str, bool]], list[tuple[str, Shape]]]


class GenericCNN(nn.Module):
    """The network that `spec` describes: the card's blocks of convolution, ReLU and max-pooling, or any layers.

    In place of the spec, its fields (by name too), a preset's name, the path of a spec file, or a model built from a
    spec will do. The initial weights are PyTorch's defaults, drawn on the CPU from a generator of their own: the same
    call gives the same network, in any thread, on any device, and torch's global generators are left alone. Raises
    `ShapeError`, or `UsageError` and `SpecError` for what is no spec, before anything is allocated. `outside_family`
    says what of it the compiled step does not take (see `family.outside_family`).
    """

    def __init__(
        self,
        spec: Description | Mapping[str, object] | str | os.PathLike[str] | nn.Module | None = None,
        seed: int = 42,
        max_parameters: int = MAX_PARAMETERS,
        **fields: object,
    ) -> None:
        name = type(self).__name__
        if fields and spec is not None:
            raise UsageError(f"{name}: {', '.join(fields)} beside a spec. Give the spec, or its fields.")
        spec = spec_of(fields or spec, name)
        traced = trace(spec, max_parameters)
        seed = whole("seed", seed, 0, MAX_SEED)
        super().__init__()
        self.spec: Description = spec
        self.trace = traced
        self.flattened_dim = next(layer.output_shape[0] for layer in traced.layers if len(layer.output_shape) == 1)
        generator = torch.Generator().manual_seed(stream(seed, "weights"))
        if isinstance(spec, Spec):
            self.p = spec.p
            self.drop = nn.Dropout(spec.p)
        for layer in traced.layers:
            self._add(layer.name, _module(layer, spec, generator))
        self.outside_family = outside_family(traced)
        if self.outside_family and not any(map(_is_wrong_in_channels_last, self.modules())):
            self.lay_out(torch.channels_last)  # autograd trains it, on a CPU a quarter faster with it
        self._as_built = _structure(self)

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

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Weights of four dimensions in that order in memory; what is computed with them takes it over."""
        self.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's own hints leave it out

    def featurizer(self, x_NCHW: Tensor) -> Tensor:
        """The flattened feature maps, N x flattened_dim. Raises `ShapeError` for images of another shape."""
        given = tuple(x_NCHW.shape[1:])
        if given != self.trace.input_shape:
            raise ShapeError(
                f"the model takes images of {shape_text(self.trace.input_shape)}, got {shape_text(given)}. "
                + (layout_advice(given) or "Build it with the input_size and in_channels of the data.")
            )
        for layer in self.trace.layers:
            if len(layer.input_shape) == 3 and layer.role != "linear":
                x_NCHW = self._passed(layer, x_NCHW)
        return x_NCHW.flatten(1)

    def classifier(self, x_NF: Tensor) -> Tensor:
        """Logits, N x num_classes, from the flattened feature maps."""
        for layer in self.trace.layers:
            if len(layer.input_shape) == 1 or layer.role == "linear":
                x_NF = self._passed(layer, x_NF)
        return x_NF

    def _passed(self, layer: Layer, x: Tensor) -> Tensor:
        """What a layer makes of `x`; of the card's layers, only what has weights, and some pools, is a module."""
        written = layer.written
        if not isinstance(self.spec, Spec):
            passed: Tensor = self.get_submodule(layer.name)(x)
            return passed
        if isinstance(written, Flatten):
            return x.flatten(1)
        if isinstance(written, Pool) and self.spec.family == "cnn2":
            return F.max_pool2d(x, written.window)
        x = self.drop(x) if isinstance(written, Linear) and written.dropout else x
        x = self.get_submodule(layer.name)(x)
        return F.relu(x) if isinstance(written, Conv | Linear) and written.activation == "relu" else x

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


def is_as_described(model: GenericCNN) -> bool:
    """Whether its layers are still those of its spec: their kinds, their options, and the shapes of their weights."""
    return _structure(model) == model._as_built


def _is_wrong_in_channels_last(module: nn.Module) -> bool:
    """Whether torch 2.13 may compute it wrongly so: to maps of width 1, such a convolution gives numbers up to 1e30."""
    return isinstance(module, nn.Conv2d) and module.in_channels == 1 and module.stride[0] < module.stride[1]


def _structure(model: nn.Module) -> Structure:
    """Of each layer its class, its options, and whether its `forward` was replaced; of each tensor its shape."""
    layers = [(name, module) for name, module in model.named_modules() if name]
    tensors = chain(model.named_parameters(), model.named_buffers())
    return (
        [(name, type(layer), layer.extra_repr(), "forward" in vars(layer)) for name, layer in layers],
        [(name, tuple(tensor.shape)) for name, tensor in tensors],
    )


def layout_advice(shape: Shape) -> str:
    """What to do where images are height x width x channels, or have no channels; empty for any other `shape`."""
    if len(shape) == 3 and shape[2] in CHANNELS and shape[0] not in CHANNELS:
        return "They are height x width x channels: give x.permute(0, 3, 1, 2)."
    if len(shape) == 2:
        return "They are height x width, without channels: give x.unsqueeze(1)."
    return ""


def _module(layer: Layer, spec: Description, generator: torch.Generator) -> nn.Module | None:
    """Of a layer; the card's are the convolutions and products alone, under the layer's own name."""
    if not isinstance(spec, Spec):
        return layer.written.module(layer.input_shape, generator)
    if isinstance(layer.written, Pool):
        return layer.written.module(layer.input_shape, generator) if spec.family == "generic" else None
    weighty = [part for name, part in layer.written.parts(layer.input_shape) if name in ("conv", "linear")]
    return weighty[0].module(layer.input_shape, generator) if weighty else None
