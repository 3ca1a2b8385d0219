"""How long a forward pass takes."""

import time

import torch
from torch import Tensor, nn

from modelflow.training.modes import evaluating, one_thread

SECONDS = 0.1
MIN_PASSES = 3


@torch.inference_mode()
def latency_ms(model: nn.Module, x_NCHW: Tensor) -> float:
    """The least milliseconds of some passes in eval mode over the images, which are on the model's device.

    On one thread; the least, since what else the machine does makes a pass longer, never shorter. A pass of an
    accelerator ends when its last result is there.
    """
    times: list[float] = []
    with evaluating(model), one_thread():
        _pass(model, x_NCHW)
        while len(times) < MIN_PASSES or sum(times) < SECONDS:
            start = time.perf_counter()
            _pass(model, x_NCHW)
            times.append(time.perf_counter() - start)
    return 1000 * min(times)


def _pass(model: nn.Module, x_NCHW: Tensor) -> None:
    model(x_NCHW)
    if x_NCHW.device.type != "cpu":
        torch.accelerator.synchronize(x_NCHW.device)
