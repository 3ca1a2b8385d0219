"""A call of training: the states that it saves, and whether one on disk is of the same call."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from modelflow.errors import DataError
from modelflow.results import layout, provenance
from modelflow.results.records import OF_LOADERS, other_data, other_files
from modelflow.results.run_settings import LATER_SETTINGS
from modelflow.studies.autosave import Autosave
from modelflow.studies.parts import Parts
from modelflow.text import short
from modelflow.training.callback import Callback


class CallState(TypedDict):
    """What a state says of the call that it is of. States of older versions do not say all of it."""

    first_epoch: int
    asked: dict[str, Any]
    checksums: NotRequired[dict[str, str]]
    options: NotRequired[dict[str, Any] | None]
    continued: NotRequired[dict[str, str]]
    network: NotRequired[list[object]]
    engine: str
    made_by: NotRequired[dict[str, str]]
    notes: list[str]
    started: str
    seconds: dict[str, float]


class Call(Callback):
    """A call under way, of epochs after `first_epoch`; where it `resumes`, it goes on from a state in the folder."""

    def __init__(self, parts: Parts, autosave: Autosave, first_epoch: int, resumes: bool) -> None:
        self._parts, self._folder, self._autosave = parts, parts.folder, autosave
        self._first_epoch, self._resumes = first_epoch, resumes
        self._has_taken = False
        self._began, self._compiled_before = time.perf_counter(), parts.arch.seconds_compiling
        self._before = dict(parts.history.seconds)

    @property
    def seconds(self) -> dict[str, float]:
        """Of training so far, the calls before included; and of compiling, where there was any."""
        compiling = self._parts.arch.seconds_compiling - self._compiled_before
        here = {"training": time.perf_counter() - self._began - compiling} | (
            {"compiling": compiling} if compiling else {}
        )
        return {name: self._before.get(name, 0.0) + seconds for name, seconds in here.items()}

    def take_folder(self) -> None:
        """From its first step on, the folder holds no other run, finished or half-way."""
        if not self._has_taken:
            self._folder.begin_training(self._resumes)
            self._parts.history.stored, self._has_taken = None, True

    def on_pause(self) -> None:
        """Saves a state, where one is due."""
        self.take_folder()
        if self._autosave.is_due():
            self._autosave.save(self._folder.path / layout.TRAINING, self._state)

    on_epoch = on_pause

    def _state(self) -> dict[str, Any]:
        """The trainer's, and as plain data what this call was asked for and what its record says so far."""
        parts, history = self._parts, self._parts.history
        call: CallState = {
            "first_epoch": self._first_epoch,
            "asked": _asked(parts),
            "checksums": parts.data.checksums,
            "options": parts.options,
            "continued": parts.continued,
            "network": parts.network,
            "engine": parts.arch.engine,
            "made_by": _made_by(parts),
            "notes": parts.notes,
            "started": history.started.isoformat(),
            "seconds": history.seconds | self.seconds,
        }
        return parts.arch.state() | {"call": call}


def check_same_call(call: CallState, parts: Parts, path: Path) -> None:
    """Raises `DataError` naming the state's `path` where it is of other settings, data or another network."""
    of_a_study = LATER_SETTINGS if "dataset" in call["asked"] else {}
    _check_asked({**of_a_study, **call["asked"]}, _asked(parts), path)
    _check_data(call.get("checksums", {}), parts, path)
    if (before := call.get("options")) is not None:  # states of older versions do not say
        now = {name: of for name, of in (parts.options or {}).items() if "network" in call or name in before}
        _check_asked(before, dict.fromkeys(before) | now, path)
    if call.get("network", parts.network) != parts.network:
        raise DataError(
            f"{path}: is of another network. Build the model with the spec, or the class, it was trained with, "
            "or train without resuming."
        )


def changed_since(call: CallState, parts: Parts) -> list[str]:
    """Versions, processor, device and engine that differ from those of the state, in words."""
    engines = [engine.partition(":")[0] for engine in (call["engine"], parts.arch.next_engine)]
    trained_by = [{"trained by": engine} for engine in engines]
    changed = provenance.changed_versions(call.get("made_by", {}), _made_by(parts))
    return changed + (provenance.changed_versions(*trained_by) if call["engine"] else [])


def _asked(parts: Parts) -> dict[str, Any]:
    return {"seed": parts.seed, **parts.settings}


def _made_by(parts: Parts) -> dict[str, str]:
    return provenance.versions() | {"processor": provenance.processor(), "device": parts.device.type}


def _check_asked(stored: Mapping[str, object], asked: Mapping[str, object], path: Path) -> None:
    name = next((name for name in asked if asked[name] != stored.get(name)), None)
    if name is not None:
        differs = f"{name} {short(stored.get(name))}, this one has {short(asked[name])}"
        raise DataError(f"{path}: was saved by a training with {differs}. Train without resuming, or as then.")


def _check_data(stored: dict[str, str], parts: Parts, path: Path) -> None:
    """Of states of older versions, and of data that are neither files nor in memory, nothing is known."""
    now = parts.data.checksums
    if stored and now and (differ := other_data(stored, now)):
        files = bool(set(differ) - set(OF_LOADERS))
        fix = "Put the old files back" if files else "Give loaders of the same"
        raise DataError(
            f"{path}: was saved by a training on other {'files' if files else 'images or labels'} of "
            f"{parts.data.name}: {other_files(stored, now)}. {fix}, or train without resuming."
        )
