"""PyTorch Lightning: a barebones Trainer (no bars, logger, checkpoints), fused Adam, a DataLoader over tensors."""

import logging
import time
import warnings

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from peers.contender import Contender, Loop
from peers.data import Data
from peers.network import Network
from peers.torch_net import THREADS, TorchLoop

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module="lightning")


class Module(LightningModule):
    """A net trained by an optimizer that outlives the Trainer; validation collects the logits."""

    def __init__(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.net = net
        self.optimizer = optimizer
        self.logits: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.logits.append(self.net(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Clock(Callback):
    """The seconds of one epoch, or of one validation, without the Trainer's set-up."""

    def __init__(self) -> None:
        self.start = self.seconds = 0.0

    def _begin(self, *_: object) -> None:
        self.start = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.start

    on_train_epoch_start = on_validation_epoch_start = _begin
    on_train_epoch_end = on_validation_epoch_end = _end


class LightningLoop(TorchLoop):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        super().__init__(data, layers, seed, THREADS[way], fused=True)
        self.batch = batch
        self.module = Module(self.net, self.optimizer)

    def train(self, images: int) -> float:
        torch.set_num_threads(self.threads)
        self.module.train()
        clock = Clock()
        trainer = Trainer(max_epochs=1, accelerator="cpu", barebones=True, callbacks=[clock])
        trainer.fit(self.module, self.loader(images, self.batch))
        return clock.seconds

    def evaluate(self) -> tuple[float, np.ndarray]:
        torch.set_num_threads(self.threads)
        self.module.logits.clear()
        clock = Clock()
        trainer = Trainer(accelerator="cpu", barebones=True, callbacks=[clock])
        trainer.validate(self.module, self.test_loader(), verbose=False)
        return clock.seconds, torch.cat(self.module.logits).numpy()


class Contestant(Contender):
    packages = ("torch", "lightning")
    ways = tuple(THREADS)

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return LightningLoop(self.data, layers, batch, seed, way)
