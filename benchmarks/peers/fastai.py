"""fastai: a Learner over PyTorch's DataLoaders, PyTorch's fused Adam, without bars, recorder and validation."""

import time
from functools import partial

import numpy as np
import torch
from fastai.basics import Callback, CancelValidException, DataLoaders, Learner, OptimWrapper, Recorder

from peers.contender import BETAS, EPS, LR, Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, TorchLoop


class Clock(Callback):
    """The seconds of the training part of an epoch, and no validation after it."""

    start = seconds = 0.0

    def before_train(self) -> None:
        self.start = time.perf_counter()

    def after_train(self) -> None:
        self.seconds = time.perf_counter() - self.start

    def before_validate(self) -> None:
        if self.learn.training_only:
            raise CancelValidException


class FastaiLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        super().__init__(data, layers, seed, THREADS[way])
        self.batch = batch
        adam = partial(OptimWrapper, opt=torch.optim.Adam, betas=BETAS, eps=EPS, fused=True)
        self.clock = Clock()
        self.learner = Learner(
            self._loaders(batch),
            self.net,
            torch.nn.CrossEntropyLoss(),
            opt_func=adam,
            lr=LR,
            wd=0.0,
            cbs=[self.clock],
        )
        self.learner.remove_cbs([Recorder])

    def _loaders(self, images: int) -> DataLoaders:
        return DataLoaders(self.loader(images, self.batch), self.test_loader())

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.learner.dls = self._loaders(images)
        self.learner.training_only = True
        self.learner.fit(1)
        return self.clock.seconds

    def evaluate(self) -> tuple[float, np.ndarray]:
        torch.set_num_threads(self.threads)
        self.learner.training_only = False
        start = time.perf_counter()
        logits, _ = self.learner.get_preds(dl=self.test_loader(), act=lambda outputs: outputs)
        return time.perf_counter() - start, logits.numpy()


class Contestant(Contender):
    packages = ("torch", "fastai")
    ways = tuple(THREADS)

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return FastaiLoop(self.data, layers, batch, seed, way)
