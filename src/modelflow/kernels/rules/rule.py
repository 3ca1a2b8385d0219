"""What every update rule has: how a step changes the parameters. A rule is one file of this folder with one class.

Parameters, and what torch's optimizer keeps of each ("averages"), lie in rows of the same order (see `layout`), whose
padding holds zeros. An update must leave zeros where parameter, averages and gradient are zero.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from modelflow.io.array import Array
from modelflow.kernels.emit import Code, Num

Options = Mapping[str, Any]  # of a parameter group of torch's optimizer
MIN_EPS = 1.2e-38  # beside a root; less counts as zero, and padding would become 0 / 0


class Rule(ABC):
    """A frozen dataclass. Its fields choose the code that is compiled; what options say else comes by scalars."""

    optimizers: ClassVar[tuple[str, ...]]  # the classes of torch.optim that it computes
    counts_steps: ClassVar[bool]  # whether torch keeps a `step` of each parameter
    scalar_count: ClassVar[int]  # numbers that a step needs

    @classmethod
    @abstractmethod
    def unsupported_reason(cls, options: Options) -> str:
        """Which of the options it does not compute, in words; empty where it computes all."""

    @classmethod
    def of(cls, options: Options) -> Self:
        """The rule for options that it computes."""
        return cls()

    @property
    @abstractmethod
    def averages(self) -> tuple[str, ...]:
        """What is kept of each parameter, by the names in torch's state; zeros before the first step."""

    @abstractmethod
    def scalars(self, options: Options, lr_S: Array, t_S: Array) -> Sequence[Array | float]:
        """The scalars of each step, from its learning rate and its number (1 for the first), in float64."""

    @abstractmethod
    def update(self, k: Code, param: Num, averages: list[Num], gradient: Num, scalars: list[Num]) -> list[Num]:
        """Vectors of the parameters and of their averages after a step; scalars are in every lane."""

    @abstractmethod
    def reference(self, param: Array, averages: list[Array], gradient: Array, scalars: Sequence[float]) -> list[Array]:
        """The same in NumPy."""


class Update:
    """A rule written into a function that has the arguments params and scalars; averages lie `stride` floats apart."""

    def __init__(self, k: Code, rule: Rule, stride: int) -> None:
        self.k = k
        self.rule = rule
        scalars = k.array(k.scalars)
        self.scalars = [scalars.broadcast(i) for i in range(rule.scalar_count)]
        self.rows = [k.vectors(k.params).at(i * stride // k.lanes) for i in range(1 + len(rule.averages))]

    def apply(self, index: Num, gradient: Num) -> None:
        """One vector of parameters, `index` counting vectors."""
        places = [row.at(index) for row in self.rows]
        param, *averages = (place[0] for place in places)
        updated = self.rule.update(self.k, param, averages, gradient, self.scalars)
        for place, values in zip(places, updated, strict=True):
            place[0] = values


def update_small(k: Code, update_in: Callable[[Code], Update], count: int) -> None:
    """Arguments: params, scalars, grads. Updates the first `count` vectors."""
    update, grads = update_in(k), k.vectors(k.grads)
    for i in k.loop(count):
        update.apply(i, grads[i])
