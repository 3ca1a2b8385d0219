"""One run of a study: from its plan to its finished folder, and back from the folder to its `ModelFlow`.

A run alone is trained by the same function as within a study, on whichever engine, so that all give the same bytes.
"""

import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelflow.data.source import AS_THEY_ARE, Form
from modelflow.data.sources import checksums_of, folder_of, is_fixed, read_source
from modelflow.errors import DataError, ModelFlowError, RunError, UsageError, is_of_memory
from modelflow.io import arguments
from modelflow.io.bounds import check_predictions
from modelflow.io.files import remove_parts, write_atomic
from modelflow.io.locks import folder_lock
from modelflow.io.signals import raise_if_heard
from modelflow.networks.code import Code
from modelflow.networks.description import Description, LayerSpec, Spec, parse_spec
from modelflow.networks.trace import MAX_PARAMETERS, trace
from modelflow.results import layout
from modelflow.results.asked import metric_of_run
from modelflow.results.like import check_there
from modelflow.results.records import OPTIONS, Run, other_files
from modelflow.results.run_settings import knows_data
from modelflow.results.settings import RunSettings, validated
from modelflow.studies.plan import Event, OnEvent, Outcome, Plan, asked, is_finished
from modelflow.text import ended
from modelflow.training.callback import Callback

if TYPE_CHECKING:
    from torch import nn

    from modelflow.data.batches import Batches
    from modelflow.data.datasets import Dataset
    from modelflow.networks.data_shape import DataShape
    from modelflow.studies.flow import ModelFlow
    from modelflow.studies.parts import Parts
    from modelflow.training.loss import Loss
    from modelflow.training.trainer import Trainer

SECONDS_BETWEEN_REPORTS = 0.2
LOOKED_AT = 8  # images, to see what a module makes of them
SMALL = 64 << 20  # bytes of a network that is made without another look
DATA_NOT_KNOWN = (
    "begun by an older version, which did not record its training files. If the data have changed since, train it "
    "again with --restart."
)
JOINED = "the last batch of one image, too few for batch norm, is joined to the one before"
SEARCH_FROM = 3e-4  # as the card's search, whatever the run is trained with

_loaded: "dict[tuple[str, str | None, Form], Dataset]" = {}
in_memory: "dict[str, Dataset]" = {}  # by its name in a study's settings, while that study trains


def dataset_of(name: str, data_dir: Path | None, form: Form = AS_THEY_ARE) -> "Dataset":
    """The data set of that name, read in that form, loaded once a process as long as its files stay what they are.

    That which is given as arrays, as they are. Raises `DataError` as `load_dataset` does.
    """
    from modelflow.data.datasets import load_dataset

    if name in in_memory:
        return in_memory[name]
    key = name, folder_of(name, data_dir), form
    if key not in _loaded or _loaded[key].checksums != checksums_of(name, form, data_dir):
        _loaded[key] = load_dataset(name, data_dir, **form._asdict())
    return _loaded[key]


def checksums_now(name: str, form: Form, data_dir: Path | None) -> dict[str, str]:
    """SHA-256 of the files of a data set as they are now; of arrays of the images and labels in memory.

    Raises as `checksums_of`.
    """
    return in_memory[name].checksums if name in in_memory else checksums_of(name, form, data_dir)


def data_of(plan: Plan) -> "Dataset":
    """The data set of a plan. Raises `DataError` when its files are no longer those that the plan was made for."""
    data = dataset_of(plan.settings.dataset, plan.data_dir, plan.settings.form)
    if plan.checksums is not None and data.checksums != plan.checksums:
        raise DataError(
            f"{plan.title}: the files of {data.name} have changed since the study began: "
            f"{other_files(plan.checksums, data.checksums)}. Restore the old files and give the same command again."
        )
    return data


