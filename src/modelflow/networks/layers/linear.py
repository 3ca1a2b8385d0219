"""Fully connected layers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from modelflow.networks.layers.activation import ActivationChoice, activation_parts
from modelflow.networks.layers.dropout import Dropout
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.kind import LayerKind, Parts, Role, Shape, Share, Size, drawn_weights

if TYPE_CHECKING:
    import torch
    from torch import nn


class Product(LayerKind):
    """The layer alone; `Linear` is how it is written."""

    features: Size
    bias: bool

    def output_shape(self, shape: Shape) -> Shape:
        return (self.features,)

    def parameters(self, shape: Shape) -> int:
        return self.features * (shape[0] + self.bias)

    def macs(self, shape: Shape) -> int:
        return self.features * shape[0]

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return ("linear",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        return drawn_weights(nn.Linear(shape[0], self.features, bias=self.bias, device="meta"), generator)


class Linear(LayerKind):
    """`{linear: 50, activation: relu}`: a fully connected layer; maps are flattened first.

    `dropout` is that of its input. `{linear: classes}` has as many features as there are classes.
    """

    key: ClassVar[str] = "linear"
    main: ClassVar[str] = "features"
    defaulted: ClassVar[frozenset[str]] = frozenset({"activation"})
    role: ClassVar[Role] = "linear"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fc": {}}
    short_marks: ClassVar[Mapping[str, str]] = {"drop": "dropout"}

    features: Size
    bias: bool = True
    dropout: Share = 0.0
    activation: ActivationChoice = "none"

    def parts(self, shape: Shape) -> Parts:
        if len(shape) == 3:
            yield "flatten", Flatten()
        if self.dropout:
            yield "dropout", Dropout(share=self.dropout)
        yield "linear", Product(features=self.features, bias=self.bias)
        yield from activation_parts(self.activation)
