"""A program in whole numbers of eight bits: scales from images, weights, and what it then gives, as the C code does.

A value x is stored as q with x = step * (q - zero): one step a value, from the least to the largest that some images
give; weights are symmetric, one step a feature. Logits are real numbers in float32. Jacob et al. (2018), "Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", https://arxiv.org/abs/1712.05877, with
factors in float32.
"""

import math
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelflow.errors import UsageError
from modelflow.export.c.evaluate import activated, convolved, evaluated, largest, means
from modelflow.export.c.pixels import Images, Pixels
from modelflow.networks.layers.tape import Values
from modelflow.networks.program.lowering import Program
from modelflow.networks.program.operations import (
    Activate,
    Add,
    Bounds,
    Convolve,
    Dense,
    Floats,
    Operation,
    Pool,
    Real,
    Weigh,
    single,
)

MIN_BYTE, MAX_BYTE = -128, 127
MAX_TAPS = (2**31 - 1) // (255 * 127)  # products that a sum of 32 bits holds for certain
Bytes = NDArray[np.int8]


@dataclass(frozen=True)
class Scale:
    """Of a value: x = step * (q - zero)."""

    step: np.float32
    zero: int

    @classmethod
    def of(cls, least: float, most: float) -> "Scale":
        """For values from `least` to `most`, zero always among them and exact."""
        least, most = min(least, 0.0), max(most, 0.0)
        step = np.float32((most - least) / 255) or np.float32(1)
        return cls(step, int(np.clip(np.rint(MIN_BYTE - least / step), MIN_BYTE, MAX_BYTE)))

    def stored(self, x: Tensor) -> Tensor:
        """Real numbers as whole ones, in float32."""
        return torch.from_numpy(rounded(single(x.numpy()) / self.step + np.float32(self.zero)))

    def real(self, q: Tensor) -> Tensor:
        return (q - self.zero) * float(self.step)


REAL = Scale(np.float32(1), 0)


@dataclass(frozen=True)
class Quantised:
    """A program with the scale of each value, and how its images are read. Its last operation gives real logits."""

    program: Program
    scales: dict[Values, Scale]
    pixels: Pixels

    def scale(self, value: Values) -> Scale:
        return self.scales[value.owner]

    @property
    def stored(self) -> Program:
        """What is computed in eight bits: all but the last operation."""
        last = self.program.operations[-1]
        return Program(self.program.input, self.program.operations[:-1], last.inputs[0])

    @property
    def factor(self) -> Floats:
        """By which the bytes of each channel of an image are multiplied."""
        return single(self.pixels.factor / self.scale(self.program.input).step)

    @property
    def offset(self) -> Floats:
        """What is then added, before rounding."""
        scale = self.scale(self.program.input)
        return single(self.pixels.offset / scale.step + np.float32(scale.zero))

    def stored_images(self, images_NCHW: Images) -> Tensor:
        """Bytes of images as the network stores them: whole numbers in float32."""
        scaled = images_NCHW.astype(np.float32) * self.factor[:, None, None]
        return torch.from_numpy(rounded(scaled + self.offset[:, None, None]))


def quantised(program: Program, pixels: Pixels, images_NCHW: Images) -> Quantised:
    """Scales from images of the training set. The image's own is that of all bytes, a maximum's that of its input.

    Raises `UsageError` for a layer that sums more products than 32 bits hold.
    """
    for operation in program.operations:
        if isinstance(operation, Convolve | Dense) and operation.weight[0].size > MAX_TAPS:
            raise UsageError(
                f"{operation.name} sums {operation.weight[0].size:,} products, expected at most {MAX_TAPS:,} in int8. "
                "Export it in float."
            )
    program = _with_real_logits(program)
    known = evaluated(program, pixels.normalised(images_NCHW))
    scales = {value: Scale.of(float(x.min()), float(x.max())) for value, x in known.items()}
    scales[program.input] = Scale.of(*pixels.range)
    for operation in program.operations:
        if isinstance(operation, Pool) and operation.how == "max":
            scales[operation.output] = scales[operation.inputs[0].owner]
    scales[program.output] = REAL
    return Quantised(program, scales, pixels)


def _with_real_logits(program: Program) -> Program:
    """A program that ends with a fully connected layer, else with `Real`."""
    last = program.operations[-1:]
    if last and isinstance(last[0], Dense) and last[0].bounds == Bounds():
        return program
    logits = Values(program.output.shape)
    return replace(program, operations=(*program.operations, Real("logits", (program.output,), logits)), output=logits)


@dataclass(frozen=True)
class Sums:
    """What a convolution or a fully connected layer stores: q = sum of w * (x - zero) * factor + offset, rounded."""

    weight: Bytes
    factor: Floats
    offset: Floats


def sums(operation: Convolve | Dense, network: Quantised) -> Sums:
    """Weights of one scale a feature, and what brings their sums to the scale of the output."""
    given, taken = network.scale(operation.output), network.scale(operation.inputs[0])
    flat = operation.weight.reshape(len(operation.weight), -1).astype(np.float64)
    steps = np.abs(flat).max(axis=1) / MAX_BYTE
    weight = np.rint(flat / np.where(steps, steps, 1)[:, None]).astype(np.int8)
    factor = single(steps * float(taken.step) / float(given.step))
    offset = single(operation.bias / np.float64(given.step) + given.zero)
    return Sums(weight.reshape(operation.weight.shape), factor, offset)


