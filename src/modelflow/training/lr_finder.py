"""The learning rate range test: torch-lr-finder's curve on copies of model and optimizer, and two readings of it.

The steepest point is what torch-lr-finder (and the card) suggests; it follows the noise of single batches. The steepest
trend is steadier: the middle of the half of the curve that falls fastest, by the slope of a least-squares line through
it (the moving slope of Savitzky and Golay, Analytical Chemistry 36, 1964, with a straight line and half the curve).
"""

import contextlib
import copy
import io
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.convert import dtype_of, pairs
from modelflow.errors import RunError, UsageError
from modelflow.io.arguments import positive, whole
from modelflow.io.array import Array
from modelflow.io.process import drop_missing_backend
from modelflow.training.denormals import flushed_to_zero
from modelflow.training.loop import as_fitted
from modelflow.training.loss import FittedLoss, Loss
from modelflow.training.optimizers import settle
from modelflow.training.preflight import raise_explained
from modelflow.training.seeding import seeded_order, seeded_rng

SKIP_START, SKIP_END = 10, 5
MIN_STEPS, STEPS = 30, 100  # at least, and for which the suggestion is tested
SMOOTH = 0.05
MIN_FALL, STANDARD_ERRORS = 0.05, 3
METHOD = "steepest trend"
PATIENCE = 2.0  # seconds without a word


@dataclass(frozen=True)
class Curve:
    """The smoothed losses of a range test, one per learning rate, and how many passes over the loader it began."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    passes: int


@dataclass(frozen=True)
class LRSearch:
    """The curve of a range test and what it suggests.

    `lrs` and `losses` (smoothed) have one entry per step. `steepest` and `suggestion` are learning rates, None when the
    curve suggests nothing. `note` says why, or what else a reader must know, such as a loader that was used more than
    once.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    steepest: float | None
    suggestion: float | None
    note: str = ""


class _Passes:
    def __init__(self, pairs_of: Callable[[], Iterator[Any]], on_batch: Callable[[], None]) -> None:
        self.pairs_of = pairs_of
        self.on_batch = on_batch
        self.begun = 0
        self.images: Any = None  # of the last batch

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        for batch in self.pairs_of():
            self.on_batch()
            self.images = batch[0]
            yield batch


@torch.inference_mode(False)
def range_test(
    model: nn.Module,
    loss_fn: Loss | FittedLoss,
    optimizer: torch.optim.Optimizer,
    loader: Any,
    *,
    device: torch.device | str,
    end_lr: float,
    num_iter: int,
    start_lr: float | None = None,
    seed: int = 42,
    smooth: float = SMOOTH,
    step_mode: str = "exp",
    say: Callable[[str], None] | None = None,
) -> Curve:
    """Losses of `num_iter` steps from `start_lr` (left out: the optimizer's) to `end_lr`; fewer if they grew fivefold.

    Works on deep copies, so that model, optimizer, modes and random state are as before whatever happens. A loader with
    fewer batches is gone through again. `say` says once how long it may take, when that is more than some seconds.
    Raises `UsageError` for bounds that leave nothing to search, for a loader without batches, and for a model that
    cannot be copied.
    """
    start_lr = float(optimizer.param_groups[0]["lr"]) if start_lr is None else positive("start_lr", start_lr)
    end_lr, num_iter = positive("end_lr", end_lr), whole("num_iter", num_iter, 0)
    _check_bounds(start_lr, end_lr, num_iter, smooth, step_mode)
    drop_missing_backend()
    from torch_lr_finder import LRFinder
    from torch_lr_finder.lr_finder import TrainDataLoaderIter

    fitted = as_fitted(loss_fn)
    trial_model, trial_loss, trial_optimizer = _copies(model, fitted.loss_fn, optimizer)
    settle(trial_model, trial_optimizer)
    for group in trial_optimizer.param_groups:
        group.pop("initial_lr", None)  # else torch-lr-finder refuses an optimizer that a scheduler knows
    finder = LRFinder(trial_model, trial_optimizer, FittedLoss(trial_loss, fitted.note), device=device)
    on_pass = _logged_when_slow(say, num_iter)
    with (
        _gradients_kept(model),
        seeded_rng(seed, "lr_finder"),
        seeded_order(loader, seed, "lr_finder") as ordered,
        flushed_to_zero(),
        _silence(),
    ):
        passes = _Passes(lambda: pairs(ordered, dtype_of(model), fitted.note), on_pass)
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
            raise UsageError("learning rate search: the loader has no batches") from None
        except Exception as error:
            raise_explained(error, "learning rate search", passes.images)
    if all(p.grad is None for p in trial_model.parameters()):
        raise UsageError(
            "learning rate search: a copy of the model trains the model itself, as after model.forward = "
            "torch.compile(model.forward). Use model.compile() instead, or set lr yourself."
        )
    return Curve(tuple(finder.history["lr"]), tuple(finder.history["loss"]), passes.begun)


