"""Pooling: of windows, or of whole maps."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from modelflow.errors import ShapeError
from modelflow.networks.layers.kind import (
    MAX_SIZE,
    LayerKind,
    Pair,
    Role,
    Shape,
    need_maps,
    shape_text,
    size_text,
    slid,
    stride_text,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

GLOBAL = {"global_average": "global average pool", "global_max": "global max pool"}
WINDOWED = {"max": "max-pool", "average": "average pool"}


class Pool(LayerKind):
    """`{pool: max, size: 2}`: the largest or the mean of each window; or of each whole map, which gives features.

    `size` and `stride` are one number or two; the stride is the size where it is left out. `padding` are zeros at each
    end, at most half the size.
    """

    key: ClassVar[str] = "pool"
    main: ClassVar[str] = "how"
    role: ClassVar[Role] = "pool"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "m": {"how": "max"},
        "a": {"how": "average"},
        "gap": {"how": "global_average"},
        "gmp": {"how": "global_max"},
    }
    short_number: ClassVar[str] = "size"
    short_marks: ClassVar[Mapping[str, str]] = {"/": "stride", "p": "padding"}

    how: Literal["max", "average", "global_average", "global_max"]
    size: Pair | None = None
    stride: Pair | None = None
    padding: Annotated[int, Field(ge=0, le=MAX_SIZE, strict=True)] = 0

    @classmethod
    def read(cls, options: Mapping[str, object], read_inner: Callable[[object, str], LayerKind]) -> Self:
        if type(size := options.get("how")) is int:
            ways = ", ".join((*WINDOWED, *GLOBAL))
            raise ValueError(f"pool = {size}: expected one of {ways}. Write {{pool: max, size: {size}}}.")
        return super().read(options, read_inner)

    @model_validator(mode="after")
    def _windows_have_sizes(self) -> Self:
        if self.how in GLOBAL and (self.size, self.stride, self.padding) != (None, None, 0):
            raise ValueError(f"{self.how} takes whole maps. Leave out size, stride and padding.")
        if self.padding > min(self.window) // 2:
            raise ValueError(f"padding = {self.padding}: expected at most half the size")
        return self

    @property
    def window(self) -> tuple[int, int]:
        """Height and width; 2 x 2 where none is given."""
        return self.size or (2, 2)

    @property
    def steps(self) -> tuple[int, int]:
        """How far the window moves down and to the right."""
        return self.stride or self.window

    def output_shape(self, shape: Shape) -> Shape:
        need_maps(f"pool: {self.how}", shape)
        if self.how in GLOBAL:
            return shape[:1]
        sides = [
            slid(size, window, step, 2 * self.padding)
            for size, window, step in zip(shape[1:], self.window, self.steps, strict=True)
        ]
        if min(sides) < 1:
            raise ShapeError(
                f"its input {shape_text(shape)} is smaller than the pool {size_text(self.window)}. "
                "Make the pool smaller, or drop it."
            )
        return (shape[0], *sides)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        if self.how in GLOBAL:
            return (GLOBAL[self.how],)
        stride = "" if self.steps == self.window else stride_text(self.steps) or ", stride 1"
        return (f"{WINDOWED[self.how]} {size_text(self.window)}{stride}",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        if self.how in GLOBAL:
            whole = nn.AdaptiveAvgPool2d(1) if self.how == "global_average" else nn.AdaptiveMaxPool2d(1)
            return nn.Sequential(whole, nn.Flatten())
        made: type[nn.MaxPool2d] | type[nn.AvgPool2d] = nn.MaxPool2d if self.how == "max" else nn.AvgPool2d
        return made(_one_or_two(self.window), _one_or_two(self.steps), self.padding)


def _one_or_two(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair
