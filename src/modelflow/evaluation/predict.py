"""The logits of a model for every image of a loader, always in eval mode."""

from typing import Any

import numpy as np
import torch
from torch import nn

from modelflow.errors import DataError, RunError
from modelflow.modes import evaluating

Array = np.ndarray[Any, Any]


@torch.no_grad()
def predict(model: nn.Module, loader: Any, device: torch.device | str) -> tuple[Array, Array]:
    """Logits N x K (float32) and labels N (int64), in the loader's order; the model's modes are put back afterwards.

    Raises `DataError` when the loader is empty or the outputs are not one row of logits an image, and `RunError` when
    logits are not finite.
    """
    with evaluating(model):
        batches = [(model(x.to(device)).cpu(), torch.as_tensor(y).cpu()) for x, y in loader]
    if not batches:
        raise DataError("evaluation: the validation loader has no images; give it some")
    logits_NK = torch.cat([logits for logits, _ in batches]).float().numpy()
    return checked(logits_NK, torch.cat([y for _, y in batches]).long().numpy())


def checked(logits_NK: Array, y_N: Array) -> tuple[Array, Array]:
    """Logits and labels, as they are. Raises as `predict` does for what cannot be evaluated."""
    if logits_NK.ndim != 2 or logits_NK.shape[1] < 2:
        raise DataError(f"evaluation: the model's output has shape {logits_NK.shape}, expected images x classes")
    _check_labels(y_N, *logits_NK.shape)
    wrong = int((~np.isfinite(logits_NK).all(1)).sum())
    if wrong:
        raise RunError(
            f"evaluation: the logits of {wrong} of {len(y_N)} images are not finite, so the weights are of no use; "
            "train again with a learning rate ten times smaller"
        )
    return logits_NK, y_N


def _check_labels(y_N: Array, n_images: int, n_classes: int) -> None:
    if y_N.shape != (n_images,):
        raise DataError(f"evaluation: the labels have shape {y_N.shape}, expected ({n_images},), one class an image")
    wrong_N = y_N[(y_N < 0) | (y_N >= n_classes)]
    if wrong_N.size:
        raise DataError(
            f"evaluation: a label is {wrong_N[0]}, expected 0 to {n_classes - 1}; "
            "mend the labels, or build the model with more classes"
        )
