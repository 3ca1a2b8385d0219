"""Optimizers by name, in their fused form where the parameters' device has one."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from modelflow.errors import UsageError

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
FUSED = ("adam", "adamw", "sgd")


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The optimizer called `name` with torch's defaults. Raises `UsageError` for an unknown name."""
    if name not in KINDS:
        raise UsageError(f"optimizer {name!r}: expected one of {', '.join(KINDS)}")
    parameters = list(parameters)
    options = {"fused": True} if name in FUSED and _can_be_fused(parameters) else {}
    return KINDS[name](parameters, lr=lr, **options)


def _can_be_fused(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in parameters)
