"""`ModelFlow`: one model from its loaders to a finished results folder, without any code of the user's.

flow = ModelFlow(model, train_loader, val_loader, model_name="my_net")
flow.run(layers=["conv_layers.0"], epochs=10)        # results/my_net/ holds every picture, table and checkpoint
"""

import operator
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from modelflow import provenance, results
from modelflow.data.batches import Batches
from modelflow.diagram import svg
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.health import dead_units, prediction_warnings, unit_warnings
from modelflow.evaluation.latency import latency_ms
from modelflow.evaluation.measure import measure
from modelflow.evaluation.metrics import classification_report, confusion_matrix
from modelflow.files import write_whole
from modelflow.inspection.activations import activations
from modelflow.inspection.filters import conv_layers, filters
from modelflow.inspection.hooks import captured
from modelflow.models.build import GenericCNN
from modelflow.presets import check_name
from modelflow.records import DataRecord, Epoch, Metrics, Run
from modelflow.seeding import drawn_from, ordered_by
from modelflow.spec import short
from modelflow.training.architecture import Architecture, length
from modelflow.training.checkpoint import most_bytes
from modelflow.training.loop import Loss
from modelflow.training.lr_finder import METHOD, LRSearch
from modelflow.training.optimizers import make_optimizer
from modelflow.training.saved import newest_state, remove_states, save_state
from modelflow.training.schedules import KINDS, Schedule, check_schedule

SHOWN_IMAGES = 10
OF_THE_TRAINING = (
    *(
        "settings",
        "versions",
        "processor",
        "device",
        "engine",
        "threads",
        "git_revision",
        "data",
        "protocol",
        "latency_ms",
    ),
)
OWN_WEIGHTS = "initial weights: the module's own; to repeat the run, call torch.manual_seed(seed) before it is built"
NOT_TRAINED = "the model was not trained: train it, or give load_checkpoint_path"
CARD_PROTOCOL = {
    "dataset": "fashion-mnist",
    "training_images": 60_000,
    "epochs": 10,
    "batch_size": 16,
    "lr": 3e-4,
    "optimizer": "adam",
    "schedule": "constant",
    "loss_fn": "CrossEntropyLoss",
    "find_best_lr": False,
}
HELD_OUT_PROTOCOL = CARD_PROTOCOL | {"training_images": 55_000}
HEALTH_IMAGES = 1000
LATENCY_BATCHES = (1, 64)
SECONDS_BETWEEN_STATES = 5
SHARE_OF_SAVING = 0.01  # of the time, at most

Array = np.ndarray[Any, Any]


