"""A residual: layers around which their input goes too, and is added to what they give."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from modelflow.errors import ShapeError
from modelflow.networks.layers.activation import ActivationChoice, activation_parts
from modelflow.networks.layers.conv import Conv
from modelflow.networks.layers.kind import LayerKind, Role, Shape, after, read_items, shape_text
from modelflow.networks.layers.norm import NormChoice
from modelflow.networks.layers.tape import Tape, Values

if TYPE_CHECKING:
    import torch
    from torch import nn


class Residual(LayerKind):
    """`{residual: [{conv: 16, padding: same}, {conv: 16, padding: same, activation: none}]}`: layers plus their input.

    Where the shapes differ, `shortcut: conv` brings the input to them by a 1x1 convolution with the `norm` asked for.
    `activation` comes after the sum. He et al. (2016), https://arxiv.org/abs/1512.03385
    """

    key: ClassVar[str] = "residual"
    main: ClassVar[str] = "layers"
    defaulted: ClassVar[frozenset[str]] = frozenset({"norm", "activation"})
    role: ClassVar[Role] = "conv"

    layers: Annotated[tuple[LayerKind, ...], Field(min_length=1)]
    shortcut: Literal["identity", "conv"] = "identity"
    norm: NormChoice = "none"
    activation: ActivationChoice = "none"

    @classmethod
    def read(cls, options: Mapping[str, object], read_inner: Callable[[object, str], LayerKind]) -> Self:
        return cls.model_validate({**options, "layers": read_items(options.get("layers"), "residual", read_inner)})

    @property
    def leaves(self) -> int:
        return sum(layer.leaves for layer in self.layers)

    def held(self, shape: Shape) -> Iterable[tuple[str, LayerKind, Shape]]:
        for i, layer in enumerate(self.layers):
            yield f"body.{i}", layer, shape
            shape = layer.output_shape(shape)

    def output_shape(self, shape: Shape) -> Shape:
        before, summed = shape, after(self.layers, shape)
        if self.shortcut == "identity" and before != summed:
            raise ShapeError(
                f"the layers of the residual turn {shape_text(before)} into {shape_text(summed)}, which cannot be "
                "added. Give shortcut: conv (in the short form: r+conv), or layers that keep the shape."
            )
        if self.shortcut == "conv" and self.projection(before, summed).output_shape(before) != summed:
            raise ShapeError(
                f"no stride of a 1x1 convolution turns {shape_text(before)} into {shape_text(summed)}. "
                "Give the strided layers padding: same."
            )
        return summed

    def projection(self, before: Shape, summed: Shape) -> Conv:
        """What `shortcut: conv` is: a 1x1 convolution from one shape to the other. Raises `ShapeError` without maps."""
        if len(before) != 3 or len(summed) != 3:
            ends = f"{shape_text(before)} to {shape_text(summed)}"
            raise ShapeError(f"a shortcut from {ends}: expected maps at both ends. Leave linear layers out of it.")
        down, right = (-(-size // smaller) for size, smaller in zip(before[1:], summed[1:], strict=True))
        return Conv(features=summed[0], kernel=(1, 1), stride=(down, right), norm=self.norm)

    def parameters(self, shape: Shape) -> int:
        return sum(layer.parameters(given) for layer, given in self._summed(shape))

    def macs(self, shape: Shape) -> int:
        return sum(layer.macs(given) for layer, given in self._summed(shape))

    def _summed(self, shape: Shape) -> Iterable[tuple[LayerKind, Shape]]:
        """Every layer with the shape of its input, that of the shortcut too."""
        yield from ((layer, given) for _, layer, given in self.held(shape))
        if self.shortcut == "conv":
            yield self.projection(shape, after(self.layers, shape)), shape

    def run(self, tape: Tape, x: Values) -> Values:
        body = x
        for layer in self.layers:
            body = layer.run(tape, body)
        shortcut = self.projection(x.shape, body.shape).run(tape, x) if self.shortcut == "conv" else x
        summed = tape.add(body.shape, body, shortcut)
        for _, part in activation_parts(self.activation):
            summed = part.run(tape, summed)
        return summed

    def operations(self, shape: Shape) -> tuple[str, ...]:
        own = ["add input"]
        if self.shortcut == "conv":
            own = [f"add {', '.join(self.projection(shape, after(self.layers, shape)).operations(shape))} of input"]
        return (*own, *(word for _, part in activation_parts(self.activation) for word in part.operations(shape)))

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        from modelflow.networks.modules import Sum

        body = nn.Sequential(*(layer.module(given, generator) for _, layer, given in self.held(shape)))
        shortcut: nn.Module = nn.Identity()
        if self.shortcut == "conv":
            shortcut = self.projection(shape, after(self.layers, shape)).module(shape, generator)
        activation = [part.module(shape, generator) for _, part in activation_parts(self.activation)]
        return Sum(body, shortcut, *activation)
