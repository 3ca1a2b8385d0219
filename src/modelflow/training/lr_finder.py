"""The learning rate range test: torch-lr-finder's curve on copies of model and optimizer, and two readings of it.

The steepest point is what torch-lr-finder (and the card) suggests; it follows the noise of single batches. The valley is
steadier: the middle of the longest falling stretch, the default of fastai since 2.2 (fastai, callback/schedule.py, `valley`).
"""

import contextlib
import copy
import io
import math
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
VALLEY = "valley (middle of the longest falling stretch, as in fastai)"


@dataclass(frozen=True)
class LRSearch:
    """The curve of a range test and what it suggests.

    `lrs` and `losses` (smoothed) have one entry a step; `steepest` and `suggestion` are learning rates; `note` says what
    a reader must know, such as a loader that was gone through more than once.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float
    suggestion: float
    note: str = ""


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
) -> tuple[list[float], list[float]]:
    """Learning rates and smoothed losses of `num_iter` steps from the optimizer's learning rate to `end_lr`.

    Works on deep copies, so that model, optimizer, modes and random state are as before whatever happens. Raises
    `UsageError` for bounds that leave nothing to search.
    """
    start_lr = float(optimizer.param_groups[0]["lr"])
    _check_bounds(start_lr, end_lr, num_iter, loader)
    from torch_lr_finder import LRFinder
    from torch_lr_finder.lr_finder import TrainDataLoaderIter

    trial_model, trial_loss, trial_optimizer = copy.deepcopy((model, loss_fn, optimizer))
    for group in trial_optimizer.param_groups:
        group.pop("initial_lr", None)
    silence = io.StringIO()
    with drawn_from(seed, "lr_finder"), ordered_by(loader, seed, "lr_finder"), contextlib.redirect_stdout(silence):
        with contextlib.redirect_stderr(silence):
            finder = LRFinder(trial_model, trial_optimizer, trial_loss, device=device)
            batches = TrainDataLoaderIter(loader)
            finder.range_test(
                batches, start_lr=start_lr, end_lr=end_lr, num_iter=num_iter, smooth_f=smooth, step_mode=step_mode
            )
    return finder.history["lr"], finder.history["loss"]


def search(
    model: nn.Module,
    loss_fn: Loss,
    optimizer: torch.optim.Optimizer,
    loader: Any,
    *,
    device: torch.device | str,
    end_lr: float,
    num_iter: int,
    seed: int = 42,
) -> LRSearch:
    """The range test read.

    Raises `UsageError` as `range_test` does, and `RunError` for a curve that suggests nothing: flat, rising from the
    start, or not finite.
    """
    if num_iter < FEWEST_STEPS:
        raise UsageError(f"num_iter = {num_iter}: expected at least {FEWEST_STEPS}, or the curve is too short to read")
    lrs, losses = range_test(
        model, loss_fn, optimizer, loader, device=device, end_lr=end_lr, num_iter=num_iter, seed=seed
    )
    steepest, suggestion = read_curve(lrs, losses)
    rounds = math.ceil(num_iter / len(loader))
    note = f"the loader's {len(loader)} batches were gone through {rounds} times" if rounds > 1 else ""
    return LRSearch(tuple(lrs), tuple(losses), steepest, suggestion, note)


def read_curve(lrs: list[float], losses: list[float]) -> tuple[float, float]:
    """The learning rates of the steepest point and of the valley, of a smoothed curve without its ends.

    Raises `RunError` when the curve is flat, rises from the start, or is not finite.
    """
    kept = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    if kept < FEWEST_STEPS - SKIP_END:
        at = f" (not finite from lr = {lrs[kept]:.1e} on)" if kept < len(losses) else ""
        raise RunError(f"learning rate search: only {kept} losses to read{at}; start from a smaller learning rate")
    x, y = np.array(lrs[SKIP_START : kept - SKIP_END]), np.array(losses[SKIP_START : kept - SKIP_END])
    if np.minimum.accumulate(y)[-1] > y[0] - SMALLEST_FALL * abs(y[0]):
        raise RunError(
            f"learning rate search: the loss does not fall between lr = {x[0]:.1e} and {x[-1]:.1e} "
            f"(it starts at {y[0]:.3g}, its lowest is {y.min():.3g}); search a wider range, or set lr yourself"
        )
    return float(x[np.gradient(y).argmin()]), float(x[valley(y)])


def valley(losses: np.ndarray[Any, Any]) -> int:
    """The index in the middle of the longest falling subsequence of `losses` (fastai's `valley`)."""
    longest = np.ones(len(losses), dtype=int)
    for i in range(1, len(losses)):
        lower = longest[:i][losses[:i] > losses[i]]
        longest[i] = 1 + (lower.max() if lower.size else 0)
    end = int(longest.argmax())
    start = max(0, end - int(longest[end]))
    third = (end - start) / 3
    return start + int(third) + int(third / 2)


def _check_bounds(start_lr: float, end_lr: float, num_iter: int, loader: Any) -> None:
    if not (math.isfinite(end_lr) and end_lr > start_lr > 0):
        raise UsageError(
            f"end_lr = {end_lr}: expected more than the optimizer's learning rate, {start_lr}, which must be above 0"
        )
    if num_iter < 2:
        raise UsageError(f"num_iter = {num_iter}: expected at least 2 steps")
    if len(loader) == 0:
        raise UsageError("learning rate search: the loader has no batches; give it data")