def mean_factor(operation: Pool, network: Quantised) -> np.float32:
    """By which the sum of a window, its zero taken off, is multiplied."""
    taken, given = network.scale(operation.inputs[0]), network.scale(operation.output)
    return np.float32(float(taken.step) / (float(given.step) * math.prod(operation.window.size)))


def add_factors(operation: Add, network: Quantised) -> tuple[np.float32, np.float32]:
    """By which each of the two inputs, its zero taken off, is multiplied."""
    given = float(network.scale(operation.output).step)
    first, second = (np.float32(float(network.scale(value).step) / given) for value in operation.inputs)
    return first, second


def weigh_factor(operation: Weigh, network: Quantised) -> np.float32:
    """By which the product of the two inputs, their zeros taken off, is multiplied."""
    first, second = (float(network.scale(value).step) for value in operation.inputs)
    return np.float32(first * second / float(network.scale(operation.output).step))


def table(operation: Activate, network: Quantised) -> Bytes:
    """What an activation gives for each of the 256 stored values."""
    taken, given = network.scale(operation.inputs[0]), network.scale(operation.output)
    reals = taken.real(torch.arange(MIN_BYTE, MAX_BYTE + 1, dtype=torch.float32))
    return given.stored(activated(operation, reals[None])[0]).numpy().astype(np.int8)


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """As `saturated` of the C code: to the next whole number, halves away from zero, within eight bits."""
    values = np.clip(values, np.float32(MIN_BYTE), np.float32(MAX_BYTE))
    return np.trunc(values + np.copysign(np.float32(0.5), values)).astype(np.float32)


def logits(network: Quantised, images_NCHW: Images) -> Floats:
    """What the C code gives for bytes of images, N x classes."""
    known = {network.program.input.owner: network.stored_images(images_NCHW)}

    def given(operation: Operation) -> list[Tensor]:
        return [known[value.owner].reshape(len(images_NCHW), *value.shape) for value in operation.inputs]

    *operations, last = network.program.operations
    for operation in operations:
        found = _computed(operation, network, *given(operation))
        known[operation.output] = found.reshape(len(images_NCHW), *operation.output.shape)
    return _logits(last, network, *given(last))


def _logits(last: Operation, network: Quantised, x: Tensor) -> Floats:
    scale, flat = network.scale(last.inputs[0]), x.flatten(1)
    if not isinstance(last, Dense):
        return single(flat.numpy() - np.float32(scale.zero)) * scale.step
    made = sums(last, network)
    found = _centred(flat, scale) @ torch.from_numpy(made.weight).double().T
    return single(found.numpy()) * made.factor + made.offset


@singledispatch
def _computed(operation: Operation, network: Quantised, *given: Tensor) -> Tensor:
    raise NotImplementedError(type(operation).__name__)


def _centred(x: Tensor, scale: Scale) -> Tensor:
    """In float64, where sums of whole numbers are exact."""
    return (x - scale.zero).double()


def _brought(sums: Tensor, factor: Floats | np.float32, offset: Floats | np.float32) -> Tensor:
    return torch.from_numpy(rounded(single(sums.numpy()) * factor + offset))


@_computed.register
def _(operation: Convolve, network: Quantised, x: Tensor) -> Tensor:
    made = sums(operation, network)
    centred = _centred(x, network.scale(operation.inputs[0]))
    found = convolved(centred, torch.from_numpy(made.weight).double(), operation.window)
    return _brought(found, made.factor[:, None, None], made.offset[:, None, None])


@_computed.register
def _(operation: Dense, network: Quantised, x: Tensor) -> Tensor:
    made = sums(operation, network)
    found = _centred(x, network.scale(operation.inputs[0])) @ torch.from_numpy(made.weight).double().T
    return _brought(found, made.factor, made.offset)


@_computed.register
def _(operation: Pool, network: Quantised, x: Tensor) -> Tensor:
    if operation.how == "max":
        return largest(x, operation.window)
    found = means(_centred(x, network.scale(operation.inputs[0])), operation.window) * math.prod(operation.window.size)
    return _brought(found.round(), mean_factor(operation, network), np.float32(network.scale(operation.output).zero))


@_computed.register
def _(operation: Activate, network: Quantised, x: Tensor) -> Tensor:
    return torch.from_numpy(table(operation, network)).float()[(x - MIN_BYTE).long()]


@_computed.register
def _(operation: Add, network: Quantised, x: Tensor, y: Tensor) -> Tensor:
    first, second = add_factors(operation, network)
    scales = [network.scale(value) for value in operation.inputs]
    whole_x, whole_y = (given.numpy() - np.float32(scale.zero) for given, scale in zip((x, y), scales, strict=True))
    zero = np.float32(network.scale(operation.output).zero)
    return torch.from_numpy(rounded(whole_x * first + whole_y * second + zero))


@_computed.register
def _(operation: Weigh, network: Quantised, x: Tensor, weights: Tensor) -> Tensor:
    first, second = (network.scale(value) for value in operation.inputs)
    found = _centred(x, first) * _centred(weights, second)[:, :, None, None]
    return _brought(found, weigh_factor(operation, network), np.float32(network.scale(operation.output).zero))
