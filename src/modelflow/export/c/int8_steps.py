"""Each operation as C in whole numbers of eight bits, with one product in float32 for each value that is stored."""

from functools import singledispatch
from math import prod

from modelflow.export.c.pieces import Array, Place, Step, Window, number
from modelflow.export.c.quantise import Quantised, add_factors, mean_factor, sums, table, weigh_factor
from modelflow.networks.program.operations import Activate, Add, Convolve, Dense, Operation, Pool, Weigh


@singledispatch
def step(operation: Operation, index: int, at: Place, network: Quantised) -> Step:
    """The call of an operation, whose constants end with its `index`."""
    raise NotImplementedError(type(operation).__name__)


@step.register
def _(operation: Convolve, index: int, at: Place, network: Quantised) -> Step:
    window = Window(f"window_{index}", operation.window.numbers)
    places, zero = f"{at(operation.inputs[0])}, {at(operation.output)}", network.scale(operation.inputs[0]).zero
    call = f"convolve({places}, &constants.window_{index}, {_named(index)}, {zero})"
    return Step((*_weights(operation, index, network), window), ("window", "saturated", "convolve"), call)


@step.register
def _(operation: Dense, index: int, at: Place, network: Quantised) -> Step:
    outputs, inputs = operation.weight.shape
    places, zero = f"{at(operation.inputs[0])}, {at(operation.output)}", network.scale(operation.inputs[0]).zero
    call = f"dense({places}, {inputs}, {outputs}, {_named(index)}, {zero})"
    return Step(_weights(operation, index, network), ("saturated", "dense"), call)


@step.register
def _(operation: Pool, index: int, at: Place, network: Quantised) -> Step:
    places = f"{at(operation.inputs[0])}, {at(operation.output)}, &constants.window_{index}"
    window = (Window(f"window_{index}", operation.window.numbers),)
    if operation.how == "max":
        return Step(window, ("window", "pool_max"), f"pool_max({places})")
    factor = number(mean_factor(operation, network))
    call = f"pool_average({places}, {_zeros(operation, network)}, {factor})"
    return Step(window, ("window", "saturated", "pool_average"), call)


@step.register
def _(operation: Activate, index: int, at: Place, network: Quantised) -> Step:
    given = operation.output
    call = f"activate({at(operation.inputs[0])}, {at(given)}, {given.count}, constants.table_{index})"
    return Step((Array(f"table_{index}", table(operation, network)),), ("activate",), call)


@step.register
def _(operation: Add, index: int, at: Place, network: Quantised) -> Step:
    a, b = map(at, operation.inputs)
    factors = ", ".join(map(number, add_factors(operation, network)))
    places = f"{a}, {b}, {at(operation.output)}, {operation.output.count}"
    return Step((), ("saturated", "add"), f"add({places}, {_zeros(operation, network)}, {factors})")


@step.register
def _(operation: Weigh, index: int, at: Place, network: Quantised) -> Step:
    channels, *sides = operation.output.shape
    x, weights = map(at, operation.inputs)
    places, factor = f"{x}, {weights}, {at(operation.output)}", number(weigh_factor(operation, network))
    call = f"weigh({places}, {channels}, {prod(sides)}, {_zeros(operation, network)}, {factor})"
    return Step((), ("saturated", "weigh"), call)


def last_step(operation: Operation, index: int, at: Place, network: Quantised) -> Step:
    """The operation that gives the logits, in float32."""
    taken, scale = at(operation.inputs[0]), network.scale(operation.inputs[0])
    if not isinstance(operation, Dense):
        call = f"real({taken}, logits, {operation.output.count}, {scale.zero}, {number(scale.step)})"
        return Step((), ("real",), call)
    outputs, inputs = operation.weight.shape
    call = f"dense_logits({taken}, logits, {inputs}, {outputs}, {_named(index)}, {scale.zero})"
    return Step(_weights(operation, index, network), ("dense_logits",), call)


def _weights(operation: Convolve | Dense, index: int, network: Quantised) -> tuple[Array, ...]:
    made = sums(operation, network)
    return (
        Array(f"weights_{index}", made.weight),
        Array(f"factor_{index}", made.factor),
        Array(f"offset_{index}", made.offset),
    )


def _named(index: int) -> str:
    return f"constants.weights_{index}, constants.factor_{index}, constants.offset_{index}"


def _zeros(operation: Operation, network: Quantised) -> str:
    return ", ".join(str(network.scale(value).zero) for value in (*operation.inputs, operation.output))
