"""Squeeze and excitation: maps, each times a factor of its channel."""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.elementwise import along, rows
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.activate import Activate
from modelflow.kernels.ops.dense import dense
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.kernels.ops.pool import GlobalAverage
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.squeeze import Squeeze
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Weigh(Operation):
    """The first input's maps times the second's features."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Squeeze,)

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        channels = x.shape[0]
        means = writer.add(GlobalAverage, (channels,), x)
        units = writer.add(
            Activate, (channels // layer.ratio,), dense(writer, channels // layer.ratio, means, True), name="relu"
        )
        factors = writer.add(Activate, (channels,), dense(writer, channels, units, True), name="sigmoid")
        return writer.add(cls, x.shape, x, factors)

    def forward(self, s: Schedule) -> None:
        (source, at), (_, factors), (target, to) = (*map(s.value, self.inputs), s.value(self.output))
        s.per_block(weigh, source, target, source=at, factors=factors, target=to)

    def backward(self, s: Schedule) -> None:
        (source, at), (_, factors) = map(s.value, self.inputs)
        (gradient, d), (_, to) = s.gradient(self.output), s.gradient(self.inputs[1])
        s.adds(self.inputs[1])
        s.per_block(factor_gradients, source, gradient, source=at, gradient=d, target=to)
        adds = s.adds(self.inputs[0])
        if adds is not None:
            target, to = s.gradient(self.inputs[0])
            s.per_block(map_gradients, gradient, target, adds, factors=factors, gradient=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        return inputs[0] * inputs[1][:, :, None, None]


def weigh(k: Code, source: Maps, target: Maps) -> None:
    """Arguments: source, factors, target."""
    read, factors, written = k.vectors(k.source), k.vectors(k.factors), k.vectors(k.target)
    for c, y in rows(k, target):
        out_of, into, factor = read.at(source.index(c, y, 0)), written.at(target.index(c, y, 0)), factors[c]
        for places in along(k, target.width):
            for x in places:
                into[x] = out_of[x] * factor


def factor_gradients(k: Code, source: Maps, gradient: Maps) -> None:
    """Arguments: source, gradient, target: the factors' gradients."""
    read, given, written = k.vectors(k.source), k.vectors(k.gradient), k.vectors(k.target)
    for c in k.loop(source.channels):
        written[c] = k.vector(0.0)
    for c, y in rows(k, source):
        out_of, d = read.at(source.index(c, y, 0)), given.at(gradient.index(c, y, 0))
        sums = [k.var(k.vector(0.0)) for _ in range(4)]
        for places in along(k, source.width):
            for i, x in enumerate(places):
                sums[i].set(k.fma(out_of[x], d[x], sums[i].get()))
        written[c] = written[c] + (sums[0].get() + sums[1].get()) + (sums[2].get() + sums[3].get())


def map_gradients(k: Code, gradient: Maps, target: Maps, adds: bool) -> None:
    """Arguments: factors, gradient, target: the maps' gradients."""
    factors, given, written = k.vectors(k.factors), k.vectors(k.gradient), k.vectors(k.target)
    for c, y in rows(k, target):
        d, into, factor = given.at(gradient.index(c, y, 0)), written.at(target.index(c, y, 0)), factors[c]
        for places in along(k, target.width):
            for x in places:
                into[x] = k.fma(d[x], factor, into[x]) if adds else d[x] * factor
