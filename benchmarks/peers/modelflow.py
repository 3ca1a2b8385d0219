"""ModelFlow through its public path: load_dataset, Architecture.train on Batches; two threads where layers are large."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelflow import Architecture, load_dataset
from modelflow.data.batches import Batches
from modelflow.data.datasets import Dataset
from modelflow.kernels.network import compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace
from peers.contender import BETAS, EPS, LR, Contender, Settled
from peers.data import Data

THREADS = {"1 thread": 1, "2 threads": 2}


class ModelFlowLoop(Settled):
    """Evaluates as the validation pass of each epoch does, by the compiled step."""

    def __init__(self, data: Dataset, spec: Spec, batch: int, seed: int, threads: int) -> None:
        self.data, self.batch, self.seed, self.threads = data, batch, seed, threads
        self.model = GenericCNN(spec, seed)
        adam = torch.optim.Adam(self.model.parameters(), LR, BETAS, EPS, fused=True)
        self.architecture = Architecture(self.model, torch.nn.CrossEntropyLoss(), adam, verbose=False)
        self.architecture.threads = lambda: threads
        self.network = compiled(self.model.trace, Adam())
        self.test_x = data.test_x_NCHW.numpy()

    def load(self, arrays: list[np.ndarray]) -> None:
        with torch.no_grad():
            for parameter, values in zip(self.model.parameters(), arrays, strict=True):
                parameter.copy_(torch.from_numpy(values))

    def train(self, images: int) -> float:
        x, y = self.data.train_x_NCHW[:images], self.data.train_y_N[:images]
        self.architecture.set_loaders(Batches(x, y, self.batch, shuffle=True))
        start = time.perf_counter()
        self.architecture.train(1, seed=self.seed)
        seconds = time.perf_counter() - start
        if self.architecture.engine != "compiled step":
            raise RuntimeError(f"not trained by the compiled step: {self.architecture.engine}")
        return seconds

    def evaluate(self) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        flat = torch.nn.utils.parameters_to_vector(self.model.parameters()).detach().numpy()
        logits = self.network.logits(self.test_x, flat, self.threads)
        return time.perf_counter() - start, logits


class Contestant(Contender):
    packages = ("modelflow", "llvmlite", "torch")
    ways = tuple(THREADS)

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.dataset = load_dataset("fashion-mnist", folder)
        parts = ("train_x_NCHW", "train_y_N", "test_x_NCHW", "test_y_N")
        self.data = Data(*(getattr(self.dataset, part).numpy() for part in parts))

    def prepare(
        self, model: str, batch: int, seed: int, ways: list[str] | None = None, p: float | None = None
    ) -> dict[str, Any]:
        spec = preset(model)
        if p is not None:
            spec = parse_spec(spec.model_dump() | {"p": p})
        self.ways = tuple(THREADS)[: 2 if compiled(trace(spec), Adam()).layout.has_large else 1]
        self.loops = {way: ModelFlowLoop(self.dataset, spec, batch, seed, THREADS[way]) for way in ways or self.ways}
        return {}
