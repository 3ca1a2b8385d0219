"""Learning rate schedules: what each step multiplies the optimizer's learning rate by.

architecture.schedule = OneCycle(steps=60 * len(train_loader))
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelflow.errors import UsageError
from modelflow.io.array import Array

Schedule = Callable[[Array], Array]

RISING = 0.3
WARM_UP = 0.05
FIRST, LAST = 1 / 25, 1 / 250_000


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine up over the first 30 % of `steps`, half a cosine down over the rest; 1 at the top.

    Called with step numbers, counted over all epochs from 0; the cycle begins with step `begin`. Smith and Topin,
    "Super-Convergence" (arXiv:1708.07120), with the constants of torch's OneCycleLR.
    """

    steps: int
    begin: int = 0

    def __call__(self, step_S: Array) -> Array:
        top = RISING * self.steps - 1
        rising_S = (step_S - self.begin) / max(top, 1e-9)
        falling_S = (step_S - self.begin - top) / max(self.steps - 1 - top, 1e-9)
        return np.where(rising_S <= 1, _cosine(FIRST, 1, rising_S), _cosine(1, LAST, falling_S))


@dataclass(frozen=True)
class Cosine:
    """A straight line up over the first 5 % of `steps`, at least one, then half a cosine down to 0.

    Called with step numbers, counted over all epochs from 0; it begins with step `begin`. Loshchilov and Hutter, "SGDR"
    (arXiv:1608.03983), without restarts; the warm-up is that of Goyal and others (arXiv:1706.02677).
    """

    steps: int
    begin: int = 0

    def __call__(self, step_S: Array) -> Array:
        warm = max(1, round(WARM_UP * self.steps))
        made_S = step_S - self.begin
        falling_S = (made_S - warm + 1) / max(self.steps - warm + 1, 1)
        return np.where(made_S < warm, (made_S + 1) / warm, _cosine(1, 0, falling_S))


KINDS: dict[str, Callable[[int, int], Schedule] | None] = {
    "constant": None,
    "one-cycle": OneCycle,
    "cosine": Cosine,
}


def check_schedule(name: str) -> str:
    """The name itself. Raises `UsageError` for an unknown one."""
    if name not in KINDS:
        raise UsageError(f"schedule {name!r}: expected one of {', '.join(KINDS)}")
    return name


def _cosine(start: float, end: float, part_S: Array) -> Array:
    return end + (start - end) / 2 * (1 + np.cos(np.pi * np.clip(part_S, 0, 1)))
