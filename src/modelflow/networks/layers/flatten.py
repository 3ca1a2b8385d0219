"""Maps made one row of features."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from modelflow.networks.layers.kind import LayerKind, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Flatten(LayerKind):
    """`{flatten: maps}`: channel after channel, row after row. A linear layer does it by itself where maps come in."""

    key: ClassVar[str] = "flatten"
    main: ClassVar[str] = "what"

    what: Literal["maps"] = "maps"

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return ("flatten",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        return nn.Flatten()
