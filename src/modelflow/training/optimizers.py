"""Optimizers by name, in their fused form where the parameters' device has one; and whether one trains a model."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from modelflow.errors import UsageError
from modelflow.text import ended, short

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
FUSED = ("adam", "adamw", "sgd")
OptimizerLike = str | torch.optim.Optimizer | Callable[..., torch.optim.Optimizer]  # the last one makes it


def optimizer_of(optimizer: OptimizerLike, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimizer itself, or what its name, or its class, makes over the model's parameters.

    Raises `UsageError` for a name that is unknown, and for what makes no optimizer.
    """
    if next(model.parameters(), None) is None:
        raise UsageError(f"model: {type(model).__name__} has no parameters, so nothing can be trained. Add a layer.")
    if isinstance(optimizer, str):
        return make_optimizer(optimizer, model.parameters(), lr)
    made: Any = optimizer
    if callable(optimizer) and not hasattr(optimizer, "param_groups"):
        try:
            made = optimizer(model.parameters(), lr=lr)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"optimizer = {short(optimizer)}: {ended(error)} Give an optimizer, or its name."
            ) from None
    if isinstance(made, type) or not hasattr(made, "param_groups"):
        raise UsageError(f"optimizer = {short(optimizer)}: expected a name such as 'adam', or an optimizer")
    return made  # type: ignore[no-any-return]


def make_optimizer(name: str, parameters: Iterable[nn.Parameter], lr: float, **own: object) -> torch.optim.Optimizer:
    """The optimizer called `name` with torch's defaults but for its `own` options, such as `weight_decay`.

    Raises `UsageError` for an unknown name.
    """
    if name.lower() not in KINDS:
        raise UsageError(f"optimizer {name!r}: expected one of {', '.join(KINDS)}")
    name, parameters = name.lower(), list(parameters)
    options = {"fused": True} if name in FUSED and _can_be_fused(parameters) else {}
    return KINDS[name](parameters, lr=lr, **options, **own)


def _can_be_fused(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.dtype == torch.float32 for p in parameters)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """`lr` for every parameter group. Raises `UsageError` unless it is a finite number of at least 0."""
    try:
        number = float(lr)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UsageError(f"lr = {lr!r:.40}: expected a finite number of at least 0, such as 3e-4")
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(number)
        else:
            group["lr"] = number


def check_trains(optimizer: torch.optim.Optimizer, model: nn.Module, loss_fn: object) -> None:
    """Raises `UsageError` for an optimizer of another model, or of layers that the model has no longer.

    An optimizer of some of the model's parameters is fine, and so are parameters of the loss in it.
    """
    own = {id(p): p.requires_grad for p in model.parameters()}
    of_loss = {id(p) for p in loss_fn.parameters()} if isinstance(loss_fn, nn.Module) else set()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    fix = "Create it from model.parameters() after the last change to the model."
    if own and not held & own.keys():
        raise UsageError(f"optimizer: none of its parameters is the model's, so nothing would be trained. {fix}")
    left_out = sum(needs_training and key not in held for key, needs_training in own.items())
    if left_out and held - own.keys() - of_loss:
        raise UsageError(
            f"optimizer: it has parameters that are not the model's and lacks {left_out} of the model's. {fix}"
        )


def settle(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Gives parameters that are laid out as views with gaps or repetitions memory of their own, and states its layout.

    torch's fused steps go through memory as it lies, which is wrong for those (torch 2.13).
    """
    for p in model.parameters():
        if is_lazy(p) or p.layout is not torch.strided:
            continue
        if torch.empty_like(p, device="meta").stride() != p.stride():
            p.data = p.data.clone(memory_format=torch.contiguous_format)
        state = optimizer.state.get(p, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                state[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)
