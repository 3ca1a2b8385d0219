"""The same network in PyTorch in float64, with the dropout masks of the kernels' hash, written again in numpy."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelflow.kernels.network import State
from modelflow.kernels.rules.rule import Rule
from modelflow.networks.build import GenericCNN

M32, M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def keys(seed: int, step: int, layer: int) -> tuple[int, int]:
    z = (seed + (step * 64 + layer + 1) * 0x9E3779B97F4A7C15) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    z ^= z >> 31
    return z & M32, z >> 32


def keep(seed: int, step: int, layer: int, images: int, features: int, p: float) -> np.ndarray:
    """Which features of which images are kept, images x features."""
    key1, key2 = keys(seed, step, layer)
    padded = -(-images // 16) * 16
    j, b = np.arange(-(-features // 2), dtype=np.uint64)[None, :], np.arange(images, dtype=np.uint64)[:, None]
    x = (j * padded + b) & M32
    x ^= np.uint64(key1)
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & np.uint64(M32)
    x = ((x ^ (x >> np.uint64(15))) + np.uint64(key2)) & np.uint64(M32)
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x846CA68B)) & np.uint64(M32)
    x ^= x >> np.uint64(16)
    draws = np.stack([x & np.uint64(0xFFFF), x >> np.uint64(16)], axis=2).reshape(images, -1)[:, :features]
    return draws >= round(p * 65536)


def logits(model: GenericCNN, x: Tensor, seed: int | None, step: int) -> Tensor:
    """The model's logits, dropped out by the kernels' masks unless `seed` is None."""
    x = model.featurizer(x)
    for layer, module in enumerate(model.trace.of_kind("linear")):
        dropout = module.written.dropout
        if dropout and seed is not None:
            mask = keep(seed, step, layer, len(x), x.shape[1], dropout)
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
