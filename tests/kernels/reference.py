"""The card's networks in NumPy in float64: logits, gradients, Adam, SGD, and dropout from the kernels' hash. No torch.

It runs wherever the kernels do. Parameters are flat, in the order of `model.parameters()`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from modelflow.kernels.dropout import kept
from modelflow.networks.trace import Trace


class Conv:
    """Convolution and ReLU."""

    def __init__(self, w_OCKK, b_O, needs_input_gradient):  # type: ignore[no-untyped-def]
        self.w_OCKK, self.b_O, self.needs_input_gradient = w_OCKK, b_O, needs_input_gradient

    def forward(self, x_NCHW):  # type: ignore[no-untyped-def]
        kernel = self.w_OCKK.shape[2:]
        self.patches_NCHWKK = sliding_window_view(x_NCHW, kernel, axis=(2, 3))
        out_NHWO = np.tensordot(self.patches_NCHWKK, self.w_OCKK, axes=((1, 4, 5), (1, 2, 3))) + self.b_O
        self.out_NOHW = np.maximum(out_NHWO.transpose(0, 3, 1, 2), 0)
        return self.out_NOHW

    def backward(self, d_NOHW):  # type: ignore[no-untyped-def]
        d_NOHW = d_NOHW * (self.out_NOHW > 0)
        weight = np.tensordot(d_NOHW, self.patches_NCHWKK, axes=((0, 2, 3), (0, 2, 3)))
        self.gradients = [weight, d_NOHW.sum((0, 2, 3))]
        if not self.needs_input_gradient:
            return None
        border = self.w_OCKK.shape[2] - 1
        padded = np.pad(d_NOHW, ((0, 0), (0, 0), (border, border), (border, border)))
        patches = sliding_window_view(padded, self.w_OCKK.shape[2:], axis=(2, 3))
        turned = self.w_OCKK[:, :, ::-1, ::-1]
        return np.tensordot(patches, turned, axes=((1, 4, 5), (0, 2, 3))).transpose(0, 3, 1, 2)


class Pool:
    """Max-pooling; the gradient goes to the first of equals."""

    gradients: list[np.ndarray] = []  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.size = size

    def forward(self, x_NCHW):  # type: ignore[no-untyped-def]
        self.shape, size = x_NCHW.shape, self.size
        images, channels, height = self.shape[:3]
        n = height // size
        cut = x_NCHW[:, :, : n * size, : n * size].reshape(images, channels, n, size, n, size)
        windows = cut.transpose(0, 1, 2, 4, 3, 5).reshape(images, channels, n, n, size * size)
        self.winner = windows.argmax(-1)[..., None]
        return np.take_along_axis(windows, self.winner, -1)[..., 0]

    def backward(self, d_NCHW):  # type: ignore[no-untyped-def]
        size, (images, channels, n) = self.size, d_NCHW.shape[:3]
        windows = np.zeros((*d_NCHW.shape, size * size))
        np.put_along_axis(windows, self.winner, d_NCHW[..., None], -1)
        spread = windows.reshape(images, channels, n, n, size, size).transpose(0, 1, 2, 4, 3, 5)
        out = np.zeros(self.shape)
        out[:, :, : n * size, : n * size] = spread.reshape(images, channels, n * size, n * size)
        return out


class Linear:
    """Dropout by `mask_NI`, the product, and ReLU where there is one."""

    def __init__(self, w_OI, b_O, relu, mask):  # type: ignore[no-untyped-def]
        self.w_OI, self.b_O, self.relu, self.mask = w_OI, b_O, relu, mask

    def forward(self, x):  # type: ignore[no-untyped-def]
        self.shape = x.shape
        x_NI = x.reshape(len(x), -1)
        self.mask_NI = self.mask(x_NI.shape)
        self.x_NI = x_NI * self.mask_NI
        out_NO = self.x_NI @ self.w_OI.T + self.b_O
        self.out_NO = np.maximum(out_NO, 0) if self.relu else out_NO
        return self.out_NO

    def backward(self, d_NO):  # type: ignore[no-untyped-def]
        d_NO = d_NO * (self.out_NO > 0) if self.relu else d_NO
        self.gradients = [d_NO.T @ self.x_NI, d_NO.sum(0)]
        return (d_NO @ self.w_OI * self.mask_NI).reshape(self.shape)


def layers(trace: Trace, flat: np.ndarray, seed: int | None, step: int) -> Iterator[Conv | Pool | Linear]:
    """The network with these parameters; nothing is dropped out where `seed` is None."""
    values, number = flat.astype(np.float64), 0
    for i, layer in enumerate(trace.layers):
        own, values = values[: layer.parameters], values[layer.parameters :]
        inputs, outputs, written = layer.input_shape[0], layer.output_shape[0], layer.written
        weight, bias = own[: len(own) - outputs], own[len(own) - outputs :]
        if layer.kind == "conv":
            yield Conv(weight.reshape(outputs, inputs, *written.kernel), bias, i > 0)
        elif layer.kind == "pool":
            yield Pool(written.window[0])
        elif layer.kind == "linear":
            mask = _masks(seed, step, number, written.dropout)
            yield Linear(weight.reshape(outputs, -1), bias, written.activation == "relu", mask)
            number += 1


def _masks(seed: int | None, step: int, layer: int, p: float):  # type: ignore[no-untyped-def]
    def mask(shape: tuple[int, int]) -> np.ndarray:
        return np.ones(shape) if seed is None or not p else kept(seed, step, layer, *shape, p) / (1 - p)

    return mask


def logits(trace: Trace, flat: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Without dropout."""
    for layer in layers(trace, flat, None, 0):
        x = layer.forward(x)
    return x


