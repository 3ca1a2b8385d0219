"""What a run is made of: model, loaders, optimizer and the rest. Set anew, each is checked, used and recorded."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.data.classes import classes_of
from modelflow.errors import UsageError
from modelflow.io.arguments import MAX_SEED, as_whole, folder, positive, whole
from modelflow.io.arguments import class_names as class_names_of
from modelflow.io.lines import line
from modelflow.networks.build import GenericCNN, is_as_described, module_sha256
from modelflow.networks.code import Code
from modelflow.networks.resolve import check_name
from modelflow.results import layout
from modelflow.results.protocol import Kept
from modelflow.results.records import DataRecord
from modelflow.studies.record import data_record
from modelflow.studies.run_folder import RunFolder
from modelflow.studies.run_history import RunHistory
from modelflow.training.augmentation import Augmentation
from modelflow.training.checkpoint import not_in_weights
from modelflow.training.devices import choose_device, device_of, devices_here, in_words, reason_for_cuda
from modelflow.training.loss import Loss, loss_of
from modelflow.training.optimizers import OptimizerLike, optimizer_of
from modelflow.training.options import loader_options, options
from modelflow.training.preflight import check_model
from modelflow.training.schedules import check_schedule

DEFAULT_LR = 3e-4
OWN_WEIGHTS = "initial weights: the module's own. To repeat the run, call torch.manual_seed(seed) before building it."


class Parts:
    """What a run is made of. What is given can be set later by the same names, for what follows.

    `arch` trains the model, `folder` takes the run's files, `history` says what is known of the run so far.

    Args:
        model: maps images N x C x H x W to logits N x K. It is trained in place.
        train_loader: gives batches of images and labels.
        val_loader: likewise, validated on after each epoch.
        model_name: what the model is called.
        folder: the run's own, in which nothing is made yet.
        test_loader: evaluated on after training. The default is the validation loader.
        lr: the optimizer's learning rate. The default is 3e-4.
        optimizer: a name, a class, or a torch optimizer over the model's parameters.
        schedule: how the learning rate changes over one call of training, by name.
        loss_fn: takes outputs and labels, gives a mean. The default is cross-entropy.
        shift, flip, cutout: how training images are changed at each step. The default is not at all.
        seed: of the order of the images, of dropout and of what changes images, 0 to 2**63 - 1.
        device: where it is trained. The default is where it is trained best.
        class_names: in the order of the labels. The default is those of the loaders' data set.
        verbose: whether to print progress and results.
        settings: what the record names, a study's with the schedule. The default is what is given here.
        notes: what else a reader of the run must know.
        code: what made the model, of which the notes say where its weights come from.

    Raises:
        UsageError: for arguments that cannot be, such as a device that is not there.
        SpecError: for a name that cannot name a folder.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        train_loader: object,
        val_loader: object,
        model_name: str,
        folder: Path,
        *,
        test_loader: object = None,
        lr: float | None = None,
        optimizer: OptimizerLike = "adam",
        schedule: str = "constant",
        loss_fn: Loss | None = None,
        ema: float | None = None,
        shift: int = 0,
        flip: bool = False,
        cutout: int = 0,
        seed: int = 42,
        device: torch.device | str | None = None,
        class_names: Iterable[str] | Mapping[str, int] | None = None,
        verbose: bool = True,
        settings: dict[str, object] | None = None,
        notes: Iterable[str] = (),
        code: Code | None = None,
    ) -> None:
        self._model_name, self.folder = check_name(model_name), RunFolder(folder)
        self._data: DataRecord | None = None  # of the loaders as they are; None until somebody asks
        self._options: dict[str, Any] | None = None  # of optimizer and loss; None where nothing was trained or set
        self.seed, self.code = seed, code
        check_model(model)
        made = made_optimizer(optimizer, model, lr)
        self.arch = Architecture(model, loss_of(loss_fn), made, verbose)
        self.arch.set_loaders(train_loader, val_loader)
        self.arch.ema = ema
        self.arch.augmentation = Augmentation(shift, flip, cutout)
        self.class_names = class_names
        self._test_loader = None if test_loader is val_loader else test_loader
        self.settings = self._settings_with(check_schedule(schedule)) if settings is None else settings
        self.notes = _notes_of(model, code)
        self._choose_device(device)
        if made is not optimizer and self.device.type != "cpu":
            self.arch.optimizer = made_optimizer(optimizer, model, lr)  # in the form that the device has
        self.notes += notes
        self.history = RunHistory()

    def _settings_with(self, schedule: str) -> dict[str, Any]:
        return {
            "batch_size": as_whole(getattr(self.train_loader, "batch_size", None)),
            "lr": self.lr,
            "optimizer": named(self.optimizer).lower(),
            "schedule": schedule,
            "loss_fn": named(self.loss_fn),
        }

    @property
    def model(self) -> nn.Module:
        """The model, as it stands; another one needs a run of its own."""
        return self.arch.model

    @property
    def notes(self) -> list[str]:
        """What a reader of the run must know, also what was converted to be trained on."""
        return self.arch.notes

    @notes.setter
    def notes(self, notes: list[str]) -> None:
        self.arch.notes = notes

    @property
    def lr(self) -> float:
        """The optimizer's learning rate."""
        return self.arch.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self.arch.lr = positive("lr", lr)
        self.settings["lr"] = self.lr
        if self.arch.total_epochs:
            self.notes.append(f"learning rate {self.lr:g} after epoch {self.arch.total_epochs}")

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; set by its name or its class too, which keeps the learning rate."""
        return self.arch.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: OptimizerLike) -> None:
        made = hasattr(optimizer, "param_groups")
        self.arch.optimizer = made_optimizer(optimizer, self.model, None if made else self.lr)
        self.settings["lr"] = self.lr
        self.update_record()

    @property
    def loss_fn(self) -> Loss:
        """What the model's outputs and the labels are trained by."""
        return self.arch.loss_fn

    @loss_fn.setter
    def loss_fn(self, loss_fn: Loss) -> None:
        self.arch.loss_fn = loss_fn
        self.update_record()

    @property
    def ema(self) -> float | None:
        """The decay of the average of the weights, which is evaluated and stored; None where they are not averaged."""
        return self.arch.ema

    @ema.setter
    def ema(self, ema: float | None) -> None:
        self.arch.ema = ema
        self.update_record()

    @property
    def shift(self) -> int:
        """By how many pixels at most training images are shifted."""
        return self.arch.augmentation.shift

    @shift.setter
    def shift(self, shift: int) -> None:
        self._augment(shift=shift)

    @property
    def flip(self) -> bool:
        """Whether half of the training images are mirrored."""
        return self.arch.augmentation.flip

    @flip.setter
    def flip(self, flip: bool) -> None:
        self._augment(flip=flip)

    @property
    def cutout(self) -> int:
        """The side in pixels of the square that is blanked in training images; 0 for none."""
        return self.arch.augmentation.cutout

    @cutout.setter
    def cutout(self, cutout: int) -> None:
        self._augment(cutout=cutout)

    def _augment(self, **changes: Any) -> None:
        self.arch.augmentation = replace(self.arch.augmentation, **changes)
        self.update_record()

    @property
    def train_loader(self) -> Any:
        """What is trained on."""
        return self.arch.train_loader

    @train_loader.setter
    def train_loader(self, loader: object) -> None:
        self.arch.train_loader = loader
        self.update_record()
        self._name_classes()

    @property
    def val_loader(self) -> Any:
        """What is validated on after each epoch."""
        return self.arch.val_loader

    @val_loader.setter
    def val_loader(self, loader: object) -> None:
        self.arch.val_loader = loader
        self._data = None
        self._name_classes()

    @property
    def test_loader(self) -> Any:
        """What is evaluated on; None where that is the validation loader."""
        return self._test_loader

    @test_loader.setter
    def test_loader(self, loader: object) -> None:
        self._test_loader = None if loader is self.val_loader else loader
        self._data = None

    @property
    def data(self) -> DataRecord:
        """What is trained, validated and tested on; of what lies in memory with its SHA-256."""
        if self._data is None:
            self._data = data_record(self.train_loader, self.val_loader, self.test_loader)
        return self._data

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names in the order of their labels; set to None, those of the loaders' data set."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Iterable[str] | Mapping[str, int] | None) -> None:
        given = None if names is None else class_names_of(names)
        self._names_given = given is not None
        self._class_names = classes_of(self.train_loader, self.val_loader) if given is None else given
        self.arch.class_names = self._class_names or None

    def names_for(self, n_classes: int) -> tuple[str, ...]:
        """A name for each of so many logits: numbers where no name is known.

        Raises `UsageError` where names were given, and not as many.
        """
        if len(self.class_names) != n_classes and self.names_are_given:
            count = len(self.class_names)
            raise UsageError(
                f"class_names has {count} {'entry' if count == 1 else 'entries'}, the model gives {n_classes} logits. "
                "Give one name per logit, in the order of the labels."
            )
        names = self.class_names[:n_classes]  # a data set may know more classes than are used
        return (*names, *(str(k) for k in range(len(names), n_classes)))

    @property
    def names_are_given(self) -> bool:
        """Whether the class names were given, not those of the loaders' data set."""
        return self._names_given

    def _name_classes(self) -> None:
        """By the loaders' data set, where no names were given."""
        if not self._names_given:
            self.class_names = None

    @property
    def seed(self) -> int:
        """What order and dropout are drawn from."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = whole("seed", seed, 0, MAX_SEED)

    def update_record(self) -> None:
        """Takes optimizer, loss and loader into the record as they are now, also where they were set in `arch`."""
        self.settings["optimizer"] = named(self.optimizer).lower()
        if "loss_fn" in self.settings:  # a study's runs have one alone
            self.settings["loss_fn"] = named(self.loss_fn)
        self.settings["batch_size"] = as_whole(getattr(self.train_loader, "batch_size", None))
        self._options = self._options_now() | loader_options(self.train_loader)
        self._data = None

    @property
    def options(self) -> dict[str, Any] | None:
        """Of optimizer, loss and loader, where they are not the defaults; None where nothing was trained or set."""
        return self._options

    @property
    def recorded_settings(self) -> dict[str, Any]:
        """The settings, and what of optimizer and loss is not as usual."""
        own = self._options_now() if self._options is None else self._options
        return self.settings | own | self.continued

    def _options_now(self) -> dict[str, Any]:
        return options(self.optimizer, self.loss_fn, self.model, self.ema, self.arch.augmentation)

    @property
    def continued(self) -> dict[str, str]:
        """After how many epochs the training went on otherwise, and what was then; for the record."""
        return self.history.continuation.settings

    @property
    def spec(self) -> dict[str, Any] | None:
        """The fields of what the network was built from; None for a module that no spec describes."""
        return self.model.spec.model_dump(mode="json") if isinstance(self.model, GenericCNN) else None

    @property
    def module_sha256(self) -> str | None:
        """The SHA-256 of the module; None where the spec says all."""
        as_built = isinstance(self.model, GenericCNN) and is_as_described(self.model)
        return None if as_built else module_sha256(self.model)

    @property
    def network(self) -> list[object]:
        """The spec, if it was built from one, and the SHA-256 of a module that no spec describes."""
        return [self.spec, self.module_sha256]

    @property
    def split_kind(self) -> Kept:
        """How validation and test images are kept apart: the protocol's name alone."""
        return "card" if self.test_loader is None else "held-out"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return device_of(self.model)

    @device.setter
    def device(self, device: torch.device | str) -> None:
        self._choose_device(device)

    def _choose_device(self, asked: torch.device | str | None) -> None:
        """Moves the model where it is `asked` for, or where it is trained best; says so where there is a choice."""
        here = devices_here()
        reason = reason_for_cuda(self.arch.why_autograd(), self._macs_of_a_step()) if "cuda" in here else ""
        choice = choose_device(asked, self.device, reason, here)
        if choice.device != self.device:
            self.arch.to(choice.device)
        self.notes += in_words(choice, asked is not None, here)

    def _macs_of_a_step(self) -> int:
        """Multiply-accumulates of a step's forward pass; 0 for the card's family, whose kernels no GPU has outrun."""
        if not isinstance(self.model, GenericCNN) or not self.model.outside_family:
            return 0
        return self.model.trace.macs * (as_whole(getattr(self.train_loader, "batch_size", None)) or 1)

    @property
    def schedule(self) -> str:
        """How the learning rate changes over the epochs of a call of `train`, by name."""
        return str(self.settings["schedule"])

    @schedule.setter
    def schedule(self, schedule: str) -> None:
        self.settings["schedule"] = check_schedule(schedule)

    @property
    def verbose(self) -> bool:
        """Whether progress and results are printed."""
        return self.arch.verbose

    @verbose.setter
    def verbose(self, verbose: bool) -> None:
        self.arch.verbose = verbose
        self.arch.say = line if verbose else None

    @property
    def model_name(self) -> str:
        """What the model is called; its folder too."""
        return self._model_name

    @model_name.setter
    def model_name(self, model_name: str) -> None:
        self.results_dir = self.results_dir.with_name(check_name(model_name))
        self._model_name = model_name

    @property
    def results_dir(self) -> Path:
        """The folder that the run's files go into."""
        return self.folder.path

    @results_dir.setter
    def results_dir(self, path: str | Path) -> None:
        if (place := folder("results_dir", path)) != self.results_dir:
            self.folder = RunFolder(place)


def made_optimizer(optimizer: OptimizerLike, model: nn.Module, lr: float | None) -> torch.optim.Optimizer:
    """The optimizer, made where a name or a class was given.

    Raises `UsageError` for an `lr` beside an optimizer that has another one, and for what makes no optimizer.
    """
    rate = DEFAULT_LR if lr is None else positive("lr", lr)
    made = optimizer_of(optimizer, model, rate)
    own = float(made.param_groups[0]["lr"])
    if lr is not None and not math.isclose(rate, own, rel_tol=1e-6):
        raise UsageError(f"lr = {rate:g}: the optimizer given has lr = {own:g}. Give one of the two.")
    return made


def named(part: object) -> str:
    """A part by its name or its class's."""
    return str(getattr(part, "__name__", type(part).__name__))


def _notes_of(model: nn.Module, code: Code | None) -> list[str]:
    """What a reader of the run must know of where its weights come from, and of what their file leaves out."""
    notes = [] if isinstance(model, GenericCNN) or code is not None else [OWN_WEIGHTS]
    if left_out := not_in_weights(model):
        notes.append(f"{layout.WEIGHTS} is without {', '.join(left_out)}. {layout.CHECKPOINT} has all.")
    return notes
