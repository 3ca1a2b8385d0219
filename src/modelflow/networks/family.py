"""The card's family of networks: convolutions, each with ReLU and max-pooling, then fully connected layers. No torch.

Whichever way a network is written, by the card's fields or as layers, here is what it computes, for which the compiled
step is made:

    family(trace(spec))  ->  Family((Block(depth=1, size=28, channels=4, kernel=5, pool=2),), (Dense(576, 20, 0.3), …))
    outside_family(trace(other))  ->  "layers.3: a convolution with stride 2"
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from modelflow.networks.layers.activation import Activation
from modelflow.networks.layers.conv import Convolution
from modelflow.networks.layers.dropout import Dropout
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.kind import LayerKind, Shape, size_text, stride_text
from modelflow.networks.layers.linear import Product
from modelflow.networks.layers.pool import Pool
from modelflow.networks.layers.residual import Residual
from modelflow.networks.trace import Trace


class OutsideFamilyError(ValueError):
    """The first layer that is outside the family, and what it is, in words."""


@dataclass(frozen=True)
class Block:
    """A convolution of square maps without stride and padding, then ReLU and max-pooling by windows of `pool`."""

    depth: int
    size: int
    channels: int
    kernel: int
    pool: int

    @property
    def pooled(self) -> int:
        """The side of the maps that it gives."""
        return (self.size - self.kernel + 1) // self.pool

    @property
    def parameters(self) -> int:
        return self.channels * (self.depth * self.kernel**2 + 1)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, `dropout` being that of its input; ReLU follows each but the last."""

    inputs: int
    outputs: int
    dropout: float

    @property
    def parameters(self) -> int:
        return self.outputs * (self.inputs + 1)


@dataclass(frozen=True)
class Family:
    """A network of the family: at least one block, then at least one fully connected layer."""

    blocks: tuple[Block, ...]
    dense: tuple[Dense, ...]


@dataclass(frozen=True)
class _Step:
    """One operation, the name of its layer, and the shape of its input."""

    layer: str
    kind: LayerKind
    shape: Shape

    def outside(self, words: str = "") -> OutsideFamilyError:
        """The error that says so, in `words` or in those of the operation."""
        return OutsideFamilyError(f"{self.layer}: {words or self._words()}")

    def _words(self) -> str:
        if isinstance(self.kind, Residual):
            return "a residual"
        padded = f", padding {self.kind.padding}" if isinstance(self.kind, Pool) and self.kind.padding else ""
        misplaced = " in this place" if _may_follow(self.kind) else ""
        return (", ".join(self.kind.operations(self.shape)) or self.kind.key) + padded + misplaced


def outside_family(trace: Trace) -> str:
    """The first layer that is outside the family, and what it is, in words; empty for a network of the family."""
    try:
        family(trace)
    except OutsideFamilyError as error:
        return str(error)
    return ""


def family(trace: Trace) -> Family:
    """What a network of the family computes. Raises `OutsideFamilyError` for another one.

    Dropout may stand before each fully connected layer, and ReLU before the pooling or after it: the largest value
    stays the largest.
    """
    blocks: list[Block] = []
    dense: list[Dense] = []
    dropout = 0.0
    *inner, (last, *end) = _stages(trace)
    for head, *following in inner:
        _check(head, dropout, is_first=not blocks)
        pool, dropout_after = _after(head, following)
        if isinstance(head.kind, Convolution):
            blocks.append(Block(head.shape[0], head.shape[1], head.kind.features, head.kind.kernel[0], pool))
        elif isinstance(head.kind, Product):
            dense.append(Dense(head.shape[0], head.kind.features, dropout))
        dropout = dropout_after
    _check(last, dropout, is_first=not blocks)
    if not isinstance(last.kind, Product):
        raise last.outside("a convolution that gives the logits")
    if end:
        raise end[0].outside()
    return Family(tuple(blocks), (*dense, Dense(last.shape[0], last.kind.features, dropout)))


def _stages(trace: Trace) -> list[list[_Step]]:
    """All that is computed in order, in stages that each begin with what has weights."""
    steps = [step for layer in trace.layers for step in _steps(layer.name, layer.written, layer.input_shape)]
    heads = [i for i, step in enumerate(steps) if type(step.kind) in (Convolution, Product)]
    if heads[:1] != [0]:
        raise steps[0].outside() if steps else OutsideFamilyError("a network without weights")
    return [steps[begin:end] for begin, end in pairwise([*heads, len(steps)])]


def _steps(layer: str, kind: LayerKind, shape: Shape) -> Iterator[_Step]:
    """What a layer is made of, down to what has a module of its own, without what leaves all values as they are."""
    if type(kind).module is not LayerKind.module:
        if type(kind) is not Flatten and not (type(kind) is Dropout and kind.share == 0):
            yield _Step(layer, kind, shape)
        return
    for _, part in kind.parts(shape):
        yield from _steps(layer, part, shape)
        shape = part.output_shape(shape)


def _check(head: _Step, dropout: float, is_first: bool) -> None:
    """Raises `OutsideFamilyError` for what has weights and is none of the family's, or not there."""
    kind = head.kind
    if isinstance(kind, Convolution):
        if what := _about_convolution(kind, head.shape):
            raise head.outside(f"a convolution {what}")
        if dropout:
            raise head.outside("a convolution with dropout before it")
    elif is_first:
        raise head.outside("a linear layer without a convolution before it")
    elif isinstance(kind, Product) and not kind.bias:
        raise head.outside("a linear layer without bias")


def _about_convolution(kind: Convolution, shape: Shape) -> str:
    """What of it is outside but for its bias, which a norm that follows takes away; empty where nothing is."""
    _, height, width = shape
    if kind.groups > 1:
        return f"in {kind.groups} groups"
    if kind.stride != (1, 1):
        return f"with{stride_text(kind.stride)[1:]}"
    if kind.kernel[0] != kind.kernel[1]:
        return f"with a kernel of {size_text(kind.kernel)}"
    if kind.output_shape(shape)[1] != height - kind.kernel[0] + 1:
        return "with padding"
    return "of maps that are not square" if height != width else ""


def _after(head: _Step, following: list[_Step]) -> tuple[int, float]:
    """The window of the pooling that follows `head`, and the dropout after it.

    Raises `OutsideFamilyError` where something else follows, or no ReLU.
    """
    found: dict[type[LayerKind], LayerKind] = {}
    for step in following:
        if not _may_follow(step.kind) or Dropout in found or type(step.kind) in found:
            raise step.outside()
        found[type(step.kind)] = step.kind
    name = "convolution" if isinstance(head.kind, Convolution) else "linear layer"
    if Activation not in found:
        raise head.outside(f"a {name} without ReLU")
    if isinstance(head.kind, Convolution) and not head.kind.bias:
        raise head.outside("a convolution without bias")
    pool, dropout = found.get(Pool), found.get(Dropout)
    return (
        pool.window[0] if isinstance(pool, Pool) else 1,
        dropout.share if isinstance(dropout, Dropout) else 0.0,
    )


def _may_follow(kind: LayerKind) -> bool:
    """Whether it is ReLU, max-pooling by squares beside each other, or dropout of single values."""
    if type(kind) is Pool:
        squares = kind.window[0] == kind.window[1] and kind.steps == kind.window
        return kind.how == "max" and squares and not kind.padding
    return (type(kind) is Activation and kind.name == "relu") or (type(kind) is Dropout and not kind.spatial)
