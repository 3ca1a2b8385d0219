"""Adam (Kingma and Ba 2015) as `torch.optim.Adam` computes it, with AdamW's decoupled weight decay as a factor.

m = m + (1 - b1) (g - m);  v = b2 v + (1 - b2) g g
p = shrink p - lr/(1 - b1^t)  m / (sqrt(v)/sqrt(1 - b2^t) + eps)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from modelflow.io.array import Array
from modelflow.kernels.emit import Code, Num
from modelflow.kernels.rules.rule import MIN_EPS, Options, Rule


@dataclass(frozen=True)
class Adam(Rule):
    """Scalars: lr/(1 - b1^t), 1/sqrt(1 - b2^t), shrink, 1 - b1, b2, 1 - b2, eps."""

    optimizers: ClassVar[tuple[str, ...]] = ("Adam", "AdamW")
    counts_steps: ClassVar[bool] = True
    scalar_count: ClassVar[int] = 7

    @classmethod
    def unsupported_reason(cls, options: Options) -> str:
        if options["weight_decay"] and not options["decoupled_weight_decay"]:
            return "weight_decay, which only AdamW decouples"
        if options["amsgrad"]:
            return "amsgrad"
        return "" if options["eps"] >= MIN_EPS else f"eps below {MIN_EPS}"

    @property
    def averages(self) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def scalars(self, options: Options, lr_S: Array, t_S: Array) -> Sequence[Array | float]:
        beta1, beta2 = options["betas"]
        rate_S, correction_S = lr_S / (1 - beta1**t_S), 1 / np.sqrt(1 - beta2**t_S)
        shrink_S = 1 - lr_S * options["weight_decay"]
        return rate_S, correction_S, shrink_S, 1 - beta1, beta2, 1 - beta2, options["eps"]

    def update(self, k: Code, param: Num, averages: list[Num], gradient: Num, scalars: list[Num]) -> list[Num]:
        m, v = averages
        rate, correction, shrink, new1, old2, new2, eps = scalars
        m = k.fma(new1, gradient - m, m)
        v = k.fma(new2 * gradient, gradient, old2 * v)
        denominator = k.fma(k.sqrt(v), correction, eps)
        return [param * shrink - rate * m / denominator, m, v]

    def reference(self, param: Array, averages: list[Array], gradient: Array, scalars: Sequence[float]) -> list[Array]:
        m, v = averages
        rate, correction, shrink, new1, old2, new2, eps = scalars
        m, v = m + new1 * (gradient - m), old2 * v + new2 * gradient**2
        return [shrink * param - rate * m / (np.sqrt(v) * correction + eps), m, v]
