"""The training of a run: from a checkpoint or from the start, saved as it goes, resumed after an interruption."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from modelflow.errors import DataError, UsageError
from modelflow.results import layout
from modelflow.studies.autosave import Autosave
from modelflow.studies.call import Call, CallState, changed_since, check_same_call
from modelflow.studies.parts import Parts
from modelflow.studies.preview import check_class_names, warn
from modelflow.studies.record import training_facts
from modelflow.training.checkpoint import check_storable, most_bytes
from modelflow.training.preflight import length
from modelflow.training.schedules import KINDS
from modelflow.training.states import newest_state


class RunTraining:
    """Trains what a run is made of, in calls of so many epochs. `autosave` says when a state is due."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.autosave = Autosave()
        self._first_epoch: int | None = None  # of the call that was resumed, until it is trained on

    def load(self, checkpoint: Path, lr: float | None, keeps_options: bool) -> None:
        """Takes the weights, the optimizer's averages and the history of a checkpoint.

        Its rate and the optimizer's other options are the checkpoint's, unless an `lr` is given, or the optimizer
        `keeps_options` of its own. Raises `DataError` when it is damaged or does not fit, and then changes nothing.
        """
        parts, arch, history = self._parts, self._parts.arch, self._parts.history
        own = [_options_of(group) for group in arch.optimizer.param_groups] if keeps_options else []
        arch.load_checkpoint(checkpoint)
        for group, options in zip(arch.optimizer.param_groups, own, strict=False):
            group.update(options)
        if lr is not None:
            arch.lr = lr
        parts.settings["lr"] = arch.lr
        parts.folder.is_ours = checkpoint.parent.resolve() == parts.folder.path.resolve()
        if (seconds := history.continuation.load(checkpoint, arch.total_epochs)) is not None:
            history.seconds["training"] = seconds
        elif arch.total_epochs:
            without = f"without the first {arch.total_epochs} epochs, whose time the checkpoint does not hold"
            parts.notes.append(f"seconds: {without}")

    def train(self, epochs: int) -> None:
        """Trains `epochs` more epochs, or what is left of them in a call that was resumed, and saves the checkpoint.

        Raises `UsageError` or `DataError` before the first step for what cannot be trained, `RunError` when the loss
        is not finite.
        """
        parts, arch = self._parts, self._parts.arch
        epochs = arch.check_trainable(epochs)
        check_storable(parts.model)
        check_class_names(parts)
        parts.folder.check_writable()
        first = arch.total_epochs if self._first_epoch is None else self._first_epoch
        with self._scheduled(first, epochs), self._call(first) as call:
            arch.train(first + epochs - arch.total_epochs, seed=parts.seed)
            call.take_folder()
            self.save_checkpoint()

    @contextmanager
    def _scheduled(self, first_epoch: int, epochs: int) -> Iterator[None]:
        """Within, the learning rate changes over the epochs of a call, where it has a schedule."""
        arch, before = self._parts.arch, self._parts.arch.schedule
        if (kind := KINDS[self._parts.schedule]) is not None:
            steps = arch.steps_an_epoch()
            arch.schedule = kind(epochs * steps, first_epoch * steps)
        try:
            yield
        finally:
            arch.schedule = before

    @contextmanager
    def _call(self, first_epoch: int) -> Iterator[Call]:
        """A call under way, of epochs after `first_epoch`, in the record from its beginning to its end."""
        parts, arch, history = self._parts, self._parts.arch, self._parts.history
        parts.update_record()
        history.continuation.begin(arch.total_epochs, training_facts(parts.recorded_settings, parts.data))
        warn(parts)
        call = Call(parts, self.autosave, first_epoch, resumes=self._first_epoch is not None)
        arch.callbacks.append(call)
        try:
            yield call
        except (UsageError, DataError):  # before a step was made
            raise
        except BaseException:
            call.take_folder()
            raise
        finally:
            arch.callbacks.remove(call)
            self._first_epoch = None
            history.continuation.end(arch.total_epochs, training_facts(parts.recorded_settings, parts.data))
            history.seconds |= call.seconds

    def save_checkpoint(self) -> None:
        """model_checkpoint.pth, from which training goes on."""
        self._parts.arch.save_checkpoint(self._parts.folder.path / layout.CHECKPOINT)

    def resume(self) -> str:
        """Resumes the newest state of an interrupted call, and says from where; empty where there is none.

        Raises `DataError` when the state does not fit the model or the optimizer.
        """
        parts, damaged = self._parts, list[str]()
        found = newest_state(parts.folder.path / layout.TRAINING, most_bytes(parts.model), damaged.append)
        if found is None:
            parts.notes += damaged
            return ""
        state, path = found
        call: CallState = state["call"]
        parts.update_record()
        check_same_call(call, parts, path)
        parts.arch.resume_from(state, path)
        self._take_up(call)
        parts.notes += damaged
        where = _where(state, length(parts.arch.train_loader))
        if changed := changed_since(call, parts):
            where += f". The bytes may differ from those of an uninterrupted run: {', '.join(changed)}"
            parts.notes.append(where)
        return where

    def _take_up(self, call: CallState) -> None:
        """Continues a call, and what its record said."""
        parts, history = self._parts, self._parts.history
        self._first_epoch, parts.arch.engine, parts.notes = call["first_epoch"], call["engine"], list(call["notes"])
        parts.folder.is_ours = True
        history.continuation.resume(call.get("continued", {}))
        history.seconds, history.started = dict(call["seconds"]), datetime.fromisoformat(call["started"])


def _where(state: dict[str, Any], steps_an_epoch: int | None) -> str:
    """How far a state is, in words."""
    steps = 0 if state["midway"] is None else state["midway"]["steps"]
    if steps == steps_an_epoch:  # and its validation is still due
        return f"resuming at the end of epoch {state['epoch'] + 1}"
    return f"resuming after epoch {state['epoch']}" + (f", step {steps:,} of the next" if steps else "")


def _options_of(group: dict[str, object]) -> dict[str, Any]:
    """An optimizer's options of a group of parameters."""
    return {name: value for name, value in group.items() if name != "params"}
