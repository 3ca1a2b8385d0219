"""Activations by themselves. One that follows batch norm is part of it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.activations import REFERENCES, VALUES, activated, slope
from modelflow.kernels.elementwise import each
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, UncoveredError, Writer
from modelflow.networks.layers.activation import WORDS, Activation
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Activate(Operation):
    """The activation of that name, value by value."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Activation,)
    gradient_in_place: ClassVar[bool] = True

    name: str

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        """Raises `UncoveredError` for an activation that has no kernel."""
        assert isinstance(layer, Activation)
        if layer.name not in VALUES:
            raise UncoveredError(WORDS[layer.name])
        return writer.add(cls, x.shape, x, name=layer.name)

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        s.per_block(activate, source, target, self.name, source=at, target=to)

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is not None:
            (source, at), (gradient, d), (target, to) = (
                s.value(self.inputs[0]),
                s.gradient(self.output),
                s.gradient(self.inputs[0]),
            )
            s.per_block(through, source, gradient, target, self.name, adds, source=at, gradient=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        return REFERENCES[self.name](inputs[0])


def activate(k: Code, source: Maps, target: Maps, name: str) -> None:
    """Arguments: source, target."""
    each(k, (target, k.target), [(source, k.source)], lambda value: activated(k, name, value))


def through(k: Code, source: Maps, gradient: Maps, target: Maps, name: str, adds: bool) -> None:
    """Arguments: source, gradient, target: the gradient of the source."""
    read = [(gradient, k.gradient), (source, k.source)]
    each(k, (target, k.target), read, lambda d, value: d * slope(k, name, value), adds)