def make_parts(plan: Plan, stored: Run | None = None) -> "Parts":
    """What a plan's run is made of; its data are normalised as those of a `stored` run, if any.

    Raises `DataError` when the data do not fit the spec or plan.
    """
    from modelflow.studies.parts import Parts
    from modelflow.training.optimizers import make_optimizer
    from modelflow.training.preflight import has_batch_norm

    settings = plan.settings
    data = data_of(plan) if stored is None else _normalised_as(stored, data_of(plan), plan)
    model, of_weights, n_classes = _model_of(plan, data)
    train_loader, val_loader, test_loader = _loaders(data, settings, plan.seed)
    train_loader.joins_a_last_one = has_batch_norm(model)
    joined = [JOINED] if train_loader.joins_a_last_one and train_loader.leaves_one else []
    return Parts(
        model,
        train_loader,
        val_loader,
        plan.model_name,
        arguments.folder("results_dir", plan.folder),
        test_loader=test_loader,
        lr=settings.lr,
        optimizer=partial(make_optimizer, settings.optimizer, **settings.optimizer_options()),
        loss_fn=_loss_of(settings, train_loader, n_classes),
        ema=settings.ema,
        shift=settings.shift,
        flip=settings.flip,
        cutout=settings.cutout,
        seed=plan.seed,
        device=plan.device,
        verbose=False,
        settings=settings.model_dump(),
        notes=[*of_weights, *data.notes_for(settings.protocol), *joined],
        code=plan.spec if isinstance(plan.spec, Code) else None,
    )


def _model_of(plan: Plan, data: "Dataset") -> "tuple[nn.Module, list[str], int]":
    """The model with its initial weights, what is to be known of these, and how many logits it gives.

    Raises `DataError` when the data do not fit, `UsageError` for code that makes no model.
    """
    from modelflow.networks.build import GenericCNN

    if isinstance(plan.spec, Code):
        return _made(plan, plan.spec, data)
    check_data_fit(plan.model_name, plan.spec, data)
    return GenericCNN(plan.spec, plan.seed, plan.settings.max_parameters), [], plan.spec.logits


def _made(plan: Plan, code: Code, data: "Dataset") -> "tuple[nn.Module, list[str], int]":
    """As `_model_of`, of code."""
    from modelflow.studies.made import made

    model, note = made(code, plan.model_name, plan.seed)
    return model, [note], _logits_of(plan, model, data)


def _logits_of(plan: Plan, model: "nn.Module", data: "Dataset") -> int:
    """How many logits a module gives. Raises `DataError` where it does not take the images, or gives too few."""
    import torch

    from modelflow.data.batches import Batches
    from modelflow.data.convert import unheard
    from modelflow.training.preflight import look_at_evaluation

    parameters, most = sum(p.numel() for p in model.parameters()), plan.settings.max_parameters
    if parameters > most:
        raise UsageError(f"{plan.model_name}: {parameters:,} parameters, expected at most {most:,}")
    x_NCHW = data.test_x_NCHW[:LOOKED_AT]
    images = Batches(x_NCHW, torch.zeros(len(x_NCHW), dtype=torch.long), LOOKED_AT)
    try:
        logits = int(look_at_evaluation(model, images, f"images of {data.name}", "cpu", unheard).shape[1])
    except DataError as error:
        raise DataError(f"{plan.model_name}: {error}") from None
    if logits < data.num_classes:
        raise DataError(
            f"{plan.model_name}: gives {logits} logits, but {data.name} has {data.num_classes} classes. Give its last "
            "layer as many outputs."
        )
    return logits


def make_flow(plan: Plan) -> "ModelFlow":
    """The `ModelFlow` of a plan, nothing trained yet. Raises as `make_parts` does."""
    return _face_of(make_parts(plan))


def _face_of(parts: "Parts") -> "ModelFlow":
    from modelflow.studies.flow import ModelFlow

    return ModelFlow.over(parts)


def _normalised_as(run: Run, data: "Dataset", plan: Plan) -> "Dataset":
    """The data; of several channels that an older version normalised by one mean, as it did."""
    from modelflow.data.datasets import normalised

    if isinstance(run.data.mean, list) or run.data.mean is None or run.data.std is None or data.in_channels == 1:
        return data
    assert not isinstance(run.data.std, list)
    source = read_source(plan.settings.dataset, plan.data_dir, plan.settings.form)
    return normalised(source, (run.data.mean, run.data.std))


