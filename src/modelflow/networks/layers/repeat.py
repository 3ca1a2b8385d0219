"""Layers several times over, each time with weights of their own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from modelflow.networks.layers.kind import MAX_LAYERS, LayerKind, Parts, Role, Shape, Size, after, read_items


class Repeat(LayerKind):
    """`{repeat: 3, layers: [{conv: 16, padding: same}]}`: these layers so many times, one after the other."""

    key: ClassVar[str] = "repeat"
    main: ClassVar[str] = "times"
    role: ClassVar[Role] = "conv"

    times: Size
    layers: Annotated[tuple[LayerKind, ...], Field(min_length=1)]

    @classmethod
    def read(cls, options: Mapping[str, object], read_inner: Callable[[object, str], LayerKind]) -> Self:
        if "layers" not in options:
            raise ValueError("repeat without layers. Say what is repeated: {repeat: 3, layers: [{conv: 16}]}.")
        return cls.model_validate({**options, "layers": read_items(options["layers"], "layers", read_inner)})

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if self.leaves > MAX_LAYERS:
            raise ValueError(f"{self.leaves:,} layers in all, expected at most {MAX_LAYERS:,}. Repeat them less often.")
        return self

    @property
    def leaves(self) -> int:
        return self.times * sum(layer.leaves for layer in self.layers)

    def output_shape(self, shape: Shape) -> Shape:
        return after(self.layers * self.times, shape)

    def parts(self, shape: Shape) -> Parts:
        yield from ((str(i), layer) for i, layer in enumerate(self.layers * self.times))

    def held(self, shape: Shape) -> Iterable[tuple[str, LayerKind, Shape]]:
        for name, layer in self.parts(shape):
            yield name, layer, shape
            shape = layer.output_shape(shape)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return ()  # those of its layers stand for it
