"""States saved while a run is trained, and the newest sound one: the last two are kept.

A state's name says how far it is and ends in the beginning of the SHA-256 of its bytes, as torch.hub's files do, so
that one rename makes it whole and checked: `state-000003-00001200-0f1e2d3c4b5a6978.pth` is epoch 3 done, and 1,200
steps of the fourth.
"""

import hashlib
import io
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from modelflow.errors import DataError
from modelflow.io.files import write_atomic
from modelflow.io.validation import explain
from modelflow.text import CONTROL, ended
from modelflow.training.checkpoint import read_checkpoint
from modelflow.training.seeding import check_random_state


def _shown(text: str) -> str:
    """What is put before the user as it is. Raises `ValueError` for control characters."""
    if len(text) > MAX_LENGTH or CONTROL.search(text):
        raise ValueError(f"expected at most {MAX_LENGTH:,} characters, without control characters")
    return text


Text = Annotated[str, AfterValidator(_shown)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, lt=1 << 53)]
KEPT = 2
MAX_LENGTH = 10_000
DIGITS = 16
NAME = re.compile(r"state-(\d{6,})-(\d{8,})-([0-9a-f]{16})\.pth")


class EpochProgressOfState(BaseModel):
    """How far an epoch is, and the random numbers that it resumes with."""

    model_config = ConfigDict(strict=True)

    steps: Whole
    total: Finite
    images: Whole
    random: dict[str, Any] | None


class Call(BaseModel):
    """What the call of `train` knew that a state is of."""

    model_config = ConfigDict(strict=True)

    asked: dict[str, Any]
    checksums: dict[Text, Text] = Field(default_factory=dict)
    engine: str
    first_epoch: Whole
    made_by: dict[Text, Text] = Field(default_factory=dict)
    notes: list[Text]
    options: dict[Text, Any] | None = None
    seconds: dict[str, Finite]
    started: Annotated[str, AfterValidator(datetime.fromisoformat)]


class SavedState(BaseModel):
    """What a state has beside a checkpoint."""

    model_config = ConfigDict(strict=True)

    midway: EpochProgressOfState | None
    call: Call


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """`state` (with `epoch` and `midway`) as a file of the folder; older ones but the last are removed."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    steps = 0 if state["midway"] is None else state["midway"]["steps"]
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    write_atomic(folder / f"state-{state['epoch']:06d}-{steps:08d}-{digest}.pth", content)
    for path in _states(folder)[KEPT:]:
        path.unlink(missing_ok=True)


def newest_state(folder: Path, most_bytes: int, say: Callable[[str], None]) -> tuple[dict[str, Any], Path] | None:
    """The newest sound state, with its path; damaged ones are set aside as `NAME.damaged`, and `say` is told.

    Raises `DataError` for a state of more than `most_bytes`, or one that is whole and yet none of ours.
    """
    for path in _states(folder):
        if path.stat().st_size > most_bytes or _digest(path) == path.stem.rpartition("-")[2]:
            return checked_state(read_checkpoint(path, most_bytes), path), path
        aside = path.with_name(path.name + ".damaged")
        path.replace(aside)
        say(f"{path} is damaged and was renamed to {aside.name}. The previous state is used.")
    return None


def checked_state(state: dict[str, Any], where: str | Path) -> dict[str, Any]:
    """`state`, which has what training resumes from beside a checkpoint. Raises `DataError` where it has not."""
    try:
        SavedState.model_validate(state)
        midway = state["midway"]
        if midway is not None and midway["random"] is not None:
            check_random_state(midway["random"])
    except ValidationError as error:
        raise DataError(
            f"{where}: {ended(explain(error, list(SavedState.model_fields)))} Train without resuming."
        ) from None
    except ValueError as error:
        raise DataError(f"{where}: {ended(error)} Train without resuming.") from None
    return state


def remove_states(folder: Path) -> None:
    """Removes the states of a training that nobody resumes."""
    for path in _states(folder):
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _states(folder: Path) -> list[Path]:
    """Newest first."""
    files = [path for path in folder.glob("state-*.pth") if path.is_file() and not path.is_symlink()]
    named = [(found, path) for path in files if (found := NAME.fullmatch(path.name))]
    named.sort(key=lambda pair: (int(pair[0][1]), int(pair[0][2]), pair[1].name), reverse=True)
    return [path for _, path in named]