def _loss_of(settings: RunSettings, train_loader: "Batches", n_classes: int) -> "Loss":
    import torch

    from modelflow.training.loss import cross_entropy

    if settings.class_weights is None:
        return cross_entropy(settings.label_smoothing)
    y_N, index_N = train_loader.dataset.tensors[1], train_loader.index_N
    counts_K = torch.bincount(y_N if index_N is None else y_N[index_N], minlength=n_classes)
    return cross_entropy(settings.label_smoothing, counts_K)


def _loaders(data: "Dataset", settings: RunSettings, seed: int) -> "tuple[Batches, Batches, Batches | None]":
    if settings.protocol == "card":
        return *data.loaders(settings.batch_size, seed), None
    return data.held_out_loaders(settings.batch_size, seed, settings.validation_images)


def check_data_fit(name: str, spec: Description, data: "Dataset | DataShape") -> None:
    """Raises `DataError` unless channels, size and classes of the data are those of the spec."""
    images = (data.in_channels, *data.image_size)
    if isinstance(spec, LayerSpec):
        _check_field(name, data.name, "input", list(spec.input), list(images), "Write that, or leave it out.")
        field = "classes"
    else:
        assert isinstance(spec, Spec)
        square = data.image_size[0] == data.image_size[1]
        fix = "Give a spec with that value, or another --dataset."
        fix = fix if square else "The card's form of a spec takes only square images. Write a spec with layers."
        _check_field(name, data.name, "in_channels", spec.in_channels, data.in_channels, fix)
        size = data.image_size[0] if square else data.image_size
        _check_field(name, data.name, "input_size", spec.input_size, size, fix)
        field = "num_classes"
    if spec.logits < data.num_classes:
        raise DataError(
            f"{name}: {field} = {spec.logits}, but {data.name} has {data.num_classes} classes. Change the spec."
        )


def _check_field(name: str, data: str, field: str, given: object, expected: object, fix: str) -> None:
    if given != expected:
        raise DataError(f"{name}: {field} = {given}, but the images of {data} have {expected}. {fix}")


def check_data(due: list[Plan]) -> list[str]:
    """What is to be known of the data of a study's runs before training.

    Raises `DataError` unless the data are there, sound, and fit specs and images held out, and where the predictions
    for the test images would be too large to be read again.
    """
    from modelflow.data.batches import leaves_one
    from modelflow.training.augmentation import Augmentation

    if not due:
        return []
    data = data_of(due[0])
    settings = due[0].settings
    for plan in {plan.model_name: plan for plan in due}.values():
        check_predictions(plan.model_name, len(data.test_y_N), _checked_logits(plan, data))
    Augmentation(settings.shift, settings.flip, settings.cutout).check(data.train_x_NCHW.shape[1:], data.name)
    held_out = data.held_out_count(settings.validation_images) if settings.protocol == "held-out" else 0
    images, size = len(data.train_y_N) - held_out, settings.batch_size
    if size > images:
        raise DataError(f"batch_size = {size:,}: more than the {images:,} images to train on. Give at most as many.")
    joined = _models_joining(due, data) if leaves_one(images, size) else []
    return _notices(data, settings) + [f"{JOINED} ({', '.join(joined)})"] * bool(joined)


def _models_joining(due: list[Plan], data: "Dataset") -> list[str]:
    """The models that cannot be trained on a last batch of one image."""
    from modelflow.training.preflight import has_batch_norm

    one_each = {plan.model_name: plan for plan in due}
    return [name for name, plan in one_each.items() if has_batch_norm(_model_of(plan, data)[0])]


def _checked_logits(plan: Plan, data: "Dataset") -> int:
    """How many logits the model of a plan gives, whose code is run to know. Raises as `_model_of` does."""
    if isinstance(plan.spec, Code):
        return _made(plan, plan.spec, data)[2]
    check_data_fit(plan.model_name, plan.spec, data)
    return plan.spec.logits


