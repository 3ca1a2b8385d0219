"""Eager PyTorch as fast as it goes, no DataLoader: all combinations of threads, layout, fused Adam, denormals flushed."""

import itertools
import time
from contextlib import nullcontext

import torch
from torch.nn import functional as F

from modelflow.training.denormals import flushed_to_zero
from peers.contender import Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, TorchLoop

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
ADAMS = {"fused": True, "unfused": False}
DENORMALS = {"denormals": nullcontext, "flushed": flushed_to_zero}


class TunedLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        threads, layout, adam, denormals = way.split(", ")
        super().__init__(data, layers, seed, THREADS[threads], ADAMS[adam])
        self.batch, self.denormals = batch, DENORMALS[denormals]
        self.net.to(memory_format=LAYOUTS[layout])
        self.x = self.x.to(memory_format=LAYOUTS[layout])
        self.test_x = self.test_x.to(memory_format=LAYOUTS[layout])

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.net.train()
        start = time.perf_counter()
        with self.denormals():
            for chosen in torch.randperm(images).split(self.batch):
                loss = F.cross_entropy(self.net(self.x.index_select(0, chosen)), self.y.index_select(0, chosen))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        return time.perf_counter() - start

    def settle(self, images: int, first: Loop) -> None:
        """Of so many ways only the first trains, which flushes nothing: the others find the denormals that it leaves."""
        if first is self:
            super().settle(images, first)
        else:
            assert isinstance(first, TunedLoop)
            self.net.load_state_dict(first.net.state_dict())
            for own, its in zip(self.net.parameters(), first.net.parameters(), strict=True):
                state = {name: value.clone() for name, value in first.optimizer.state[its].items()}
                for name in ("exp_avg", "exp_avg_sq"):
                    state[name] = torch.empty_like(own).copy_(state[name])  # in this way's layout
                self.optimizer.state[own] = state


class Contestant(Contender):
    packages = ("torch",)
    ways = tuple(", ".join(parts) for parts in itertools.product(THREADS, LAYOUTS, ADAMS, DENORMALS))
    kept = 3

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return TunedLoop(self.data, layers, batch, seed, way)
