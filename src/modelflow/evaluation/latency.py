"""How long a forward pass takes."""

import statistics
import time

import torch
from torch import Tensor, nn

from modelflow.modes import evaluating

SECONDS = 0.1
FEWEST_PASSES = 3


@torch.inference_mode()
def latency_ms(model: nn.Module, x_NCHW: Tensor) -> float:
    """The median milliseconds of a pass in eval mode over the images, which are on the model's device."""
    times: list[float] = []
    with evaluating(model):
        model(x_NCHW)
        while len(times) < FEWEST_PASSES or sum(times) < SECONDS:
            start = time.perf_counter()
            model(x_NCHW)
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
