"""Maps made one row of features."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from modelflow.networks.layers.kind import LayerKind, Shape
from modelflow.networks.layers.tape import Tape, Values

if TYPE_CHECKING:
    import torch
    from torch import nn


class Flatten(LayerKind):
    """`{flatten: maps}`: channel after channel, row after row. A linear layer does it by itself where maps come in."""

    key: ClassVar[str] = "flatten"
    main: ClassVar[str] = "what"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"flat": {"what": "maps"}}

    what: Literal["maps"] = "maps"

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def run(self, tape: Tape, x: Values) -> Values:
        return Values(self.output_shape(x.shape), within=x)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return ("flatten",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        return nn.Flatten()
