"""Separable convolutions: a depthwise one, then a pointwise one that mixes the channels."""

from collections.abc import Mapping
from typing import Any, ClassVar

from modelflow.networks.layers.activation import ActivationChoice
from modelflow.networks.layers.conv import Conv, Padding
from modelflow.networks.layers.depthwise import Depthwise
from modelflow.networks.layers.kind import LayerKind, Pair, Parts, Role, Shape, Size, size_text, stride_text
from modelflow.networks.layers.norm import NormChoice
from modelflow.networks.layers.squeeze import Squeeze


class Separable(LayerKind):
    """`{separable: 24, kernel: 3, stride: 2, squeeze: 4}`: depthwise, then 1x1 to so many features.

    `norm` and `activation` follow each of the two; a `squeeze` stands between them. Howard et al. (2017),
    https://arxiv.org/abs/1704.04861
    """

    key: ClassVar[str] = "separable"
    main: ClassVar[str] = "features"
    defaulted: ClassVar[frozenset[str]] = frozenset({"kernel", "padding", "bias", "norm", "activation"})
    role: ClassVar[Role] = "conv"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"s": {}}
    short_marks: ClassVar[Mapping[str, str]] = {"k": "kernel", "/": "stride", "p": "padding", "e": "squeeze"}

    features: Size
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    squeeze: Size | None = None
    bias: bool | None = None
    norm: NormChoice = "none"
    activation: ActivationChoice = "none"

    def parts(self, shape: Shape) -> Parts:
        bias, norm, activation = self.bias, self.norm, self.activation
        yield (
            "depthwise",
            Depthwise(
                kernel=self.kernel,
                stride=self.stride,
                padding=self.padding,
                bias=bias,
                norm=norm,
                activation=activation,
            ),
        )
        if self.squeeze is not None:
            yield "squeeze", Squeeze(ratio=self.squeeze)
        yield "pointwise", Conv(features=self.features, kernel=(1, 1), bias=bias, norm=norm, activation=activation)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        squeeze = () if self.squeeze is None else Squeeze(ratio=self.squeeze).operations(shape)
        *_, (_, pointwise) = self.parts(shape)
        separable = f"separable {size_text(self.kernel)}{stride_text(self.stride)}"
        return (separable, *squeeze, *pointwise.operations(shape)[1:])
