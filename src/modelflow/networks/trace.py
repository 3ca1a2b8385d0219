"""A spec turned into layers with their shapes, parameters and costs: integers only, no torch.

What `trace` returns is the recipe that the builder, the pictures and the tables follow:

    trace(spec).layers[0]  ->  Layer("conv_layers.0", "conv", input_shape=(1, 28, 28), output_shape=(4, 24, 24), …)
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from modelflow.errors import ShapeError
from modelflow.networks.description import Spec

MAX_PARAMETERS = 200_000_000
BYTES_PER_VALUE = 4

Shape = tuple[int, ...]


def shape_text(shape: Shape) -> str:
    """Sizes joined by "x", such as 1x28x28."""
    return "x".join(str(n) for n in shape)


@dataclass(frozen=True)
class Layer:
    """One step of the network; shapes are channels x height x width or a number of features, without the batch."""

    name: str
    kind: Literal["conv", "pool", "flatten", "linear"]
    input_shape: Shape
    output_shape: Shape
    kernel_size: int = 0
    dropout: float = 0.0
    relu: bool = False

    @property
    def what(self) -> str:
        """What it does, in order, such as "conv 5x5, ReLU" or "dropout 0.5, linear"."""
        size = f" {self.kernel_size}x{self.kernel_size}" if self.kernel_size else ""
        dropout = f"dropout {self.dropout:g}, " if self.dropout else ""
        return f"{dropout}{self.kind}{size}{', ReLU' if self.relu else ''}"

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        if self.kind == "conv":
            return self.output_shape[0] * (self.input_shape[0] * self.kernel_size**2 + 1)
        if self.kind == "linear":
            return self.output_shape[0] * (self.input_shape[0] + 1)
        return 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, biases left out."""
        if self.kind == "conv":
            return math.prod(self.output_shape) * self.input_shape[0] * self.kernel_size**2
        if self.kind == "linear":
            return self.input_shape[0] * self.output_shape[0]
        return 0

    @property
    def activation_bytes(self) -> int:
        """Bytes of the output for one image in float32."""
        return math.prod(self.output_shape) * BYTES_PER_VALUE


@dataclass(frozen=True)
class Trace:
    """All layers of a network in the order of its forward pass."""

    input_shape: Shape
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    def of_kind(self, kind: str) -> tuple[Layer, ...]:
        """The layers of one kind."""
        return tuple(layer for layer in self.layers if layer.kind == kind)


def as_data(traced: Trace) -> dict[str, Any]:
    """A trace as plain data: `parameters`, `macs`, `activation_bytes`, `input_shape`, and `layers` with theirs."""
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "input_shape": list(layer.input_shape),
            "output_shape": list(layer.output_shape),
            "parameters": layer.parameters,
            "macs": layer.macs,
            "activation_bytes": layer.activation_bytes,
        }
        for layer in traced.layers
    ]
    totals = {"parameters": traced.parameters, "macs": traced.macs, "activation_bytes": traced.activation_bytes}
    return totals | {"input_shape": list(traced.input_shape), "layers": layers}


def trace(spec: Spec, max_parameters: int = MAX_PARAMETERS) -> Trace:
    """The layers of `spec`, each with its input and output shape.

    Raises `ShapeError` when a block's input is smaller than its kernel or its pool, or when the network has more than
    `max_parameters` parameters.
    """
    input_shape = (spec.in_channels, spec.input_size, spec.input_size)
    featurizer = _featurizer(spec, input_shape)
    flat = (math.prod(featurizer[-1].output_shape),)
    layers = (*featurizer, Layer("flatten", "flatten", featurizer[-1].output_shape, flat), *_classifier(spec, flat))
    traced = Trace(input_shape, layers)
    _check_size(spec, traced, max_parameters)
    return traced


def _featurizer(spec: Spec, shape: Shape) -> list[Layer]:
    layers: list[Layer] = []
    for i, (kernel, channels, pool) in enumerate(
        zip(spec.cov_kernel_sizes, spec.cov_features, spec.max_pool_sizes, strict=True)
    ):
        conv, pooling = _names(spec, "conv", i), _names(spec, "pool", i)
        _check_fits(spec, conv, "cov_kernel_sizes", i, shape)
        maps = (channels, shape[1] - kernel + 1, shape[2] - kernel + 1)
        _check_fits(spec, pooling, "max_pool_sizes", i, maps)
        pooled = (channels, maps[1] // pool, maps[2] // pool)
        layers += [
            Layer(conv, "conv", shape, maps, kernel_size=kernel, relu=True),
            Layer(pooling, "pool", maps, pooled, kernel_size=pool),
        ]
        shape = pooled
    return layers


def _classifier(spec: Spec, shape: Shape) -> list[Layer]:
    layers = []
    sizes = (*spec.fc_sizes, spec.num_classes)
    for i, size in enumerate(sizes):
        last = i == len(sizes) - 1
        dropout = spec.p if spec.family == "cnn2" or not last else 0.0
        layers.append(Layer(_names(spec, "linear", i), "linear", shape, (size,), dropout=dropout, relu=not last))
        shape = (size,)
    return layers


def _names(spec: Spec, kind: str, i: int) -> str:
    if spec.family == "cnn2":
        return {"conv": "conv", "pool": "pool", "linear": "fc"}[kind] + str(i + 1)
    return {"conv": "conv_layers", "pool": "max_pool_layers", "linear": "fc_layers"}[kind] + f".{i}"


def _check_fits(spec: Spec, name: str, field: str, i: int, shape: Shape) -> None:
    """Raises `ShapeError` when the kernel or pool that `field[i]` gives is larger than its input."""
    size, most = getattr(spec, field)[i], min(shape[1:])
    if size <= most:
        return
    part = "kernel" if field == "cov_kernel_sizes" else "pool"
    fixes = [f"make it {most} or smaller"]
    fixes += [f"drop block {i + 1}"] if i else []
    fixes += ["set a pool size before it to 1"] if max(spec.max_pool_sizes[:i], default=1) > 1 else []
    raise ShapeError(
        f"{name}: {field}[{i}] = {size}: its input {shape_text(shape)} is smaller than the {part}, "
        f"expected at most {most}; " + " or ".join(fixes)
    )


def _check_size(spec: Spec, traced: Trace, max_parameters: int) -> None:
    """Raises `ShapeError` when the network is too large, naming what makes its largest layer so."""
    if traced.parameters <= max_parameters:
        return
    largest = max(traced.layers, key=lambda layer: layer.parameters)
    i = traced.of_kind(largest.kind).index(largest)
    field = "cov_features" if largest.kind == "conv" else "fc_sizes"
    size = f"{field}[{i}]" if i < len(getattr(spec, field)) else "num_classes"
    smaller_input = " or its input" if largest.kind == "linear" else ""
    raise ShapeError(
        f"{traced.parameters:,} parameters, expected at most {max_parameters:,}: {largest.name} alone has "
        f"{largest.parameters:,} ({size} = {largest.output_shape[0]:,}, input {largest.input_shape[0]:,}); "
        f"make {size}{smaller_input} smaller, or raise --max-parameters"
    )
