"""Any network as the operations that train it: each layer by the operation that knows its kind.

    graph(trace(spec))  ->  Graph(image, (Convolve(…), Norm(…), Pool(…), …), logits, parameters=10990, running=144)

Parameters lie in the order of `model.parameters()`, running statistics in that of the batch norms, each mean before its
variance. An activation that alone reads a batch norm becomes part of it. One that keeps the order of values, and that
a max-pool alone reads, comes after the pool, to the same values. A ReLU that alone reads a convolution or a max-pool
becomes part of it.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import modelflow.kernels.ops as folder
from modelflow.io.found import classes_in
from modelflow.kernels.activations import REFERENCES
from modelflow.kernels.ops.activate import Activate
from modelflow.kernels.ops.convolve import Convolve
from modelflow.kernels.ops.folded import Folded
from modelflow.kernels.ops.norm import Norm
from modelflow.kernels.ops.operation import Operation, UncoveredError
from modelflow.kernels.ops.pool import Largest
from modelflow.networks.layers.kind import LayerKind, Shape
from modelflow.networks.layers.tape import Values
from modelflow.networks.trace import Trace

KEEP_ORDER = ("relu", "leaky_relu", "relu6")


@dataclass(frozen=True)
class Graph:
    """Operations in their order, from the image to the logits."""

    image: Values
    operations: tuple[Operation, ...]
    logits: Values
    parameters: int
    running: int

    def readers(self) -> Counter[Values]:
        """How often each value is read."""
        return Counter(value for operation in self.operations for value in operation.inputs)

    @property
    def norms(self) -> list[Norm]:
        return [operation for operation in self.operations if isinstance(operation, Norm)]

    @cached_property
    def evaluated(self) -> tuple[Operation, ...]:
        """Its operations in evaluation: a convolution that a batch norm alone reads is one with it."""
        readers, makers = self.readers(), {operation.output: operation for operation in self.operations}
        done = list[Operation]()
        for operation in self.operations:
            made = makers.get(operation.inputs[0])
            alone = isinstance(operation, Norm) and readers[operation.inputs[0]] == 1
            if alone and isinstance(made, Convolve) and made.activation == "none":
                assert isinstance(operation, Norm)
                done.remove(made)
                operation = Folded(made.inputs, operation.output, made, operation)
            done.append(operation)
        return tuple(done)

    @property
    def key(self) -> str:
        """What tells it from every other: its operations, the values that they read and give by number."""
        numbers = {value: i for i, value in enumerate([self.image, *(o.output for o in self.operations)])}
        return repr([_described(operation, numbers) for operation in self.operations])


def _described(operation: Operation, numbers: dict[Values, int]) -> dict[str, Any]:
    fields = {name: value for name, value in vars(operation).items() if name not in ("inputs", "output")}
    read = [(numbers[value], value.shape) for value in operation.inputs]
    return {"kind": type(operation).__name__, "inputs": read, "shape": operation.output.shape, **fields}


def unsupported_layer(trace: Trace) -> str:
    """The first layer that no operation knows, in words; empty where all are known."""
    try:
        graph(trace)
    except UncoveredError as error:
        return str(error)
    return ""


@dataclass
class _Writer:
    operations: list[Operation] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)

    def lower(self, layer: LayerKind, x: Values) -> Values:
        if kind := _operations().get(type(layer)):
            return kind.write(self, layer, x)
        parts = list(layer.parts(x.shape))
        if not parts:
            raise UncoveredError(", ".join(layer.operations(x.shape)) or layer.key)
        for _, part in parts:
            x = self.lower(part, x)
        return x

    def add(self, kind: type[Operation], shape: Shape, *inputs: Values, **fields: object) -> Values:
        """Writes an operation; returns what it gives."""
        self.operations.append(kind(inputs, Values(shape), **fields))
        return self.operations[-1].output

    def parameters(self, count: int) -> int:
        """The place of the next so many parameters."""
        return self._take("parameters", count)

    def running(self, count: int) -> int:
        """The place of the next so many running statistics."""
        return self._take("running", count)

    def number(self) -> int:
        """Of the next layer that drops."""
        return self._take("number", 1)

    def _take(self, what: str, count: int) -> int:
        self.taken[what] += count
        return self.taken[what] - count


@cache
def _operations() -> dict[type[LayerKind], type[Operation]]:
    return {kind: operation for operation in classes_in(folder, Operation) for kind in operation.kinds}


def graph(trace: Trace) -> Graph:
    """The operations of a network. Raises `UncoveredError` that names the first layer that none of them knows."""
    writer, image = _Writer(), Values(trace.input_shape)
    x = image
    for layer in trace.layers:
        try:
            x = writer.lower(layer.written, x)
        except UncoveredError as error:
            raise UncoveredError(f"{layer.name}: {error}") from None
    made = Graph(image, tuple(writer.operations), x, writer.taken["parameters"], writer.taken["running"])
    pooled = _pooled_first(_merged(made, (Norm,), tuple(REFERENCES)))
    return _merged(pooled, (Convolve, Largest), ("relu",))


def _merged(graph: Graph, kinds: tuple[type[Norm | Convolve | Largest], ...], names: Container[str]) -> Graph:
    """Each activation of those names that alone reads an operation of those kinds as part of it."""
    readers, done = graph.readers(), list[Operation]()
    for operation in graph.operations:
        last = done[-1] if done else None
        alone = last is not None and operation.inputs == (last.output,) and readers[last.output] == 1
        free = alone and isinstance(last, kinds) and last.activation == "none"
        if free and isinstance(operation, Activate) and operation.name in names:
            assert isinstance(last, kinds)
            done[-1] = replace(last, output=operation.output, activation=operation.name)
        else:
            done.append(operation)
    return replace(graph, operations=tuple(done))


def _pooled_first(graph: Graph) -> Graph:
    """An activation that keeps the order behind the max-pool that alone reads it: it has fewer values there."""
    readers, done = graph.readers(), list[Operation]()
    for operation in graph.operations:
        last = done[-1] if done else None
        alone = last is not None and operation.inputs == (last.output,) and readers[last.output] == 1
        if alone and isinstance(operation, Largest) and isinstance(last, Activate) and last.name in KEEP_ORDER:
            pooled = Values(operation.output.shape)
            done[-1] = replace(operation, inputs=last.inputs, output=pooled)
            operation = replace(last, inputs=(pooled,), output=operation.output)
        done.append(operation)
    return replace(graph, operations=tuple(done))