def _notices(data: "Dataset", settings: RunSettings) -> list[str]:
    notices: list[str] = data.notes_for(settings.protocol)
    notices += filter(None, [data.imbalance if settings.class_weights is None else ""])
    if not (data.test_in_training or data.validation_in_training or data.test_in_validation):
        return notices
    from modelflow.report.answer import repeated_images

    return [*notices, *repeated_images([data])]


def open_run(folder: str | Path, data_dir: Path | None = None) -> "ModelFlow":
    """The `ModelFlow` of a finished run with its stored weights, optimizer, history and notes.

    Raises `DataError` when the run is damaged, or was made in Python from loaders that no file describes, and
    `UsageError` where the path of its images leads nowhere.
    """
    folder = Path(folder)
    run = layout.read_run(folder)
    if run.made_in_python:
        again = "ModelFlow(…, load_checkpoint_path=…) and run(skip_train=True)"
        raise DataError(f"{folder}: the run was made in Python. Evaluate it there: {again}")
    given = {name: value for name, value in run.settings.items() if not name.startswith(OPTIONS)}
    settings = validated(RunSettings, given, f"{folder / layout.RUN}: settings")
    spec = parse_spec(run.spec, f"{folder / layout.RUN}: spec")
    _check_size(folder, 4 * trace(spec, MAX_PARAMETERS).parameters)
    data_dir = data_dir or run.data.data_dir
    check_there(str(folder), settings.dataset, data_dir)
    parts = make_parts(Plan(run.model_name, spec, run.seed, settings, folder, data_dir), run)
    if parts.data.checksums != run.data.checksums:
        differ = other_files(run.data.checksums, parts.data.checksums)
        raise DataError(f"{folder}: was trained on other files of {run.data.name}: {differ}. Use those files.")
    if parts.data.labels_from != run.data.labels_from:
        raise DataError(
            f"{folder}: was trained with labels from {run.data.labels_from} on, and {run.data.name} is read from "
            f"{parts.data.labels_from} on today. Train the run again."
        )
    _load(parts.arch, folder, run)
    parts.history.remember(run)
    parts.notes = list(run.notes)
    return _face_of(parts)


def _check_size(folder: Path, least: int) -> None:
    """Raises `DataError` before a large network is made for a checkpoint that cannot be of it."""
    checkpoint = folder / layout.CHECKPOINT
    if checkpoint.is_file() and checkpoint.stat().st_size + SMALL < least:
        raise DataError(f"{checkpoint}: too small for the spec in {layout.RUN}, expected {least:,} bytes or more")


def _load(arch: "Trainer", folder: Path, run: Run) -> None:
    """The weights of model.safetensors, which is read first, and the checkpoint's optimizer and history.

    Raises `DataError` unless both files are as run.json knows them, where it does, and fit the model.
    """
    from modelflow.training.checkpoint import most_bytes, parse_weights

    path, weights = folder / layout.WEIGHTS, None
    try:
        if path.is_file() or path.name in run.files:
            weights = parse_weights(layout.read_stored(path, most_bytes(arch.model)), arch.model, path)
        path = folder / layout.CHECKPOINT
        layout.read_stored(path, most_bytes(arch.model))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Restore it from a copy, or train the run again.") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: {ended(error)} Restore it from a copy, or train the run again.") from None
    arch.load_checkpoint(path)
    if weights is not None:
        arch.model.load_state_dict(weights)


def train_run(plan: Plan, on_event: OnEvent | None = None, threads: Callable[[], int] = lambda: 1) -> Run:
    """Trains one run to its finished folder. Raises `RunError` naming the run when its loss is not finite.

    `threads` says how many cores an evaluation or a large network may use at the moment; the bytes do not depend on it.
    Beside it torch has one thread meanwhile.
    """
    from modelflow.training.modes import one_thread

    with folder_lock(plan.folder), one_thread():
        for folder in (plan.folder, plan.folder / layout.TRAINING):
            remove_parts(folder)
        if is_finished(plan):  # and was interrupted before its model card was written
            layout.remove_training(plan.folder)
            return write_card(plan.folder)
        return _train(make_flow(plan), plan, on_event, threads)


