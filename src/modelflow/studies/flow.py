"""`ModelFlow`: one model from its loaders to a finished results folder, without any code of the user's.

flow = ModelFlow(model, train_loader, val_loader, model_name="my_net")
flow.run(layers=["conv_layers.0"], epochs=10)        # results/my_net/ holds every picture, table and checkpoint
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.record import Metrics
from modelflow.inspection.filters import conv_layers
from modelflow.io.arguments import as_whole, file, folder
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import check_name
from modelflow.results import layout
from modelflow.results.artifacts.artifact import Evaluated
from modelflow.results.records import Run
from modelflow.studies.attempts import after_training, attempt
from modelflow.studies.autosave import Autosave
from modelflow.studies.call import Call, changed_since, check_same_call
from modelflow.studies.continuation import Continuation
from modelflow.studies.insides import write_filters, write_outputs, write_search
from modelflow.studies.measured import measured
from modelflow.studies.parts import Parts, made_optimizer, named
from modelflow.studies.preview import check_class_names, layers_to_show, warn
from modelflow.studies.record import training_facts
from modelflow.studies.run_files import run_record, write_artifacts, write_model
from modelflow.studies.run_folder import RunFolder
from modelflow.studies.stored import check_not_replaced, stored_training
from modelflow.training.checkpoint import check_storable, most_bytes, not_in_weights
from modelflow.training.loss import Loss, loss_of
from modelflow.training.optimizers import OptimizerLike
from modelflow.training.preflight import check_model
from modelflow.training.schedules import KINDS, Schedule, check_schedule
from modelflow.training.states import newest_state
from modelflow.training.trainer import line

OWN_WEIGHTS = "initial weights: the module's own. To repeat the run, call torch.manual_seed(seed) before building it."


class ModelFlow(Parts):
    """Trains, evaluates and shows the insides of any module that maps images to logits.

    What is given here can be set later by the same names, for what is trained and evaluated from then on.

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
        results_dir: the folder in which one called `model_name` is made. The attribute is that folder.
        seed: of the order of the images and of dropout, 0 to 2**63 - 1. The weights are the model's own.
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

    _closed = True  # no name can be set that nothing reads; a class derived from it may have some of its own

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        train_loader: Any,
        val_loader: Any,
        model_name: str = "model_instance",
        load_checkpoint_path: str | Path | None = None,
        lr: float | None = None,
        find_best_lr: bool = False,
        *,
        test_loader: Any = None,
        optimizer: OptimizerLike = "adam",
        schedule: str = "constant",
        loss_fn: Loss | None = None,
        ema: float | None = None,
        results_dir: str | Path = "results",
        seed: int = 42,
        device: torch.device | str | None = None,
        class_names: Iterable[str] | Mapping[str, int] | None = None,
        verbose: bool = True,
    ) -> None:
        self._model_name = check_name(model_name)
        self._folder = RunFolder(folder("results_dir", results_dir) / model_name)
        self._data = self._options = None
        self.seed = seed
        check_model(model)
        made = made_optimizer(optimizer, model, lr)
        self.arch = Architecture(model, loss_of(loss_fn), made, verbose)
        self.arch.set_loaders(train_loader, val_loader)
        self.arch.ema = ema
        self.class_names = class_names
        self._test_loader = None if test_loader is val_loader else test_loader
        self.test_reads = 0
        self.settings = {
            "batch_size": as_whole(getattr(train_loader, "batch_size", None)),
            "lr": self.lr,
            "optimizer": named(self.optimizer).lower(),
            "schedule": check_schedule(schedule),
            "loss_fn": named(self.arch.loss_fn),
        }
        self.seconds = {}
        self.notes = [] if isinstance(model, GenericCNN) else [OWN_WEIGHTS]
        if left_out := not_in_weights(model):
            self.notes.append(f"{layout.WEIGHTS} is without {', '.join(left_out)}. {layout.CHECKPOINT} has all.")
        self._choose_device(device)
        if made is not optimizer and self.device.type != "cpu":
            self.arch.optimizer = made_optimizer(optimizer, model, lr)  # in the form that the device has
        self.started, self.stored = datetime.now(UTC), None
        self._first_epoch: int | None = None  # of the call of `train` that is under way
        self._states = Autosave()
        self._continuation = Continuation()
        if load_checkpoint_path is not None:
            given = self.optimizer if made is optimizer else None
            self._load(file("load_checkpoint_path", load_checkpoint_path), lr, given)
        if find_best_lr:
            self.find_best_lr()
        self._made = True

    def _load(self, checkpoint: Path, lr: float | None, given: torch.optim.Optimizer | None) -> None:
        """The weights, the optimizer's averages and the history of a checkpoint.

        Its rate and the optimizer's other settings are the checkpoint's, unless an `lr`, or an optimizer, was given.
        """
        settings = [] if given is None else [_settings_of(group) for group in given.param_groups]
        self.arch.load_checkpoint(checkpoint)
        for group, own in zip(self.optimizer.param_groups, settings, strict=False):
            group.update(own)
        if lr is not None:
            self.arch.lr = lr
        self.settings["lr"] = self.lr
        self._folder.is_ours = checkpoint.parent.resolve() == self.results_dir.resolve()
        epochs = self.arch.total_epochs
        if (seconds := self._continuation.load(checkpoint, epochs)) is not None:
            self.seconds["training"] = seconds
        elif epochs:
            self.notes.append(f"seconds: without the first {epochs} epochs, whose time the checkpoint does not hold")

    def find_best_lr(
        self, end_lr: float = 1, num_iter: int = 100, set_lr: bool = True, start_lr: float | None = None
    ) -> float:
        """A range test from `start_lr`, or from the current learning rate; saves its picture and data.

        Raises as `Architecture`'s does, and `UsageError` where the picture could not be written.
        """
        self._folder.check_writable()
        self.arch.lr_search = None
        try:
            return self.arch.search_lr(self.arch.train_loader, end_lr, num_iter, set_lr, self.seed, start_lr)
        finally:
            if self.arch.lr_search is not None:
                write_search(self, self._folder, self.arch.lr_search, set_lr)

    def train(self, epochs: int = 10) -> None:
        """Trains `epochs` more epochs; `RunError` when the loss is not finite.

        The checkpoint is saved at the end; every few seconds, also within an epoch, a state in the folder `training`,
        from which `resume` takes up.
        """
        schedule_before, resumes = self.arch.schedule, self._first_epoch is not None
        epochs = self.arch.check_trainable(epochs)
        check_storable(self.model)
        check_class_names(self)
        self._folder.check_writable()
        first = self.arch.total_epochs if self._first_epoch is None else self._first_epoch
        self.arch.schedule = self._schedule(first, epochs) or schedule_before
        self._record_parts()
        self._continuation.begin(self.arch.total_epochs, training_facts(self.recorded_settings, self.data))
        warn(self)
        call = Call(self, self._folder, self._states, first, resumes)
        self.arch.callbacks.append(call)
        try:
            self.arch.train(first + epochs - self.arch.total_epochs, seed=self.seed)
            call.take_folder()
            self.save_checkpoint()
        except (UsageError, DataError):  # before a step was made
            raise
        except BaseException:
            call.take_folder()
            raise
        finally:
            self.arch.callbacks.remove(call)
            self._first_epoch = None
            self._continuation.end(self.arch.total_epochs, training_facts(self.recorded_settings, self.data))
            self.arch.schedule = schedule_before
            self.seconds["training"] = call.seconds

    def _schedule(self, first_epoch: int, epochs: int) -> Schedule | None:
        kind = KINDS[self.settings["schedule"]]
        if kind is None:
            return None
        steps = self.arch.steps_an_epoch()
        return kind(epochs * steps, first_epoch * steps)

    def save_checkpoint(self) -> None:
        """model_checkpoint.pth, from which training goes on."""
        self.arch.save_checkpoint(self.results_dir / layout.CHECKPOINT)

    def resume(self) -> str:
        """Takes up the newest state of a training that was broken off, and says from where; empty where there is none.

        `train` or `run` with the same `epochs` then trains the rest, to the bytes that it would have given at once.
        Raises `DataError` when the state does not fit the model or the optimizer.
        """
        damaged: list[str] = []
        found = newest_state(self.results_dir / layout.TRAINING, most_bytes(self.model), damaged.append)
        if found is None:
            self.notes += damaged
            return ""
        state, path = found
        call = state["call"]
        self._record_parts()
        check_same_call(call, self, path)
        self.arch.resume_from(state, path)
        self.arch.engine = call["engine"]
        self._folder.is_ours = True
        self._continuation.resume(call.get("continued", {}))
        self._first_epoch, self.notes = call["first_epoch"], [*call["notes"], *damaged]
        self.seconds, self.started = dict(call["seconds"]), datetime.fromisoformat(call["started"])
        steps = 0 if state["midway"] is None else state["midway"]["steps"]
        where = f"resuming after epoch {state['epoch']}" + (f", step {steps:,} of the next" if steps else "")
        if changed := changed_since(call, self):
            where += f". The bytes may differ from those of an uninterrupted run: {', '.join(changed)}"
            self.notes.append(where)
        return where

    go_on = resume  # its earlier name

    def evaluate(self) -> Metrics:
        """Metrics on the test images, or on the validation loader where there are none of their own.

        Writes the weights, their tables and pictures, and last run.json. Warnings of a run that has died are printed,
        stored, and shown on the confusion matrix. Raises `UsageError` where nothing can be written.
        """
        self._folder.check_writable()
        write_model(self, self._folder)
        return self._evaluate()

    def _evaluate(self) -> Metrics:
        start = time.perf_counter()
        found = measured(self)
        self._folder.begin_evaluation(self.stored is not None)
        write_artifacts(self, self._folder, found.evaluated)
        self.seconds["evaluation"] = time.perf_counter() - start
        self._folder.write_run(run_record(self, self._folder, found))
        self._tell(found.evaluated)
        return found.evaluated.metrics

    def _tell(self, evaluated: Evaluated) -> None:
        if self.verbose:
            metrics = evaluated.metrics
            accuracy = f"accuracy {metrics.accuracy:.2%} (protocol {evaluated.kind})"
            line(f"{self.model_name}: {accuracy}, macro F1 {metrics.macro_f1:.4f} -> {self.results_dir}")
            for warning in evaluated.warnings:
                line(f"{self.model_name}: WARNING: {warning}")

    def show_insides(self, filter_layers: Sequence[str], layers_to_hook: Sequence[str]) -> None:
        """filters_LAYER.png for each of `filter_layers`, intermediate_outputs.png of `layers_to_hook`.

        Raises `UsageError` for a layer that the model does not have.
        """
        write_filters(self, self._folder, filter_layers)
        write_outputs(self, self._folder, layers_to_hook)

    def run(self, layers: Sequence[str] | None = None, epochs: int = 10, skip_train: bool = False) -> Metrics:
        """Trains (unless `skip_train`), saves the checkpoint and the weights, shows the insides, and evaluates.

        The filters of every convolutional layer are shown, and the outputs of `layers` (left out: the convolutional
        ones). What cannot be drawn is noted. Called again it trains on. Raises `UsageError` or `DataError` before the
        first step for what cannot be trained or evaluated, and `RunError` when what follows the training fails, which
        says where the weights are.
        """
        shown = layers_to_show(self, layers)
        self._folder.check_writable()
        if skip_train:
            if (stored := stored_training(self, self._folder)) is not None:
                self._folder.is_ours = True
                self.remember(stored)
            check_not_replaced(self, self._folder)
            self.save_checkpoint()
            return self._show_and_evaluate(shown)
        if epochs == 0:
            check_not_replaced(self, self._folder)
        self.train(epochs)
        with after_training(self._folder):
            return self._show_and_evaluate(shown)

    def _show_and_evaluate(self, layers: list[str]) -> Metrics:
        write_model(self, self._folder)
        for name in conv_layers(self.model):
            with attempt(layout.filters_png(name), self.arch.note):
                write_filters(self, self._folder, [name])
        with attempt(layout.OUTPUTS, self.arch.note):
            write_outputs(self, self._folder, layers)
        return self._evaluate()

    def remember(self, run: Run) -> None:
        """Keeps what a stored `run` of these very weights says of their training, for the record of an evaluation."""
        self.stored, self.seconds, self.test_reads = run, dict(run.seconds), run.test_reads or 0
        self.started = datetime.fromisoformat(run.started)


def _settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's settings of a group of parameters."""
    return {name: value for name, value in group.items() if name != "params"}
