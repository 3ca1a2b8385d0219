"""Checkpoints: `epoch`, `model_state_dict`, `optimizer_state_dict`, `loss` and `val_loss` in one file.

Read with `weights_only=True`: nothing is executed. Files of the original framework hold lists of `numpy.float64`, and
the few types that such a number is pickled with are allowed by name; tensors saved on a GPU come back on the CPU.
"""

import copy
import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.errors import DataError
from modelflow.files import write_whole

KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
_SCALAR: Any = np.float64(0).__reduce__()[0]
NUMPY_FLOAT: list[Any] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.float64,
    type(np.dtype(np.float64)),
]
SAME_MODEL = "build the model with the spec it was trained with"
SAME_OPTIMIZER = "use the optimizer it was trained with"


def write_checkpoint(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """`checkpoint` (with the five keys) as a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    write_whole(Path(path), buffer.getvalue())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The checkpoint in a file, tensors on the CPU, losses as plain floats.

    Raises `DataError` when the file is missing, cut, altered, holds other types, or lacks a key.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; give the path of a checkpoint (model_checkpoint.pth)")
    try:
        _check_bytes(path)
        with torch.serialization.safe_globals(NUMPY_FLOAT):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or hostile files
        raise DataError(f"{path}: not a readable checkpoint ({_reason(error)}); use an undamaged copy") from None
    return _checked(checkpoint, path)


def _check_bytes(path: Path) -> None:
    """The checksums within the file, which torch writes but does not read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is not None:
            raise DataError(f"{altered} has been altered")


def _reason(error: Exception) -> str:
    """The error in a line, without torch's advice to load the file with `weights_only=False`."""
    cause = str(error).rpartition("WeightsUnpickler error:")[2]
    sentences = [part for part in cause.split("\n\n") if "weights_only" not in part]
    return " ".join(" ".join(sentences).split()).partition(" Please use")[0][:200] or "it ends early"


def _checked(checkpoint: Any, path: Path) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        held = type(checkpoint).__name__
        raise DataError(f"{path}: holds a {held}, expected a checkpoint with the keys {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in checkpoint]
    if missing:
        keys = ", ".join(KEYS)
        raise DataError(f"{path}: lacks the key {missing[0]!r}, expected {keys}; is it a checkpoint of ModelFlow?")
    try:
        losses = {key: _floats(checkpoint[key]) for key in ("loss", "val_loss")}
        epoch = int(checkpoint["epoch"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: epoch, loss or val_loss are not numbers; use an undamaged copy") from None
    counts = [len(values) for values in losses.values()]
    if counts[0] != counts[1]:
        raise DataError(f"{path}: loss has {counts[0]} entries, val_loss {counts[1]}, expected one an epoch in each")
    return checkpoint | losses | {"epoch": epoch}


def _floats(values: Iterable[Any]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


def load_into(
    model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, Any], where: str | Path
) -> None:
    """The weights and the optimizer's state of `checkpoint` put into `model` and `optimizer`.

    Raises `DataError` naming what does not fit, before anything is changed.
    """
    check_fits(model, checkpoint["model_state_dict"], where)
    check_optimizer(optimizer, checkpoint["optimizer_state_dict"], where)
    model.load_state_dict(checkpoint["model_state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])


def check_fits(model: nn.Module, state: Any, where: str | Path) -> None:
    """Raises `DataError` unless `state` has exactly the names and shapes of `model`'s state."""
    if not isinstance(state, Mapping):
        held = type(state).__name__
        raise DataError(f"{where}: its model_state_dict is a {held}, expected a mapping of names to tensors")
    expected = model.state_dict()
    for name in [*expected, *state]:
        if name not in state:
            raise DataError(f"{where}: lacks {name} of the model; {SAME_MODEL}")
        if name not in expected:
            raise DataError(f"{where}: holds {name}, which the model lacks; {SAME_MODEL}")
        given = tuple(getattr(state[name], "shape", ()))
        if not isinstance(state[name], Tensor) or given != tuple(expected[name].shape):
            shapes = f"{_text(given)}, the model's has {_text(tuple(expected[name].shape))}"
            raise DataError(f"{where}: {name} has shape {shapes}; {SAME_MODEL}")


def check_optimizer(optimizer: torch.optim.Optimizer, state: Any, where: str | Path) -> None:
    """Raises `DataError` unless `state` is one that `optimizer` can go on from: of its kind and its tensors' shapes."""
    groups, kept = _parts(state, where)
    given, expected = ([len(group["params"]) for group in each] for each in (groups, optimizer.param_groups))
    if given != expected:
        raise DataError(f"{where}: its optimizer has parameter groups of {given} tensors, expected {expected}")
    kind = type(optimizer).__name__
    flags = [group.get("decoupled_weight_decay") for group in (groups[0], optimizer.param_groups[0])]
    if None not in flags and flags[0] != flags[1]:
        raise DataError(f"{where}: its optimizer is not {kind} (one of Adam and AdamW is); {SAME_OPTIMIZER}")
    try:
        trial = _states_after_a_step(optimizer, groups)
    except Exception as error:  # what an optimizer raises without its options depends on its kind
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{where}: its optimizer is not {kind} ({reason}); {SAME_OPTIMIZER}") from None
    numbers = [number for group in groups for number in group["params"]]
    for number, expected_state in zip(numbers, trial, strict=True):
        if kept.get(number):
            _check_state(kept[number], expected_state, f"{where}: its optimizer's state of tensor {number}", kind)


def _parts(state: Any, where: str | Path) -> tuple[list[dict[str, Any]], Mapping[Any, Any]]:
    try:
        groups, kept = state["param_groups"], state["state"]
        sound = all(isinstance(group["params"], list) for group in groups)
        sound = sound and isinstance(kept, Mapping) and all(isinstance(one, Mapping) for one in kept.values())
    except (TypeError, KeyError, IndexError):
        sound = False
    if not sound:
        raise DataError(f"{where}: its optimizer_state_dict is not the state of an optimizer; use an undamaged copy")
    return groups, kept


def _states_after_a_step(optimizer: torch.optim.Optimizer, groups: Any) -> list[dict[str, Any]]:
    """What a copy of the optimizer with the options of `groups` keeps of each of its tensors."""
    trial = copy.deepcopy(optimizer)
    trial.load_state_dict({"state": {}, "param_groups": groups})
    tensors = [tensor for group in trial.param_groups for tensor in group["params"]]
    for tensor in tensors:
        tensor.grad = torch.zeros_like(tensor)
    trial.step()
    return [trial.state[tensor] for tensor in tensors]


def _check_state(given: Any, expected: dict[str, Any], what: str, kind: str) -> None:
    shapes = [
        {name: tuple(getattr(value, "shape", ())) for name, value in state.items() if value is not None}
        for state in (given, expected)
    ]
    if shapes[0] != shapes[1]:
        texts = (", ".join(f"{name} {_text(shape)}" for name, shape in each.items()) or "nothing" for each in shapes)
        raise DataError(f"{what} holds {next(texts)}, {kind} keeps {next(texts)}; {SAME_OPTIMIZER}")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "none"
