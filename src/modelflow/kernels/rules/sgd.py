"""Gradient descent as `torch.optim.SGD` computes it, with momentum (Sutskever et al. 2013) and coupled weight decay.

g = g + decay p
b = momentum b + g                    with momentum; torch begins with b = g, which zeros before it give
p = p - lr d                          d is g, or b with momentum, or g + momentum b with Nesterov's
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from modelflow.io.array import Array
from modelflow.kernels.emit import Code, Num
from modelflow.kernels.rules.rule import Options, Rule


@dataclass(frozen=True)
class SGD(Rule):
    """Scalars: lr, decay, momentum."""

    optimizers: ClassVar[tuple[str, ...]] = ("SGD",)
    counts_steps: ClassVar[bool] = False
    scalar_count: ClassVar[int] = 3

    momentum: bool = False
    nesterov: bool = False

    @classmethod
    def unsupported_reason(cls, options: Options) -> str:
        return "dampening" if options["momentum"] and options["dampening"] else ""

    @classmethod
    def of(cls, options: Options) -> "SGD":
        return cls(bool(options["momentum"]), bool(options["momentum"] and options["nesterov"]))

    @property
    def averages(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def scalars(self, options: Options, lr_S: Array, t_S: Array) -> Sequence[Array | float]:
        return lr_S, options["weight_decay"], options["momentum"]

    def update(self, k: Code, param: Num, averages: list[Num], gradient: Num, scalars: list[Num]) -> list[Num]:
        lr, decay, momentum = scalars
        direction = gradient = k.fma(decay, param, gradient)
        if self.momentum:
            averages = [k.fma(momentum, averages[0], gradient)]
            direction = k.fma(momentum, averages[0], gradient) if self.nesterov else averages[0]
        return [param - lr * direction, *averages]

    def reference(self, param: Array, averages: list[Array], gradient: Array, scalars: Sequence[float]) -> list[Array]:
        lr, decay, momentum = scalars
        direction = gradient = gradient + decay * param
        if self.momentum:
            averages = [momentum * averages[0] + gradient]
            direction = gradient + momentum * averages[0] if self.nesterov else averages[0]
        return [param - lr * direction, *averages]
