"""`Trainer`: a model, its loss and its optimizer, trained by the compiled step or by autograd, saved and loaded."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.convert import unheard
from modelflow.errors import DataError, RunError, UsageError
from modelflow.io.arguments import MAX_SEED, file, whole
from modelflow.io.array import Array
from modelflow.io.bounds import check_epochs
from modelflow.io.lines import bar, line
from modelflow.networks.build import GenericCNN
from modelflow.training.augmentation import AS_THEY_ARE
from modelflow.training.averaging import Averaging, saved_average
from modelflow.training.callback import Callback
from modelflow.training.checkpoint import load_into, most_bytes, read_checkpoint, write_checkpoint
from modelflow.training.compiled import (
    CompiledStep,
    compiled_logits,
    extras_of,
    is_as_torch,
    unsupported_inference_reason,
    unsupported_reason,
)
from modelflow.training.loop import START, EpochProgress, OnSteps, check_finite, mean_loss, train_epoch
from modelflow.training.loss import FittedLoss, Loss, loss_of
from modelflow.training.lr_finder import MIN_STEPS, Curve, LRSearch, range_test, read
from modelflow.training.optimizers import check_trains, set_lr, settle
from modelflow.training.predict import checked, predict
from modelflow.training.preflight import (
    MANY,
    check_is_module,
    check_last_batch,
    check_loader,
    check_model,
    check_optimizer,
    check_precision,
    first_pair,
    length,
    put_on,
    trial_of,
)
from modelflow.training.schedules import Schedule
from modelflow.training.seeding import RandomState, random_state, seeded_order, seeded_rng, set_random_state

COMPILED = "compiled step"
UNLIKE_TORCH = (
    "evaluated by PyTorch, for the compiled step gave other logits on this network. "
    "Validation losses may be wrong too. Please report it with the network's spec."
)


class Trainer:
    """Any module that maps a batch of inputs to what `loss_fn(outputs, targets)` takes.

    `losses` and `val_losses` have one entry per epoch (the mean over the images). `total_epochs` counts the epochs of
    all calls of `train`. `engine` says what trained the last epoch: the compiled step, or autograd and why.
    `schedule` (see `schedules`) gives the factor of the optimizer's learning rate at each step. `say` is called with
    what takes a while. `threads` says how many may share in large layers and in evaluation, which changes no byte.
    `notes` holds what was converted for training. `callbacks` are called at steps, pauses and epochs, in their order.
    With `ema`, the model has the weights that are trained on within an epoch, their average at all other times.
    `augmentation` says how training images are changed at each step. Those of validation never are.
    """

    def __init__(self, model: nn.Module, loss_fn: Loss, optimizer: torch.optim.Optimizer, verbose: bool = True) -> None:
        check_is_module(model)
        self.model = model
        self.device: torch.device | str = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.loss_fn = loss_fn
        self.optimizer = optimizer
        self.verbose = verbose
        self.train_loader: Any = None
        self.val_loader: Any = None
        self.losses: list[float] = []
        self._val_losses: list[float | None] = []
        self._evaluation: Future[float] | None = None  # of the last epoch, by a second thread
        self.total_epochs = 0
        self.lr_search: LRSearch | None = None
        self.engine = ""
        self.schedule: Schedule | None = None
        self.say: Callable[[str], None] | None = line if verbose else None
        self.notes: list[str] = []
        self.threads: Callable[[], int] = torch.get_num_threads
        self._step: CompiledStep | None = None
        self.seconds_compiling = 0.0  # until the compiled step was there, each time that it was made
        self._fitted = FittedLoss(self.loss_fn), FittedLoss(self.loss_fn)  # for training and for validation
        self.averaging = Averaging()
        self.augmentation = AS_THEY_ARE
        self.callbacks: list[Callback] = []
        self._midway: EpochProgress | None = None
        self._begun: tuple[EpochProgress, RandomState | None] = (START, None)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: all but the compiled step, which a copy makes anew."""
        self._take_up_evaluation()
        return vars(self) | {"_step": None}

    @property
    def loss_fn(self) -> Loss:
        """What is trained by; set, it is put where the model is. Raises `UsageError` for what is no loss."""
        return self._loss_fn

    @loss_fn.setter
    def loss_fn(self, loss_fn: object) -> None:
        self._loss_fn = loss_of(loss_fn)
        put_on(self.device, self._loss_fn)

    @property
    def lr(self) -> float:
        """The optimizer's learning rate; setting it sets that of every parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    @lr.setter
    def lr(self, lr: float) -> None:
        set_lr(self.optimizer, lr)

    @property
    def ema(self) -> float | None:
        """The decay of the average of the weights, above 0 and below 1; None where they are not averaged.

        Setting it raises `UsageError` for anything else, and for None after updates that were averaged.
        """
        return self.averaging.decay

    @ema.setter
    def ema(self, ema: float | None) -> None:
        self.averaging.decay = ema

    def to(self, device: torch.device | str) -> None:
        """Moves the model, and every batch from now on, to `device`."""
        put_on(device, self.model, self.loss_fn)
        if isinstance(self.model, GenericCNN) and torch.device(device).type != "cpu":
            self.model.lay_out(torch.contiguous_format)  # channels last were measured on CPUs alone
        self.device = device
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # which puts its tensors where the parameters are

    def set_loaders(self, train_loader: object, val_loader: object = None) -> None:
        """What to train and to validate on: iterables of (inputs, targets) with a length."""
        self.train_loader = train_loader
        self.val_loader = val_loader

    def set_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Another optimizer for the training that follows."""
        self.optimizer = optimizer

    @property
    def val_losses(self) -> list[float | None]:
        """The validation losses; waits for the last one where a second thread is still at it.

        Raises `RunError` when that is not finite; its epoch then does not count.
        """
        self._take_up_evaluation()
        return self._val_losses

    @val_losses.setter
    def val_losses(self, values: list[float | None]) -> None:
        self._val_losses, self._evaluation = values, None

    @torch.inference_mode(False)
    def train(
        self,
        n_epochs: int,
        seed: int = 42,
        verbose: bool | None = None,
        verbose_mini_batch: bool = False,
        mini_batch_report: int = 100,
        batch_report: int = 10,
    ) -> None:
        """Trains `n_epochs` more epochs; two calls of 5 epochs give what one call of 10 gives.

        The order of the images, the dropout and the augmentation of each epoch come from streams of `seed` and the
        epoch's number.
        `verbose` tells of every `batch_report`-th epoch and of the last, `verbose_mini_batch` of every
        `mini_batch_report`-th step. Raises `UsageError` or `DataError` before the first step for what cannot be
        trained, `RunError` when a loss is not finite: that of a validation by a second thread is looked at when it is
        asked for, or when the next epoch has been trained.
        """
        n_epochs, seed = self.check_trainable(n_epochs), whole("seed", seed, 0, MAX_SEED)
        batch_report = whole("batch_report", batch_report, 1)
        mini_batch_report = whole("mini_batch_report", mini_batch_report, 1)
        self._look()
        verbose = self.verbose if verbose is None else verbose
        last = self.total_epochs + n_epochs

        def on_steps(losses: Sequence[float], midway: EpochProgress) -> None:
            steps_made.update(len(losses))
            first = midway.steps - len(losses) + 1
            reported = range(-first % mini_batch_report, len(losses), mini_batch_report) if verbose_mini_batch else ()
            for i in reported:
                line(f"epoch {epoch}, step {first + i}{of_steps}: loss {losses[i]:.4f}")
            for callback in self.callbacks:
                callback.on_step(epoch, midway.steps, losses[-1])
            self._pause(midway)

        steps = length(self.train_loader)
        of_steps = "" if steps is None else f"/{steps}"
        with bar(None if steps is None else n_epochs * steps, "step", shown=verbose) as steps_made:
            for epoch in range(self.total_epochs + 1, last + 1):
                with self._evaluation_first(), self._hooks_heard():
                    self._train_one(epoch, seed, on_steps, goes_on=epoch < last)
                    if verbose and (epoch % batch_report == 0 or epoch == last):
                        self._tell(epoch, last)
                    for callback in self.callbacks:
                        callback.on_epoch()

    def _pause(self, midway: EpochProgress) -> None:
        """Between two updates: how far the epoch is, for whoever saves a state now."""
        self._midway = midway
        try:
            for callback in self.callbacks:
                callback.on_pause()
        finally:
            self._midway = None

    def check_trainable(self, n_epochs: int) -> int:
        """`n_epochs` as Python's number. Raises `UsageError` for loaders, a model or an optimizer that will not do.

        `DataError` for too many epochs, and `RunError` for a validation loss still under way that is not finite.
        """
        if self.train_loader is None:
            raise UsageError("train: there is no training loader. Call set_loaders(train_loader, val_loader) first.")
        n_epochs = whole("train: n_epochs", n_epochs, 0)
        check_epochs(self.total_epochs + n_epochs, "train")
        self._take_up_evaluation()
        self._check_parts()
        check_loader(self.train_loader, "training loader", n_epochs)
        if self.val_loader is not None:
            check_loader(self.val_loader, "validation loader", MANY)
        return n_epochs

    def _check_parts(self) -> None:
        """Raises `UsageError` for a model that cannot be trained, or not by this optimizer."""
        check_model(self.model)
        check_precision()
        check_optimizer(self.model, self.optimizer)
        check_trains(self.optimizer, self.model, self.loss_fn)

    def note(self, text: str) -> None:
        """Keeps, and says, once, what was converted."""
        if text not in self.notes:
            self.notes.append(text)
            if self.say is not None:
                self.say(text)

    def _look(self) -> None:
        """Tries what autograd will need on one batch, by a copy of the model. Raises for what will not do."""
        self._fitted = FittedLoss(self.loss_fn, self.note), FittedLoss(self.loss_fn, self.note)
        if self._is_covered():
            assert isinstance(self.model, GenericCNN)
            self.augmentation.check(self.model.trace.input_shape, "the training loader")
            return
        check_last_batch(self.model, self.train_loader, self.device)
        if self.augmentation:
            x, _ = first_pair(self.train_loader, self.model, "training loader", unheard)
            self.augmentation.check(x.shape[1:], "the training loader")
        if self.val_loader is not None:
            batch = first_pair(self.val_loader, self.model, "validation loader", self.note)
            with seeded_rng(0, "preflight"):
                mean_loss(trial_of(self.model), self._fitted[1], [batch], self.device)

    def _is_covered(self) -> bool:
        """Whether the compiled step takes everything, and has looked at all of it."""
        covered = not self.why_autograd()
        return covered and (self.val_loader is None or not unsupported_inference_reason(self.model, self.val_loader))

    def why_autograd(self) -> str:
        """Why the compiled step cannot train this, in words; empty when it can."""
        return unsupported_reason(self.model, self.loss_fn, self.optimizer, self.train_loader)

    def _train_one(self, epoch: int, seed: int, on_steps: OnSteps, goes_on: bool) -> None:
        settle(self.model, self.optimizer)
        step = self._compiled_step()
        loss = self._train_epoch(step, epoch, seed, on_steps)
        self._take_up_evaluation()
        covered = self.val_loader is not None and not unsupported_inference_reason(self.model, self.val_loader)
        evaluator = step if covered else None
        later = evaluator.later_mean_loss(self.val_loader) if evaluator is not None and goes_on else None
        known = [] if later is not None else [self._validate(evaluator, epoch, seed)]
        done = [*self.losses, loss], [*self._val_losses, *known], epoch, later
        self.losses, self._val_losses, self.total_epochs, self._evaluation = done  # at once, should Ctrl-C come

    def _train_epoch(self, step: CompiledStep | None, epoch: int, seed: int, on_steps: OnSteps) -> float:
        factors_S = self._factors(epoch)
        sampler: Any = getattr(self.train_loader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)  # as of a DistributedSampler, whose order is the same each time without
        (begun, randomness), self._begun = self._begun, (START, None)
        if step is not None:
            with (
                self.averaging.training(self.model, self.note),
                seeded_order(self.train_loader, seed, "order", epoch) as loader,
            ):
                return step.train_epoch(loader, seed, on_steps, epoch, factors_S, begun)

        def stepped(losses: Sequence[float], midway: EpochProgress) -> None:
            self.averaging.update()
            on_steps(losses, midway)
            give_way()

        def augmented(x: Tensor, step: int) -> Tensor:
            return self.augmentation.applied(x, seed, epoch, step)

        with (
            self.averaging.training(self.model, self.note),
            seeded_rng(seed, "dropout", epoch) as give_way,
            seeded_order(self.train_loader, seed, "order", epoch) as loader,
        ):
            parts = (self.model, self._fitted[0], self.optimizer, loader, self.device)
            resumed = partial(set_random_state, randomness)
            return train_epoch(*parts, stepped, epoch, factors_S, begun, resumed, augmented)

    def _take_up_evaluation(self) -> None:
        """The validation loss that a second thread was at; the epoch does not count when it is not finite."""
        if self._evaluation is None:
            return
        wait([self._evaluation])
        try:
            val_loss = self._evaluation.result()
            _check_validation(val_loss, self.total_epochs)
        except Exception:
            self.losses, self.total_epochs, self._evaluation = self.losses[:-1], self.total_epochs - 1, None
            raise
        self._val_losses, self._evaluation = [*self._val_losses, val_loss], None

    @contextmanager
    def _evaluation_first(self) -> Iterator[None]:
        """What fails within is told of only when the evaluation of the epoch before has not failed."""
        try:
            yield
        except Exception:
            self._take_up_evaluation()
            raise

    def steps_an_epoch(self) -> int:
        """How many updates an epoch makes. Raises `UsageError` for a loader without a length, as over a stream."""
        steps = length(self.train_loader)
        if steps is None:
            raise UsageError(
                "schedule: the training loader has no length. Give a loader with a length, or no schedule."
            )
        return steps

    def _factors(self, epoch: int) -> Array | None:
        if self.schedule is None:
            return None
        steps = self.steps_an_epoch()
        return self.schedule(np.arange((epoch - 1) * steps, epoch * steps))

    @property
    def next_engine(self) -> str:
        """What will train the next epoch, if nothing changes before it: the compiled step, or autograd and why."""
        reason = self.why_autograd()
        return f"autograd: {reason}" if reason else COMPILED

    def _compiled_step(self) -> CompiledStep | None:
        """The compiled step, made anew for another model or optimizer; None where autograd is needed."""
        before, self.engine = self.engine, self.next_engine
        if self.engine != COMPILED:
            if self.engine != before and self.say is not None:
                where = "" if torch.device(self.device).type == "cpu" else f" on {self.device}"
                self.say(f"training{where} by {self.engine}")
            return None
        if self._step is None or self._step.model is not self.model or self._step.optimizer is not self.optimizer:
            assert isinstance(self.model, GenericCNN)
            began = time.perf_counter()
            parts = (self.model, self.loss_fn, self.optimizer, self.say, lambda: self.threads(), self.averaging)
            self._step = CompiledStep(*parts, self.augmentation)
            self.seconds_compiling += time.perf_counter() - began
        self._step.loss_fn, self._step.augmentation = self.loss_fn, self.augmentation
        return self._step

    def _validate(self, evaluator: CompiledStep | None, epoch: int, seed: int) -> float | None:
        if self.val_loader is None:
            return None
        if evaluator is not None:
            val_loss = evaluator.mean_loss(self.val_loader)
        else:
            names = ("validation", epoch)
            with seeded_rng(seed, *names), seeded_order(self.val_loader, seed, *names) as loader:
                val_loss = mean_loss(self.model, self._fitted[1], loader, self.device)
        _check_validation(val_loss, epoch)
        return val_loss

    def _tell(self, epoch: int, last: int) -> None:
        val_loss = self.val_losses[-1]
        validation = "" if val_loss is None else f", validation {val_loss:.4f}"
        line(f"epoch {epoch}/{last}: training loss {self.losses[-1]:.4f}{validation}")

    def save_checkpoint(self, filename: str | Path) -> None:
        """Writes a file from which training can resume, whole or not at all."""
        write_checkpoint(file("filename", filename), self._checkpoint())

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "epoch": self.total_epochs,
            **self.averaging.states(self.model, self.note),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "loss": self.losses,
            "val_loss": self.val_losses,
        }

    def state(self) -> dict[str, Any]:
        """All that training resumes from, also in the middle of an epoch, when called from `Callback.on_pause`."""
        midway = None if self._midway is None else asdict(self._midway) | {"random": random_state()}
        return self._checkpoint() | {"midway": midway}

    def resume_from(self, state: dict[str, object], where: str | Path) -> None:
        """Takes up a `state`. Raises `DataError` naming `where` when it does not fit, and then changes nothing."""
        midway, steps = state.get("midway"), length(self.train_loader)
        most = math.inf if steps is None else steps
        if midway is not None and not (isinstance(midway, dict) and 0 < midway.get("steps", 0) <= most):
            raise DataError(f"{where}: is beyond an epoch of {most} steps. Use the data it was trained on.")
        self._resume_from(state, where)
        if midway is not None:
            self._begun = EpochProgress(*(midway[name] for name in ("steps", "total", "images"))), midway["random"]

    go_on_from = resume_from  # its earlier name

    @torch.inference_mode(False)
    def _resume_from(self, checkpoint: dict[str, Any], where: str | Path) -> None:
        average = saved_average(self.model, checkpoint, where)
        load_into(self.model, self.optimizer, checkpoint, where)
        self.averaging.resume(self.model, average, self.note)
        self.total_epochs = checkpoint["epoch"]
        self.losses = checkpoint["loss"]
        self.val_losses = checkpoint["val_loss"]
        self._begun = START, None
        self.model.train()

    def load_checkpoint(self, filename: str | Path) -> None:
        """Resumes from a file of `save_checkpoint`, or of the original class.

        Raises `DataError` when the file is damaged or does not fit model or optimizer, and then changes nothing.
        """
        self._resume_from(read_checkpoint(file("filename", filename), most_bytes(self.model)), filename)

    def predictions(self, loader: Any) -> tuple[Array, Array]:
        """Logits N x K and labels N of a loader's images, in its order, in eval mode; compiled where that is covered.

        Compiled ones are compared with PyTorch's on a few images. Where they differ, all are PyTorch's, with a note.
        Raises `DataError` for a loader without images or labels that do not fit, and `RunError` for logits that are
        not finite.
        """
        if unsupported_inference_reason(self.model, loader) or loader.shuffle:
            return predict(self.model, loader, self.device)
        assert isinstance(self.model, GenericCNN)
        extras = extras_of(self.loss_fn, self.averaging, self.augmentation)
        logits_NK = compiled_logits(self.model, loader, self.optimizer, self.say, self.threads(), extras)
        if not is_as_torch(self.model, loader, logits_NK):
            self.note(UNLIKE_TORCH)
            return predict(self.model, loader, self.device)
        return checked(logits_NK, loader.dataset.tensors[1].numpy())

    def count_parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def search_lr(
        self, data_loader: object, end_lr: float, num_iter: int, set_lr: bool, seed: int, start_lr: float | None
    ) -> float:
        """`find_best_lr` without the picture."""
        num_iter = whole("num_iter", num_iter, 0)
        if num_iter < MIN_STEPS:
            raise UsageError(f"num_iter = {num_iter}: expected at least {MIN_STEPS}, or the curve is too short")
        curve = self._range_test(data_loader, end_lr, num_iter, start_lr=start_lr, seed=seed)
        self.lr_search = found = read(curve, num_iter)
        if found.suggestion is None:
            raise RunError(found.note)
        if found.note and self.verbose:
            line(f"learning rate search: {found.note}")
        if set_lr:
            self.lr = found.suggestion
        return found.suggestion

    def _range_test(self, loader: Any, end_lr: float, num_iter: int, **how: Any) -> Curve:
        self._check_parts()
        check_loader(loader, "loader", MANY)
        parts = (self.model, FittedLoss(self.loss_fn, self.note), self.optimizer, loader)
        with self.averaging.training(self.model, self.note):
            return range_test(*parts, device=self.device, end_lr=end_lr, num_iter=num_iter, say=self.say, **how)

    def _hooks_heard(self) -> AbstractContextManager[None]:
        """Within, hooks of whoever looks inside hear each pass."""
        return nullcontext()


def _check_validation(loss: float, epoch: int) -> None:
    check_finite(loss, f"epoch {epoch}, after its last step: the validation loss")
