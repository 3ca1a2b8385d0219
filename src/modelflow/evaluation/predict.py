"""The logits of a model for every image of a loader, always in eval mode."""

from typing import Any

import numpy as np
import torch
from torch import nn

from modelflow.errors import DataError

Array = np.ndarray[Any, Any]


@torch.inference_mode()
def predict(model: nn.Module, loader: Any, device: torch.device | str) -> tuple[Array, Array]:
    """Logits N x K (float32) and labels N (int64), in the loader's order; the model's mode is put back afterwards.

    Raises `DataError` when the loader is empty or the outputs are not one row of logits an image.
    """
    was_training = model.training
    model.eval()
    try:
        batches = [(model(x.to(device)).cpu(), torch.as_tensor(y).cpu()) for x, y in loader]
    finally:
        model.train(was_training)
    if not batches:
        raise DataError("evaluation: the validation loader has no images; give it some")
    logits_NK = torch.cat([logits for logits, _ in batches]).float().numpy()
    y_N = torch.cat([y for _, y in batches]).long().numpy()
    if logits_NK.ndim != 2 or logits_NK.shape[1] < 2:
        raise DataError(f"evaluation: the model's output has shape {logits_NK.shape}, expected images x classes")
    if y_N.min() < 0 or y_N.max() >= logits_NK.shape[1]:
        raise DataError(
            f"evaluation: a label is {y_N.max()}, expected 0 to {logits_NK.shape[1] - 1}; build the model with more classes"
        )
    return logits_NK, y_N