def loss_and_gradient(
    trace: Trace, flat: np.ndarray, x: np.ndarray, y: np.ndarray, seed: int, step: int
) -> tuple[float, np.ndarray]:
    """The mean cross-entropy of one step's batch, and its gradient."""
    network = list(layers(trace, flat, seed, step))
    for layer in network:
        x = layer.forward(x)
    x = x - x.max(1, keepdims=True)
    shares = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    hit = np.eye(x.shape[1])[y]
    loss = -np.log(shares[hit > 0]).mean()
    d = (shares - hit) / len(y)
    for layer in reversed(network):
        d = layer.backward(d)
    return loss, np.concatenate([g.ravel() for layer in network for g in layer.gradients])


class Adam:
    """Flat parameters and both averages (Kingma and Ba 2015, algorithm 1), in place."""

    def __init__(self, flat: np.ndarray, lr: float, eps: float) -> None:
        self.params = flat.astype(np.float64)
        self.exp_avg, self.exp_avg_sq = np.zeros_like(self.params), np.zeros_like(self.params)
        self.lr, self.eps, self.step = lr, eps, 0

    def update(self, gradient: np.ndarray) -> None:
        self.step += 1
        one, two = 0.9, 0.999
        self.exp_avg = one * self.exp_avg + (1 - one) * gradient
        self.exp_avg_sq = two * self.exp_avg_sq + (1 - two) * gradient**2
        m, v = self.exp_avg / (1 - one**self.step), self.exp_avg_sq / (1 - two**self.step)
        self.params -= self.lr * m / (np.sqrt(v) + self.eps)


class SGD:
    """Flat parameters and their momentum, Nesterov's where it is not 0 (Sutskever et al. 2013), in place."""

    def __init__(self, flat: np.ndarray, lr: float, momentum: float, decay: float) -> None:
        self.params, self.velocity = flat.astype(np.float64), np.zeros(len(flat))
        self.lr, self.momentum, self.decay = lr, momentum, decay

    def update(self, gradient: np.ndarray) -> None:
        gradient = gradient + self.decay * self.params
        self.velocity = self.momentum * self.velocity + gradient
        self.params -= self.lr * (gradient + self.momentum * self.velocity)


def train(trace: Trace, x, y, order, batch_size: int, optimizer: Adam | SGD, seed: int):  # type: ignore[no-untyped-def]
    """The loss of each step of one pass over `order`."""
    losses = []
    for step, start in enumerate(range(0, len(order), batch_size)):
        chosen = order[start : start + batch_size]
        loss, gradient = loss_and_gradient(trace, optimizer.params, x[chosen].astype(np.float64), y[chosen], seed, step)
        optimizer.update(gradient)
        losses.append(loss)
    return np.array(losses)