def _train(flow: "ModelFlow", plan: Plan, on_event: OnEvent | None, threads: Callable[[], int]) -> Run:
    flow.arch.threads = threads
    total = plan.settings.epochs

    def log(text: str) -> None:
        if on_event is not None:
            on_event(Event(plan.title, flow.arch.total_epochs, total, note=text))

    flow.arch.say = log
    if on_event is not None:
        flow.arch.callbacks.append(_Reports(plan, len(flow.arch.train_loader), on_event))
    if from_where := flow.resume():
        log(from_where)
        _remember_data(flow, plan, log)
    else:
        layout.write_plan(plan.folder, asked(plan))
        _search_lr(flow, plan.settings)
    if on_event is not None:  # its training begins now
        on_event(Event(plan.title, flow.arch.total_epochs, total))
    try:
        flow.run(epochs=total)
    except RunError as error:
        said = flow.arch.total_epochs == total  # where the weights are
        raise RunError(f"{plan.title}: {error}" if said else f"{plan.title}: {ended(error)} {_kept(flow)}") from None
    return write_card(plan.folder)


class _Reports(Callback):
    """Says how far a run is, not more often than somebody can read, and of the last step of each epoch."""

    def __init__(self, plan: Plan, steps: int, on_event: OnEvent) -> None:
        self._plan, self._steps, self._on_event = plan, steps, on_event
        self._reported = 0.0

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        if time.monotonic() - self._reported >= SECONDS_BETWEEN_REPORTS or step == self._steps:
            done = epoch - 1 + step / self._steps
            self._on_event(Event(self._plan.title, done, self._plan.settings.epochs, loss))
            self._reported = time.monotonic()


def _remember_data(flow: "ModelFlow", plan: Plan, log: Callable[[str], None]) -> None:
    """Notes that nobody knows on which data an older version began, whose plan.json does not say; and says so there."""
    if knows_data(layout.read_plan(plan.folder)) or is_fixed(plan.settings.dataset):
        return
    flow.notes.append(DATA_NOT_KNOWN)
    log(DATA_NOT_KNOWN)
    layout.write_plan(plan.folder, asked(plan))


def write_card(folder: Path) -> Run:
    """MODEL_CARD.md of a finished run, and the run."""
    from modelflow.analysis.archive import read_seed
    from modelflow.report.model_card import run_card

    seed = read_seed(folder)
    write_atomic(folder / layout.MODEL_CARD, run_card(seed, metric=metric_of_run(folder, seed.run)))
    return seed.run


def _search_lr(flow: "ModelFlow", settings: RunSettings) -> None:
    try:
        flow.find_best_lr(set_lr=settings.find_best_lr, start_lr=SEARCH_FROM)
    except RunError:  # the flow has noted why
        if settings.find_best_lr:
            raise


def _kept(flow: "ModelFlow") -> str:
    if not layout.has_states(flow.results_dir):
        return "No state was saved yet."
    return f"Its last states are kept in {flow.results_dir / layout.TRAINING}, for load_checkpoint_path too."


def outcome_of(plan: Plan, on_event: OnEvent, threads: Callable[[], int]) -> Outcome:
    """The finished run, or why there is none: what goes wrong in a run, foreseen or not, costs that run alone."""
    try:
        return train_run(plan, on_event, threads)
    except ModelFlowError as error:
        return error
    except Exception as error:
        raise_if_heard()
        return RunError(f"{plan.title}: {_in_words(error, plan)}")


def _in_words(error: Exception, plan: Plan) -> str:
    if is_of_memory(error):
        return "not enough memory. Use a smaller network or batch size, or --jobs 1."
    if isinstance(error, OSError):
        return f"{error.filename or plan.folder}: {error.strerror or error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno}). Please report it."
