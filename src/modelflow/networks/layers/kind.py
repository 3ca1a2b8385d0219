"""What every kind of layer has: options that may be written, shapes, costs, words, a torch module.

A kind is one file of this folder with one class that has a `key`, as `conv.py`; it is found by that. Torch is imported
when a module is built, not before.

    Conv(features=16, stride=2).output_shape((1, 28, 28))  ->  (16, 13, 13)
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator

from modelflow.errors import ShapeError
from modelflow.networks.layers.tape import Tape, Values
from modelflow.text import counted, short

if TYPE_CHECKING:
    import torch
    from torch import nn

CLASSES = "classes"  # in a layer's place of a number
MAX_SIZE = 1 << 20
MAX_LAYERS = 1000

Shape = tuple[int, ...]  # channels x height x width, or a number of features; without the batch
Parts = Iterable[tuple[str, "LayerKind"]]
Role = Literal["conv", "pool", "flatten", "linear"]

TWO_NUMBERS = re.compile(r"\D*(\d{1,7})\D+(\d{1,7})\D*", re.ASCII)  # in words, such as 3x5

Size = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]
_one_size = TypeAdapter(Size)


def _one_or_two(value: object, both: ValidatorFunctionWrapHandler) -> Any:
    """A pair, of one number twice. Raises `ValidationError` once where that number is wrong."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return both(tuple(value))
    if isinstance(value, list | tuple):
        raise ValueError("one whole number, or two such as [3, 5]")
    if isinstance(value, str) and (two := TWO_NUMBERS.fullmatch(value)):
        raise ValueError(f"one whole number, or two. Write [{two[1]}, {two[2]}]")
    return (_one_size.validate_python(value),) * 2


Pair = Annotated[tuple[Size, Size], WrapValidator(_one_or_two)]
Share = Annotated[float, Field(ge=0, lt=1, strict=True)]


def shape_text(shape: Shape) -> str:
    """Sizes joined by "x", such as 1x28x28."""
    return "x".join(str(n) for n in shape)


