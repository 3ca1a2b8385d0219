"""skorch: a NeuralNet over a TensorDataset, fused Adam, without validation split, scores and printing."""

import time

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.utils.data import TensorDataset

from peers.contender import BETAS, EPS, EVALUATED_AT_ONCE, LR, Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, Net, TorchLoop


class Clock(Callback):
    """The seconds of the last epoch."""

    def __init__(self) -> None:
        self.start = self.seconds = 0.0

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        self.seconds = time.perf_counter() - self.start


class SkorchLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        super().__init__(data, layers, seed, THREADS[way])
        self.clock = Clock()
        torch.manual_seed(seed)
        self.skorch = NeuralNet(
            Net,
            module__layers=layers,
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            optimizer__betas=BETAS,
            optimizer__eps=EPS,
            optimizer__fused=True,
            lr=LR,
            max_epochs=1,
            batch_size=batch,
            train_split=None,
            iterator_train__shuffle=True,
            iterator_valid__batch_size=EVALUATED_AT_ONCE,
            callbacks=[("clock", self.clock)],
            callbacks__train_loss=None,
            callbacks__valid_loss=None,
            callbacks__print_log=None,
            verbose=0,
        ).initialize()
        self.clock = dict(self.skorch.callbacks_)["clock"]
        self.net = self.skorch.module_

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.skorch.partial_fit(TensorDataset(self.x[:images], self.y[:images]))
        return self.clock.seconds

    def evaluate(self) -> tuple[float, np.ndarray]:
        torch.set_num_threads(self.threads)
        start = time.perf_counter()
        logits = self.skorch.forward(TensorDataset(self.test_x, self.test_y))
        return time.perf_counter() - start, logits.numpy()


class Contestant(Contender):
    packages = ("torch", "skorch")
    ways = tuple(THREADS)

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return SkorchLoop(self.data, layers, batch, seed, way)
