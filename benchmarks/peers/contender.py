"""What the driver may ask of every contender, and the little that all of them share."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from peers import data
from peers.network import Network, network

LR, BETAS, EPS = 3e-4, (0.9, 0.999), 1e-8
EVALUATED_AT_ONCE = 1000
TRAINING_IMAGES = 60_000
TUNING_REPEATS = 2


class Loop(Protocol):
    """One network with its optimizer, trained in one way."""

    def load(self, arrays: list[np.ndarray]) -> None:
        """Sets weights and biases, given in PyTorch's order and layout."""

    def train(self, images: int) -> float:
        """The seconds of one epoch over that many images, the first ones, shuffled."""

    def settle(self, images: int, first: "Loop") -> None:
        """Trains over that many images, or takes up the state of the first loop, which has."""

    def evaluate(self) -> tuple[float, np.ndarray]:
        """The seconds that the logits of all test images take, and the logits."""


class Settled:
    """Settles by training, in epochs of as many images as there are."""

    def settle(self: Any, images: int, first: Loop) -> None:  # noqa: ARG002
        while images > 0:
            self.train(min(images, TRAINING_IMAGES))
            images -= TRAINING_IMAGES


class Contender:
    """Builds a loop for each of its `ways`; the `kept` best of a short tuning pass run, and the fastest counts."""

    packages: tuple[str, ...] = ()
    ways: tuple[str, ...] = ("as it is",)
    kept = 1

    def __init__(self, folder: Path) -> None:
        self.data = data.read(folder)
        self.loops: dict[str, Loop] = {}

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        raise NotImplementedError

    def prepare(
        self, model: str, batch: int, seed: int, ways: list[str] | None = None, p: float | None = None
    ) -> dict[str, Any]:
        """Builds the loops of `ways`, or of all; `p` takes the place of the spec's dropout."""
        self.loops = {}
        layers = network(model, p)
        self.loops = {way: self.build(way, layers, batch, seed) for way in ways or self.ways}
        return {}

    def tune(self, images: int, settling: int = 0) -> dict[str, Any]:
        """Keeps the fastest loops, the best first, by the best of a few short runs after one that warms up.

        Before that each is brought to where a training is after `settling` images.
        """
        first = next(iter(self.loops.values()))
        for loop in self.loops.values():
            loop.settle(settling, first)
        seconds = dict.fromkeys(self.loops, float("inf"))
        for repeat in range(TUNING_REPEATS + 1):
            for way, loop in self.loops.items():
                took = loop.train(images)
                seconds[way] = min(seconds[way], took) if repeat else seconds[way]
        best = sorted(seconds, key=seconds.__getitem__)[: self.kept]
        self.loops = {way: self.loops[way] for way in best}
        return {"ways": best, "seconds": seconds}

    def load(self, path: str) -> dict[str, Any]:
        """Sets the weights to those of an .npz file with the arrays arr_0, arr_1, …"""
        with np.load(path) as stored:
            arrays = [stored[name] for name in stored.files]
        for loop in self.loops.values():
            loop.load(arrays)
        return {}

    def train(self, images: int) -> dict[str, Any]:
        """One epoch over that many images; of several ways, the fastest counts."""
        seconds = {way: loop.train(images) for way, loop in self.loops.items()}
        way = min(seconds, key=seconds.__getitem__)
        return {"seconds": seconds[way], "way": way}

    def evaluate(self, logits_to: str | None = None) -> dict[str, Any]:
        """The logits of all test images; of several ways, the fastest counts."""
        outcomes = [loop.evaluate() for loop in self.loops.values()]
        seconds, logits = min(outcomes, key=lambda outcome: outcome[0])
        if logits_to is not None:
            np.save(logits_to, logits)
        return {"seconds": seconds, "accuracy": float((logits.argmax(1) == self.data.test_y).mean())}

    def memory(self) -> dict[str, Any]:
        """The most memory that this process has held, in MB."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {"peak_mb": int(status["VmHWM"].split()[0]) / 1024}

    def versions(self) -> dict[str, Any]:
        """Of Python and of what the contender is made of."""
        found = {name: version(name) for name in ("numpy", *self.packages)}
        return {"python": sys.version.split()[0], **found}
