"""The logits of a model for every image of a loader, always in eval mode."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.data.convert import classes, described, dtype_of, logits_of, pairs, range_advice
from modelflow.errors import DataError, RunError
from modelflow.io.array import Array
from modelflow.training.denormals import flushed_to_zero
from modelflow.training.modes import evaluating


@torch.no_grad()
def predict(model: nn.Module, loader: Any, device: torch.device | str) -> tuple[Array, Array]:
    """Logits N x K (float32) and labels N (int64), in the loader's order; the model's modes are put back afterwards.

    Batches, labels and outputs of other kinds are taken as `batch` says.

    Raises `DataError` when the loader is empty or the outputs are not one row of logits an image, and `RunError` when
    logits are not finite.
    """
    with evaluating(model), flushed_to_zero():
        given = pairs(loader, dtype_of(model))
        batches = [(_logits(model(x.to(device))).cpu(), one_class_each(y).cpu()) for x, y in given]
    if not batches:
        raise DataError("evaluation: the validation loader has no images")
    logits_NK = torch.cat([logits for logits, _ in batches]).float().numpy()
    return checked(logits_NK, torch.cat([y for _, y in batches]).numpy())


def _logits(outputs: object) -> Tensor:
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.ndim == 0:
        raise DataError(f"evaluation: the model gives {described(outputs)}, expected images x classes")
    return logits


def one_class_each(y: object) -> Tensor:
    """Labels as one class an image. Raises `DataError` for labels that do not say one."""
    found = classes(y)
    if found is None:
        shape = f"the labels have shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"the labels are {described(y)}"
        kind = " and are not whole numbers" if isinstance(y, Tensor) and y.ndim == 1 else ""
        raise DataError(f"evaluation: {shape}{kind}, expected one class per image. Give whole numbers from 0.")
    return found


def checked(logits_NK: Array, y_N: Array) -> tuple[Array, Array]:
    """Logits and labels, as they are. Raises as `predict` does for what cannot be evaluated."""
    if logits_NK.ndim != 2 or logits_NK.shape[1] < 2:
        raise DataError(f"evaluation: the model's output has shape {logits_NK.shape}, expected images x classes")
    _check_labels(y_N, *logits_NK.shape)
    wrong = int((~np.isfinite(logits_NK).all(1)).sum())
    if wrong:
        raise RunError(
            f"evaluation: the logits of {wrong} of {len(y_N)} images are not finite: the weights are useless. "
            "Train again with a learning rate ten times smaller."
        )
    return logits_NK, y_N


def _check_labels(y_N: Array, n_images: int, n_classes: int) -> None:
    if y_N.shape != (n_images,):
        raise DataError(f"evaluation: the labels have shape {y_N.shape}, expected ({n_images},), one class per image")
    wrong_N = y_N[(y_N < 0) | (y_N >= n_classes)]
    if wrong_N.size:
        fix = range_advice(int(y_N.min()), int(y_N.max()), n_classes)
        raise DataError(f"evaluation: a label is {wrong_N[0]}, expected 0 to {n_classes - 1}. {fix}")
