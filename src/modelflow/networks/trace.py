"""A spec turned into layers with their shapes, parameters and costs: integers only, no torch.

What `trace` returns is the recipe that the builder, the pictures and the tables follow:

    trace(spec).layers[0]  ->  Layer("conv_layers.0", Conv(…), input_shape=(1, 28, 28), output_shape=(4, 24, 24))
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from modelflow.errors import ShapeError
from modelflow.networks.description import Description, Spec
from modelflow.networks.layers.kind import LayerKind, Role, Shape, shape_text
from modelflow.networks.layers.tape import Tape, Values

__all__ = ["MAX_PARAMETERS", "Layer", "Shape", "Trace", "as_data", "shape_text", "totals", "trace"]

MAX_PARAMETERS = 200_000_000
BYTES_PER_VALUE = 4


@dataclass(frozen=True)
class Layer:
    """One step of the network; shapes are channels x height x width or a number of features, without the batch."""

    name: str
    written: LayerKind
    input_shape: Shape
    output_shape: Shape
    inner: tuple["Layer", ...] = ()

    @property
    def kind(self) -> str:
        """As it is called in a network file: conv, pool, linear, …"""
        return self.written.key

    @property
    def role(self) -> Role:
        """What it is drawn as."""
        return self.written.role

    @property
    def operations(self) -> tuple[str, ...]:
        """What is done, in order, such as "conv 5x5" and "ReLU"."""
        return self.written.operations(self.input_shape)

    @property
    def what(self) -> str:
        """What it does, in order, such as "conv 5x5, ReLU" or "dropout 0.5, linear"."""
        return ", ".join(self.operations) or self.kind

    @property
    def parameters(self) -> int:
        """Weights and biases, those of its inner layers too."""
        return self.written.parameters(self.input_shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, biases left out."""
        return self.written.macs(self.input_shape)

    @property
    def own_parameters(self) -> int:
        """Those that are none of its inner layers'."""
        return self.parameters - sum(layer.parameters for layer in self.inner)

    @property
    def own_macs(self) -> int:
        """Those that are none of its inner layers'."""
        return self.macs - sum(layer.macs for layer in self.inner)

    @property
    def own_activation_bytes(self) -> int:
        """Bytes of the output for one image in float32; none where that is the output of its last inner layer."""
        if self.inner and not self.operations:
            return 0
        return math.prod(self.output_shape) * BYTES_PER_VALUE

    @property
    def activation_bytes(self) -> int:
        """Of its output, and of those of its inner layers."""
        return self.own_activation_bytes + sum(layer.activation_bytes for layer in self.inner)


