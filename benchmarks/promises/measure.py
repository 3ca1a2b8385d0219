"""What the parts share: figures with their range, interleaved rounds, progress, the data, the bare step."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelflow.data.datasets import Dataset, load_dataset
from modelflow.kernels.network import State, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace

EPOCH, TESTS = 60_000, 10_000
FEWER = {"generic_3": 10}  # trained on a tenth of the images, or in fewer rounds, or it would take hours
SEED, LR = 42, 3e-4
ADAM = {"lr": LR, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
CHILD = Path(__file__).with_name("child.py")

Row = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """How much is measured: rounds, models, at most so many training images; files are written below `folder`."""

    rounds: int
    models: tuple[str, ...]
    images: int
    folder: Path

    @property
    def few(self) -> int:
        """Rounds of what takes long, or hardly varies."""
        return min(self.rounds, 3)

    def data(self, model: str) -> Dataset:
        """The first training images for this model, and a sixth as many test images, as 10,000 are of 60,000."""
        return first_images(self.images // FEWER.get(model, 1))


def tell(message: str) -> None:
    """Progress, on the error stream."""
    print(message, file=sys.stderr, flush=True)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest, highest, and how many there are."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def timed(action: Callable[[], Any]) -> Callable[[], float]:
    """A function that does `action` and says how many seconds it took."""

    def run() -> float:
        start = time.perf_counter()
        action()
        return time.perf_counter() - start

    return run


def interleaved(
    rounds: int, contenders: Mapping[str, Callable[[], float]], repeats: int = 1
) -> dict[str, np.ndarray[Any, Any]]:
    """Each contender's mean seconds in each round, after one round to warm up; another one begins each time."""
    names = list(contenders)
    taken = np.zeros((rounds + 1, len(names)))
    for number in range(rounds + 1):
        for repeat in range(repeats):
            for i in np.roll(np.arange(len(names)), number + repeat):
                taken[number, i] += contenders[names[i]]() / repeats
    return dict(zip(names, taken[1:].T, strict=True))


def in_child(function: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> Any:
    """What a function of child.py gives in a fresh process."""
    command = [sys.executable, str(CHILD), function, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


@cache
def _everything() -> Dataset:
    return load_dataset("fashion-mnist")


def first_images(count: int) -> Dataset:
    """Fashion-MNIST cut to its first training images, and a sixth as many test images."""
    data, tests = _everything(), count * TESTS // EPOCH
    return replace(
        data,
        train_x_NCHW=data.train_x_NCHW[:count],
        train_y_N=data.train_y_N[:count],
        test_x_NCHW=data.test_x_NCHW[:tests],
        test_y_N=data.test_y_N[:tests],
    )


class Bare:
    """The compiled step of a preset on flat arrays, with nothing around it: one call an epoch, one an evaluation."""

    def __init__(self, model: str, batch: int, data: Dataset) -> None:
        spec = preset(model)
        params = torch.cat([p.detach().ravel() for p in GenericCNN(spec, SEED).parameters()]).numpy()
        self.network = compiled(trace(spec), Adam(), tell)
        self.state = State(params, [np.zeros_like(params), np.zeros_like(params)])
        self.batch = batch
        self.images, self.labels, self.tests = (
            tensor.numpy() for tensor in (data.train_x_NCHW, data.train_y_N, data.test_x_NCHW)
        )
        self.order = np.random.default_rng(SEED).permutation(len(self.labels))

    def train(self) -> None:
        """One epoch."""
        self.network.train(self.images, self.labels, self.order, self.batch, self.state, ADAM, SEED)

    def evaluate(self) -> None:
        """The logits of the test images."""
        self.network.logits(self.tests, self.state.params)

    def epochs_in(self, seconds: float) -> int:
        """How many epochs take about so long; at least one."""
        self.train()
        return max(1, round(seconds / timed(self.train)()))
