"""Numbers and names as users give them, made Python's own at the door; no torch.

whole("epochs", np.int64(3), 0)              ->  3
class_names({"dog": 1, "cat": 0})            ->  ("cat", "dog")
"""

import math
import operator
import os
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from modelflow.errors import UsageError
from modelflow.io.files import make_folder
from modelflow.text import short

MAX_SEED = 2**63  # seeds are below it
MAX_RANGE_LENGTH = 1 << 20
MAX_CLASSES = 10_000  # in a mapping, whose largest index says how many names there are


def whole(what: str, value: object, least: int, below: int | None = None) -> int:
    """A whole number of any kind. Raises `UsageError` for anything else, and out of `least` to less than `below`."""
    number = as_whole(value)
    if number is None:
        raise UsageError(
            f"{what} = {short(value)}: must be a whole number of {least} or more. {_written(value, '.0f')}"
        )
    if number < least:
        raise UsageError(f"{what} = {short(number)}: must be {least} or more")
    if below is not None and number >= below:
        raise UsageError(f"{what} = {short(number)}: must be less than {below:,}")
    return number


def positive(what: str, value: Any) -> float:
    """A finite number above 0, of any kind. Raises `UsageError` for anything else."""
    number = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise UsageError(f"{what} = {short(value)}: must be a number. {_written(value)}")
    if not 0 < number <= sys.float_info.max:
        raise UsageError(f"{what} = {short(number)}: must be a finite number greater than 0, such as 3e-4")
    return float(number)


def as_whole(value: Any) -> int | None:
    """A whole number of Python, numpy or torch as Python's; None for anything else, also for true and false."""
    if isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _written(value: object, form: str = "g") -> str:
    """How to write a number that was given as a text, or a whole one that was given as a fraction."""
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        return "Give one."
    return f"Write {number:{form}}." if math.isfinite(number) and float(f"{number:{form}}") == number else "Give one."


def file(what: str, path: object) -> Path:
    """A path. Raises `UsageError` for what is none."""
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"{what} = {short(path)}: expected the path of a file")
    return Path(path)


def folder(what: str, path: object) -> Path:
    """A path. Raises `UsageError` for what is none, and for a file's."""
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"{what} = {short(path)}: expected the path of a folder, such as 'results'")
    asked = Path(path)
    there = next((place for place in (asked, *asked.parents) if os.path.exists(place)), None)
    if there is not None and not os.path.isdir(there):
        raise UsageError(f"{what} = {short(str(path))}: {there} is a file, expected a folder. Give another path.")
    return asked


def make_writable(folder: Path, what: str) -> None:
    """Makes the folder that was asked for by `what`. Raises `UsageError` where no file can be written into it."""
    try:
        make_folder(folder)
    except OSError as error:
        raise UsageError(f"{what} {folder}: cannot be created: {error.strerror}. Give another folder.") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{what} {folder}: not writable. Give another folder, or change its permissions.")


def layer_names(layers: Any) -> list[str]:
    """A name alone as a list of one. Raises `UsageError` for what is no list of names."""
    if isinstance(layers, str):
        return [layers]
    names = list(layers) if isinstance(layers, Iterable) else [layers]
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"layers = {short(layers)}: expected a list of layer names, such as ['conv1']")
    return names


def class_names(names: object) -> tuple[str, ...]:
    """The classes' names in the order of their labels, of a list, an array or a mapping.

    A mapping is of names to labels, as `class_to_idx` of torchvision, or of labels to names; a label between the others
    that has no name is called by its number. Raises `UsageError` for what says no order or gives a label two names.
    """
    if isinstance(names, Mapping):
        return _by_label(names)
    listed = names.tolist() if hasattr(names, "tolist") else names
    if isinstance(listed, str | bytes | Set) or not isinstance(listed, Iterable):
        raise UsageError(f"class_names = {short(names)}: expected a list of names in the order of the labels")
    return tuple(map(_name, listed))


def _by_label(names: Mapping[object, object]) -> tuple[str, ...]:
    labels = [as_whole(label) for label in names.values()]
    called = list(names)
    if None in labels:
        labels, called = [_label(key) for key in names], list(names.values())
    known = {label: _name(name) for label, name in zip(labels, called, strict=True) if label is not None}
    if len(known) < len(names) or not all(0 <= label < MAX_CLASSES for label in known):
        raise UsageError(
            f"class_names = {short(dict(names))}: expected one name per label, labels from 0. "
            "Give a list of names in the order of the labels."
        )
    return tuple(known.get(label, str(label)) for label in range(max(known, default=-1) + 1))


def _label(key: object) -> int | None:
    return int(key) if isinstance(key, str) and key.isdecimal() and key.isascii() else as_whole(key)


def _name(name: object) -> str:
    if isinstance(name, list | tuple):  # synonyms
        return ", ".join(map(_name, name))
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def plain(value: object) -> Any:
    """Numbers, arrays and tensors, also within lists and mappings, as Python's own; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, range) and len(value) <= MAX_RANGE_LENGTH):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def is_picture(value: object) -> bool:
    """Whether it is an image of Pillow's."""
    return type(value).__module__.partition(".")[0] == "PIL"
