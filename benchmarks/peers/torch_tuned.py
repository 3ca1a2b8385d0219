"""Eager PyTorch as fast as it goes: threads, memory layout and fused Adam tried in all combinations, no DataLoader."""

import itertools
import time

import torch
from torch.nn import functional as F

from peers.contender import Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, TorchLoop

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ADAMS = {"fused": True, "unfused": False}


class TunedLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        threads, layout, adam = way.split(", ")
        super().__init__(data, layers, seed, THREADS[threads], ADAMS[adam])
        self.batch = batch
        self.net.to(memory_format=LAYOUTS[layout])
        self.x = self.x.to(memory_format=LAYOUTS[layout])
        self.test_x = self.test_x.to(memory_format=LAYOUTS[layout])

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.net.train()
        start = time.perf_counter()
        for chosen in torch.randperm(images).split(self.batch):
            loss = F.cross_entropy(self.net(self.x.index_select(0, chosen)), self.y.index_select(0, chosen))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start


class Contestant(Contender):
    packages = ("torch",)
    ways = tuple(", ".join(parts) for parts in itertools.product(THREADS, LAYOUTS, ADAMS))
    kept = 3

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return TunedLoop(self.data, layers, batch, seed, way)