@contextlib.contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    """The model's gradients are as before, should its copy compute with it."""
    before = [(p, p.grad) for p in model.parameters()]
    for p, _ in before:
        p.grad = None
    try:
        yield
    finally:
        for p, gradient in before:
            p.grad = gradient


def _copies(*parts: Any) -> Any:
    """Deep copies; of outputs that modules keep, which torch does not copy, without what they were computed from."""
    kept = _kept_outputs([vars(module) for part in parts if isinstance(part, nn.Module) for module in part.modules()])
    try:
        return copy.deepcopy(parts, {id(output): output.detach().clone() for output in kept})
    except Exception as error:  # what cannot be copied raises in many ways
        reason = f"{type(error).__name__}: {error}"[:200]
        raise UsageError(
            f"learning rate search: the model, its loss or its optimizer cannot be copied ({reason}), but the search "
            "trains copies. Store what cannot be copied elsewhere, or set lr yourself."
        ) from None


def _kept_outputs(values: list[Any]) -> list[Tensor]:
    """The tensors with a history among `values` and in whatever they hold."""
    found, seen = [], set()
    while values:
        value = values.pop()
        if isinstance(value, Tensor) and not value.is_leaf:
            found.append(value)
        elif id(value) not in seen:
            seen.add(id(value))
            values += _parts(value)
    return found


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    whole = isinstance(value, type | ModuleType | FunctionType | Tensor)
    return [] if whole else list(getattr(value, "__dict__", {}).values())


def _logged_when_slow(say: Callable[[str], None] | None, steps: int) -> Callable[[], None]:
    """What is called at each step: says once how long all may take, when some seconds have passed and more are left."""
    heard = sys.stdout, sys.stderr
    started, made, logged = time.monotonic(), 0, False

    def on_batch() -> None:
        nonlocal made, logged
        passed = time.monotonic() - started
        if say and made and not logged and passed > PATIENCE and passed / made * (steps - made) > PATIENCE:
            logged = True
            with contextlib.redirect_stdout(heard[0]), contextlib.redirect_stderr(heard[1]):
                say(f"learning rate range test: up to {steps} steps, about {passed / made * steps:,.0f} s")
        made += 1

    return on_batch


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def _check_bounds(start_lr: float, end_lr: float, num_iter: int, smooth: float, step_mode: str) -> None:
    if not end_lr > start_lr > 0:
        raise UsageError(f"end_lr = {end_lr}: expected more than the start, lr = {start_lr}, which must be above 0")
    if num_iter < 2:
        raise UsageError(f"num_iter = {num_iter}: expected at least 2 steps")
    if not 0 <= smooth < 1:
        raise UsageError(f"alpha = {smooth}: expected at least 0 (no smoothing) and less than 1")
    if step_mode not in ("exp", "linear"):
        raise UsageError(f"step_mode = {step_mode!r}: expected 'exp' or 'linear'")