class LayerKind(BaseModel):
    """A layer as it is written. From the shape of its input follows everything else.

    A kind says of which `parts` it is made, in the order of the forward pass, and its shapes, costs, words and module
    are theirs. One that is made of none (a convolution, an activation) says them itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: ClassVar[str] = ""  # what names it in a network file; empty for what cannot be written by itself
    main: ClassVar[str] = ""  # the option that the key's value gives: {conv: 16} has 16 features
    defaulted: ClassVar[frozenset[str]] = frozenset()  # the options that a file's `defaults` fill in
    role: ClassVar[Role] = "flatten"  # how it is drawn
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # that begin it in the short form, with what they say
    short_number: ClassVar[str] = ""  # the option that the number after the word gives, where that is not the main one
    short_marks: ClassVar[Mapping[str, str]] = {}  # letters before other numbers, with the option of each

    @classmethod
    def read(cls, options: Mapping[str, object], read_inner: Callable[[object, str], "LayerKind"]) -> Self:
        """The layer with these options. `read_inner` reads a layer that it holds. Raises `ValidationError`."""
        return cls.model_validate(dict(options))

    @property
    def leaves(self) -> int:
        """How many layers it is, those that it holds counted and it itself not."""
        return 1

    def parts(self, shape: Shape) -> Parts:
        """What it is made of, each with the name that its module has."""
        return ()

    def held(self, shape: Shape) -> Iterable[tuple[str, "LayerKind", Shape]]:
        """The layers that it holds: name below its own, layer, the shape of that one's input."""
        return ()

    def output_shape(self, shape: Shape) -> Shape:
        """Raises `ShapeError` where it cannot take what `shape` says."""
        for _, part in self.parts(shape):
            shape = part.output_shape(shape)
        return shape

    def parameters(self, shape: Shape) -> int:
        """Weights and biases, all that training changes."""
        return self._total(shape, lambda part, shape: part.parameters(shape))

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one image, biases left out."""
        return self._total(shape, lambda part, shape: part.macs(shape))

    def run(self, tape: Tape, x: Values) -> Values:
        """What it gives of `x` in a forward pass without gradients, where dropout does nothing; noted on the tape."""
        parts = list(self.parts(x.shape))
        for _, part in parts:
            x = part.run(tape, x)
        return x if parts else tape.add(self.output_shape(x.shape), x)

    def operations(self, shape: Shape) -> tuple[str, ...]:
        """What is done, in order, such as "conv 5x5" and "ReLU"."""
        return tuple(word for _, part in self.parts(shape) for word in part.operations(shape))

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        """As a torch module; initial weights are drawn from `generator`."""
        from torch import nn

        modules = {}
        for name, part in self.parts(shape):
            modules[name] = part.module(shape, generator)
            shape = part.output_shape(shape)
        chain = nn.Sequential()
        for name, module in modules.items():
            chain.add_module(name, module)
        return chain

    def as_written(self) -> dict[str, Any]:
        """As an item of a network file: the main option by the key, the others where they are not the default."""
        fields = type(self).model_fields
        options = {name: getattr(self, name) for name in fields if getattr(self, name) != fields[name].default}
        options[self.main] = getattr(self, self.main)
        written = {self.key if name == self.main else name: _plain(value) for name, value in options.items()}
        return {self.key: written.pop(self.key), **written}

    def _total(self, shape: Shape, cost: Callable[["LayerKind", Shape], int]) -> int:
        total = 0
        for _, part in self.parts(shape):
            total += cost(part, shape)
            shape = part.output_shape(shape)
        return total


@lru_cache(maxsize=4096)
def after(layers: tuple[LayerKind, ...], shape: Shape) -> Shape:
    """The shape that layers give, one after the other; kept, since each layer that holds others asks anew."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def read_items(items: object, what: str, read_inner: Callable[[object, str], LayerKind]) -> tuple[LayerKind, ...]:
    """The layers of a list in an item. Raises `ValueError` for what is no list of 1 to `MAX_LAYERS`."""
    expected = f"expected a list of 1 to {MAX_LAYERS:,} layers, such as [{{conv: 16}}]"
    if not isinstance(items, list | tuple):
        raise ValueError(f"{what} = {short(items)}: {expected}")
    if not 1 <= len(items) <= MAX_LAYERS:
        raise ValueError(f"{what} has {len(items):,} items, {expected}")
    return tuple(read_inner(item, f"{what}[{i}]") for i, item in enumerate(items))


def _plain(value: object) -> Any:
    """A pair of equal numbers as one, layers as they are written."""
    if isinstance(value, LayerKind):
        return value.as_written()
    if isinstance(value, tuple):
        if len(value) == 2 and value[0] == value[1] and isinstance(value[0], int):
            return value[0]
        return [_plain(entry) for entry in value]
    return value


def need_maps(what: str, shape: Shape) -> None:
    """Raises `ShapeError` unless `shape` is of maps."""
    if len(shape) != 3:
        features = counted(shape[0], "feature")
        raise ShapeError(
            f"{what} takes maps, but its input is {features}. Put it before linear layers and global pools."
        )


def slid(size: int, window: int, stride: int, padding: int) -> int:
    """How many places a window takes along a side, with `padding` zeros in all: PyTorch's formula."""
    return (size + padding - window) // stride + 1


def size_text(pair: tuple[int, int]) -> str:
    """A window's sides, such as 3x3."""
    return f"{pair[0]}x{pair[1]}"


def stride_text(pair: tuple[int, int]) -> str:
    """How a window moves: nothing for one step at a time."""
    if pair == (1, 1):
        return ""
    return f", stride {pair[0] if pair[0] == pair[1] else size_text(pair)}"


def drawn_weights(module: "nn.Conv2d | nn.Linear", generator: "torch.Generator") -> "nn.Module":
    """A layer made on "meta", with PyTorch's default weights and biases drawn from `generator`, not the global one.

    `torch.nn.utils.skip_init` would do as much, but first imports sympy, which takes half a second.
    """
    import torch
    from torch.nn import Parameter, init

    for name, p in list(module.named_parameters()):
        module.register_parameter(name, Parameter(torch.empty(p.shape, dtype=p.dtype, device="cpu")))
    init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(module.weight[0].numel())
    if module.bias is not None:
        init.uniform_(module.bias, -bound, bound, generator=generator)
    return module.to(torch.get_default_device())
