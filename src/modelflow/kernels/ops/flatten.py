"""Maps as a row of features: channel after channel, row after row."""

from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels.elementwise import along, rows
from modelflow.kernels.emit import Code
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.networks.layers.flatten import Flatten as Layer
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.tape import Values


@dataclass(frozen=True, eq=False)
class Flatten(Operation):
    """C x H x W maps as C H W features."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Layer,)

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        return writer.add(cls, layer.output_shape(x.shape), x)

    def forward(self, s: Schedule) -> None:
        (maps, at), (_, to) = s.value(self.inputs[0]), s.value(self.output)
        s.per_block(flatten, maps, maps=at, features=to)

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is not None:
            (maps, to), (_, d) = s.gradient(self.inputs[0]), s.gradient(self.output)
            s.per_block(unflatten, maps, adds, maps=to, features=d)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        return inputs[0].reshape(len(inputs[0]), -1)


def flatten(k: Code, maps: Maps) -> None:
    """Arguments: maps, features."""
    read, written = k.vectors(k.maps), k.vectors(k.features)
    for c, y in rows(k, maps):
        out_of, into = read.at(maps.index(c, y, 0)), written.at((c * maps.height + y) * maps.width)
        for places in along(k, maps.width):
            for x in places:
                into[x] = out_of[x]


def unflatten(k: Code, maps: Maps, adds: bool) -> None:
    """Arguments: maps, features."""
    written, read = k.vectors(k.maps), k.vectors(k.features)
    for c, y in rows(k, maps):
        into, out_of = written.at(maps.index(c, y, 0)), read.at((c * maps.height + y) * maps.width)
        for places in along(k, maps.width):
            for x in places:
                into[x] = into[x] + out_of[x] if adds else out_of[x]
