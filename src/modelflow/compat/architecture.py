"""`Architecture`: a model, its loss and its optimizer, trained, looked into, saved and loaded.

The interface of the helper class that dvgodoy's PyTorchStepByStep and the course PPGEEC2318 teach, on the functions of
this package: what it adds are streams of its own for order and dropout, and hooks and searches that leave no trace.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.convert import images as as_images
from modelflow.data.convert import labels as labels_of
from modelflow.data.convert import tensor_of
from modelflow.errors import UsageError
from modelflow.evaluation.inspection.filters import filters
from modelflow.evaluation.inspection.hooks import copied, layer
from modelflow.io.arguments import class_names as class_names_of
from modelflow.io.arguments import layer_names, whole
from modelflow.io.array import Array
from modelflow.training.callback import Functions
from modelflow.training.denormals import flushed_to_zero
from modelflow.training.loss import Loss
from modelflow.training.lr_finder import METHOD, SMOOTH
from modelflow.training.modes import as_written, evaluating
from modelflow.training.seeding import generator_owners
from modelflow.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


class Architecture(Trainer):
    """A `Trainer` with the methods of the course: figures, filters, hooks, searches of a learning rate.

    `visualization` has what the hooks of `attach_hooks` recorded.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Loss,
        optimizer: torch.optim.Optimizer,
        verbose: bool = True,
        class_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(model, loss_fn, optimizer, verbose)
        self._functions = Functions()
        self.callbacks.append(self._functions)
        self.class_names = class_names
        self.visualization: dict[str, Array | None] = {}
        self.handles: dict[str, torch.utils.hooks.RemovableHandle] = {}

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The class names in the order of their labels. Set a list, a mapping, or None."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: object) -> None:
        self._class_names = None if names is None else class_names_of(names)

    @property
    def on_step(self) -> Callable[[int, int, float], None] | None:
        """A function that is called as `Callback.on_step`."""
        return self._functions.step

    @on_step.setter
    def on_step(self, function: Callable[[int, int, float], None] | None) -> None:
        self._functions.step = function

    @property
    def on_midway(self) -> Callable[[], None] | None:
        """A function that is called as `Callback.on_pause`."""
        return self._functions.pause

    @on_midway.setter
    def on_midway(self, function: Callable[[], None] | None) -> None:
        self._functions.pause = function

    @property
    def on_epoch(self) -> Callable[[], None] | None:
        """A function that is called as `Callback.on_epoch`."""
        return self._functions.epoch

    @on_epoch.setter
    def on_epoch(self, function: Callable[[], None] | None) -> None:
        self._functions.epoch = function

    def set_seed(self, seed: int = 42) -> None:
        """Seeds torch, numpy, Python's random and the training loader's order, for code outside of `train`."""
        seed = whole("seed", seed, 0, 2**32)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        for owner in generator_owners(self.train_loader):
            if owner.generator is not None:
                owner.generator.manual_seed(seed)

    @torch.no_grad()
    def predict(self, x: Any) -> Array:
        """The model's outputs for a tensor, an array or a list of such, in eval mode; attached hooks see the pass.

        Raises `DataError` for what holds no numbers.
        """
        return copied(self._in_eval_mode(self._images(x)))

    def _images(self, x: object) -> Any:
        return as_images(x, next((p.dtype for p in self.model.parameters()), torch.float32))

    def _hooks_heard(self) -> AbstractContextManager[None]:
        return as_written() if self.handles else nullcontext()

    def _in_eval_mode(self, x: Tensor) -> Tensor:
        with evaluating(self.model), self._hooks_heard(), flushed_to_zero():
            outputs: Tensor = tensor_of(self.model(x.to(self.device)))
            return outputs

    def plot_losses(self) -> "Figure":
        """Training and validation loss over the epochs; a figure of pyplot, as every figure that a method returns."""
        from modelflow.figures.losses import plot_losses
        from modelflow.figures.style import for_pyplot

        name = getattr(self.loss_fn, "__name__", type(self.loss_fn).__name__)
        unit = {} if isinstance(self.loss_fn, nn.CrossEntropyLoss) else {"loss_name": name}
        with for_pyplot():
            return plot_losses(self.losses, self.val_losses, "Loss over epochs", **unit)

    def visualize_filters(self, layer_name: str, **look: object) -> "Figure":
        """The filters of a convolutional layer; `look` is for matplotlib's imshow, such as `cmap="gray"`.

        Raises `UsageError` for a name that is none, and for what imshow does not take.
        """
        from modelflow.figures.filters import plot_filters
        from modelflow.figures.style import for_pyplot

        weights_OIHW = filters(self.model, layer_name)
        try:
            with for_pyplot():
                return plot_filters(weights_OIHW, layer_name, "Learned filters", **look)
        except (AttributeError, TypeError, ValueError) as error:
            if not look:
                raise
            reason = f"{error}".partition("\n")[0].partition(";")[0].rstrip(".")
            raise UsageError(
                f"visualize_filters: {reason:.200}. Give what imshow takes, such as cmap='gray'."
            ) from None

    def attach_hooks(self, layers_to_hook: Sequence[str], hook_fn: Callable[..., object] | None = None) -> None:
        """From now on every pass adds the outputs (copies) of these layers to `visualization`.

        Raises `UsageError` for a name that the model does not have.
        """
        layers = {name: layer(self.model, name) for name in layer_names(layers_to_hook)}
        self.remove_hooks()
        self.visualization = dict.fromkeys(layers)
        for name, module in layers.items():
            self.handles[name] = module.register_forward_hook(hook_fn or self._recorder(name, module))

    def _recorder(self, name: str, module: nn.Module) -> Callable[..., None]:
        def record(caller: nn.Module, _inputs: object, outputs: Tensor) -> None:
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
        """What `attach_hooks` recorded of `layers`, one column per image. Raises `UsageError` if nothing was."""
        from modelflow.figures.outputs import plot_outputs
        from modelflow.figures.style import for_pyplot

        named = layer_names(layers)
        maps = {name: values for name in named if (values := self.visualization.get(name)) is not None}
        if not maps:
            raise UsageError(f"layers {named}: nothing was recorded. Call attach_hooks(layers) and predict(x) first.")
        with for_pyplot():
            return plot_outputs(None, maps, n_images, y, yhat, self.class_names, "Layer outputs")

    @torch.no_grad()
    def correct(self, x: Tensor, y: Tensor, threshold: float = 0.5) -> Tensor:
        """Per class (number right, number of images), classes x 2; one output column is read as a binary logit.

        A model that ends in a sigmoid gives probabilities, which are compared with `threshold` as they are.
        """
        outputs, y = self._in_eval_mode(self._images(x)), labels_of(y).to(self.device)
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
        pixels_NCP = as_images(images_NCHW, None).flatten(2)
        counts_C = torch.full((pixels_NCP.shape[1],), float(len(pixels_NCP)), device=pixels_NCP.device)
        return torch.stack([counts_C, pixels_NCP.mean(2).sum(0), pixels_NCP.std(2).sum(0)])

    @staticmethod
    def make_normalizer(loader: Any) -> "Normalize":
        """What subtracts the mean image mean and divides by the mean image standard deviation, channel by channel."""
        counts_C, means_C, stds_C = Architecture.loader_apply(loader, Architecture.statistics_per_channel)
        return Normalize(means_C / counts_C, stds_C / counts_C)

    def lr_range_test(
        self,
        data_loader: object,
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
        from modelflow.figures.style import for_pyplot

        curve = self._range_test(data_loader, end_lr, num_iter, smooth=alpha, step_mode=step_mode)
        tracking = {"loss": list(curve.losses), "lr": list(curve.lrs)}
        if ax is None:
            with for_pyplot():
                return tracking, plot_lr_finder(curve.lrs, curve.losses, None, None, "", "Learning rate range test")
        ax.plot(curve.lrs, curve.losses)
        ax.set(
            xlabel="learning rate", ylabel="smoothed training loss", xscale="log" if step_mode == "exp" else "linear"
        )
        return tracking, ax.figure

    def find_best_lr(
        self,
        data_loader: object,
        end_lr: float = 1,
        num_iter: int = 100,
        set_lr: bool = True,
        seed: int = 42,
        start_lr: float | None = None,
    ) -> tuple["Axes", float]:
        """A learning rate from a range test of `num_iter` steps up to `end_lr`, and the picture of it.

        It starts from `start_lr`, or from the optimizer's learning rate. Model, optimizer, modes and random state stay
        as before. `set_lr` sets the learning rate of every parameter group. `lr_search` holds the curve, both
        suggestions, and a note about a loader that was too short. Raises `UsageError` for bounds that leave nothing
        to search and `RunError` for a curve that suggests nothing.
        """
        suggestion = self.search_lr(data_loader, end_lr, num_iter, set_lr, seed, start_lr)
        return self.plot_lr_search().axes[0], suggestion

    def plot_lr_search(self, title: str = "Learning rate range test") -> "Figure":
        """The curve of the last `find_best_lr` and both suggestions. Raises `UsageError` when there was none."""
        from modelflow.figures.lr_finder import plot_lr_finder
        from modelflow.figures.style import for_pyplot

        found = self.lr_search
        if found is None:
            raise UsageError("there is no learning rate search to draw. Call find_best_lr(loader) first.")
        with for_pyplot():
            return plot_lr_finder(found.lrs, found.losses, found.steepest, found.suggestion, METHOD, title)


class Normalize:
    """Subtracts `mean` and divides by `std`, channel by channel, from images C x H x W or N x C x H x W."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = (values[:, None, None].to(images.device) for values in (self.mean, self.std))
        return (images - mean) / std
