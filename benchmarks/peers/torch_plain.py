"""The PyTorch loop that people write: TensorDataset, DataLoader, Adam as it comes."""

import time

import torch
from torch import nn

from peers.contender import Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, TorchLoop


class PlainLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        super().__init__(data, layers, seed, THREADS[way])
        self.batch = batch
        self.loss_fn = nn.CrossEntropyLoss()

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.net.train()
        loader = self.loader(images, self.batch)
        start = time.perf_counter()
        for x, y in loader:
            loss = self.loss_fn(self.net(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start


class Contestant(Contender):
    packages = ("torch",)
    ways = tuple(THREADS)

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return PlainLoop(self.data, layers, batch, seed, way)
