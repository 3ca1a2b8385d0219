"""Checkpoints: `epoch`, `model_state_dict`, `optimizer_state_dict`, `loss` and `val_loss` in one file.

Read with `weights_only=True`: nothing is executed. Files of the original framework hold lists of `numpy.float64`, and the
few types that such a number is pickled with are allowed by name; tensors saved on a GPU come back on the CPU.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelflow.errors import DataError
from modelflow.files import write_whole

KEYS = ("epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss")
NUMPY_FLOAT = [
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.float64,
    type(np.dtype(np.float64)),
]


def write_checkpoint(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """`checkpoint` (with the five keys) as a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    write_whole(Path(path), buffer.getvalue())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The checkpoint in a file, tensors on the CPU, losses as plain floats.

    Raises `DataError` when the file is missing, cut, holds other types, or lacks a key.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of a checkpoint (model_checkpoint.pth)")
    try:
        with torch.serialization.safe_globals(NUMPY_FLOAT):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged or hostile files
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable checkpoint ({reason}); use an undamaged copy") from None
    return _checked(checkpoint, path)


def _checked(checkpoint: Any, path: Path) -> dict[str, Any]:
    if not isinstance(checkpoint, dict):
        raise DataError(f"{path}: holds a {type(checkpoint).__name__}, expected a checkpoint with the keys {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in checkpoint]
    if missing:
        raise DataError(f"{path}: lacks the key {missing[0]!r}, expected {', '.join(KEYS)}; is it a checkpoint of ModelFlow?")
    try:
        losses = {key: [None if value is None else float(value) for value in checkpoint[key]] for key in ("loss", "val_loss")}
        epoch = int(checkpoint["epoch"])
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{path}: epoch, loss or val_loss are not numbers; use an undamaged copy") from None
    return checkpoint | losses | {"epoch": epoch}


def load_into(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Mapping[str, Any], where: str | Path) -> None:
    """The weights and the optimizer's state of `checkpoint` put into `model` and `optimizer`.

    Raises `DataError` naming the first parameter that does not fit, before anything is changed.
    """
    check_fits(model, checkpoint["model_state_dict"], where)
    _check_optimizer(optimizer, checkpoint["optimizer_state_dict"], where)
    model.load_state_dict(checkpoint["model_state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])


def check_fits(model: nn.Module, state: Any, where: str | Path) -> None:
    """Raises `DataError` unless `state` has exactly the names and shapes of `model`'s state."""
    if not isinstance(state, Mapping):
        raise DataError(f"{where}: its model_state_dict is a {type(state).__name__}, expected a mapping of names to tensors")
    expected = model.state_dict()
    for name in [*expected, *state]:
        if name not in state:
            raise DataError(f"{where}: lacks {name} of the model; build the model with the spec it was trained with")
        if name not in expected:
            raise DataError(f"{where}: holds {name}, which the model lacks; build the model with the spec it was trained with")
        given = tuple(getattr(state[name], "shape", ()))
        if not isinstance(state[name], torch.Tensor) or given != tuple(expected[name].shape):
            raise DataError(
                f"{where}: {name} has shape {_text(given)}, the model's has {_text(tuple(expected[name].shape))}; "
                "build the model with the spec it was trained with"
            )


def _check_optimizer(optimizer: torch.optim.Optimizer, state: Any, where: str | Path) -> None:
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    try:
        sizes = [len(group["params"]) for group in groups or ()]
    except (TypeError, KeyError):
        sizes = []
    expected = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != expected:
        raise DataError(f"{where}: its optimizer has parameter groups of {sizes} tensors, expected {expected}")


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape) or "none"
