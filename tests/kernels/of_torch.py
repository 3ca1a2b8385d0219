"""Any network in PyTorch with the kernels' dropout: steps of gradient descent, in float64 or float32."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelflow.kernels.dropout import kept
from modelflow.networks.build import GenericCNN


@dataclass
class Trained:
    losses: list[float]
    params: np.ndarray
    running: np.ndarray


def flat(tensors) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.concatenate([np.empty(0), *(t.detach().double().numpy().ravel() for t in tensors)])


def running(model: nn.Module) -> np.ndarray:
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    return flat(part for norm in norms for part in (norm.running_mean, norm.running_var))


class Dropped(nn.Module):
    """Dropout by the kernels' hash, in the place of torch's."""

    def __init__(self, module: nn.Dropout | nn.Dropout2d, number: int) -> None:
        super().__init__()
        self.share, self.spatial, self.number = module.p, isinstance(module, nn.Dropout2d), number
        self.seed, self.step = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = (*x.shape[:2], 1, 1) if self.spatial else x.shape
        drawn = kept(self.seed, self.step, self.number, len(x), int(np.prod(shape[1:])), self.share)
        return x * torch.from_numpy(drawn.reshape(shape)) / (1 - self.share)


def with_dropout_of_kernels(model: GenericCNN) -> list[Dropped]:
    dropped: list[Dropped] = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout | nn.Dropout2d) and child.p:
                dropped.append(Dropped(child, 0))
                setattr(parent, name, dropped[-1])
    ordered = [m for m in model.modules() if isinstance(m, Dropped)]
    for number, module in enumerate(ordered):
        module.number = number
    return ordered


def train(
    model: GenericCNN, x: Tensor, y: Tensor, order: np.ndarray, batch: int, lr: float, seed: int, **loss_options: object
) -> Trained:
    """One pass over `order` in steps of gradient descent; changes the model. `loss_options` are of cross-entropy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    dropped, losses = with_dropout_of_kernels(model), []
    model.train()
    for step, (start, end) in enumerate(pairwise([*range(0, len(order), batch), len(order)])):
        chosen = torch.from_numpy(order[start:end])
        for module in dropped:
            module.seed, module.step = seed, step
        loss = F.cross_entropy(model(x[chosen]), y[chosen], **loss_options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return Trained(losses, flat(model.parameters()), running(model))
