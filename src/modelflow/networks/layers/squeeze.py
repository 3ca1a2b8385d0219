"""Squeeze and excitation: each channel weighted by what the means of all channels say."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from modelflow.errors import ShapeError
from modelflow.networks.layers.kind import LayerKind, Shape, Size, drawn_weights, need_maps
from modelflow.networks.layers.tape import Tape, Values

if TYPE_CHECKING:
    import torch
    from torch import nn


class Squeeze(LayerKind):
    """`{squeeze: 4}`: the means of the channels go through a fourth as many units to a factor of 0 to 1 each.

    Hu et al. (2018), https://arxiv.org/abs/1709.01507; with biases, and a sigmoid at the end.
    """

    key: ClassVar[str] = "squeeze"
    main: ClassVar[str] = "ratio"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"e": {}}

    ratio: Size

    def output_shape(self, shape: Shape) -> Shape:
        need_maps("squeeze", shape)
        if shape[0] < self.ratio:
            raise ShapeError(f"squeeze = {self.ratio}: expected at most the {shape[0]} channels of its input")
        return shape

    def parameters(self, shape: Shape) -> int:
        units = shape[0] // self.ratio
        return units * (shape[0] + 1) + shape[0] * (units + 1)

    def macs(self, shape: Shape) -> int:
        return 2 * shape[0] * (shape[0] // self.ratio)

    def run(self, tape: Tape, x: Values) -> Values:
        channels, units = x.shape[0], x.shape[0] // self.ratio
        weights = x
        for features in (channels, units, units, channels, channels):  # means, reduce, ReLU, expand, sigmoid
            weights = tape.add((features,), weights)
        return tape.add(x.shape, x, weights)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return (f"squeeze {self.ratio}",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        from modelflow.networks.modules import Scale

        units = shape[0] // self.ratio
        reduce, expand = (
            drawn_weights(nn.Conv2d(inputs, outputs, 1, device="meta"), generator)
            for inputs, outputs in ((shape[0], units), (units, shape[0]))
        )
        return Scale(reduce, expand)
