"""`ModelFlow`: one model from its loaders to a finished results folder, without any code of the user's.

flow = ModelFlow(model, train_loader, val_loader, model_name="my_net")
flow.run(layers=["conv_layers.0"], epochs=10)        # results/my_net/ holds every picture, table and checkpoint
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.evaluation.record import Metrics
from modelflow.io.arguments import file, folder
from modelflow.io.validation import did_you_mean
from modelflow.networks.resolve import check_name
from modelflow.results.protocol import Kept
from modelflow.results.records import DataRecord, Run
from modelflow.studies.attempts import after_training
from modelflow.studies.delegation import Delegated, Shown
from modelflow.studies.insides import search_lr, write_filters, write_outputs
from modelflow.studies.parts import Parts
from modelflow.studies.preview import layers_to_show
from modelflow.studies.run_evaluation import evaluate, show_and_evaluate
from modelflow.studies.run_training import RunTraining
from modelflow.studies.stored import check_not_replaced, take_stored
from modelflow.text import sentence
from modelflow.training.loss import Loss
from modelflow.training.optimizers import OptimizerLike


class ModelFlow:
    """Trains, evaluates and shows the insides of any module that maps images to logits.

    What is given here can be set later by the same names, for what is trained and evaluated from then on. Beside it,
    `settings` are those that the run's record names, `notes` what a reader of it must know, and `seconds` the times it
    took. `stored` is the record of the finished run whose weights it has, if any. `test_reads` counts how often the
    test images were evaluated.

    Args:
        model: maps images N x C x H x W to logits N x K. It is trained in place, from the weights that it has.
        train_loader: gives batches of images and labels (classes from 0), as torch's `DataLoader` does.
        val_loader: likewise, validated on after each epoch.
        model_name: what it is called, and the folder of its results.
        load_checkpoint_path: a checkpoint to resume from, with its weights, optimizer and history.
        lr: the optimizer's learning rate. The default is the checkpoint's, or 3e-4.
        find_best_lr: whether to search for a learning rate at once, and set it.
        test_loader: evaluated on after training. The default is the validation loader.
        optimizer: a name (adam, adamw, sgd, rmsprop), a class, or a torch optimizer over the model's parameters.
        schedule: constant, one-cycle or cosine: how the rate changes over one call of `train`, up to `lr`.
        loss_fn: takes outputs and labels, gives a mean. The default is cross-entropy.
        ema: the decay of the exponential moving average of the weights, such as 0.999. The averaged model is evaluated
            and stored. The default is the checkpoint's, or no average.
        shift: by how many pixels at most training images are shifted, down or up and left or right.
        flip: whether half of the training images are mirrored left to right.
        cutout: the side in pixels of a square that is blanked in each training image.
        results_dir: the folder in which one called `model_name` is made. The attribute is that folder.
        seed: of the order of the images, of dropout and of what changes images, 0 to 2**63 - 1. The weights are the
            model's own.
        device: cpu, cuda, cuda:N, mps or xpu. The default is the CPU where the compiled step covers the run, else CUDA
            where there is one.
        class_names: in the order of the labels, or a mapping such as `class_to_idx`. The default is those of the
            loaders' data set.
        verbose: whether to print progress and results.

    Raises:
        UsageError: for arguments that cannot be, such as a device that is not there.
        SpecError: for a name that cannot name a folder.
        DataError: for a checkpoint that does not fit.
    """

    __slots__ = ("__weakref__", "_parts", "_training")  # a class derived from it may have attributes of its own

    arch = Delegated[Architecture, Architecture]()
    cutout = Delegated[int, int]()
    class_names = Delegated[tuple[str, ...], Iterable[str] | Mapping[str, int] | None]()
    device = Delegated[torch.device, torch.device | str]()
    ema = Delegated[float | None, float | None]()
    flip = Delegated[bool, bool]()
    loss_fn = Delegated[Loss, Loss]()
    lr = Delegated[float, float]()
    model_name = Delegated[str, str]()
    notes = Delegated[list[str], list[str]]()
    optimizer = Delegated[torch.optim.Optimizer, OptimizerLike]()
    results_dir = Delegated[Path, str | Path]()
    schedule = Delegated[str, str]()
    seed = Delegated[int, int]()
    shift = Delegated[int, int]()
    settings = Delegated[dict[str, Any], dict[str, Any]]()
    test_loader = Delegated[Any, Any]()
    train_loader = Delegated[Any, Any]()
    val_loader = Delegated[Any, Any]()
    verbose = Delegated[bool, bool]()
    seconds = Delegated[dict[str, float], dict[str, float]]("_parts.history.seconds")
    started = Delegated[datetime, datetime]("_parts.history.started")
    stored = Delegated[Run | None, Run | None]("_parts.history.stored")
    test_reads = Delegated[int, int]("_parts.history.test_reads")
    continued = Shown[dict[str, str]]()
    data = Shown[DataRecord]()
    model = Shown[nn.Module]()
    names_are_given = Shown[bool]()
    network = Shown[list[object]]()
    options = Shown[dict[str, Any] | None]()
    recorded_settings = Shown[dict[str, Any]]()
    split_kind = Shown[Kept]()
    _saved_at = Delegated[float, float]("_training.autosave.saved_at")

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        train_loader: object,
        val_loader: object,
        model_name: str = "model_instance",
        load_checkpoint_path: str | Path | None = None,
        lr: float | None = None,
        find_best_lr: bool = False,
        *,
        test_loader: object = None,
        optimizer: OptimizerLike = "adam",
        schedule: str = "constant",
        loss_fn: Loss | None = None,
        ema: float | None = None,
        shift: int = 0,
        flip: bool = False,
        cutout: int = 0,
        results_dir: str | Path = "results",
        seed: int = 42,
        device: torch.device | str | None = None,
        class_names: Iterable[str] | Mapping[str, int] | None = None,
        verbose: bool = True,
    ) -> None:
        place = folder("results_dir", results_dir) / check_name(model_name)
        self._parts = Parts(
            model,
            train_loader,
            val_loader,
            model_name,
            place,
            test_loader=test_loader,
            lr=lr,
            optimizer=optimizer,
            schedule=schedule,
            loss_fn=loss_fn,
            ema=ema,
            shift=shift,
            flip=flip,
            cutout=cutout,
            seed=seed,
            device=device,
            class_names=class_names,
            verbose=verbose,
        )
        self._training = RunTraining(self._parts)
        if load_checkpoint_path is not None:
            checkpoint = file("load_checkpoint_path", load_checkpoint_path)
            self._training.load(checkpoint, lr, keeps_options=self._parts.optimizer is optimizer)
        if find_best_lr:
            self.find_best_lr()

    @classmethod
    def over(cls, parts: Parts) -> Self:
        """One over `parts` that are made already, such as those of a study's run."""
        flow = cls.__new__(cls)
        flow._parts, flow._training = parts, RunTraining(parts)
        return flow

    def __setattr__(self, name: str, value: object) -> None:
        """Raises `AttributeError` for a name that nothing reads, or a method's: setting it would do nothing or harm."""
        try:
            super().__setattr__(name, value)
        except AttributeError:
            known = sorted(word for word, kind in vars(ModelFlow).items() if isinstance(kind, Delegated))
            if name in known:
                raise
            known = [word for word in known if not word.startswith("_")]
            fix = sentence(did_you_mean(name, known)) or f"Expected one of {', '.join(known)}."
            raise AttributeError(f"ModelFlow.{name}: cannot be set. {fix}") from None

    def find_best_lr(
        self, end_lr: float = 1, num_iter: int = 100, set_lr: bool = True, start_lr: float | None = None
    ) -> float:
        """A range test from `start_lr`, or from the current learning rate; saves its picture and data.

        Raises as `Architecture`'s does, and `UsageError` where the picture could not be written.
        """
        return search_lr(self._parts, end_lr, num_iter, set_lr, start_lr)

    def train(self, epochs: int = 10) -> None:
        """Trains `epochs` more epochs; `RunError` when the loss is not finite.

        The checkpoint is saved at the end; every few seconds, also within an epoch, a state in the folder `training`,
        for `resume`.
        """
        self._training.train(epochs)

    def save_checkpoint(self) -> None:
        """model_checkpoint.pth, from which training goes on."""
        self._training.save_checkpoint()

    def resume(self) -> str:
        """Resumes the newest state of an interrupted training, and says from where; empty where there is none.

        `train` or `run` with the same `epochs` then trains the rest, to the bytes that it would have given at once.
        Raises `DataError` when the state does not fit the model or the optimizer.
        """
        return self._training.resume()

    go_on = resume  # its earlier name

    def evaluate(self) -> Metrics:
        """Metrics on the test images, or on the validation loader where there are none of their own.

        Writes the weights, their tables and pictures, and last run.json. Warnings of a run that has died are printed,
        stored, and shown on the confusion matrix. Raises `UsageError` where nothing can be written.
        """
        return evaluate(self._parts)

    def show_insides(self, filter_layers: Sequence[str], layers_to_hook: Sequence[str]) -> None:
        """filters_LAYER.png for each of `filter_layers`, intermediate_outputs.png of `layers_to_hook`.

        Raises `UsageError` for a layer that the model does not have.
        """
        write_filters(self._parts, filter_layers)
        write_outputs(self._parts, layers_to_hook)

    def run(self, layers: Sequence[str] | None = None, epochs: int = 10, skip_train: bool = False) -> Metrics:
        """Trains (unless `skip_train`), saves the checkpoint and the weights, shows the insides, and evaluates.

        The filters of every convolutional layer are shown, and the outputs of `layers` (left out: the convolutional
        ones). What cannot be drawn is noted. Called again it trains on. Raises `UsageError` or `DataError` before the
        first step for what cannot be trained or evaluated, and `RunError` when what follows the training fails, which
        says where the weights are.
        """
        parts, shown = self._parts, layers_to_show(self._parts, layers)
        parts.folder.check_writable()
        if skip_train:
            take_stored(parts)
            self.save_checkpoint()
            return show_and_evaluate(parts, shown)
        if epochs == 0:
            check_not_replaced(parts)
        self.train(epochs)
        with after_training(parts.folder):
            return show_and_evaluate(parts, shown)

    def names_for(self, n_classes: int) -> tuple[str, ...]:
        """A name for each of so many logits: numbers where no name is known.

        Raises `UsageError` where names were given, and not as many.
        """
        return self._parts.names_for(n_classes)

    def remember(self, run: Run) -> None:
        """Keeps what a stored `run` of these very weights says of their training, for the record of an evaluation."""
        self._parts.history.remember(run)
