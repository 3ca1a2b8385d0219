"""Dropout, of single values or of whole maps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from modelflow.networks.layers.kind import LayerKind, Shape, Share, need_maps
from modelflow.networks.layers.tape import Tape, Values

if TYPE_CHECKING:
    import torch
    from torch import nn


class Dropout(LayerKind):
    """`{dropout: 0.3}`: while training, that share of the values is set to zero and the others grow accordingly.

    With `spatial: true` whole maps are dropped. Srivastava et al. (2014), https://jmlr.org/papers/v15/srivastava14a.html
    """

    key: ClassVar[str] = "dropout"
    main: ClassVar[str] = "share"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"drop": {}}

    share: Share
    spatial: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        if self.spatial:
            need_maps("spatial dropout", shape)
        return shape

    def run(self, tape: Tape, x: Values) -> Values:
        return x

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return (f"{'spatial ' if self.spatial else ''}dropout {self.share:.3g}",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        return nn.Dropout2d(self.share) if self.spatial else nn.Dropout(self.share)
