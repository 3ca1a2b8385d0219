"""`Architecture`: a model, its loss and its optimizer, trained, looked into, saved and loaded.

The interface of the helper class that dvgodoy's PyTorchStepByStep and the course PPGEEC2318 teach, on the functions of
this package: what it adds are streams of its own for order and dropout, and hooks and searches that leave no trace.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from modelflow.errors import DataError, RunError, UsageError
from modelflow.evaluation.predict import checked, predict
from modelflow.inspection.filters import filters
from modelflow.inspection.hooks import copied, layer
from modelflow.models.build import GenericCNN
from modelflow.modes import evaluating
from modelflow.seeding import (
    RandomState,
    drawn_from,
    generator_owners,
    ordered_by,
    random_state,
    set_random_state,
    stream,
)
from modelflow.training.checkpoint import load_into, most_bytes, read_checkpoint, write_checkpoint
from modelflow.training.compiled import CompiledStep, compiled_logits, uncovered, uncovered_inference
from modelflow.training.loop import START, Loss, Midway, OnSteps, check_finite, mean_loss, train_epoch
from modelflow.training.lr_finder import FEWEST_STEPS, METHOD, SMOOTH, Curve, LRSearch, range_test, read
from modelflow.training.schedules import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Array = np.ndarray[Any, Any]
OnStep = Callable[[int, int, float], None]


class Architecture:
    """Any module that maps a batch of inputs to what `loss_fn(outputs, targets)` takes.

    `losses` and `val_losses` have one entry an epoch (the mean over the images), `total_epochs` counts them over all
    calls of `train`. `engine` says what trained the last epoch: the compiled step, or autograd and why.
    `schedule` (see `schedules`) says what each step multiplies the optimizer's learning rate by; `say` is told what
    takes a while; `threads` says how many may share in large layers and in evaluation, which changes no byte.
    `on_step(epoch, step, loss)` is called after each step of autograd, and about every second, with the last step made,
    by the compiled one; then `on_midway()`, where a `state()` can be saved; `on_epoch()` after each epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Loss,
        optimizer: torch.optim.Optimizer,
        verbose: bool = True,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.optimizer = optimizer
        self.verbose = verbose
        self.class_names = None if class_names is None else tuple(class_names)
        self.device: torch.device | str = next((p.device for p in model.parameters()), torch.device("cpu"))
        self.train_loader: Any = None
        self.val_loader: Any = None
        self.losses: list[float] = []
        self._val_losses: list[float | None] = []
        self._evaluation: Future[float] | None = None  # of the last epoch, by a second thread
        self.total_epochs = 0
        self.visualization: dict[str, Array | None] = {}
        self.handles: dict[str, torch.utils.hooks.RemovableHandle] = {}
        self.lr_search: LRSearch | None = None
        self.engine = ""
        self.schedule: Schedule | None = None
        self.say: Callable[[str], None] | None = tqdm.write if verbose else None
        self.threads: Callable[[], int] = torch.get_num_threads
        self._step: CompiledStep | None = None
        self.on_step: OnStep | None = None
        self.on_epoch: Callable[[], None] | None = None
        self.on_midway: Callable[[], None] | None = None
        self._midway: Midway | None = None
        self._begun: tuple[Midway, RandomState | None] = (START, None)

    def to(self, device: torch.device | str) -> None:
        """Moves the model, and every batch from now on, to `device`."""
        self.model.to(device)
        self.device = device
        self.optimizer.load_state_dict(self.optimizer.state_dict())  # which puts its tensors where the parameters are

    def set_loaders(self, train_loader: Any, val_loader: Any = None) -> None:
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

    def set_seed(self, seed: int = 42) -> None:
        """Seeds torch, numpy, Python's random and the training loader's order, for code outside of `train`."""
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        for owner in generator_owners(self.train_loader):
            if owner.generator is not None:
                owner.generator.manual_seed(seed)

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

        The order of the images and the dropout of each epoch come from streams of `seed` and the epoch's number.
        `verbose` tells of every `batch_report`-th epoch and of the last, `verbose_mini_batch` of every
        `mini_batch_report`-th step. Raises `UsageError` without a loader, `RunError` when a loss is not finite: that of
        a validation by a second thread is looked at when it is asked for, or when the next epoch has been trained.
        """
        self.check_trainable(n_epochs)
        verbose = self.verbose if verbose is None else verbose
        last = self.total_epochs + n_epochs

        def told(losses: Sequence[float], midway: Midway) -> None:
            bar.update(len(losses))
            first = midway.steps - len(losses) + 1
            reported = range(-first % mini_batch_report, len(losses), mini_batch_report) if verbose_mini_batch else ()
            for i in reported:
                tqdm.write(f"epoch {epoch}, step {first + i}{of_steps}: loss {losses[i]:.4f}")
            if self.on_step is not None:
                self.on_step(epoch, midway.steps, losses[-1])
            self._pause(midway)

        steps = length(self.train_loader)
        of_steps = "" if steps is None else f"/{steps}"
        with _progress_bar(None if steps is None else n_epochs * steps, verbose) as bar:
            for epoch in range(self.total_epochs + 1, last + 1):
                with self._evaluation_first():
                    self._train_one(epoch, seed, told, goes_on=epoch < last)
                    if verbose and (epoch % batch_report == 0 or epoch == last):
                        self._tell(epoch, last)
                    if self.on_epoch is not None:
                        self.on_epoch()

    def _pause(self, midway: Midway) -> None:
        """Between two updates: how far the epoch is, for whoever saves a state now."""
        if self.on_midway is None:
            return
        self._midway = midway
        try:
            self.on_midway()
        finally:
            self._midway = None

    def check_trainable(self, n_epochs: int) -> None:
        """Raises `UsageError` without a training loader or for a negative number of epochs.

        And `RunError` for a validation loss still under way that is not finite.
        """
        if self.train_loader is None:
            raise UsageError("train: there is no training loader; call set_loaders(train_loader, val_loader) first")
        if n_epochs < 0:
            raise UsageError(f"train: n_epochs = {n_epochs}, expected 0 or more")
        self._take_up_evaluation()

    def _train_one(self, epoch: int, seed: int, on_steps: OnSteps, goes_on: bool) -> None:
        step = self._compiled_step()
        loss = self._train_epoch(step, epoch, seed, on_steps)
        self._take_up_evaluation()
        covered = self.val_loader is not None and not uncovered_inference(self.model, self.val_loader)
        evaluator = step if covered else None
        later = evaluator.later_mean_loss(self.val_loader) if evaluator is not None and goes_on else None
        known = [] if later is not None else [self._validate(evaluator, epoch, seed)]
        done = [*self.losses, loss], [*self._val_losses, *known], epoch, later
        self.losses, self._val_losses, self.total_epochs, self._evaluation = done  # at once, should Ctrl-C come

    def _train_epoch(self, step: CompiledStep | None, epoch: int, seed: int, on_steps: OnSteps) -> float:
        factors_S = self._factors(epoch)
        (begun, randomness), self._begun = self._begun, (START, None)
        with ordered_by(self.train_loader, seed, "order", epoch):
            if step is None:
                parts = (self.model, self.loss_fn, self.optimizer, self.train_loader, self.device)
                with drawn_from(seed, "dropout", epoch):
                    return train_epoch(*parts, on_steps, epoch, factors_S, begun, lambda: set_random_state(randomness))
            dropout = stream(seed, "dropout", epoch)
            return step.train_epoch(self.train_loader, dropout, on_steps, epoch, factors_S, begun)

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
            raise UsageError("schedule: the training loader has no length; give one that has, or no schedule")
        return steps

    def _factors(self, epoch: int) -> Array | None:
        if self.schedule is None:
            return None
        steps = self.steps_an_epoch()
        return self.schedule(np.arange((epoch - 1) * steps, epoch * steps))

    def _compiled_step(self) -> CompiledStep | None:
        """The compiled step, made anew for another model or optimizer; None where autograd is needed."""
        reason = uncovered(self.model, self.loss_fn, self.optimizer, self.train_loader)
        before, self.engine = self.engine, f"autograd: {reason}" if reason else "compiled step"
        if reason and self.engine != before and self.say is not None:
            self.say(f"training by {self.engine}")
        if reason:
            return None
        if self._step is None or self._step.model is not self.model or self._step.optimizer is not self.optimizer:
            assert isinstance(self.model, GenericCNN)
            self._step = CompiledStep(self.model, self.optimizer, self.say, lambda: self.threads())
        return self._step

    def _validate(self, evaluator: CompiledStep | None, epoch: int, seed: int) -> float | None:
        if self.val_loader is None:
            return None
        if evaluator is not None:
            val_loss = evaluator.mean_loss(self.val_loader)
        else:
            with ordered_by(self.val_loader, seed, "validation", epoch), drawn_from(seed, "validation", epoch):
                val_loss = mean_loss(self.model, self.loss_fn, self.val_loader, self.device)
        _check_validation(val_loss, epoch)
        return val_loss

    def _tell(self, epoch: int, last: int) -> None:
        val_loss = self.val_losses[-1]
        validation = "" if val_loss is None else f", validation {val_loss:.4f}"
        tqdm.write(f"epoch {epoch}/{last}: training loss {self.losses[-1]:.4f}{validation}")

    def save_checkpoint(self, filename: str | Path) -> None:
        """A file from which training goes on; written whole or not at all."""
        write_checkpoint(filename, self._checkpoint())

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "epoch": self.total_epochs,
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "loss": self.losses,
            "val_loss": self.val_losses,
        }

    def state(self) -> dict[str, Any]:
        """All that training goes on from, also in the middle of an epoch, when called from `on_midway`."""
        midway = None if self._midway is None else asdict(self._midway) | {"random": random_state()}
        return self._checkpoint() | {"midway": midway}

    def go_on_from(self, state: dict[str, Any], where: str | Path) -> None:
        """Takes up a `state`. Raises `DataError` naming `where` when it does not fit, and then changes nothing."""
        midway, steps = state.get("midway"), self.steps_an_epoch()
        if midway is not None and not (isinstance(midway, dict) and 0 < midway.get("steps", 0) <= steps):
            raise DataError(f"{where}: is not within an epoch of {steps} steps; use the data it was trained on")
        self._go_on_from(state, where)
        if midway is not None:
            self._begun = Midway(*(midway[name] for name in ("steps", "total", "images"))), midway["random"]

    def _go_on_from(self, checkpoint: dict[str, Any], where: str | Path) -> None:
        load_into(self.model, self.optimizer, checkpoint, where)
        self.total_epochs = checkpoint["epoch"]
        self.losses = checkpoint["loss"]
        self.val_losses = checkpoint["val_loss"]
        self._begun = START, None
        self.model.train()

    def load_checkpoint(self, filename: str | Path) -> None:
        """Goes on from a file of `save_checkpoint`, or of the original class.

        Raises `DataError` when the file is damaged or does not fit model or optimizer, and then changes nothing.
        """
        self._go_on_from(read_checkpoint(filename, most_bytes(self.model)), filename)

    @torch.no_grad()
    def predict(self, x: Any) -> Array:
        """The model's outputs for a tensor or an array, in eval mode; attached hooks see the pass."""
        dtype = next((p.dtype for p in self.model.parameters()), torch.float32)
        return copied(self._in_eval_mode(torch.as_tensor(x).to(dtype)))

    def predictions(self, loader: Any) -> tuple[Array, Array]:
        """Logits N x K and labels N of a loader's images, in its order, in eval mode; compiled where that is covered.

        Raises `DataError` for a loader without images or labels that do not fit, and `RunError` for logits that are
        not finite.
        """
        if uncovered_inference(self.model, loader) or loader.shuffle:
            return predict(self.model, loader, self.device)
        assert isinstance(self.model, GenericCNN)
        return checked(compiled_logits(self.model, loader, self.say, self.threads()), loader.dataset.tensors[1].numpy())

    def _in_eval_mode(self, x: Tensor) -> Tensor:
        with evaluating(self.model):
            outputs: Tensor = self.model(x.to(self.device))
            return outputs

    def count_parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def plot_losses(self) -> "Figure":
        """Training and validation loss over the epochs."""
        from modelflow.figures.losses import plot_losses

        if isinstance(self.loss_fn, nn.CrossEntropyLoss):
            return plot_losses(self.losses, self.val_losses, "Loss over epochs")
        name = getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__)
        return plot_losses(self.losses, self.val_losses, "Loss over epochs", name)

    def visualize_filters(self, layer_name: str) -> "Figure":
        """The filters of a convolutional layer. Raises `UsageError` for a name that is none."""
        from modelflow.figures.filters import plot_filters

        return plot_filters(filters(self.model, layer_name), layer_name, "Learned filters")

    def attach_hooks(self, layers_to_hook: Sequence[str], hook_fn: Callable[..., Any] | None = None) -> None:
        """From now on every pass adds the outputs (copies) of these layers to `visualization`.

        Raises `UsageError` for a name that the model does not have.
        """
        layers = {name: layer(self.model, name) for name in layers_to_hook}
        self.remove_hooks()
        self.visualization = dict.fromkeys(layers)
        for name, module in layers.items():
            self.handles[name] = module.register_forward_hook(hook_fn or self._recorder(name, module))

    def _recorder(self, name: str, module: nn.Module) -> Callable[..., None]:
        def record(caller: nn.Module, _inputs: Any, outputs: Tensor) -> None:
            if caller is not module:  # a copy of the model, as a learning rate search makes, has this hook too
                return
            values, before = copied(outputs), self.visualization[name]
            self.visualization[name] = values if before is None else np.concatenate([before, values])

        return record

    def remove_hooks(self) -> None:
        """Takes off every hook that `attach_hooks` put on."""
        for handle in self.handles.values():
            handle.remove()
        self.handles = {}

    def visualize_outputs(self, layers: Sequence[str], n_images: int = 10, y: Any = None, yhat: Any = None) -> "Figure":
        """What `attach_hooks` recorded of `layers`, a column an image. Raises `UsageError` when it recorded nothing."""
        from modelflow.figures.outputs import plot_outputs

        maps = {name: values for name in layers if (values := self.visualization.get(name)) is not None}
        if not maps:
            raise UsageError(
                f"layers {list(layers)}: nothing was recorded; call attach_hooks(layers) and predict(x) first"
            )
        return plot_outputs(None, maps, n_images, y, yhat, self.class_names, "Layer outputs")

    @torch.no_grad()
    def correct(self, x: Tensor, y: Tensor, threshold: float = 0.5) -> Tensor:
        """Per class (number right, number of images), classes x 2; one output column is read as a binary logit.

        A model that ends in a sigmoid gives probabilities, which are compared with `threshold` as they are.
        """
        outputs, y = self._in_eval_mode(x), y.to(self.device)
        n_classes = outputs.shape[1]
        if n_classes > 1:
            predicted = outputs.argmax(1)
        else:
            ends_in_sigmoid = isinstance(self.model, nn.Sequential) and isinstance(self.model[-1], nn.Sigmoid)
            predicted = ((outputs if ends_in_sigmoid else outputs.sigmoid()) > threshold).long()
            n_classes = 2
        hits = [((predicted[y == c] == c).sum().item(), (y == c).sum().item()) for c in range(n_classes)]
        return torch.tensor(hits)

    @staticmethod
    def loader_apply(
        loader: Any, func: Callable[[Any, Any], Tensor], reduce: Literal["sum", "mean"] | None = "sum"
    ) -> Tensor:
        """`func(x, y)` over all batches, stacked, then summed or averaged over the batches."""
        results = torch.stack([func(x, y) for x, y in loader])
        if reduce == "sum":
            return results.sum(0)
        return results.float().mean(0) if reduce == "mean" else results

    @staticmethod
    def statistics_per_channel(images_NCHW: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG004
        """3 x channels: number of images, sum of their means, sum of their standard deviations."""
        pixels_NCP = images_NCHW.flatten(2)
        counts_C = torch.full((pixels_NCP.shape[1],), float(len(pixels_NCP)))
        return torch.stack([counts_C, pixels_NCP.mean(2).sum(0), pixels_NCP.std(2).sum(0)])

    @staticmethod
    def make_normalizer(loader: Any) -> "Normalize":
        """What subtracts the mean image mean and divides by the mean image standard deviation, channel by channel."""
        counts_C, means_C, stds_C = Architecture.loader_apply(loader, Architecture.statistics_per_channel)
        return Normalize(means_C / counts_C, stds_C / counts_C)

    def lr_range_test(
        self,
        data_loader: Any,
        end_lr: float = 0.1,
        num_iter: int = 100,
        step_mode: str = "exp",
        alpha: float = SMOOTH,
        ax: "Axes | None" = None,
    ) -> tuple[dict[str, list[float]], "Figure | SubFigure"]:
        """Losses (smoothed by `alpha`) over growing learning rates, as `{"loss": …, "lr": …}`, and their picture.

        The picture is drawn into `ax` when one is given. Ends early once the loss is five times its lowest value.
        """
        from modelflow.figures.lr_finder import plot_lr_finder

        curve = self._range_test(data_loader, end_lr, num_iter, smooth=alpha, step_mode=step_mode)
        tracking = {"loss": list(curve.losses), "lr": list(curve.lrs)}
        if ax is None:
            return tracking, plot_lr_finder(curve.lrs, curve.losses, None, None, "", "Learning rate range test")
        ax.plot(curve.lrs, curve.losses)
        ax.set(
            xlabel="learning rate", ylabel="smoothed training loss", xscale="log" if step_mode == "exp" else "linear"
        )
        return tracking, ax.figure

    def find_best_lr(
        self,
        data_loader: Any,
        end_lr: float = 1,
        num_iter: int = 100,
        set_lr: bool = True,
        seed: int = 42,
        start_lr: float | None = None,
    ) -> tuple["Axes", float]:
        """A learning rate from a range test of `num_iter` steps up to `end_lr`, and the picture of it.

        It starts from `start_lr`, or from the optimizer's learning rate. Model, optimizer, modes and random state are
        as before; `set_lr` sets the learning rate of every parameter group. `lr_search` keeps the curve, both
        suggestions, and a note about a loader that was too short. Raises `UsageError` for bounds that leave nothing
        to search and `RunError` for a curve that suggests nothing.
        """
        if num_iter < FEWEST_STEPS:
            raise UsageError(f"num_iter = {num_iter}: expected at least {FEWEST_STEPS}, or the curve is too short")
        curve = self._range_test(data_loader, end_lr, num_iter, start_lr=start_lr, seed=seed)
        self.lr_search = found = read(curve, num_iter)
        if found.suggestion is None:
            raise RunError(found.note)
        if found.note and self.verbose:
            print(f"learning rate search: {found.note}")
        if set_lr:
            for group in self.optimizer.param_groups:
                group["lr"] = found.suggestion
        return self.plot_lr_search().axes[0], found.suggestion

    def _range_test(self, loader: Any, end_lr: float, num_iter: int, **how: Any) -> Curve:
        parts = (self.model, self.loss_fn, self.optimizer, loader)
        return range_test(*parts, device=self.device, end_lr=end_lr, num_iter=num_iter, say=self.say, **how)

    def plot_lr_search(self, title: str = "Learning rate range test") -> "Figure":
        """The curve of the last `find_best_lr` and both suggestions. Raises `UsageError` when there was none."""
        from modelflow.figures.lr_finder import plot_lr_finder

        found = self.lr_search
        if found is None:
            raise UsageError("there is no learning rate search to draw; call find_best_lr(loader) first")
        return plot_lr_finder(found.lrs, found.losses, found.steepest, found.suggestion, METHOD, title)


def _check_validation(loss: float, epoch: int) -> None:
    check_finite(loss, f"epoch {epoch}, after its last step: the validation loss")


def length(items: Any) -> int | None:
    """How many there are, or None where that is not known, as of a loader over a stream."""
    try:
        return len(items)
    except TypeError:
        return None


def _progress_bar(steps: int | None, verbose: bool) -> Any:
    """A bar that goes away at the end, where somebody can see it: in a terminal or a notebook."""
    seen = verbose and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return tqdm(total=steps, unit="step", leave=False, disable=not seen)


class Normalize:
    """Subtracts `mean` and divides by `std`, channel by channel, from images C x H x W or N x C x H x W."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, images: Tensor) -> Tensor:
        return (images - self.mean[:, None, None]) / self.std[:, None, None]
