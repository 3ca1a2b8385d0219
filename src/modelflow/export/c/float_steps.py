"""Each operation as C in float32."""

from functools import singledispatch
from math import prod

import numpy as np

from modelflow.errors import UsageError
from modelflow.export.c.pieces import Array, Place, Step, Window, number
from modelflow.networks.program.operations import Activate, Add, Bounds, Convolve, Dense, Operation, Pool, Weigh

ACTIVATIONS = {
    "relu": "x < 0.0f ? 0.0f : x",
    "relu6": "x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x",
    "leaky_relu": "x < 0.0f ? 0.01f * x : x",
    "hard_swish": "x <= -3.0f ? 0.0f : x >= 3.0f ? x : x * (x + 3.0f) / 6.0f",
    "silu": "x / (1.0f + expf(-x))",
    "gelu": "0.5f * x * (1.0f + erff(x * 0.70710678f))",
    "tanh": "tanhf(x)",
    "sigmoid": "1.0f / (1.0f + expf(-x))",
}
OF_MATH = ("expf", "erff", "tanhf")


@singledispatch
def step(operation: Operation, index: int, at: Place) -> Step:
    """The call of an operation, whose constants end with its `index`."""
    raise NotImplementedError(type(operation).__name__)


def activation(name: str) -> str:
    """The function of an activation."""
    return f"static float {name}_of(float x) {{ return {ACTIVATIONS[name]}; }}\n"


@step.register
def _(operation: Convolve, index: int, at: Place) -> Step:
    constants = (*_weights(operation, index), Window(f"window_{index}", operation.window.numbers))
    places = f"{at(operation.inputs[0])}, {at(operation.output)}"
    call = f"convolve({places}, &constants.window_{index}, {_named(index)}, {_cut(operation.bounds)})"
    return Step(constants, ("window", "bounded", "convolve"), call)


@step.register
def _(operation: Dense, index: int, at: Place) -> Step:
    outputs, inputs = operation.weight.shape
    places = f"{at(operation.inputs[0])}, {at(operation.output)}"
    call = f"dense({places}, {inputs}, {outputs}, {_named(index)}, {_cut(operation.bounds)})"
    return Step(_weights(operation, index), ("bounded", "dense"), call)


@step.register
def _(operation: Pool, index: int, at: Place) -> Step:
    function = f"pool_{operation.how}"
    call = f"{function}({at(operation.inputs[0])}, {at(operation.output)}, &constants.window_{index})"
    return Step((Window(f"window_{index}", operation.window.numbers),), ("window", function), call)


@step.register
def _(operation: Activate, index: int, at: Place) -> Step:
    given, name = operation.output, operation.activation
    if name not in ACTIVATIONS:
        raise UsageError(f"{operation.name}: {name} is not written in C yet. Export to another format.")
    call = f"activate({at(operation.inputs[0])}, {at(given)}, {given.count}, {name}_of)"
    return Step((), (name, "activate"), call)


@step.register
def _(operation: Add, index: int, at: Place) -> Step:
    a, b = map(at, operation.inputs)
    call = f"add({a}, {b}, {at(operation.output)}, {operation.output.count}, {_cut(operation.bounds)})"
    return Step((), ("bounded", "add"), call)


@step.register
def _(operation: Weigh, index: int, at: Place) -> Step:
    channels, *sides = operation.output.shape
    x, weights = map(at, operation.inputs)
    return Step((), ("weigh",), f"weigh({x}, {weights}, {at(operation.output)}, {channels}, {prod(sides)})")


def _weights(operation: Convolve | Dense, index: int) -> tuple[Array, Array]:
    return Array(f"weights_{index}", operation.weight), Array(f"bias_{index}", operation.bias)


def _named(index: int) -> str:
    return f"constants.weights_{index}, constants.bias_{index}"


def _cut(bounds: Bounds) -> str:
    return f"{number(np.float32(bounds.low))}, {number(np.float32(bounds.high))}"
