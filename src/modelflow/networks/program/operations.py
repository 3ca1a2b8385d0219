"""What a network computes for one image, as a list of operations on values, as C and the report run it. No torch.

    Convolve("layers.0.conv", (image,), maps, window, weight, bias), Pool("layers.1", (maps,), pooled, window, "max"), …

Dropout and flattening are no operations: neither changes a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

from modelflow.networks.layers.activation import Name
from modelflow.networks.layers.tape import Values

Floats = NDArray[np.float32]
Pair = tuple[int, int]


def single(values: object) -> Floats:
    """Numbers in float32."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Window:
    """How a kernel or a pool moves over maps; `padding` are the zeros above and to the left."""

    input: tuple[int, int, int]
    output: tuple[int, int, int]
    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1

    @property
    def numbers(self) -> tuple[int, ...]:
        """In the order of the struct `Window` in C."""
        return (*self.input, *self.output, *self.size, *self.stride, *self.padding, self.groups)


@dataclass(frozen=True)
class Bounds:
    """Where an activation cuts: ReLU below 0, ReLU6 above 6 too."""

    low: float = -inf
    high: float = inf


CUTS = {"relu": Bounds(0.0), "relu6": Bounds(0.0, 6.0)}


@dataclass(frozen=True, eq=False)
class Operation:
    """Reads `inputs`, gives `output`; `name` is that of the module it comes from."""

    name: str
    inputs: tuple[Values, ...]
    output: Values


@dataclass(frozen=True, eq=False)
class Convolve(Operation):
    """A convolution: weights features x depth of a group x height x width, biases one a feature."""

    window: Window
    weight: Floats
    bias: Floats
    bounds: Bounds = Bounds()


@dataclass(frozen=True, eq=False)
class Dense(Operation):
    """A fully connected layer: weights outputs x inputs."""

    weight: Floats
    bias: Floats
    bounds: Bounds = Bounds()


@dataclass(frozen=True, eq=False)
class ScaleShift(Operation):
    """Each channel times its factor plus its shift: batch norm with what it has learned."""

    factor: Floats
    shift: Floats


@dataclass(frozen=True, eq=False)
class Pool(Operation):
    """The largest or the mean of each window. Padding counts as zeros in the mean, and not at all in the largest."""

    window: Window
    how: Literal["max", "average"]


@dataclass(frozen=True, eq=False)
class Activate(Operation):
    """An activation, value by value."""

    activation: Name


@dataclass(frozen=True, eq=False)
class Add(Operation):
    """The sum of two values of one shape."""

    bounds: Bounds = Bounds()


@dataclass(frozen=True, eq=False)
class Weigh(Operation):
    """Maps, each times the factor of its channel, which is the second input."""


@dataclass(frozen=True, eq=False)
class Real(Operation):
    """Whole numbers of eight bits as the real ones that they stand for."""


ACTIVATIONS: dict[Name, Callable[[Floats], Floats]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x < 0, np.float32(0.01) * x, x),
    "hard_swish": lambda x: single(x * np.clip(x + 3, 0, 6) / 6),
    "silu": lambda x: x * expit(x),
    "gelu": lambda x: x / 2 * (1 + erf(x / np.sqrt(np.float32(2)))),
    "tanh": np.tanh,
    "sigmoid": expit,
}
IN_PLACE = (Activate, Add, Weigh)  # whose output may lie where an input of that size lay
