"""Depthwise convolutions: each channel by itself."""

from collections.abc import Mapping
from typing import Any, ClassVar

from modelflow.errors import ShapeError
from modelflow.networks.layers.activation import ActivationChoice, activation_parts
from modelflow.networks.layers.conv import Convolution, Padding
from modelflow.networks.layers.kind import LayerKind, Pair, Parts, Role, Shape, Size, shape_text, size_text, stride_text
from modelflow.networks.layers.norm import NormChoice, norm_parts

LARGEST_USUAL = 7  # kernel of papers, as of ConvNeXt


class Depthwise(LayerKind):
    """`{depthwise: 3, stride: 2, padding: same}`: a kernel of that size for each channel, then `norm` and `activation`.

    `multiplier` is how many maps each channel gives; the other options are those of `conv`.
    """

    key: ClassVar[str] = "depthwise"
    main: ClassVar[str] = "kernel"
    defaulted: ClassVar[frozenset[str]] = frozenset({"padding", "bias", "norm", "activation"})
    role: ClassVar[Role] = "conv"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"d": {}}
    short_marks: ClassVar[Mapping[str, str]] = {"m": "multiplier", "/": "stride", "p": "padding"}

    kernel: Pair
    multiplier: Size = 1
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    bias: bool | None = None
    norm: NormChoice = "none"
    activation: ActivationChoice = "none"

    def parts(self, shape: Shape) -> Parts:
        yield (
            "depthwise",
            Convolution(
                features=shape[0] * self.multiplier,
                kernel=self.kernel,
                stride=self.stride,
                padding=self.padding,
                groups=shape[0],
                bias=self.norm == "none" if self.bias is None else self.bias,
            ),
        )
        yield from norm_parts(self.norm)
        yield from activation_parts(self.activation)

    def output_shape(self, shape: Shape) -> Shape:
        """Raises `ShapeError` as any layer, and for a number of maps in the place of the kernel's size."""
        side = max(self.kernel)
        if side > LARGEST_USUAL and len(shape) == 3 and (side == shape[0] or side > max(shape[1:])):
            raise ShapeError(
                f"a depthwise kernel of {size_text(self.kernel)} for an input of {shape_text(shape)}. Is {side} the "
                "number of maps? That follows from the input. Write {depthwise: 3}, or {separable: maps} for others."
            )
        return super().output_shape(shape)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        own = f"depthwise {size_text(self.kernel)}{stride_text(self.stride)}"
        return (own, *super().operations(shape)[1:])
