"""Dropout of values or of whole maps, from the hash of `dropout`: nothing is kept, the backward pass draws again.

What is drawn of image b and feature j, in the order of the flattened maps (a map's own number, where maps are dropped),
is half a hash of j // 2 and b.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from modelflow.kernels import dropout
from modelflow.kernels.elementwise import copy, rows
from modelflow.kernels.emit import I32, Code, Num
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule, Writer
from modelflow.networks.layers.dropout import Dropout as Layer
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.tape import Values

LAYERS = 64  # that keys can tell apart within a step
NUMBERS = "seed step begin number"


@dataclass(frozen=True, eq=False)
class Drop(Operation):
    """`number` is that of the layer among those that drop."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Layer,)
    gradient_in_place: ClassVar[bool] = True

    share: float
    spatial: bool
    number: int

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        assert isinstance(layer, Layer)
        if not layer.share:
            return x
        spatial = layer.spatial
        return writer.add(cls, x.shape, x, share=layer.share, spatial=spatial, number=writer.number())

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        if s.training:
            s.per_block(drop, *self._sizes(source, target, False), numbers=NUMBERS, source=at, target=to)
        else:
            s.per_block(copy, source, target, source=at, target=to)

    def backward(self, s: Schedule) -> None:
        adds = s.adds(self.inputs[0])
        if adds is not None:
            (gradient, d), (target, to) = s.gradient(self.output), s.gradient(self.inputs[0])
            s.per_block(drop, *self._sizes(gradient, target, adds), numbers=NUMBERS, source=d, target=to)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        features = self.output.shape[0] if self.spatial else self.output.count
        kept_BF = dropout.kept(
            *(given.seed, given.step + (self.number // LAYERS << 40), self.number % LAYERS),
            *(len(inputs[0]), features, self.share),
        )
        shape = (*self.output.shape[:1], 1, 1) if self.spatial else self.output.shape
        return inputs[0] * kept_BF.reshape(-1, *shape) / (1 - self.share)

    def _sizes(self, source: Maps, target: Maps, adds: bool) -> tuple[Any, ...]:
        return source, target, self.share, self.spatial, self.number, adds


def drop(k: Code, source: Maps, target: Maps, share: float, spatial: bool, number: int, adds: bool) -> None:
    """Arguments: source, target; seed, step, begin, number (of images)."""
    read, written, draw = k.vectors(k.source), k.vectors(k.target), _draws(k, number)
    cut, scale = round(share * 65536), 1 / (1 - share)
    for c, y in rows(k, target):
        out_of, into = read.at(source.index(c, y, 0)), written.at(target.index(c, y, 0))
        of_map = draw(c) if spatial else None
        for x in k.loop(target.width):
            bits = draw((c * target.height + y) * target.width + x) if of_map is None else of_map
            new = k.where(bits >= cut, out_of[x] * scale, k.vector(0.0))
            into[x] = into[x] + new if adds else new


def _draws(k: Code, number: int) -> Callable[[Num], Num]:
    """16 bits of each image of the block, for a feature."""
    keys = dropout.keys(k.seed, k.step + (number // LAYERS << 40), number % LAYERS)
    first, second = (k.splat(k.convert(key, I32)) for key in (keys, keys >> 32))
    images = (k.number + 15) // 16 * 16
    lanes = k.lane_numbers() + k.splat(k.convert(k.begin, I32))

    def draw(feature: Num) -> Num:
        counter = k.splat(k.convert(feature // 2 * images, I32)) + lanes
        bits = dropout.hashed(counter, first, second)
        return (bits >> k.splat(k.convert((feature & 1) * 16, I32))) & 0xFFFF

    return draw
