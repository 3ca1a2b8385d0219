"""The same network in PyTorch in float64, with the dropout masks of the kernels' hash."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelflow.kernels.dropout import kept
from modelflow.kernels.network import State
from modelflow.kernels.rules.rule import Rule
from modelflow.networks.build import GenericCNN


def logits(model: GenericCNN, x: Tensor, seed: int | None, step: int) -> Tensor:
    """The model's logits, dropped out by the kernels' masks unless `seed` is None."""
    x = model.featurizer(x)
    for layer, module in enumerate(model.trace.of_kind("linear")):
        dropout = module.written.dropout
        if dropout and seed is not None:
            mask = kept(seed, step, layer, len(x), x.shape[1], dropout)
            x = x * torch.from_numpy(mask) / (1 - dropout)
        x = model.get_submodule(module.name)(x)
        x = F.relu(x) if module.written.activation == "relu" else x
    return x


def train(model, x, y, order, batch_size, optimizer, seed):  # type: ignore[no-untyped-def]
    """The loss of each step of one pass over `order`."""
    losses = []
    for step, start in enumerate(range(0, len(order), batch_size)):
        chosen = torch.from_numpy(order[start : start + batch_size])
        loss = F.cross_entropy(logits(model, x[chosen], seed, step), y[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def flat(tensors) -> np.ndarray:  # type: ignore[no-untyped-def]
    return torch.cat([t.detach().ravel() for t in tensors]).numpy().copy()


def fresh(start: np.ndarray, rule: Rule) -> State:
    """Before the first step: these parameters, averages of zeros."""
    return State(start.copy(), [np.zeros_like(start) for _ in rule.averages])


def adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):  # type: ignore[no-untyped-def]
    """Options of Adam, with torch's defaults."""
    return {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}


def sgd(lr=0.01, momentum=0.9, weight_decay=1e-3):  # type: ignore[no-untyped-def]
    """Options of SGD with momentum."""
    return {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