@dataclass(frozen=True)
class Trace:
    """All layers of a network in the order of its forward pass."""

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        """A line a layer: name, what it does, the shape that it gives, its parameters."""
        rows = [
            (layer.name, layer.what, shape_text(layer.output_shape), f"{layer.own_parameters:,}")
            for _, layer in self.rows()
        ]
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{a:{wide[0]}}  {b:{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}" for a, b, c, d in rows]
        total = f"{self.parameters:,} parameters, {self.macs_text} multiply-accumulates per image"
        return "\n".join([f"input {shape_text(self.input_shape)}", *lines, total])

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def known_macs(self) -> int | None:
        """Its multiply-accumulates for one image; None where some of them were not counted."""
        return self.macs

    @property
    def macs_text(self) -> str:
        """Its multiply-accumulates for one image, to be read."""
        return f"{self.macs:,}"

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    @cached_property
    def peak(self) -> tuple[int, Layer]:
        """The most bytes of activations that are alive at once, for one image in float32, and the layer that runs then.

        In a forward pass in order, without gradients: values live from when they are made until they are last read, as
        a residual's input until it is added. What an operation needs for itself alone is left out.
        """
        tape, values = Tape(), Values(self.input_shape)
        at: list[Layer] = []
        for layer in self.layers:
            values = layer.written.run(tape, values)
            at += [layer] * (len(tape.operations) - len(at))
        most, layer = max(zip(tape.peaks(values), at, strict=True), key=itemgetter(0))
        return most * BYTES_PER_VALUE, layer

    def of_kind(self, kind: str) -> tuple[Layer, ...]:
        """The layers of one kind, those within others left out."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    def rows(self) -> Iterator[tuple[int, Layer]]:
        """Each layer with how many others it lies in; one that holds others comes after them."""
        for layer in self.layers:
            yield from _rows(layer, 0)


def _rows(layer: Layer, depth: int) -> Iterator[tuple[int, Layer]]:
    for inner in layer.inner:
        yield from _rows(inner, depth + 1)
    yield depth, layer


def totals(traced: Trace) -> dict[str, int]:
    """The costs of the whole network: `parameters`, `macs`, `activation_bytes`, `peak_activation_bytes`."""
    return {
        "parameters": traced.parameters,
        "macs": traced.macs,
        "activation_bytes": traced.activation_bytes,
        "peak_activation_bytes": traced.peak[0],
    }


def as_data(traced: Trace) -> dict[str, Any]:
    """A trace as plain data: its `totals`, `input_shape`, and `layers` with their costs."""
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
    return totals(traced) | {"input_shape": list(traced.input_shape), "layers": layers}


def trace(spec: Description, max_parameters: int = MAX_PARAMETERS) -> Trace:
    """The layers of `spec`, each with its input and output shape.

    Raises `ShapeError` when a layer cannot take its input, when the network does not end with a logit a class, or when
    it has more than `max_parameters` parameters.
    """
    layers = tuple(layer for depth, layer in _walked(spec) if not depth)
    shape = layers[-1].output_shape
    if shape != (spec.logits,):
        raise ShapeError(
            f"the network ends with {shape_text(shape)}, expected {spec.logits} logits, one per class. "
            "End it with {linear: classes}, or with {conv: classes} and {pool: global_average}. "
            "In the short form: fc, or c gap."
        )
    traced = Trace(spec.input_shape, layers)
    _check_size(spec, traced, max_parameters)
    return traced


def rows_that_fit(spec: Description) -> list[tuple[int, Layer]]:
    """As `Trace.rows`, the layers before the first one that cannot take its input."""
    rows = []
    with suppress(ShapeError):
        for row in _walked(spec):
            rows.append(row)  # noqa: PERF402
    return rows


def _walked(spec: Description) -> Iterator[tuple[int, Layer]]:
    """Each layer with how many others it lies in, those within it first.

    Raises `ShapeError` that begins with the name of the layer that does not fit.
    """
    shape = spec.input_shape
    for i, (name, written) in enumerate(spec.named_layers()):
        if isinstance(spec, Spec):
            _check_fits(spec, i, name, shape)
        for depth, layer in _walked_below(name, written, shape, 0):
            yield depth, layer
        shape = layer.output_shape


def _walked_below(name: str, written: LayerKind, shape: Shape, depth: int) -> Iterator[tuple[int, Layer]]:
    inner = []
    try:
        for below, held, given in written.held(shape):
            for deep, layer in _walked_below(f"{name}.{below}", held, given, depth + 1):
                yield deep, layer
            inner.append(layer)
        yield depth, Layer(name, written, shape, written.output_shape(shape), tuple(inner))
    except ShapeError as error:
        raise error if str(error).startswith(name) else ShapeError(f"{name}: {error}") from None


def _check_fits(spec: Spec, place: int, name: str, shape: Shape) -> None:
    """Raises `ShapeError` when the kernel or pool of the card's field is larger than its input."""
    i, is_pool = divmod(place, 2)
    if i >= spec.amnt_cov_layers:
        return
    field, part = ("max_pool_sizes", "pool") if is_pool else ("cov_kernel_sizes", "kernel")
    size, most = getattr(spec, field)[i], min(shape[1:])
    if size <= most:
        return
    fixes = [f"Make it {most} or smaller"]
    fixes += [f"drop block {i + 1}"] if i else []
    fixes += ["set a pool size before it to 1"] if max(spec.max_pool_sizes[:i], default=1) > 1 else []
    raise ShapeError(
        f"{name}: {field}[{i}] = {size}: its input {shape_text(shape)} is smaller than the {part}, "
        f"expected at most {most}. {', or '.join(fixes)}."
    )


def _check_size(spec: Description, traced: Trace, max_parameters: int) -> None:
    """Raises `ShapeError` when the network is too large, naming what makes its largest layer so."""
    if traced.parameters <= max_parameters:
        return
    largest = max(traced.layers, key=lambda layer: layer.parameters)
    size = _size_of(spec, traced, largest) if isinstance(spec, Spec) else f"the size of {largest.name}"
    smaller_input = " or its input" if largest.kind == "linear" else ""
    raise ShapeError(
        f"{traced.parameters:,} parameters, expected at most {max_parameters:,}: {largest.name} alone has "
        f"{largest.parameters:,} ({size} = {largest.output_shape[0]:,}, input {largest.input_shape[0]:,}). "
        f"Make {size}{smaller_input} smaller, or raise --max-parameters."
    )


def _size_of(spec: Spec, traced: Trace, layer: Layer) -> str:
    """The card's field that gives a layer its size."""
    i = traced.of_kind(layer.kind).index(layer)
    field = "cov_features" if layer.kind == "conv" else "fc_sizes"
    return f"{field}[{i}]" if i < len(getattr(spec, field)) else "num_classes"
