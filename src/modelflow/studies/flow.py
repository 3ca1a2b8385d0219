"""`ModelFlow`: one model from its loaders to a finished results folder, without any code of the user's.

flow = ModelFlow(model, train_loader, val_loader, model_name="my_net")
flow.run(layers=["conv_layers.0"], epochs=10)        # results/my_net/ holds every picture, table and checkpoint
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.compat.architecture import Architecture
from modelflow.data.convert import dtype_of, logits_of, pairs, unheard
from modelflow.errors import DataError, RunError, UsageError
from modelflow.evaluation.health import dead_units, guessing_loss, likely_cause, prediction_warnings, unit_warnings
from modelflow.evaluation.latency import latency_ms
from modelflow.evaluation.measure import measure
from modelflow.evaluation.record import Metrics
from modelflow.inspection.activations import activations
from modelflow.inspection.filters import conv_layers, filters
from modelflow.inspection.hooks import captured, copied
from modelflow.io.arguments import as_whole, file, folder, layer_names, make_writable
from modelflow.io.bounds import check_predictions
from modelflow.io.files import sha256, write_atomic
from modelflow.io.signals import raise_if_heard
from modelflow.networks.build import GenericCNN, is_as_described, module_sha256
from modelflow.networks.description import Spec
from modelflow.networks.diagram import svg
from modelflow.networks.resolve import check_name
from modelflow.results import layout, provenance
from modelflow.results.artifacts.artifact import Evaluated
from modelflow.results.contents import artifacts, is_picture, remove_outdated
from modelflow.results.records import OF_LOADERS, Run, other_data, other_files
from modelflow.studies.autosave import Autosave
from modelflow.studies.parts import Parts, made_optimizer, named
from modelflow.studies.record import (
    CONTINUED,
    evaluated_again,
    images_of,
    recorded_protocol,
    seconds_before,
    training_before,
    training_facts,
    unlike,
)
from modelflow.text import short
from modelflow.training.callback import Functions
from modelflow.training.checkpoint import check_storable, most_bytes, not_in_weights, weights_bytes
from modelflow.training.compiled import unsupported_inference_reason
from modelflow.training.loss import Loss, is_plain_cross_entropy, loss_of
from modelflow.training.lr_finder import METHOD, LRSearch
from modelflow.training.options import options
from modelflow.training.predict import one_class_each
from modelflow.training.preflight import (
    check_images,
    check_labels,
    check_model,
    explained,
    length,
    look_at_evaluation,
    note_empty_classes,
    note_modes,
    what_outputs_are,
)
from modelflow.training.schedules import KINDS, Schedule, check_schedule
from modelflow.training.seeding import seeded_order, seeded_rng
from modelflow.training.states import newest_state, remove_states
from modelflow.training.trainer import line

SHOWN_IMAGES = 10
OWN_WEIGHTS = "initial weights: the module's own; to repeat the run, call torch.manual_seed(seed) before it is built"
NOT_TRAINED = "the model was not trained: train it, or give load_checkpoint_path"
OWN_SCHEDULER = (
    "warning: a scheduler of torch holds the optimizer, and nobody calls it; give schedule='one-cycle' in its place"
)
HEALTH_IMAGES = 1000
LATENCY_BATCHES = (1, 64)

Array = np.ndarray[Any, Any]


class ModelFlow(Parts):
    """Trains, evaluates and shows the insides of any module that maps images to logits.

    `optimizer` is a name, a class, or a torch optimizer over the model's parameters; `lr` is its learning rate, left
    out the checkpoint's or 3e-4; a `schedule` other than constant spans the epochs of one call of `train`, its top that
    rate; `results_dir` the folder in which one called `model_name` is made (the attribute `results_dir` is that
    folder). `class_names` are a list in the order of the labels, or a mapping such as `class_to_idx`; left out, those
    of the loaders' data set. `seed` covers order and dropout; the weights are the model's own. `device` is a name; left
    out, the CPU where the compiled step covers the run, else CUDA where it is. Without a `test_loader`, what is
    validated on is tested on too. What is given here can be set later by the same names, for what is trained and
    evaluated from then on. Raises `UsageError` for arguments that cannot be, such as a device that is not there or a
    rate beside an optimizer that has another, `SpecError` for a name that cannot name a folder and `DataError` for a
    checkpoint that does not fit.
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
        optimizer: str | torch.optim.Optimizer = "adam",
        schedule: str = "constant",
        loss_fn: Loss | None = None,
        results_dir: str | Path = "results",
        seed: int = 42,
        device: torch.device | str | None = None,
        class_names: Iterable[str] | Mapping[str, int] | None = None,
        verbose: bool = True,
    ) -> None:
        self._model_name = check_name(model_name)
        self._results_dir = folder("results_dir", results_dir) / model_name
        self._data = self._options = None
        self.seed = seed
        check_model(model)
        made = made_optimizer(optimizer, model, lr)
        self.arch = Architecture(model, loss_of(loss_fn), made, verbose)
        self.arch.set_loaders(train_loader, val_loader)
        self.class_names = class_names
        self._test_loader = None if test_loader is val_loader else test_loader
        self.test_reads = 0
        self.settings: dict[str, Any] = {
            "batch_size": as_whole(getattr(train_loader, "batch_size", None)),
            "lr": self.lr,
            "optimizer": named(self.optimizer).lower(),
            "schedule": check_schedule(schedule),
            "loss_fn": named(self.arch.loss_fn),
        }
        self.seconds: dict[str, float] = {}
        self.notes = [] if isinstance(model, GenericCNN) else [OWN_WEIGHTS]
        if left_out := not_in_weights(model):
            self.notes.append(f"{layout.WEIGHTS} is without {', '.join(left_out)}; {layout.CHECKPOINT} has all")
        self._choose_device(device)
        if made is not optimizer and self.device.type != "cpu":
            self.arch.optimizer = made_optimizer(optimizer, model, lr)  # in the form that the device has
        self.started = datetime.now(UTC)
        self.stored: Run | None = None
        self._first_epoch: int | None = None  # of the call of `train` that is under way
        self._resumes: bool | None = None  # whether that goes on from a state; None once it has made a step
        self._trained_from = 0.0
        self._states = Autosave()
        self._written: set[str] = set()  # files of the folder that this one has written
        self._goes_on = False  # whether what else lies there is of the same training
        self._before: tuple[int, dict[str, Any]] | None = None  # epochs trained before this call, and how
        self._continued: dict[str, str] = {}  # how the epochs before were trained, where that was otherwise
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
        self._goes_on = checkpoint.parent.resolve() == self.results_dir.resolve()
        epochs = self.arch.total_epochs
        if (trained := training_before(checkpoint, epochs)) is not None:
            self._continued = {name: of for name, of in trained.items() if name.startswith(CONTINUED)}
        self._before = epochs, trained or {}
        if (seconds := seconds_before(checkpoint, epochs)) is not None:
            self.seconds["training"] = seconds
        elif epochs:
            self.notes.append(f"seconds: without the first {epochs} epochs, whose time the checkpoint does not hold")

    def find_best_lr(
        self, end_lr: float = 1, num_iter: int = 100, set_lr: bool = True, start_lr: float | None = None
    ) -> float:
        """A range test from `start_lr`, or from the current learning rate; saves its picture and data.

        Raises as `Architecture`'s does, and `UsageError` where the picture could not be written.
        """
        self._check_folder()
        self.arch.lr_search = None
        try:
            return self.arch.search_lr(self.arch.train_loader, end_lr, num_iter, set_lr, self.seed, start_lr)
        finally:
            self._write_search(set_lr)

    def _write_search(self, set_lr: bool) -> None:
        found = self.arch.lr_search
        if found is None:
            return
        from modelflow.figures.lr_finder import plot_lr_finder

        title = f"{self.model_name}: learning rate range test"
        figure = plot_lr_finder(found.lrs, found.losses, found.steepest, found.suggestion, METHOD, title)
        self._write_png(layout.LR_FINDER_PNG, figure)
        rows = zip(found.lrs, found.losses, strict=True)
        self._write(layout.LR_FINDER_CSV, layout.csv_text(("lr", "smoothed_loss"), rows))
        self.notes += _search_notes(found, None if set_lr else float(self.optimizer.param_groups[0]["lr"]))

    def train(self, epochs: int = 10) -> None:
        """Trains `epochs` more epochs; `RunError` when the loss is not finite.

        The checkpoint is saved at the end; every few seconds, also within an epoch, a state in the folder `training`,
        from which `resume` takes up.
        """
        schedule_before, self._trained_from = self.arch.schedule, time.perf_counter()
        epochs = self.arch.check_trainable(epochs)
        check_storable(self.model)
        self._check_names()
        self._check_folder()
        self._resumes = self._first_epoch is not None
        if self._first_epoch is None:
            self._first_epoch = self.arch.total_epochs
        self.arch.schedule = self._schedule(epochs) or schedule_before
        saving = Functions(pause=self._autosave, epoch=self._autosave)
        self.arch.callbacks.append(saving)
        self._record_parts()
        self._record_how_it_continues()
        note_modes(self.model, self.arch.note)
        self._warn_of_repeats()
        if any("initial_lr" in group for group in self.optimizer.param_groups):
            self.arch.note(OWN_SCHEDULER)
        try:
            self.arch.train(self._first_epoch + epochs - self.arch.total_epochs, seed=self.seed)
            self._replace_the_last()
            self.save_checkpoint()
        except (UsageError, DataError):  # before a step was made
            raise
        except BaseException:
            self._replace_the_last()
            raise
        finally:
            self.arch.callbacks.remove(saving)
            self._first_epoch = None
            self._before = self.arch.total_epochs, training_facts(self._recorded_settings(), self.data)
            self.arch.schedule = schedule_before
            self.seconds["training"] = self._seconds_trained()

    def _record_how_it_continues(self) -> None:
        """Of epochs trained before otherwise than those to come: in what they differ, for the record."""
        epochs, before = self._before or (0, {})
        if epochs == self.arch.total_epochs > 0:
            now = training_facts(self._recorded_settings(), self.data)
            if text := unlike(before, now) if before else "not known":
                self._continued[f"{CONTINUED}{epochs}"] = text
        self._before = None

    def _check_folder(self) -> None:
        """Raises `UsageError` where no results can be written."""
        place = self.results_dir
        make_writable(place if os.path.lexists(place) else place.parent, "results_dir")

    def _warn_of_repeats(self) -> None:
        """Of test images that are training images, where somebody reads it; `run.json` says it anyway."""
        if not self.verbose:
            return
        from modelflow.report.answer import repeated_images

        for notice in repeated_images([self.data]):
            line(f"{self.model_name}: warning: {notice}")

    def _kept_of_the_search(self) -> set[str]:
        """The files of a search before this training, not those of a search before another one."""
        of_a_search = set(layout.OF_A_SEARCH)
        return of_a_search if self._goes_on else of_a_search & self._written

    def _replace_the_last(self) -> None:
        """Takes away what says that the folder holds a finished run, or one half-way, once this one is under way."""
        if self._resumes is None:
            return
        if not self._resumes:
            remove_states(self.results_dir / layout.TRAINING)
        remove_outdated(self.results_dir, self._kept_of_the_search())  # run.json too: it marks a finished run
        self.stored, self._goes_on, self._resumes = None, True, None

    def _seconds_trained(self) -> float:
        return self.seconds.get("training", 0.0) + time.perf_counter() - self._trained_from

    def _schedule(self, epochs: int) -> Schedule | None:
        kind = KINDS[self.settings["schedule"]]
        if kind is None or self._first_epoch is None:
            return None
        steps = self.arch.steps_an_epoch()
        return kind(epochs * steps, self._first_epoch * steps)

    def save_checkpoint(self) -> None:
        """model_checkpoint.pth, from which training goes on."""
        self.arch.save_checkpoint(self.results_dir / layout.CHECKPOINT)

    def _autosave(self) -> None:
        """A state, where one is due."""
        self._replace_the_last()
        if self._states.is_due():
            self._states.save(self.results_dir / layout.TRAINING, self._state)

    def _state(self) -> dict[str, Any]:
        """The trainer's, and what this call of `train` was asked for."""
        call = {
            "first_epoch": self._first_epoch,
            "asked": {"seed": self.seed, **self.settings},
            "checksums": self.data.checksums,
            "options": self._options,
            "continued": self._continued,
            "network": self._network(),
            "engine": self.arch.engine,
            "made_by": self._made_by(),
            "notes": self.notes,
            "started": self.started.isoformat(),
            "seconds": self.seconds | {"training": self._seconds_trained()},
        }
        return self.arch.state() | {"call": call}

    def _made_by(self) -> dict[str, str]:
        return provenance.versions() | {"processor": provenance.processor(), "device": self.device.type}

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
        self._check_asked(call["asked"], {"seed": self.seed, **self.settings}, path)
        self._check_data(call.get("checksums", {}), path)
        if (before := call.get("options")) is not None:  # states of older versions do not say
            now = {name: of for name, of in (self._options or {}).items() if "network" in call or name in before}
            self._check_asked(before, dict.fromkeys(before) | now, path)
        if call.get("network", self._network()) != self._network():
            raise DataError(
                f"{path}: is of another network; build the model with the spec, or the class, it was trained with, "
                "or train without resuming"
            )
        self.arch.resume_from(state, path)
        self.arch.engine = call["engine"]
        self._goes_on = True
        self._before, self._continued = None, dict(call.get("continued", {}))
        self._first_epoch, self.notes = call["first_epoch"], [*call["notes"], *damaged]
        self.seconds, self.started = dict(call["seconds"]), datetime.fromisoformat(call["started"])
        steps = 0 if state["midway"] is None else state["midway"]["steps"]
        where = f"resuming after epoch {state['epoch']}" + (f", step {steps:,} of the next" if steps else "")
        if other := provenance.changed_versions(call.get("made_by", {}), self._made_by()):
            where += f"; the bytes may differ from those of one piece: {', '.join(other)}"
            self.notes.append(where)
        return where

    go_on = resume  # its earlier name

    def _check_asked(self, stored: dict[str, Any], asked: dict[str, Any], path: Path) -> None:
        name = next((name for name in asked if asked[name] != stored.get(name)), None)
        if name is not None:
            differs = f"{name} {short(stored.get(name))}, this one has {short(asked[name])}"
            raise DataError(f"{path}: was saved by a training with {differs}; train without resuming, or as then")

    def _check_data(self, stored: dict[str, str], path: Path) -> None:
        """Of states of older versions, and of data that are neither files nor in memory, nothing is known."""
        now = self.data.checksums
        if stored and now and (differ := other_data(stored, now)):
            files = bool(set(differ) - set(OF_LOADERS))
            fix = "put the old files back" if files else "give loaders of the same"
            raise DataError(
                f"{path}: was saved by a training on other {'files' if files else 'images or labels'} of "
                f"{self.data.name}: {other_files(stored, now)}; {fix}, or train without resuming"
            )

    def evaluate(self) -> Metrics:
        """Metrics on the test images, or on the validation loader where there are none of their own.

        Writes the weights, their tables and pictures, and last run.json. Warnings of a run that has died are printed,
        stored, and shown on the confusion matrix. Raises `UsageError` where nothing can be written.
        """
        self._check_folder()
        self._write_model()
        return self._evaluate()

    def _evaluate(self) -> Metrics:
        start = time.perf_counter()
        val_loader = self._val_loader()
        with self._same_each_time():
            validation = None if self.test_loader is None else measure(*self.arch.predictions(val_loader))
            logits_NK, y_N = self.arch.predictions(val_loader if self.test_loader is None else self.test_loader)
        self._note_no_logits(logits_NK)
        self.test_reads += self.test_loader is not None
        names = self._names_of(logits_NK.shape[1])
        if not self._goes_on and self.stored is None:
            remove_outdated(self.results_dir, self._written)
        self._goes_on = True
        predicted_N = logits_NK.argmax(1)
        metrics = measure(logits_NK, y_N)
        dead = self._dead_units()
        why = self._likely_cause(metrics.loss, y_N, dead)
        found = prediction_warnings(predicted_N, y_N, metrics.loss, names, why) + unit_warnings(dead, why)
        warnings = [NOT_TRAINED] if found and not self.arch.total_epochs else found
        evaluated = Evaluated(
            model_name=self.model_name,
            seed=self.seed,
            kind=self._split_kind(),
            class_names=names,
            logits_NK=logits_NK,
            y_N=y_N,
            metrics=metrics,
            losses=self.arch.losses,
            val_losses=self.arch.val_losses,
            warnings=warnings,
        )
        self._write_artifacts(evaluated)
        self.seconds["evaluation"] = time.perf_counter() - start
        layout.write_run(self.results_dir, self._record(metrics, validation, dead, warnings))
        self._written.add(layout.RUN)
        layout.remove_training(self.results_dir)
        self._tell(metrics, warnings)
        return metrics

    def _likely_cause(self, loss: float, y_N: Array, dead: dict[str, tuple[int, int]]) -> str:
        losses = self.arch.losses if is_plain_cross_entropy(self.arch.loss_fn) else []
        lr, guess = float(self.optimizer.param_groups[0]["lr"]), guessing_loss(y_N)
        return likely_cause(losses, self._updates(), lr, loss, guess, bool(unit_warnings(dead)))

    def _updates(self) -> int | None:
        """How many updates the weights have had, or None where the loader has no length."""
        steps = length(self.arch.train_loader)
        return None if steps is None else steps * self.arch.total_epochs

    def show_insides(self, filter_layers: Sequence[str], layers_to_hook: Sequence[str]) -> None:
        """filters_LAYER.png for each of `filter_layers`, intermediate_outputs.png of `layers_to_hook`.

        Raises `UsageError` for a layer that the model does not have.
        """
        from modelflow.figures.filters import plot_filters
        from modelflow.figures.outputs import plot_outputs

        for name in layer_names(filter_layers):
            title = f"{self.model_name}: filters learned by {name}"
            self._write_png(layout.filters_png(name), plot_filters(filters(self.model, name), name, title))
        shown = layer_names(layers_to_hook)
        if not shown:
            return
        x, y = (part[:SHOWN_IMAGES] for part in self._first_images())
        predicted = self._logits(x).argmax(1)
        maps = activations(self.model, x, shown)
        self.arch.visualization = dict(maps)
        names = self.class_names or None
        title = f"{self.model_name}: images and what its layers make of them"
        figure = plot_outputs(copied(x), maps, len(x), y.numpy(), predicted, names, title)
        self._write_png(layout.OUTPUTS, figure)

    def run(self, layers: Sequence[str] | None = None, epochs: int = 10, skip_train: bool = False) -> Metrics:
        """Trains (unless `skip_train`), saves the checkpoint and the weights, shows the insides, and evaluates.

        The filters of every convolutional layer are shown, and the outputs of `layers` (left out: the convolutional
        ones). What cannot be drawn is noted. Called again it trains on. Raises `UsageError` or `DataError` before the
        first step for what cannot be trained or evaluated, and `RunError` when what follows the training fails, which
        says where the weights are.
        """
        shown = self._checked(layers)
        if skip_train:
            self._remember_training()
            self._check_not_replaced()
            self.save_checkpoint()
            return self._shown_and_evaluated(shown)
        if epochs == 0:
            self._check_not_replaced()
        self.train(epochs)
        try:
            return self._shown_and_evaluated(shown)
        except MemoryError:
            raise
        except OSError as error:
            if error.filename is not None or layout.WEIGHTS not in self._written:
                raise  # a file of ours that could not be written
            raise RunError(f"{error}; {self._rest()}") from error
        except Exception as error:
            raise_if_heard()
            raise RunError(f"{error}; {self._rest()}") from error

    def _shown_and_evaluated(self, layers: list[str]) -> Metrics:
        self._write_model()
        for name in conv_layers(self.model):
            with self._noted(layout.filters_png(name)):
                self.show_insides([name], [])
        with self._noted(layout.OUTPUTS):
            self.show_insides([], layers)
        return self._evaluate()

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """What an odd model does not allow to be made is noted; its figures are as right without."""
        try:
            yield
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise_if_heard()
            self.arch.note(f"{what} was not made: {type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def _rest(self) -> str:
        """Where the weights of a training are, and what makes the rest of it."""
        checkpoint = self.results_dir / layout.CHECKPOINT
        again = f"ModelFlow(…, load_checkpoint_path={str(checkpoint)!r}).run(skip_train=True)"
        return f"the weights are kept: {self.results_dir / layout.WEIGHTS} and {checkpoint}; for the rest: {again}"

    def _remember_training(self) -> None:
        """Keeps what run.json says of the training, when it is that of the weights at hand."""
        with suppress(DataError):
            stored = layout.read_run(self.results_dir)
            if stored.epochs == self.arch.total_epochs > 0 and self._has_weights_of(stored) and self._is_of(stored):
                self._goes_on = True
                self.stored, self.seconds, self.test_reads = stored, dict(stored.seconds), stored.test_reads or 0
                self.started = datetime.fromisoformat(stored.started)

    def _has_weights_of(self, stored: Run) -> bool:
        """Records of before weights had a checksum are taken at their word."""
        return stored.files.get(layout.WEIGHTS) in (None, sha256(weights_bytes(self.model)))

    def _is_of(self, stored: Run) -> bool:
        """Whether a stored run is of this very network. Records of before modules had a checksum are believed."""
        spec, module = self._network()
        return stored.spec == spec and (stored.module_sha256 == module or stored.module_sha256 is None)

    def _network(self) -> list[Any]:
        """The spec, if it was built from one, and the SHA-256 of a module that no spec describes."""
        if not isinstance(self.model, GenericCNN):
            return [None, module_sha256(self.model)]
        changed = None if is_as_described(self.model) else module_sha256(self.model)
        return [self.model.spec.model_dump(mode="json"), changed]

    def _check_not_replaced(self) -> None:
        """Raises `UsageError` where a finished run of other weights would give way to what was not trained here."""
        untrained = self.arch.total_epochs == 0 or self._goes_on  # or by the checkpoint that lies there
        if self.stored is not None or layout.RUN in self._written or not untrained:
            return
        with suppress(DataError):
            layout.read_run(self.results_dir)
            raise UsageError(
                f"{self.results_dir} holds a finished run of other weights or of another network, and nothing is to be "
                f"trained; give its network and load_checkpoint_path={str(self.results_dir / layout.CHECKPOINT)!r}, "
                "or another model_name"
            )

    def _checked(self, layers: Sequence[str] | None) -> list[str]:
        """The layers to show, after one pass that shows mistakes before any training."""
        names = conv_layers(self.model) if layers is None else layer_names(layers)
        check_model(self.model)
        self._look_ahead()
        x = self._first_images(1)[0]
        with captured(self.model, names) as outputs, explained("the validation loader", x):
            logits_NK = self._logits(x)
        self._names_of(logits_NK.shape[-1])
        check_predictions(
            self.model_name, images_of(self.test_loader or self.arch.val_loader) or 0, logits_NK.shape[-1]
        )
        once = [name for name in names if name in outputs and len(outputs[name]) == 1]
        if layers is not None and len(once) < len(names):
            missed = next(name for name in names if name not in once)
            raise UsageError(f"layer {missed!r}: does not run exactly once in a forward pass; name another layer")
        self._check_folder()
        return once

    def _look_ahead(self) -> None:
        """One batch of each loader that is evaluated, and all labels where they lie in memory."""
        loaders = {"validation loader": self._val_loader(), "test loader": self.test_loader}
        n_classes = self.model.spec.logits if isinstance(self.model, GenericCNN) else None
        for what, loader in loaders.items():
            if loader is not None and unsupported_inference_reason(self.model, loader):
                logits_NK = look_at_evaluation(self.model, loader, what, self.arch.device, self.arch.note)
                self._note_no_logits(logits_NK)
                n_classes = logits_NK.shape[1]
                check_labels(loader, what, n_classes)
                check_images(loader, what)
        check_images(self.arch.train_loader, "training loader")
        if n_classes is not None:
            ignored = getattr(self.arch.loss_fn, "ignore_index", None)
            check_labels(self.arch.train_loader, "training loader", n_classes, ignored)
            note_empty_classes(self.arch.train_loader, ignored, self.arch.note)

    def _note_no_logits(self, logits_NK: Array) -> None:
        if warning := what_outputs_are(self.model, logits_NK):
            self.arch.note(warning)

    def _val_loader(self) -> Any:
        if self.arch.val_loader is None:
            raise UsageError("there is no validation loader to evaluate on; give ModelFlow a val_loader")
        return self.arch.val_loader

    def _logits(self, x: Tensor) -> Array:
        logits_NK: Array = logits_of(torch.from_numpy(self.arch.predict(x))).numpy()
        return logits_NK

    def _check_names(self) -> None:
        """Raises `UsageError` unless as many class names were given as the model has outputs, if any were."""
        if not self._names_given:
            return
        if isinstance(self.model, GenericCNN):
            self._names_of(self.model.spec.logits)
        elif self.val_loader is not None:
            parts = self.model, self.val_loader, "validation loader", self.arch.device
            self._names_of(look_at_evaluation(*parts, unheard).shape[1])

    def _names_of(self, n_classes: int) -> tuple[str, ...]:
        if len(self.class_names) != n_classes and self._names_given:
            count = len(self.class_names)
            raise UsageError(
                f"class_names has {count} {'entry' if count == 1 else 'entries'}, the model gives {n_classes} logits; "
                "give one name a logit, in the order of the labels"
            )
        names = self.class_names[:n_classes]  # a data set may know more classes than are used
        return (*names, *(str(k) for k in range(len(names), n_classes)))

    @contextmanager
    def _same_each_time(self) -> Iterator[None]:
        with seeded_rng(self.seed, "evaluation"), seeded_order(self.arch.val_loader, self.seed, "evaluation"):
            yield

    def _first_images(self, n_images: int = SHOWN_IMAGES) -> tuple[Tensor, Tensor]:
        batches, count = [], 0
        with self._same_each_time():
            for x, y in pairs(self._val_loader(), dtype_of(self.model)):
                batches.append((x.cpu(), one_class_each(y).cpu()))
                count += len(x)
                if count >= n_images:
                    break
        if not batches:
            raise DataError("the validation loader has no images; give it some")
        return tuple(torch.cat(parts)[:n_images] for parts in zip(*batches, strict=True))  # type: ignore[return-value]

    def _dead_units(self) -> dict[str, tuple[int, int]]:
        if not (isinstance(self.model, GenericCNN) and isinstance(self.model.spec, Spec)):
            return {}  # a ReLU must follow each hidden layer, as in every network of the card's form
        return dead_units(self.model, self._first_images(HEALTH_IMAGES)[0].to(self.arch.device))

    def _write(self, name: str, content: str | bytes) -> None:
        self._written.add(name)
        write_atomic(self.results_dir / name, content)

    def _write_png(self, name: str, figure: Any) -> None:
        from modelflow.figures.style import png

        self._write(name, png(figure))

    def _write_artifacts(self, evaluated: Evaluated) -> None:
        for artifact in artifacts():
            with self._noted(artifact.name) if is_picture(artifact) else nullcontext():
                content = artifact.make(evaluated)
                if content is not None:
                    self._write(artifact.name, content)

    def _write_model(self) -> None:
        self._write(layout.WEIGHTS, weights_bytes(self.model))
        if isinstance(self.model, GenericCNN):
            self._write(layout.SPEC, self.model.spec.to_json())
            self._write(layout.ARCHITECTURE, svg(self.model.trace, self.model_name))

    def _record(
        self, metrics: Metrics, validation: Metrics | None, dead: dict[str, tuple[int, int]], warnings: list[str]
    ) -> Run:
        built = self.model if isinstance(self.model, GenericCNN) else None
        spec, module = self._network()
        run = Run(
            model_name=self.model_name,
            model_class=type(self.model).__name__,
            spec=spec,
            settings=self._recorded_settings(),
            protocol=recorded_protocol(
                self._split_kind(), self._recorded_settings(), self.data, self.arch.total_epochs
            ),
            seed=self.seed,
            epochs=self.arch.total_epochs,
            lr=self.lr,
            parameters=self.arch.count_parameters(),
            macs=built.trace.macs if built else None,
            data=self.data,
            versions=provenance.versions(),
            processor=provenance.processor(),
            device=str(self.device),
            engine=self.arch.engine,
            threads=torch.get_num_threads(),
            git_revision=provenance.git_revision(),
            started=self.started.isoformat(timespec="seconds"),
            seconds={name: round(value, 3) for name, value in self.seconds.items()},
            metrics=metrics,
            validation=validation,
            test_reads=None if self.test_loader is None else self.test_reads,
            latency_ms=self._latencies(),
            bytes_on_disk=(self.results_dir / layout.WEIGHTS).stat().st_size,
            dead_units=dead,
            warnings=tuple(warnings),
            notes=tuple(self.notes),
            files=layout.checksums(self.results_dir),
            module_sha256=module,
        )
        return run if self.stored is None else evaluated_again(run, self.stored)

    def _recorded_settings(self) -> dict[str, Any]:
        """The settings, and what of optimizer and loss is not as usual."""
        now = self._options is None  # nothing was trained here
        own = options(self.optimizer, self.loss_fn, self.model) if now else self._options
        return self.settings | (own or {}) | self._continued

    def _latencies(self) -> dict[str, float]:
        """In milliseconds by batch size; of none where hooks are attached, which would take note of each pass."""
        if any(module._forward_hooks or module._forward_pre_hooks for module in self.model.modules()):
            return {}
        images, taken = self._first_images(max(LATENCY_BATCHES))[0].to(self.arch.device), {}
        with self._noted("latency_ms"):
            for n in (n for n in LATENCY_BATCHES if n <= len(images)):
                taken[str(n)] = round(latency_ms(self.model, images[:n]), 4)
        return taken

    def _split_kind(self) -> str:
        """How validation and test images are kept apart: the protocol's name alone."""
        return "card" if self.test_loader is None else "held-out"

    def _tell(self, metrics: Metrics, warnings: list[str]) -> None:
        if self.verbose:
            accuracy = f"accuracy {metrics.accuracy:.2%} (protocol {self._split_kind()})"
            figures = f"{accuracy}, macro F1 {metrics.macro_f1:.4f}"
            print(f"{self.model_name}: {figures} -> {self.results_dir}")
            for warning in warnings:
                print(f"{self.model_name}: WARNING: {warning}")


def _settings_of(group: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's settings of a group of parameters."""
    return {name: value for name, value in group.items() if name != "params"}


def _search_notes(found: LRSearch, kept_lr: float | None) -> list[str]:
    """What a search found, and what became of it: it was set, or the run has kept its own."""
    what = "learning rate search: "
    notes = [what + found.note.removeprefix(what)] if found.note else []
    if found.suggestion is not None:
        use = "set for this run" if kept_lr is None else f"only looked at: the run keeps {kept_lr:g}"
        notes.append(f"{what}{METHOD} {found.suggestion:.3g}, steepest point {found.steepest:.3g}; {use}")
    return notes