def read(curve: Curve, num_iter: int) -> LRSearch:
    """What the curve of a range test of `num_iter` steps suggests."""
    notes = list(_notes(curve, num_iter))
    steepest = suggestion = None
    try:
        steepest, suggestion = read_curve(curve.lrs, curve.losses)
    except RunError as error:
        notes.insert(0, str(error))
    return LRSearch(curve.lrs, curve.losses, steepest, suggestion, " ".join(notes))


def _notes(curve: Curve, num_iter: int) -> Iterator[str]:
    if curve.passes > 1:
        yield f"An epoch has fewer than {num_iter} batches, so the test used its images up to {curve.passes} times."
    if num_iter != STEPS:
        yield (
            f"The suggestion is tested for {STEPS} steps, not for {num_iter}: it falls with their number, since the "
            "network learns meanwhile."
        )
    finite = _finite(curve.losses)
    if finite < len(curve.losses):
        yield f"The loss is not finite from lr = {curve.lrs[finite]:.1e} on: only earlier losses were read."


def read_curve(lrs: Sequence[float], losses: Sequence[float]) -> tuple[float, float]:
    """The learning rates of the steepest point and of the steepest trend of a curve, smoothed, without its ends.

    Raises `RunError` when the curve is flat, rises from the start, or is not finite.
    """
    kept = _finite(losses)
    if kept < MIN_STEPS - SKIP_END:
        end = f"it is not finite from lr = {lrs[kept]:.1e} on" if kept < len(losses) else "it grew fivefold"
        raise RunError(f"learning rate search: only {kept} losses to read, then {end}. Start from a smaller lr.")
    x, y = np.array(lrs[SKIP_START : kept - SKIP_END]), np.array(losses[SKIP_START : kept - SKIP_END])
    at = steepest_trend(y)
    if at is None or y[0] - y.min() <= MIN_FALL * abs(y[0]) or not _falls_surely(losses[: kept - SKIP_END]):
        raise RunError(
            f"learning rate search: the loss does not fall clearly between lr = {x[0]:.1e} and {x[-1]:.1e} "
            f"(it starts at {y[0]:.3g}, its lowest is {y.min():.3g}). Search a wider range, or set lr yourself."
        )
    return float(x[np.gradient(y).argmin()]), float(x[at])


def _finite(losses: Sequence[float]) -> int:
    """How many losses there are before the first that is no finite number."""
    return next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))


def steepest_trend(losses: Array) -> int | None:
    """The middle of the half of `losses` that falls fastest, its lowest entry at the latest; None when no half falls.

    How fast a half falls is the slope of its least-squares line.
    """
    slopes, _ = _trends(losses)
    steepest = int(slopes.argmin())
    return min(steepest + _reach(losses), int(losses.argmin())) if slopes[steepest] < 0 else None


def _falls_surely(losses: Sequence[float]) -> bool:
    """Whether the fall is no accident: in some half of the losses, unsmoothed, the slope is well below 0."""
    smoothed = np.array(losses)
    slopes, errors = _trends((smoothed[1:] - (1 - SMOOTH) * smoothed[:-1]) / SMOOTH)
    return bool((-slopes > STANDARD_ERRORS * errors).any())


def _trends(values: Array) -> tuple[Array, Array]:
    """The slopes of the least-squares lines through each stretch of half of `values`, and their standard errors."""
    t = np.arange(-_reach(values), _reach(values) + 1)
    stretches = np.lib.stride_tricks.sliding_window_view(values, len(t))
    slopes = stretches @ t / (t @ t)
    residuals = stretches - stretches.mean(1, keepdims=True) - slopes[:, None] * t
    return slopes, np.sqrt((residuals**2).sum(1) / (len(t) - 2) / (t @ t))


def _reach(values: Array) -> int:
    return max(1, len(values) // 4)
