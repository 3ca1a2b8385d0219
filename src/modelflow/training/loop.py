"""One epoch of training and one pass of validation, for any module, loss and optimizer."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelflow.data.convert import dtype_of, pairs
from modelflow.errors import DataError, RunError, UsageError
from modelflow.io.array import Array
from modelflow.training.denormals import flushed_to_zero
from modelflow.training.loss import FittedLoss, Loss
from modelflow.training.modes import evaluating
from modelflow.training.preflight import explained


@dataclass(frozen=True)
class EpochProgress:
    """How far an epoch is: updates made, and the sum of their losses over the images they were of."""

    steps: int = 0
    total: float = 0.0
    images: int = 0


START = EpochProgress()
OnSteps = Callable[[Sequence[float], EpochProgress], None]  # losses since the last call, and how far the epoch is


@flushed_to_zero()
def train_epoch(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[object],
    device: torch.device | str,
    on_steps: OnSteps,
    epoch: int,
    factors_S: Array | None = None,
    begun: EpochProgress = START,
    on_begun: Callable[[], None] = lambda: None,
    augmented: Callable[[Tensor, int], Tensor] = lambda x, _step: x,
) -> float:
    """The mean loss over the images of one epoch, each batch's taken before its update.

    `factors_S` multiply the learning rates of the optimizer, which stay as they are, for one step each. `on_steps` is
    called after each update. An epoch already `begun` goes on: its first batches are passed over, then `on_begun` is
    called. `augmented` gives the images that a step, counted from 1, is trained on. Raises `RunError` naming epoch and
    step when the loss is no longer a finite number (the update that such a loss would make is not made), and
    `DataError` without any batch.
    """
    model.train()
    fitted = as_fitted(loss_fn)
    total, images = begun.total, begun.images
    given = pairs(batches, dtype_of(model), fitted.note)
    for step, (x, y) in enumerate(_after(given, begun.steps, on_begun), start=begun.steps + 1):
        x, y = augmented(x.to(device), step), y.to(device)
        with explained(f"epoch {epoch}, step {step}", x):
            loss = fitted(model(x), y)
        value = fitted.mean(loss.item(), len(x))
        check_finite(value, f"epoch {epoch}, step {step}: the loss")
        check_differentiable(loss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if factors_S is None:
            optimizer.step()
        else:
            with scaled_lr(optimizer, float(factors_S[step - 1])):
                optimizer.step()
        total += value * len(x)
        images += len(x)
        on_steps([value], EpochProgress(step, total, images))
    return _mean(total, images, "training")


def as_fitted(loss_fn: Loss) -> FittedLoss:
    """The loss itself where it is fitted already."""
    return loss_fn if isinstance(loss_fn, FittedLoss) else FittedLoss(loss_fn)


def check_differentiable(loss: Tensor) -> None:
    """Raises `UsageError` for a loss of which no parameter has a gradient."""
    if not loss.requires_grad:
        raise UsageError(
            "the loss depends on no parameter that can be trained. It comes from outputs without gradients, "
            "as after detach(), argmax or torch.no_grad(). Compute it from the model's own outputs."
        )


def _after(batches: Iterable[object], count: int, on_begun: Callable[[], None]) -> Iterator[Any]:
    """What is left of the batches after as many."""
    left = iter(batches)
    for _ in range(count):
        next(left, None)
    on_begun()
    return left


@contextmanager
def scaled_lr(optimizer: torch.optim.Optimizer, factor: float) -> Iterator[None]:
    """The learning rate of each group is `factor` times as large for a while."""
    before = [group["lr"] for group in optimizer.param_groups]
    for group, lr in zip(optimizer.param_groups, before, strict=True):
        group["lr"] = lr * factor
    try:
        yield
    finally:
        for group, lr in zip(optimizer.param_groups, before, strict=True):
            group["lr"] = lr


@torch.no_grad()
@flushed_to_zero()
def mean_loss(model: nn.Module, loss_fn: Loss, batches: Iterable[object], device: torch.device | str) -> float:
    """The mean loss over the images, in eval mode; modes are put back. Raises `DataError` without any batch."""
    with evaluating(model):
        fitted, total, images = as_fitted(loss_fn), 0.0, 0
        for x, y in pairs(batches, dtype_of(model), fitted.note):
            with explained("validation", x):
                loss = fitted(model(x.to(device)), y.to(device))
            total += fitted.mean(loss.item(), len(x)) * len(x)
            images += len(x)
        return _mean(total, images, "validation")


def check_finite(loss: float, what: str) -> None:
    """Raises `RunError` saying that `what` is `loss`, unless that is a finite number."""
    if not math.isfinite(loss):
        raise RunError(
            f"{what} is {loss}, expected a finite number. "
            "Try a learning rate ten times smaller, or look for values in the data that are not finite."
        )


def _mean(total: float, images: int, kind: str) -> float:
    if not images:
        raise DataError(f"the {kind} loader gave no batches, expected at least one")
    return total / images
