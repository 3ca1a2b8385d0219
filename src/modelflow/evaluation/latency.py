"""How long a forward pass takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from modelflow.modes import evaluating

SECONDS = 0.1
FEWEST_PASSES = 3


@torch.inference_mode()
def latency_ms(model: nn.Module, x_NCHW: Tensor) -> float:
    """The least milliseconds of some passes in eval mode over the images, which are on the model's device.

    On one thread; the least, since what else the machine does makes a pass longer, never shorter.
    """
    times: list[float] = []
    with evaluating(model), _one_thread():
        model(x_NCHW)
        while len(times) < FEWEST_PASSES or sum(times) < SECONDS:
            start = time.perf_counter()
            model(x_NCHW)
            times.append(time.perf_counter() - start)
    return 1000 * min(times)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