class ModelFlow:
    """Trains, evaluates and shows the insides of any module that maps images to logits.

    `optimizer` is a name or a torch optimizer over the model's parameters; a `schedule` other than constant spans the
    epochs of one call of `train`, its top the optimizer's learning rate; `results_dir` the folder in which one called
    `model_name` is made (the attribute `results_dir` is that folder). `seed` covers order and dropout; the weights are
    the model's own. Without a `test_loader`, what is validated on is tested on too. Raises `SpecError` for a name that
    cannot name a folder and `DataError` for a checkpoint that does not fit.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: Any,
        val_loader: Any,
        model_name: str = "model_instance",
        load_checkpoint_path: str | Path | None = None,
        lr: float = 3e-4,
        find_best_lr: bool = False,
        *,
        test_loader: Any = None,
        optimizer: str | torch.optim.Optimizer = "adam",
        schedule: str = "constant",
        loss_fn: Loss | None = None,
        results_dir: str | Path = "results",
        seed: int = 42,
        device: torch.device | str | None = None,
        class_names: Sequence[str] | None = None,
        verbose: bool = True,
    ) -> None:
        self.model_name = check_name(model_name)
        self.results_dir = Path(results_dir) / model_name
        self.seed = seed
        self.verbose = verbose
        self.class_names = tuple(class_names if class_names is not None else _classes_of(train_loader, val_loader))
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.optimizer = make_optimizer(optimizer, model.parameters(), lr) if isinstance(optimizer, str) else optimizer
        self.arch = Architecture(
            model, loss_fn or nn.CrossEntropyLoss(), self.optimizer, verbose, self.class_names or None
        )
        self.arch.set_loaders(train_loader, val_loader)
        self.test_loader = None if test_loader is val_loader else test_loader
        self.test_reads = 0
        self.data = _data_record(train_loader, val_loader, self.test_loader)
        self.settings: dict[str, Any] = {
            "batch_size": _whole(getattr(train_loader, "batch_size", None)),
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "optimizer": type(self.optimizer).__name__.lower(),
            "schedule": check_schedule(schedule),
            "loss_fn": getattr(self.arch.loss_fn, "__name__", type(self.arch.loss_fn).__name__),
        }
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = [] if isinstance(model, GenericCNN) else [OWN_WEIGHTS]
        self.started = datetime.now(UTC)
        self.stored: Run | None = None
        self._first_epoch: int | None = None  # of the call of `train` that is under way
        self._trained_from = 0.0
        self._saved_at, self._saving_took = time.monotonic(), 0.0
        if load_checkpoint_path is not None:
            self.arch.load_checkpoint(load_checkpoint_path)
        if find_best_lr:
            self.find_best_lr()

    @property
    def model(self) -> nn.Module:
        """The model, as it stands."""
        return self.arch.model

    def find_best_lr(
        self, end_lr: float = 1, num_iter: int = 100, set_lr: bool = True, start_lr: float | None = None
    ) -> float:
        """A range test from `start_lr`, or from the current learning rate; saves its picture and data.

        Raises as `Architecture`'s does.
        """
        self.arch.lr_search = None
        try:
            _, best_lr = self.arch.find_best_lr(self.arch.train_loader, end_lr, num_iter, set_lr, self.seed, start_lr)
        finally:
            self._write_search(set_lr)
        return best_lr

    def _write_search(self, set_lr: bool) -> None:
        found = self.arch.lr_search
        if found is None:
            return
        figure = self.arch.plot_lr_search(f"{self.model_name}: learning rate range test")
        self._write_png(results.LR_FINDER_PNG, figure)
        rows = zip(found.lrs, found.losses, strict=True)
        self._write(results.LR_FINDER_CSV, results.csv_text(("lr", "smoothed_loss"), rows))
        self.notes += _search_notes(found, None if set_lr else float(self.optimizer.param_groups[0]["lr"]))

    def train(self, epochs: int = 10) -> None:
        """Trains `epochs` more epochs; `RunError` when the loss is not finite.

        The checkpoint is saved at the end; every few seconds, also within an epoch, a state in the folder `training`,
        from which `go_on` takes up.
        """
        schedule_before, self._trained_from = self.arch.schedule, time.perf_counter()
        self.arch.check_trainable(epochs)
        if self._first_epoch is None:
            self._first_epoch = self.arch.total_epochs
            remove_states(self.results_dir / results.TRAINING)
        self.arch.schedule = self._schedule(epochs) or schedule_before
        self.arch.on_epoch = self.arch.on_midway = self._save_now_and_then
        (self.results_dir / results.RUN).unlink(missing_ok=True)  # it marks a finished run
        self.stored = None
        try:
            self.arch.train(self._first_epoch + epochs - self.arch.total_epochs, seed=self.seed)
            self.save_checkpoint()
        finally:
            self.arch.on_epoch = self.arch.on_midway = self._first_epoch = None
            self.arch.schedule = schedule_before
            self.seconds["training"] = self._seconds_trained()

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
        self.arch.save_checkpoint(self.results_dir / results.CHECKPOINT)

    def _save_now_and_then(self) -> None:
        """At most every few seconds, and so seldom that it takes a hundredth of the time."""
        start = time.monotonic()
        if start - self._saved_at < max(SECONDS_BETWEEN_STATES, self._saving_took / SHARE_OF_SAVING):
            return
        call = {
            "first_epoch": self._first_epoch,
            "asked": {"seed": self.seed, **self.settings},
            "engine": self.arch.engine,
            "made_by": provenance.versions() | {"processor": provenance.processor()},
            "notes": self.notes,
            "started": self.started.isoformat(),
            "seconds": self.seconds | {"training": self._seconds_trained()},
        }
        save_state(self.results_dir / results.TRAINING, self.arch.state() | {"call": call})
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - start

    def go_on(self) -> str:
        """Takes up the newest state of a training that was broken off, and says from where; empty where there is none.

        `train` or `run` with the same `epochs` then trains the rest, to the bytes that it would have given at once.
        Raises `DataError` when the state does not fit the model or the optimizer.
        """
        damaged: list[str] = []
        found = newest_state(self.results_dir / results.TRAINING, most_bytes(self.model), damaged.append)
        if found is None:
            self.notes += damaged
            return ""
        state, path = found
        call = state["call"]
        self._check_asked(call["asked"], path)
        self.arch.go_on_from(state, path)
        self.arch.engine = call["engine"]
        self._first_epoch, self.notes = call["first_epoch"], [*call["notes"], *damaged]
        self.seconds, self.started = dict(call["seconds"]), datetime.fromisoformat(call["started"])
        steps = 0 if state["midway"] is None else state["midway"]["steps"]
        where = f"going on after epoch {state['epoch']}" + (f", step {steps:,} of the next" if steps else "")
        if other := provenance.since(call.get("made_by", {})):
            where += f"; the bytes may differ from those of one piece: {', '.join(other)}"
            self.notes.append(where)
        return where

    def _check_asked(self, stored: dict[str, Any], path: Path) -> None:
        asked = {"seed": self.seed, **self.settings}
        name = next((name for name in asked if asked[name] != stored.get(name)), None)
        if name is not None:
            differs = f"{name} {short(stored.get(name))}, this one has {asked[name]}"
            raise DataError(f"{path}: was saved by a training with {differs}; train without going on, or as then")

    def evaluate(self) -> Metrics:
        """Metrics on the test images, or on the validation loader where there are none of their own.

        Writes their tables and pictures, the weights, and last run.json.

        Warnings of a run that has died are printed, stored, and shown on the confusion matrix.
        """
        start = time.perf_counter()
        with self._same_each_time():
            validation = None if self.test_loader is None else measure(*self.arch.predictions(self.arch.val_loader))
            logits_NK, y_N = self.arch.predictions(self.test_loader or self.arch.val_loader)
        self.test_reads += self.test_loader is not None
        names = self._names_of(logits_NK.shape[1])
        predicted_N = logits_NK.argmax(1)
        counts_KK = confusion_matrix(y_N, predicted_N, len(names))
        report = classification_report(counts_KK, names)
        metrics = measure(logits_NK, y_N)
        dead = self._dead_units()
        found = prediction_warnings(predicted_N, y_N, metrics.loss, names) + unit_warnings(dead)
        warnings = [NOT_TRAINED] if found and not self.arch.total_epochs else found
        self._write_tables(counts_KK, names, report)
        self._write(results.PREDICTIONS, results.predictions_npz(logits_NK, y_N))
        self._write_pictures(counts_KK, names, metrics, warnings)
        self._write_model()
        self.seconds["evaluation"] = time.perf_counter() - start
        results.write_run(self.results_dir, self._record(metrics, validation, dead, warnings))
        results.remove_training(self.results_dir)
        self._tell(metrics, warnings)
        return metrics

    def show_insides(self, filter_layers: Sequence[str], layers_to_hook: Sequence[str]) -> None:
        """filters_LAYER.png for each of `filter_layers`, intermediate_outputs.png of `layers_to_hook`.

        Raises `UsageError` for a layer that the model does not have.
        """
        from modelflow.figures.filters import plot_filters
        from modelflow.figures.outputs import plot_outputs

        for name in filter_layers:
            title = f"{self.model_name}: filters learned by {name}"
            self._write_png(results.filters_png(name), plot_filters(filters(self.model, name), name, title))
        if not layers_to_hook:
            return
        x, y = (part[:SHOWN_IMAGES] for part in self._first_images())
        predicted = self.arch.predict(x).argmax(1)
        maps = activations(self.model, x, list(layers_to_hook))
        self.arch.visualization = dict(maps)
        names = self.class_names or None
        title = f"{self.model_name}: images and what its layers make of them"
        figure = plot_outputs(x.numpy(), maps, len(x), y.numpy(), predicted, names, title)
        self._write_png(results.OUTPUTS, figure)

    def run(self, layers: Sequence[str] | None = None, epochs: int = 10, skip_train: bool = False) -> Metrics:
        """Trains (unless `skip_train`), saves the checkpoint, evaluates, and shows the insides.

        The filters of every convolutional layer are shown, and the outputs of `layers` (left out: the convolutional
        ones). Called again it trains on.
        """
        shown = self._checked(layers)
        if skip_train:
            self._remember_training()
            self.save_checkpoint()
        else:
            self.train(epochs)
        self.show_insides(conv_layers(self.model), shown)
        return self.evaluate()

    def _remember_training(self) -> None:
        """Keeps what run.json says of the training, when it is that of the weights at hand."""
        with suppress(DataError):
            stored = results.read_run(self.results_dir)
            if stored.epochs == self.arch.total_epochs > 0:
                self.stored, self.seconds, self.test_reads = stored, dict(stored.seconds), stored.test_reads or 0
                self.started = datetime.fromisoformat(stored.started)

    def _checked(self, layers: Sequence[str] | None) -> list[str]:
        """The layers to show, after one pass that shows mistakes before any training."""
        names = conv_layers(self.model) if layers is None else list(layers)
        with captured(self.model, names) as outputs:
            logits_NK = self.arch.predict(self._first_images(1)[0])
        self._names_of(logits_NK.shape[-1])
        once = [name for name in names if name in outputs and len(outputs[name]) == 1]
        if layers is not None and len(once) < len(names):
            missed = next(name for name in names if name not in once)
            raise UsageError(f"layer {missed!r}: does not run exactly once in a forward pass; name another layer")
        return once

    def _names_of(self, n_classes: int) -> tuple[str, ...]:
        if len(self.class_names) > n_classes:
            raise UsageError(
                f"class_names has {len(self.class_names)} entries, the model gives {n_classes} logits; make them agree"
            )
        return (*self.class_names, *(str(k) for k in range(len(self.class_names), n_classes)))

    @contextmanager
    def _same_each_time(self) -> Iterator[None]:
        with ordered_by(self.arch.val_loader, self.seed, "evaluation"), drawn_from(self.seed, "evaluation"):
            yield

    def _first_images(self, n_images: int = SHOWN_IMAGES) -> tuple[Tensor, Tensor]:
        batches, count = [], 0
        with self._same_each_time():
            for x, y in self.arch.val_loader:
                batches.append((x.cpu(), torch.as_tensor(y).cpu()))
                count += len(x)
                if count >= n_images:
                    break
        if not batches:
            raise DataError("the validation loader has no images; give it some")
        return tuple(torch.cat(parts)[:n_images] for parts in zip(*batches, strict=True))  # type: ignore[return-value]

    def _dead_units(self) -> dict[str, tuple[int, int]]:
        if not isinstance(self.model, GenericCNN):
            return {}
        return dead_units(self.model, self._first_images(HEALTH_IMAGES)[0].to(self.arch.device))

    def _write(self, name: str, content: str | bytes) -> None:
        write_whole(self.results_dir / name, content)

    def _write_png(self, name: str, figure: Any) -> None:
        from modelflow.figures.style import png

        self._write(name, png(figure))

    def _write_tables(self, counts_KK: Array, names: tuple[str, ...], report: list[Any]) -> None:
        protocol = self._kept_apart()
        header = (f"true class (protocol {protocol})", *names)
        rows = [(name, *counts) for name, counts in zip(names, counts_KK.tolist(), strict=True)]
        self._write(results.CONFUSION_CSV, results.csv_text(header, rows))
        lines = [(row.name, row.precision, row.recall, row.f1, row.support, protocol) for row in report]
        columns = ("class", "precision", "recall", "f1-score", "support", "protocol")
        self._write(results.REPORT_CSV, results.csv_text(columns, lines))
        losses = zip(self.arch.losses, self.arch.val_losses, strict=True)
        history = [Epoch(epoch=i, loss=loss, val_loss=val) for i, (loss, val) in enumerate(losses, start=1)]
        self._write(results.HISTORY, results.history_csv(history, protocol))

    def _write_pictures(self, counts_KK: Array, names: tuple[str, ...], metrics: Metrics, warnings: list[str]) -> None:
        from modelflow.figures.confusion import plot_confusion_matrix
        from modelflow.figures.losses import plot_losses

        protocol = f"(protocol {self._kept_apart()})"
        title = f"{self.model_name}, seed {self.seed}: accuracy {metrics.accuracy:.2%} of {metrics.images:,} images"
        warning = warnings[0] if warnings else None
        self._write_png(results.CONFUSION_PNG, plot_confusion_matrix(counts_KK, names, f"{title} {protocol}", warning))
        if self.arch.losses:
            title = f"{self.model_name}: loss over epochs {protocol}"
            figure = plot_losses(self.arch.losses, self.arch.val_losses, title)
            self._write_png(results.LOSSES, figure)

    def _write_model(self) -> None:
        state = {name: value.detach().cpu().contiguous().clone() for name, value in self.model.state_dict().items()}
        self._write(results.WEIGHTS, safetensors_bytes(state))
        if isinstance(self.model, GenericCNN):
            self._write(results.SPEC, self.model.spec.to_json())
            self._write(results.ARCHITECTURE, svg(self.model.trace, self.model_name))

    def _record(
        self, metrics: Metrics, validation: Metrics | None, dead: dict[str, tuple[int, int]], warnings: list[str]
    ) -> Run:
        built = self.model if isinstance(self.model, GenericCNN) else None
        run = Run(
            model_name=self.model_name,
            model_class=type(self.model).__name__,
            spec=built.spec.model_dump(mode="json") if built else None,
            settings=self.settings,
            protocol=self._protocol(),
            seed=self.seed,
            epochs=self.arch.total_epochs,
            lr=float(self.optimizer.param_groups[0]["lr"]),
            parameters=self.arch.count_parameters(),
            macs=built.trace.macs if built else None,
            data=self.data,
            versions=provenance.versions(),
            processor=provenance.processor(),
            device=str(self.arch.device),
            engine=self.arch.engine,
            threads=torch.get_num_threads(),
            git_revision=provenance.git_revision(),
            started=self.started.isoformat(timespec="seconds"),
            seconds={name: round(value, 3) for name, value in self.seconds.items()},
            metrics=metrics,
            validation=validation,
            test_reads=None if self.test_loader is None else self.test_reads,
            latency_ms=self._latencies(),
            bytes_on_disk=(self.results_dir / results.WEIGHTS).stat().st_size,
            dead_units=dead,
            warnings=tuple(warnings),
            notes=tuple(self.notes),
            files=results.checksums(self.results_dir),
        )
        if self.stored is None:
            return run
        return run.model_copy(update={name: getattr(self.stored, name) for name in OF_THE_TRAINING})

    def _latencies(self) -> dict[str, float]:
        """None where hooks are attached, which would take note of each pass."""
        if any(module._forward_hooks or module._forward_pre_hooks for module in self.model.modules()):
            return {}
        images = self._first_images(max(LATENCY_BATCHES))[0].to(self.arch.device)
        return {str(n): round(latency_ms(self.model, images[:n]), 4) for n in LATENCY_BATCHES if n <= len(images)}

    def _protocol(self) -> str:
        """The protocol by name, and what differs from the card's settings."""
        asked = self.settings | {
            "dataset": self.data.name,
            "epochs": self.arch.total_epochs,
            "training_images": self.data.training_images,
        }
        name = self._kept_apart()
        usual = CARD_PROTOCOL if name == "card" else HELD_OUT_PROTOCOL
        other = [f"{field} {asked[field]}" for field, value in usual.items() if asked.get(field, value) != value]
        return name + (f" but {', '.join(other)}" if other else "")

    def _kept_apart(self) -> str:
        """How validation and test images are kept apart: the protocol's name alone."""
        return "card" if self.test_loader is None else "held-out"

    def _tell(self, metrics: Metrics, warnings: list[str]) -> None:
        if self.verbose:
            accuracy = f"accuracy {metrics.accuracy:.2%} (protocol {self._kept_apart()})"
            figures = f"{accuracy}, macro F1 {metrics.macro_f1:.4f}"
            print(f"{self.model_name}: {figures} -> {self.results_dir}")
            for warning in warnings:
                print(f"{self.model_name}: WARNING: {warning}")


