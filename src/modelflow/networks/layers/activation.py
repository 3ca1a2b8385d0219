"""Activations, each value by itself."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator

from modelflow.networks.layers.kind import LayerKind, Parts, Role, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn

Name = Literal["relu", "leaky_relu", "relu6", "hard_swish", "silu", "gelu", "tanh", "sigmoid"]


def _no_softmax(name: object) -> object:
    """Raises `ValueError` for what other libraries have at the end."""
    if name == "softmax":
        raise ValueError("no softmax, since the loss has its own. Leave it out")
    return name


ActivationChoice = Annotated[Literal["none", Name], BeforeValidator(_no_softmax)]

WORDS = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "relu6": "ReLU6",
    "hard_swish": "hard swish",
    "silu": "SiLU",
    "gelu": "GELU",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
MODULES = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "relu6": "ReLU6",
    "hard_swish": "Hardswish",
    "silu": "SiLU",
    "gelu": "GELU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
}


class Activation(LayerKind):
    """`{activation: relu}`: one of PyTorch's, with its default arguments."""

    key: ClassVar[str] = "activation"
    main: ClassVar[str] = "name"
    role: ClassVar[Role] = "flatten"
    short_words: ClassVar[Mapping[str, Mapping[str, Any]]] = {name: {"name": name} for name in WORDS}

    name: Annotated[Name, BeforeValidator(_no_softmax)]

    def operations(self, shape: Shape) -> tuple[str, ...]:
        return (WORDS[self.name],)

    def module(self, shape: Shape, generator: "torch.Generator") -> "nn.Module":
        from torch import nn

        made: nn.Module = getattr(nn, MODULES[self.name])()
        return made


def activation_parts(choice: ActivationChoice) -> Parts:
    """The part that an option `activation` asks for, if any."""
    return () if choice == "none" else (("activation", Activation(name=choice)),)


assert set(WORDS) == set(MODULES) == set(get_args(Name))
