"""The outputs of chosen layers for some images, and the model afterwards exactly as it was before."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from modelflow.errors import UsageError
from modelflow.evaluation.inspection.hooks import captured
from modelflow.training.modes import evaluating
from modelflow.training.seeding import seeded_rng


def activations(model: nn.Module, x_NCHW: Tensor | np.ndarray, layer_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Layer name -> its output for each image, from one forward pass in eval mode without gradients.

    Modes, weights, gradients and torch's generators are left as they were, the images too. Raises `UsageError` for a
    name that is no layer, and for a layer that does not run exactly once in the pass.
    """
    with evaluating(model), seeded_rng(0, "activations"), torch.no_grad(), captured(model, layer_names) as outputs:
        model(_on_device_of(model, x_NCHW))
    for name in layer_names:
        _check_ran_once(name, len(outputs[name]) if name in outputs else 0, len(x_NCHW))
    return {name: outputs[name] for name in layer_names}


def _on_device_of(model: nn.Module, x_NCHW: Tensor | np.ndarray) -> Tensor:
    images = torch.tensor(x_NCHW) if isinstance(x_NCHW, np.ndarray) else x_NCHW.detach().clone()
    return images.to(next(model.parameters(), images).device)


def _check_ran_once(layer_name: str, n_outputs: int, n_images: int) -> None:
    if n_outputs != n_images:
        raise UsageError(
            f"layer {layer_name!r}: {n_outputs} outputs for {n_images} images, expected one per image. It runs "
            "not once, but never or several times in a forward pass. Name another layer."
        )
