"""The networks of today in JAX: an epoch as one jitted scan of steps by Adam, buffers donated; maps NCHW or NHWC."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from modern_networks import network
from torch import nn

from modelflow.networks.build import GenericCNN
from modelflow.networks.modules import Scale, Sum

LR, SEED = 1e-3, 42
LAYOUTS = ("NCHW", "NHWC")
Arrays = dict[str, Any]
State = tuple[Arrays, Arrays, Arrays, Any, Any]  # parameters, Adam's averages, running statistics, number of updates


def scanned(name: str, batch: int, x: torch.Tensor, y: torch.Tensor, layout: str) -> Callable[[int], None]:
    """A call that trains an epoch of so many images."""
    model = GenericCNN(network(name), SEED).train()
    images, labels = jnp.asarray(x.numpy()), jnp.asarray(y.numpy().astype(np.int32))
    if layout == "NHWC":
        images = images.transpose(0, 2, 3, 1)
    parameters = {key: jnp.asarray(value.detach().numpy()) for key, value in model.named_parameters()}
    _check_logits(model, layout, parameters, x, images)

    def loss(parameters: Arrays, x: Any, y: Any) -> tuple[Any, Arrays]:
        logits, statistics = Pass(parameters, layout).logits(model, x)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), statistics

    def step(state: State, chosen: Any) -> tuple[State, None]:
        parameters, means, squares, running, count = state
        gradients, statistics = jax.grad(loss, has_aux=True)(parameters, images[chosen], labels[chosen])
        count = count + 1
        running = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, running, statistics)
        means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
        squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, squares, gradients)
        rate, scale = LR / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
        moved = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + 1e-8), parameters, means, squares)
        return (moved, means, squares, running, count), None

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    _, running = Pass(parameters, layout).logits(model, images[:batch])
    held = [jax.tree.map(jnp.copy, (parameters, zeros, zeros, running, jnp.float32(0)))]
    epoch = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches)[0], donate_argnums=0)
    rng = np.random.default_rng(SEED)

    def train(count: int) -> None:
        order = rng.permutation(count).astype(np.int32)[: count - count % batch]
        held[0] = jax.block_until_ready(epoch(held[0], order.reshape(-1, batch)))

    return train


def _check_logits(model: nn.Module, layout: str, parameters: Arrays, x: torch.Tensor, images: Any) -> None:
    expected = model(x[:32]).detach().numpy()
    found = np.asarray(Pass(parameters, layout).logits(model, images[:32])[0])
    assert np.abs(found - expected).max() < 1e-3 * max(1, np.abs(expected).max())


class Pass:
    """One pass through a model of the notation in training mode."""

    def __init__(self, parameters: Arrays, layout: str) -> None:
        self.parameters = parameters
        self.last = layout == "NHWC"
        self.spatial = (1, 2) if self.last else (2, 3)
        self.statistics: Arrays = {}
        self.kinds: dict[type[nn.Module], Callable[[Any, str, Any], Any]] = {
            nn.Sequential: self.each,
            nn.ModuleList: self.each,
            Sum: self.summed,
            Scale: self.scaled,
            nn.Conv2d: self.conv,
            nn.BatchNorm2d: self.norm,
            nn.Linear: lambda _, name, x: x @ self.of(name, "weight").T + self.of(name, "bias"),
            nn.ReLU: lambda _module, _name, x: jax.nn.relu(x),
            nn.MaxPool2d: self.largest,
            nn.AdaptiveAvgPool2d: lambda _module, _name, x: x.mean(self.spatial, keepdims=True),
            nn.Flatten: lambda _module, _name, x: x.reshape(len(x), -1),
            nn.Identity: lambda _module, _name, x: x,
        }

    def logits(self, model: GenericCNN, x: Any) -> tuple[Any, Arrays]:
        """And of each batch norm the batch's mean and unbiased variance."""
        return self.through(model.layers, "layers", x), self.statistics

    def through(self, module: nn.Module, name: str, x: Any) -> Any:
        return self.kinds[type(module)](module, name, x)

    def of(self, name: str, what: str) -> Any:
        return self.parameters[f"{name}.{what}"]

    def per_channel(self, vector: Any) -> Any:
        return vector if self.last else vector[:, None, None]

    def each(self, module: nn.Module, name: str, x: Any) -> Any:
        for inner, child in module.named_children():
            x = self.through(child, f"{name}.{inner}", x)
        return x

    def summed(self, module: Sum, name: str, x: Any) -> Any:
        body, shortcut = (self.through(getattr(module, part), f"{name}.{part}", x) for part in ("body", "shortcut"))
        return self.through(module.activation, f"{name}.activation", body + shortcut)

    def scaled(self, module: Scale, name: str, x: Any) -> Any:
        reduced = jax.nn.relu(self.conv(module.reduce, f"{name}.reduce", x.mean(self.spatial, keepdims=True)))
        return x * jax.nn.sigmoid(self.conv(module.expand, f"{name}.expand", reduced))

    def conv(self, module: nn.Conv2d, name: str, x: Any) -> Any:
        weight, layout = self.of(name, "weight"), ("NCHW", "OIHW", "NCHW")
        if self.last:
            weight, layout = weight.transpose(2, 3, 1, 0), ("NHWC", "HWIO", "NHWC")
        padding = [((size - 1) // 2, size // 2) for size in module.kernel_size]
        if module.padding != "same":
            padding = [(size, size) for size in module.padding]
        convolve = partial(jax.lax.conv_general_dilated, dimension_numbers=layout, feature_group_count=module.groups)
        x = convolve(x, weight, module.stride, padding)
        return x if module.bias is None else x + self.per_channel(self.of(name, "bias"))

    def norm(self, module: nn.BatchNorm2d, name: str, x: Any) -> Any:
        axes, count = (0, *self.spatial), x.size // module.num_features
        mean, variance = x.mean(axes), x.var(axes)
        self.statistics[name] = (mean, variance * count / (count - 1))
        scale = self.of(name, "weight") * jax.lax.rsqrt(variance + module.eps)
        return x * self.per_channel(scale) + self.per_channel(self.of(name, "bias") - mean * scale)

    def largest(self, _module: nn.MaxPool2d, _name: str, x: Any) -> Any:
        window = (1, 2, 2, 1) if self.last else (1, 1, 2, 2)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