def _classes_of(*loaders: Any) -> Sequence[str]:
    for loader in loaders:
        source = getattr(loader, "source", None)
        names = getattr(getattr(loader, "dataset", None), "classes", None) or getattr(source, "class_names", None)
        if names:
            return [str(name) for name in names]
    return ()


def _whole(value: Any) -> int | None:
    """A whole number of any kind as Python's own; None for anything else, such as a loader's batch of several sizes."""
    try:
        return operator.index(value)
    except TypeError:
        return None


def _data_record(train_loader: Any, val_loader: Any, test_loader: Any) -> DataRecord:
    source = getattr(train_loader, "source", None)
    known = {} if source is None else {name: getattr(source, name) for name in ("name", "mean", "std", "checksums")}
    roles = {"training_images": train_loader, "validation_images": val_loader, "test_images": test_loader}
    counts = {role: _images_of(loader) for role, loader in roles.items()}
    return DataRecord(**{"name": type(getattr(train_loader, "dataset", ())).__name__} | known | counts)


def _images_of(loader: Any) -> int | None:
    if loader is None:
        return None
    return loader.images if isinstance(loader, Batches) else length(getattr(loader, "dataset", ()))


def _search_notes(found: LRSearch, kept_lr: float | None) -> list[str]:
    """What a search found, and what became of it: it was set, or the run has kept its own."""
    what = "learning rate search: "
    notes = [what + found.note.removeprefix(what)] if found.note else []
    if found.suggestion is not None:
        use = "set for this run" if kept_lr is None else f"only looked at: the run keeps {kept_lr:g}"
        notes.append(f"{what}{METHOD} {found.suggestion:.3g}, steepest point {found.steepest:.3g}; {use}")
    return notes
