"""What every operation of the general step has. An operation is one file of this folder, found by its layers' kinds.

    write       how a layer of its kind is said in operations, values and parameters
    forward     the calls that compute its output, for each block of images or once for the whole batch
    backward    those that compute the gradients of its input and of its parameters from that of its output
    reference   the forward pass in NumPy, by which the tests know both

`forward` and `backward` only say what is to be done, to a `Schedule`; the functions that they name write the code.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from modelflow.kernels.maps import Border, Maps
from modelflow.networks.layers.kind import LayerKind, Shape
from modelflow.networks.layers.tape import Values

Numbers = np.ndarray[Any, Any]


class UncoveredError(ValueError):
    """A layer that no operation knows."""


@dataclass(frozen=True)
class At:
    """A place: floats from the beginning of a memory."""

    memory: str
    offset: int

    def __add__(self, floats: int) -> "At":
        return At(self.memory, self.offset + floats)


@dataclass(frozen=True)
class Call:
    """A function, what it is written for, and the places and numbers that it is given.

    Calls with the same `write` and `sizes` are of one function.
    """

    write: Callable[..., None]
    sizes: tuple[Any, ...]
    at: tuple[tuple[str, At], ...]
    numbers: tuple[str, ...]
    whole: bool  # for the whole batch at once, rather than for each block


class Writer(Protocol):
    """A network being written as operations."""

    def lower(self, layer: LayerKind, x: Values) -> Values: ...
    def add(self, kind: "type[Operation]", shape: Shape, *inputs: Values, **fields: object) -> Values: ...
    def parameters(self, count: int) -> int: ...
    def running(self, count: int) -> int: ...
    def number(self) -> int: ...


class Schedule(Protocol):
    """What is to be done, in order, and where everything lies."""

    training: bool

    @property
    def lanes(self) -> int: ...
    @property
    def registers(self) -> int: ...
    def parameter(self, at: int) -> At: ...
    def gradients(self, at: int) -> At: ...
    def running(self, at: int) -> At: ...
    def value(self, value: Values) -> tuple[Maps, At]: ...
    def gradient(self, value: Values) -> tuple[Maps, At]: ...
    def adds(self, value: Values) -> bool | None: ...
    def kept(self, operation: "Operation") -> At: ...
    def scratch(self) -> At: ...
    def per_block(self, write: Callable[..., None], *sizes: object, numbers: str = "", **at: At) -> None: ...
    def once(self, write: Callable[..., None], *sizes: object, numbers: str = "", **at: At) -> None: ...


@dataclass(frozen=True)
class Given:
    """What a reference goes by beside its inputs: the flat parameters, the seed of dropout, and the step."""

    parameters: Numbers
    seed: int = 0
    step: int = 0

    def part(self, begin: int, *shape: int) -> Numbers:
        """Parameters from a place on, in their shape."""
        return self.parameters[begin : begin + int(np.prod(shape))].reshape(shape)


@dataclass(frozen=True, eq=False)
class Operation(ABC):
    """Reads `inputs`, gives `output`."""

    kinds: ClassVar[tuple[type[LayerKind], ...]] = ()  # the layers that `write` knows
    gradient_in_place: ClassVar[bool] = False  # whether its first input's gradient may lie where its output's does

    inputs: tuple[Values, ...]
    output: Values

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        """A layer of its kinds as operations; returns what it gives."""
        raise NotImplementedError

    def reach(self) -> Border:
        """How far beyond its input maps it reads."""
        return Border()

    def gradient_reach(self) -> Border:
        """How far beyond the gradient of its output it reads."""
        return Border()

    def kept(self, lanes: int) -> int:
        """Floats that it keeps through a step beside its values."""
        return 0

    def scratch(self, lanes: int, registers: int) -> int:
        """Floats that it needs during a call."""
        return 0

    @abstractmethod
    def forward(self, s: Schedule) -> None:
        """Says its forward pass."""

    @abstractmethod
    def backward(self, s: Schedule) -> None:
        """Says its backward pass. `s.adds(value)`: whether to add to what is there, None where nobody asks for it."""

    @abstractmethod
    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        """Of a training step, images x the shape of `output`, from those of its inputs, in NumPy."""
