"""Convolutions: with stride, padding and groups, and what follows them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from modelflow.errors import ShapeError
from modelflow.networks.layers.activation import ActivationChoice, activation_parts
from modelflow.networks.layers.kind import (
    MAX_SIZE,
    LayerKind,
    Pair,
    Parts,
    Role,
    Shape,
    Size,
    drawn_weights,
    need_maps,
    shape_text,
    size_text,
    slid,
    stride_text,
)
from modelflow.networks.layers.norm import NormChoice, norm_parts

if TYPE_CHECKING:
    import torch
    from torch import nn

Padding = Literal["valid", "same"] | Annotated[int, Field(ge=0, le=MAX_SIZE, strict=True)]


class Convolution(LayerKind):
    """The convolution alone; `Conv` is how it is written."""

    role: ClassVar[Role] = "conv"

    features: Size
    kernel: Pair
    stride: Pair
    padding: Padding
    groups: Size
    bias: bool

    def output_shape(self, shape: Shape) -> Shape:
        need_maps("conv", shape)
        if shape[0] % self.groups or self.features % self.groups:
            raise ShapeError(
                f"groups = {self.groups}: expected a divisor of its {shape[0]} input channels and {self.features} "
                f"features, such as {math.gcd(shape[0], self.features)}"
            )
        if self.padding == "same" and self.stride != (1, 1) and any(side % 2 == 0 for side in self.kernel):
            raise ShapeError(
                f"padding: same with an even kernel {size_text(self.kernel)} and a stride: expected an odd kernel. "
                "Make it odd, or give the padding as a number."
            )
        sides = [
            slid(size, kernel, stride, self._padded(kernel))
            for size, kernel, stride in zip(shape[1:], self.kernel, self.stride, strict=True)
        ]
        if min(sides) < 1:
            raise ShapeError(
                f"its input {shape_text(shape)} is smaller than the kernel {size_text(self.kernel)}. "
                "Make the kernel smaller, or give padding: same."
            )
        return (self.features, *sides)

    def _padded(self, kernel: int) -> int:
        """Zeros along one side, both ends together."""
        if isinstance(self.padding, int):
            return 2 * self.padding
        return kernel - 1 if self.padding == "same" else 0

    def parameters(self, shape: Shape) -> int:
        return self.features * (self._taps(shape) + self.bias)

    def macs(self, shape: Shape) -> int:
        return math.prod(self.output_shape(shape)) * self._taps(shape)

    def _taps(self, shape: Shape) -> int:
        return shape[0] // self.groups * math.prod(self.kernel)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return (f"conv {size_text(self.kernel)}{stride_text(self.stride)}{groups}",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        module = nn.Conv2d(
            shape[0],
            self.features,
            self.kernel,
            stride=self.stride,
            padding=self._of_torch(),
            groups=self.groups,
            bias=self.bias,
            device="meta",
        )
        return drawn_weights(module, generator)

    def _of_torch(self) -> str | tuple[int, int]:
        if isinstance(self.padding, int):
            return (self.padding, self.padding)
        if self.padding == "same" and self.stride != (1, 1):  # which PyTorch takes in numbers only
            return (self.kernel[0] // 2, self.kernel[1] // 2)
        return "same" if self.padding == "same" else (0, 0)


class Conv(LayerKind):
    """`{conv: 16, kernel: 3, stride: 2, padding: same}`: a convolution, then `norm` and `activation` where asked for.

    `kernel` and `stride` are one number or two, `padding` is valid, same (output = input / stride, rounded up) or zeros
    at each end. There is a `bias` unless a norm follows, which would take it away again.
    """

    key: ClassVar[str] = "conv"
    main: ClassVar[str] = "features"
    defaulted: ClassVar[frozenset[str]] = frozenset({"kernel", "padding", "bias", "norm", "activation"})
    role: ClassVar[Role] = "conv"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"c": {}}
    short_marks: ClassVar[Mapping[str, str]] = {"k": "kernel", "/": "stride", "p": "padding", "g": "groups"}

    features: Size
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Padding = "valid"
    groups: Size = 1
    bias: bool | None = None
    norm: NormChoice = "none"
    activation: ActivationChoice = "none"

    def parts(self, shape: Shape) -> Parts:
        bias = self.norm == "none" if self.bias is None else self.bias
        convolution = Convolution(
            features=self.features,
            kernel=self.kernel,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            bias=bias,
        )
        yield "conv", convolution
        yield from norm_parts(self.norm)
        yield from activation_parts(self.activation)
