"""What each operation of a program gives for images, by NumPy in float32: beside torch's, without it. No torch.

logits_NK = computed(program, x_NCHW)
"""

from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from modelflow.networks.layers.tape import Values
from modelflow.networks.program.lowering import Program
from modelflow.networks.program.operations import (
    ACTIVATIONS,
    Activate,
    Add,
    Bounds,
    Convolve,
    Dense,
    Floats,
    Operation,
    Pool,
    Weigh,
    Window,
    single,
)


def computed(program: Program, x_NCHW: Floats) -> Floats:
    """Logits N x K of normalised images."""
    images, known = len(x_NCHW), dict[Values, Floats]()
    known[program.input.owner] = x_NCHW
    for operation in program.operations:
        given = [known[value.owner].reshape(images, *value.shape) for value in operation.inputs]
        known[operation.output] = single(_computed(operation, *given)).reshape(images, *operation.output.shape)
    return known[program.output.owner].reshape(images, -1)


@singledispatch
def _computed(operation: Operation, *given: Floats) -> Floats:
    raise NotImplementedError(type(operation).__name__)


@_computed.register
def _(operation: Convolve, x_NCHW: Floats) -> Floats:
    window, groups = operation.window, operation.window.groups
    parts = zip(np.split(x_NCHW, groups, 1), np.split(operation.weight, groups), strict=True)
    sums = [np.tensordot(_patches(x, window, 0), weight, ((1, 4, 5), (1, 2, 3))) for x, weight in parts]
    return _cut(np.moveaxis(np.concatenate(sums, -1) + operation.bias, -1, 1), operation.bounds)


@_computed.register
def _(operation: Dense, x_NI: Floats) -> Floats:
    return _cut(x_NI.reshape(len(x_NI), -1) @ operation.weight.T + operation.bias, operation.bounds)


@_computed.register
def _(operation: Pool, x_NCHW: Floats) -> Floats:
    if operation.how == "max":
        return single(_patches(x_NCHW, operation.window, -np.inf).max((4, 5)))
    return single(_patches(x_NCHW, operation.window, 0).mean((4, 5)))


@_computed.register
def _(operation: Activate, x: Floats) -> Floats:
    return ACTIVATIONS[operation.activation](x)


@_computed.register
def _(operation: Add, x: Floats, y: Floats) -> Floats:
    return _cut(x + y, operation.bounds)


@_computed.register
def _(operation: Weigh, x_NCHW: Floats, weights_NC: Floats) -> Floats:
    return single(x_NCHW * weights_NC[:, :, None, None])


def _cut(x: Floats, bounds: Bounds) -> Floats:
    return x.clip(bounds.low, bounds.high)


def _patches(x_NCHW: Floats, window: Window, padding: float) -> Floats:
    """What lies under the window at each of its places, N x C x height x width x rows x columns."""
    sides = zip(
        *(window.input[1:], window.output[1:], window.size, window.stride, window.padding),
        strict=True,
    )
    around = [(before, max(0, (n - 1) * step + size - before - side)) for side, n, size, step, before in sides]
    padded = np.pad(x_NCHW, ((0, 0), (0, 0), *around), constant_values=padding)
    down, right = window.stride
    seen: Floats = sliding_window_view(padded, window.size, (2, 3))[:, :, ::down, ::right]
    return seen[:, :, : window.output[1], : window.output[2]]
