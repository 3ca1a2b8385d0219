"""What the contenders on PyTorch share: the network as a module, Adam, and evaluation in large batches."""

import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from peers.contender import BETAS, EPS, EVALUATED_AT_ONCE, LR, Settled
from peers.data import Data
from peers.network import Network

THREADS = {"1 thread": 1, "2 threads": 2}


class Net(nn.Module):
    """The network of a spec, as one writes it."""

    def __init__(self, layers: Network) -> None:
        super().__init__()
        self.layers = layers
        self.convs = nn.ModuleList(nn.Conv2d(b.inputs, b.outputs, b.kernel) for b in layers.blocks)
        self.linears = nn.ModuleList(nn.Linear(f.inputs, f.outputs) for f in layers.linears)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        for block, conv in zip(self.layers.blocks, self.convs, strict=True):
            x_NCHW = F.max_pool2d(F.relu(conv(x_NCHW)), block.pool)
        x_NF = x_NCHW.flatten(1)
        for layer, linear in zip(self.layers.linears, self.linears, strict=True):
            if layer.dropout:
                x_NF = F.dropout(x_NF, layer.dropout, self.training)
            x_NF = linear(x_NF)
            if layer.relu:
                x_NF = F.relu(x_NF)
        return x_NF


class TorchLoop(Settled):
    """A net with its optimizer and thread count; `train` is what the contenders add."""

    def __init__(self, data: Data, layers: Network, seed: int, threads: int, fused: bool | None = None) -> None:
        torch.manual_seed(seed)
        self.threads = threads
        self.net = Net(layers)
        self.optimizer = torch.optim.Adam(self.net.parameters(), LR, BETAS, EPS, fused=fused)
        self.x, self.y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        self.test_x, self.test_y = torch.from_numpy(data.test_x), torch.from_numpy(data.test_y)

    def load(self, arrays: list[np.ndarray]) -> None:
        with torch.no_grad():
            for parameter, values in zip(self.net.parameters(), arrays, strict=True):
                parameter.copy_(torch.from_numpy(values))

    def loader(self, images: int, batch: int) -> DataLoader:
        return DataLoader(TensorDataset(self.x[:images], self.y[:images]), batch, shuffle=True)

    def test_loader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.test_x, self.test_y), EVALUATED_AT_ONCE)

    def evaluate(self) -> tuple[float, np.ndarray]:
        torch.set_num_threads(self.threads)
        self.net.eval()
        start = time.perf_counter()
        with torch.inference_mode():
            logits = torch.cat([self.net(x) for x in self.test_x.split(EVALUATED_AT_ONCE)])
        return time.perf_counter() - start, logits.numpy()
