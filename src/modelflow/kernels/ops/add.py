"""Residuals: what the body gives plus its input, or that input brought to its shape."""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.elementwise import copy, each
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.networks.layers.activation import activation_parts
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.residual import Residual
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """The sum of two values; the first one's gradient is the sum's, the second's a copy."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Residual,)
    gradient_in_place: ClassVar[bool] = True

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Residual)
        body = shortcut = x
        for _, held, _ in layer.held(x.shape):
            body = writer.lower(held, body)
        if layer.shortcut == "conv":
            shortcut = writer.lower(layer.projection(x.shape, body.shape), x)
        summed = writer.add(cls, body.shape, body, shortcut)
        for _, part in activation_parts(layer.activation):
            summed = writer.lower(part, summed)
        return summed

    def forward(self, s: Schedule) -> None:
        (one, first), (other, second), (target, to) = (*map(s.value, self.inputs), s.value(self.output))
        s.per_block(add, one, other, target, first=first, second=second, target=to)

    def backward(self, s: Schedule) -> None:
        gradient, d = s.gradient(self.output)
        for value in reversed(self.inputs):
            adds = s.adds(value)
            if adds is not None and s.gradient(value)[1] != d:
                target, to = s.gradient(value)
                s.per_block(copy, gradient, target, adds, source=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        return inputs[0] + inputs[1]


def add(k: Code, one: Maps, other: Maps, target: Maps) -> None:
    """Arguments: first, second, target."""
    each(k, (target, k.target), [(one, k.first), (other, k.second)], lambda a, b: a + b)
