"""The learning rate range test: torch-lr-finder's curve on copies of model and optimizer, and two readings of it.
"""

import contextlib
import copy
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from modelflow.errors import RunError, UsageError
from modelflow.seeding import drawn_from, ordered_by
from modelflow.training.loop import Loss

SKIP_START, SKIP_END = 10, 5
FEWEST_STEPS = 30
SMALLEST_FALL = 0.01
METHOD = "valley"


@dataclass(frozen=True)
class Curve:
    """The smoothed losses of a range test, one a learning rate, and how many passes over the loader it began."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    passes: int


@dataclass(frozen=True)
class LRSearch:
    """The curve of a range test and what it suggests.

    `lrs` and `losses` (smoothed) have one entry a step; `steepest` and `suggestion` are learning rates; `note` says
    what a reader must know, such as a loader that was gone through more than once.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float
    suggestion: float
    note: str = ""


class _Passes:
    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.begun = 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        return iter(self.loader)


def range_test(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: torch.optim.Optimizer,
    loader: Any,
    *,
    device: torch.device | str,
    end_lr: float,
    num_iter: int,
    seed: int = 42,
    smooth: float = 0.05,
    step_mode: str = "exp",
) -> Curve:
    """Losses of `num_iter` steps from the optimizer's learning rate to `end_lr`; fewer when the loss grew fivefold.

    Works on deep copies, so that model, optimizer, modes and random state are as before whatever happens. A loader with
    fewer batches is gone through again. Raises `UsageError` for bounds that leave nothing to search and for a loader
    without batches.
    """
    start_lr = float(optimizer.param_groups[0]["lr"])
    _check_bounds(start_lr, end_lr, num_iter, smooth, step_mode)
    from torch_lr_finder import LRFinder
    from torch_lr_finder.lr_finder import TrainDataLoaderIter

    trial_model, trial_loss, trial_optimizer = copy.deepcopy((model, loss_fn, optimizer))
    for group in trial_optimizer.param_groups:
        group.pop("initial_lr", None)  # else torch-lr-finder refuses an optimizer that a scheduler knows
    finder = LRFinder(trial_model, trial_optimizer, trial_loss, device=device)
    passes = _Passes(loader)
    with drawn_from(seed, "lr_finder"), ordered_by(loader, seed, "lr_finder"), _silence():
        try:
            finder.range_test(
                TrainDataLoaderIter(passes),
                start_lr=start_lr,
                end_lr=end_lr,
                num_iter=num_iter,
                smooth_f=smooth,
                step_mode=step_mode,
            )
        except StopIteration:
            raise UsageError("learning rate search: the loader has no batches; give it data") from None
    return Curve(tuple(finder.history["lr"]), tuple(finder.history["loss"]), passes.begun)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _check_bounds(start_lr: float, end_lr: float, num_iter: int, smooth: float, step_mode: str) -> None:
    if not (math.isfinite(end_lr) and end_lr > start_lr > 0):
        raise UsageError(
            f"end_lr = {end_lr}: expected more than the optimizer's learning rate, {start_lr}, which must be above 0"
        )
    if num_iter < 2:
        raise UsageError(f"num_iter = {num_iter}: expected at least 2 steps")
    if not 0 <= smooth < 1:
        raise UsageError(f"alpha = {smooth}: expected 0 (no smoothing) to below 1")
    if step_mode not in ("exp", "linear"):
        raise UsageError(f"step_mode = {step_mode!r}: expected 'exp' or 'linear'")
