"""JAX: an epoch as one jitted scan, or a jitted step called in a loop, buffers donated; layouts and poolings tried."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from peers.contender import BETAS, EPS, LR, Contender, Loop, Settled
from peers.data import Data
from peers.network import Network, channels_last, initial, inputs_first

jax.config.update("jax_default_prng_impl", "rbg")  # the quicker one

Arrays = list[Any]
State = tuple[Arrays, Arrays, Arrays, Any, Any]  # parameters, Adam's averages, number of updates, key


class JaxLoop(Settled):
    def __init__(self, data: Data, layers: Network, batch: int, seed: int, way: str) -> None:
        layout, pooling, self.driven = way.split(", ")
        self.layers, self.batch = layers, batch
        self.nhwc, self.windowed = layout == "NHWC", pooling == "window"
        self.rng = np.random.default_rng(seed)
        shape = (-1, 28, 28, 1) if self.nhwc else (-1, 1, 28, 28)
        self.x, self.y = jnp.asarray(data.x.reshape(shape)), jnp.asarray(data.y.astype(np.int32))
        self.test_x = jnp.asarray(data.test_x.reshape(shape))
        self.key = jax.random.key(seed)
        self.load(initial(layers, seed))
        self.step = jax.jit(self._step, donate_argnums=0)
        self.epoch = jax.jit(self._epoch, donate_argnums=0)
        self.logits = jax.jit(partial(self._forward, key=None))

    def load(self, arrays: list[np.ndarray]) -> None:
        turned = channels_last(self.layers, arrays) if self.nhwc else inputs_first(arrays)
        parameters = [jnp.array(a) for a in turned]
        averages = [[jnp.zeros_like(p) for p in parameters] for _ in range(2)]
        self.state: State = (parameters, *averages, jnp.float32(0), jnp.copy(self.key))

    def train(self, images: int) -> float:
        start = time.perf_counter()
        order = self.rng.permutation(images).astype(np.int32)
        whole = images - images % self.batch
        batches = order[:whole].reshape(-1, self.batch)
        if self.driven == "scan":
            self.state = self.epoch(self.state, batches, self.x, self.y)
        else:
            for chosen in batches:
                self.state = self.step(self.state, chosen, self.x, self.y)
        if whole < images:
            self.state = self.step(self.state, order[whole:], self.x, self.y)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start

    def evaluate(self) -> tuple[float, np.ndarray]:
        start = time.perf_counter()
        logits = np.asarray(self.logits(self.state[0], self.test_x))
        return time.perf_counter() - start, logits

    def _epoch(self, state: State, batches: Any, x: Any, y: Any) -> State:
        return jax.lax.scan(lambda state, chosen: (self._step(state, chosen, x, y), None), state, batches)[0]

    def _step(self, state: State, chosen: Any, x: Any, y: Any) -> State:
        parameters, averages, squares, count, key = state
        key, dropout_key = jax.random.split(key)
        gradients = jax.grad(self._loss)(parameters, x[chosen], y[chosen], dropout_key)
        beta1, beta2 = BETAS
        count = count + 1
        averages = [beta1 * m + (1 - beta1) * g for m, g in zip(averages, gradients, strict=True)]
        squares = [beta2 * v + (1 - beta2) * g * g for v, g in zip(squares, gradients, strict=True)]
        rate, scale = LR / (1 - beta1**count), 1 / jnp.sqrt(1 - beta2**count)
        moments = zip(parameters, averages, squares, strict=True)
        parameters = [p - rate * m / (jnp.sqrt(v) * scale + EPS) for p, m, v in moments]
        return parameters, averages, squares, count, key

    def _loss(self, parameters: Arrays, x: Any, y: Any, key: Any) -> Any:
        log_probabilities = jax.nn.log_softmax(self._forward(parameters, x, key))
        return -jnp.take_along_axis(log_probabilities, y[:, None], 1).mean()

    def _forward(self, parameters: Arrays, x: Any, key: Any) -> Any:
        """Logits; without a key, without dropout."""
        weights = iter(parameters)
        for block in self.layers.blocks:
            x = self._pool(jax.nn.relu(self._conv(x, next(weights), next(weights))), block.pool)
        x = x.reshape(len(x), -1)
        for layer in self.layers.linears:
            if layer.dropout and key is not None:
                key, own = jax.random.split(key)
                x = jnp.where(jax.random.bernoulli(own, 1 - layer.dropout, x.shape), x / (1 - layer.dropout), 0)
            x = x @ next(weights) + next(weights)
            x = jax.nn.relu(x) if layer.relu else x
        return x

    def _conv(self, x: Any, kernel: Any, bias: Any) -> Any:
        layouts = ("NHWC", "HWIO", "NHWC") if self.nhwc else ("NCHW", "OIHW", "NCHW")
        out = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layouts)
        return out + (bias if self.nhwc else bias[:, None, None])

    def _pool(self, x: Any, size: int) -> Any:
        if self.windowed:
            window = (1, size, size, 1) if self.nhwc else (1, 1, size, size)
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
        h = 1 if self.nhwc else 2
        rows, columns = x.shape[h] // size, x.shape[h + 1] // size
        x = jax.lax.slice_in_dim(jax.lax.slice_in_dim(x, 0, rows * size, axis=h), 0, columns * size, axis=h + 1)
        x = x.reshape(*x.shape[:h], rows, size, columns, size, *x.shape[h + 2 :])
        return x.max((h + 1, h + 3))


class Contestant(Contender):
    packages = ("jax", "jaxlib")
    ways = ("NCHW, window, scan", "NHWC, window, scan", "NCHW, window, step", "NHWC, reshape, step")

    def build(self, way: str, layers: Network, batch: int, seed: int) -> Loop:
        return JaxLoop(self.data, layers, batch, seed, way)
