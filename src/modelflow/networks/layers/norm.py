"""Batch normalisation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from modelflow.networks.layers.kind import LayerKind, Parts, Shape, need_maps

if TYPE_CHECKING:
    import torch
    from torch import nn

NormChoice = Literal["none", "batch"]


class Norm(LayerKind):
    """`{norm: batch}`: each channel brought to mean 0 and variance 1 over the batch, then scaled and shifted.

    Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167; with PyTorch's momentum of 0.1 and epsilon of 1e-5.
    """

    key: ClassVar[str] = "norm"
    main: ClassVar[str] = "over"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"bn": {"over": "batch"}}

    over: Literal["batch"] = "batch"

    def output_shape(self, shape: Shape) -> Shape:
        need_maps("batch norm", shape)
        return shape

    def parameters(self, shape: Shape) -> int:
        return 2 * shape[0]

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return ("batch norm",)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        return nn.BatchNorm2d(shape[0])


def norm_parts(choice: NormChoice) -> Parts:
    """The part that an option `norm` asks for, if any."""
    return () if choice == "none" else (("norm", Norm(over=choice)),)
