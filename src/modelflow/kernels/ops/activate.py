"""Activations by themselves. One that follows batch norm is part of it."""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.activations import activated, slope
from modelflow.kernels.elementwise import along, rows
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import Operation, Schedule, Writer
from modelflow.networks.layers.activation import Activation
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Activate(Operation):
    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Activation,)
    gradient_in_place: ClassVar[bool] = True

    name: str

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Activation)
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


def activate(k: Code, source: Maps, target: Maps, name: str) -> None:
    """Arguments: source, target."""
    read, written = k.vectors(k.source), k.vectors(k.target)
    for c, y in rows(k, target):
        out_of, into = read.at(source.index(c, y, 0)), written.at(target.index(c, y, 0))
        for places in along(k, target.width):
            for x in places:
                into[x] = activated(k, name, out_of[x])


def through(k: Code, source: Maps, gradient: Maps, target: Maps, name: str, adds: bool) -> None:
    """Arguments: source, gradient, target: the gradient of the source."""
    read, given, written = k.vectors(k.source), k.vectors(k.gradient), k.vectors(k.target)
    for c, y in rows(k, target):
        out_of, d = read.at(source.index(c, y, 0)), given.at(gradient.index(c, y, 0))
        into = written.at(target.index(c, y, 0))
        for places in along(k, target.width):
            for x in places:
                new = d[x] * slope(k, name, out_of[x])
                into[x] = into[x] + new if adds else new
