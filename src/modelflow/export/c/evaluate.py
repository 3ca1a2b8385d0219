"""What each operation of a program gives for images, computed by torch in float64.

In float32, torch 2.13 was seen to compute convolutions of one channel with a stride to a width of one wrongly.
"""

from functools import singledispatch

import torch
from torch import Tensor
from torch.nn import functional as F

from modelflow.networks.layers.activation import Activation
from modelflow.networks.layers.tape import Values
from modelflow.networks.program.lowering import Program
from modelflow.networks.program.operations import (
    Activate,
    Add,
    Bounds,
    Convolve,
    Dense,
    Operation,
    Pool,
    Real,
    Weigh,
    Window,
)


def evaluated(program: Program, x_NCHW: Tensor) -> dict[Values, Tensor]:
    """Every value of a program, by whose memory it is, for normalised images."""
    known = {program.input.owner: x_NCHW.double()}
    for operation in program.operations:
        given = [known[value.owner].reshape(len(x_NCHW), *value.shape) for value in operation.inputs]
        known[operation.output] = _computed(operation, *given).reshape(len(x_NCHW), *operation.output.shape)
    return known


@singledispatch
def _computed(operation: Operation, *given: Tensor) -> Tensor:
    raise NotImplementedError(type(operation).__name__)


@_computed.register
def _(operation: Convolve, x: Tensor) -> Tensor:
    weight, bias = _doubles(operation)
    return cut(convolved(x, weight, operation.window) + bias[:, None, None], operation.bounds)


@_computed.register
def _(operation: Dense, x: Tensor) -> Tensor:
    return cut(F.linear(x, *_doubles(operation)), operation.bounds)


@_computed.register
def _(operation: Pool, x: Tensor) -> Tensor:
    return largest(x, operation.window) if operation.how == "max" else means(x, operation.window)


@_computed.register
def _(operation: Activate, x: Tensor) -> Tensor:
    return activated(operation, x)


@_computed.register
def _(operation: Add, x: Tensor, y: Tensor) -> Tensor:
    return cut(x + y, operation.bounds)


@_computed.register
def _(operation: Weigh, x: Tensor, weights: Tensor) -> Tensor:
    return x * weights[:, :, None, None]


@_computed.register
def _(operation: Real, x: Tensor) -> Tensor:
    return x


def _doubles(operation: Convolve | Dense) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(operation.weight).double(), torch.from_numpy(operation.bias).double()


def cut(x: Tensor, bounds: Bounds) -> Tensor:
    """Each value within the bounds."""
    return x.clamp(bounds.low, bounds.high)


def convolved(x: Tensor, weight: Tensor, window: Window) -> Tensor:
    """Without biases; of the padding that the window leaves at the far ends, as much as its output reaches."""
    sums = F.conv2d(_padded(x, window), weight, stride=window.stride, groups=window.groups)
    return sums[:, :, : window.output[1], : window.output[2]]


def largest(x: Tensor, window: Window) -> Tensor:
    """Of each window."""
    return F.max_pool2d(x, window.size, window.stride, window.padding)


def means(x: Tensor, window: Window) -> Tensor:
    """Of each window, added zeros included."""
    return F.avg_pool2d(x, window.size, window.stride, window.padding)


def activated(operation: Activate, x: Tensor) -> Tensor:
    """By the layer's own activation."""
    module = Activation(name=operation.activation).module(tuple(x.shape[1:]), torch.Generator())
    found: Tensor = module(x)
    return found


def _padded(x: Tensor, window: Window) -> Tensor:
    """With the zeros before it, and those behind it that the last place of the window covers."""
    behind = [
        max(0, (places - 1) * step + size - before - side)
        for places, step, size, before, side in zip(
            window.output[1:], window.stride, window.size, window.padding, window.input[1:], strict=True
        )
    ]
    return F.pad(x, (window.padding[1], behind[1], window.padding[0], behind[0]))
