"""One epoch of training and one pass of validation, for any module, loss and optimizer."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from modelflow.errors import RunError

Loss = Callable[[Any, Any], Tensor]
OnStep = Callable[[int, float], None]


def train_epoch(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    device: torch.device | str,
    on_step: OnStep,
    epoch: int,
) -> float:
    """The mean loss over the images of one epoch, each batch's taken before its update.

    `on_step(step, loss)` is called after each update. Raises `RunError` naming epoch and step when the loss is no longer
    a finite number; the update that such a loss would make is not made.
    """
    model.train()
    total, images = 0.0, 0
    for step, (x, y) in enumerate(batches, start=1):
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y)
        value = loss.item()
        if not math.isfinite(value):
            raise RunError(
                f"epoch {epoch}, step {step}: the loss is {value}, expected a finite number; "
                "try a learning rate ten times smaller, or look for values in the data that are not finite"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += value * len(x)
        images += len(x)
        on_step(step, value)
    return total / images if images else math.nan


@torch.no_grad()
def mean_loss(model: nn.Module, loss_fn: Loss, batches: Iterable[Any], device: torch.device | str) -> float:
    """The mean loss over the images, in eval mode; the mode is put back afterwards."""
    was_training = model.training
    model.eval()
    try:
        total, images = 0.0, 0
        for x, y in batches:
            total += loss_fn(model(x.to(device)), y.to(device)).item() * len(x)
            images += len(x)
        return total / images if images else math.nan
    finally:
        model.train(was_training)
