"""Batch norm, and the activation after it.

    mean, var    over the batch and the places of a channel; sums are of what a value exceeds one of the channel by
    out          act(z),  z = scale (x) + shift,  scale = gamma / sqrt(var + eps),  shift = beta - mean scale
    dz           d act'(z);   dbeta = sum dz;   dgamma = inverse sum dz (x - mean),  inverse = 1 / sqrt(var + eps)
    dx           scale dz + slope (x - mean) + offset
                 slope = -scale inverse^2 (sum dz (x - mean)) / n,  offset = -scale (sum dz) / n

The sums wait for the whole batch. Images that are not there, in the lanes of a last block, count nowhere.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from modelflow.kernels.activations import CHEAP, REFERENCES, activated, slope
from modelflow.kernels.elementwise import along, rows
from modelflow.kernels.emit import F32, F64, I32, Code, Num
from modelflow.kernels.maps import Maps
from modelflow.kernels.ops.operation import At, Given, Numbers, Operation, Schedule, Writer
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.norm import Norm as Layer
from modelflow.networks.layers.tape import Values

EPSILON, MOMENTUM = 1e-5, 0.1  # PyTorch's


@dataclass(frozen=True, eq=False)
class Norm(Operation):
    """`gamma` is a place in the flat parameters, beta lies behind it; `running` one in the running statistics.

    They are a mean of each channel, then a variance of each.
    """

    kinds: ClassVar[tuple[type[LayerKind], ...]] = (Layer,)
    gradient_in_place: ClassVar[bool] = True

    gamma: int
    running: int
    activation: str = "none"

    @classmethod
    def write(cls, writer: Writer, layer: Any, x: Values) -> Values:
        channels = x.shape[0]
        return writer.add(cls, x.shape, x, gamma=writer.parameters(2 * channels), running=writer.running(2 * channels))

    @property
    def channels(self) -> int:
        return self.output.shape[0]

    def kept(self, lanes: int) -> int:
        return 2 * self.channels * lanes + 7 * self.channels

    def forward(self, s: Schedule) -> None:
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        of_channels: dict[str, Any] = self._of_channels(s)
        learned: dict[str, Any] = {"gamma": s.parameter(self.gamma), "running": s.running(self.running)}
        if s.training:
            first: dict[str, Any] = {name: of_channels[name] for name in ("sums", "origin")}
            s.per_block(add_up, source, numbers="valid before", source=at, **first)
            s.once(finish, source, numbers="number", **of_channels, **learned)
        else:
            s.once(fold, self.channels, scale=of_channels["scale"], shift=of_channels["shift"], **learned)
        places: dict[str, Any] = {name: of_channels[name] for name in ("scale", "shift")}
        s.per_block(apply, source, target, self.activation, source=at, target=to, **places)

    def backward(self, s: Schedule) -> None:
        (source, at), (gradient, d) = s.value(self.inputs[0]), s.gradient(self.output)
        given = self._of_channels(s)
        first = {name: given[name] for name in ("sums", "mean", "scale", "shift")}
        s.per_block(
            add_up_gradients, source, gradient, self.activation, numbers="before", source=at, gradient=d, **first
        )
        second = {name: given[name] for name in ("sums", "inverse", "scale", "slope", "offset")}
        s.once(finish_gradients, source, numbers="number", **second, gamma=s.gradients(self.gamma))
        adds = s.adds(self.inputs[0])
        if adds is not None:
            target, to = s.gradient(self.inputs[0])
            third = {name: given[name] for name in ("mean", "scale", "shift", "slope", "offset")}
            sizes = (source, gradient, target, self.activation, adds)
            s.per_block(spread, *sizes, numbers="valid", source=at, gradient=d, target=to, **third)

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        x_BCHW, (gamma, beta) = inputs[0], given.part(self.gamma, 2, self.channels, 1, 1)
        beyond = x_BCHW - x_BCHW.mean((0, 2, 3), keepdims=True)
        variance = (beyond * beyond).mean((0, 2, 3), keepdims=True)
        return REFERENCES[self.activation](beyond / np.sqrt(variance + EPSILON) * gamma + beta)

    def _of_channels(self, s: Schedule) -> dict[str, At]:
        """The totals are two vectors a channel, all others a number."""
        begin, channels = s.kept(self), self.channels
        places = {"sums": begin}
        names = ("origin", "mean", "inverse", "scale", "shift", "slope", "offset")
        begin += 2 * channels * s.lanes
        return places | {name: begin + i * channels for i, name in enumerate(names)}


def _there(k: Code) -> Num:
    """The lanes that have an image."""
    return k.lane_numbers() < k.splat(k.convert(k.valid, I32))


def add_up(k: Code, maps: Maps) -> None:
    """Arguments: source, sums, origin; valid, before. The block gone through first sets the origins, from zero."""
    source, totals, origin, there = k.vectors(k.source), k.vectors(k.sums), k.array(k.origin), _there(k)
    with k.when(k.before.equals(0)):
        for c in k.loop(maps.channels):
            origin[c] = source.at(maps.index(c, maps.height // 2, maps.width // 2)).of(F32)[0]
            totals[c] = totals[c + maps.channels] = k.vector(0.0)
    for c, y in rows(k, maps):
        row, start = source.at(maps.index(c, y, 0)), origin.broadcast(c)
        first = [k.var(k.vector(0.0)) for _ in range(4)]
        second = [k.var(k.vector(0.0)) for _ in range(4)]
        for places in along(k, maps.width):
            for i, x in enumerate(places):
                beyond = row[x] - start
                first[i].set(first[i].get() + beyond)
                second[i].set(k.fma(beyond, beyond, second[i].get()))
        for at, sums in ((c, first), (c + maps.channels, second)):
            added = (sums[0].get() + sums[1].get()) + (sums[2].get() + sums[3].get())
            totals[at] = totals[at] + k.where(there, added, k.vector(0.0))


def _count(k: Code, maps: Maps) -> Num:
    """How many values of a channel the batch has."""
    return k.convert(k.number * maps.places, F64)


def finish(k: Code, maps: Maps) -> None:
    """Arguments: sums, origin, mean, inverse, scale, shift, slope, offset, gamma, running; number."""
    channels, count = maps.channels, _count(k, maps)
    totals, origin, mean, inverse = k.vectors(k.sums), k.array(k.origin), k.array(k.mean), k.array(k.inverse)
    running = k.array(k.running)
    for c in k.loop(channels):
        beyond = k.convert(k.total(totals[c]), F64) / count
        squares = k.convert(k.total(totals[c + channels]), F64) / count
        variance = squares - beyond * beyond
        variance = k.where(variance < 0.0, k.constant(0.0, F64), variance)
        mean[c] = origin[c] + k.convert(beyond, F32)
        inverse[c] = k.convert(k.constant(1.0, F64) / k.sqrt(variance + EPSILON), F32)
        unbiased = k.convert(variance * count / (count - 1.0), F32)
        running[c] = running[c] * (1 - MOMENTUM) + mean[c] * MOMENTUM
        running[c + channels] = running[c + channels] * (1 - MOMENTUM) + unbiased * MOMENTUM
        _set_scale(k, c, channels, mean[c], inverse[c])


def _set_scale(k: Code, c: Num, channels: int, mean: Num, inverse: Num) -> None:
    gamma, scale, shift = k.array(k.gamma), k.array(k.scale), k.array(k.shift)
    scale[c] = gamma[c] * inverse
    shift[c] = gamma[c + channels] - mean * scale[c]


def fold(k: Code, channels: int) -> None:
    """Arguments: gamma, running, scale, shift. Those of the running statistics."""
    running = k.array(k.running)
    for c in k.loop(channels):
        variance = k.convert(running[c + channels], F64) + EPSILON
        inverse = k.convert(k.constant(1.0, F64) / k.sqrt(variance), F32)
        _set_scale(k, c, channels, running[c], inverse)


def apply(k: Code, source: Maps, target: Maps, activation: str) -> None:
    """Arguments: source, target, scale, shift."""
    read, written, scale, shift = k.vectors(k.source), k.vectors(k.target), k.array(k.scale), k.array(k.shift)
    for c, y in rows(k, source):
        out_of, into = read.at(source.index(c, y, 0)), written.at(target.index(c, y, 0))
        factor, summand = scale.broadcast(c), shift.broadcast(c)
        for places in along(k, source.width):
            for x in places:
                into[x] = activated(k, activation, k.fma(out_of[x], factor, summand))


def add_up_gradients(k: Code, source: Maps, gradient: Maps, activation: str) -> None:
    """Arguments: source, gradient, sums, mean, scale, shift; before.

    The gradient becomes that before the activation if the slope takes long to compute.
    """
    read, given, totals = k.vectors(k.source), k.vectors(k.gradient), k.vectors(k.sums)
    scale, shift, mean = k.array(k.scale), k.array(k.shift), k.array(k.mean)
    with k.when(k.before.equals(0)):
        for c in k.loop(2 * source.channels):
            totals[c] = k.vector(0.0)
    for c, y in rows(k, source):
        x_row, d_row = read.at(source.index(c, y, 0)), given.at(gradient.index(c, y, 0))
        factor, summand, middle = scale.broadcast(c), shift.broadcast(c), mean.broadcast(c)
        first = [k.var(k.vector(0.0)) for _ in range(4)]
        second = [k.var(k.vector(0.0)) for _ in range(4)]
        for places in along(k, source.width):
            for i, at in enumerate(places):
                x, d = x_row[at], d_row[at]
                if activation != "none":
                    d = d * slope(k, activation, k.fma(x, factor, summand))
                if activation not in CHEAP:
                    d_row[at] = d
                first[i].set(first[i].get() + d)
                second[i].set(k.fma(d, x - middle, second[i].get()))
        for place, sums in ((c, first), (c + source.channels, second)):
            added = (sums[0].get() + sums[1].get()) + (sums[2].get() + sums[3].get())
            totals[place] = totals[place] + added


def finish_gradients(k: Code, maps: Maps) -> None:
    """Arguments: sums, inverse, scale, slope, offset, gamma (its gradient, beta's behind it); number."""
    channels, count = maps.channels, _count(k, maps)
    totals, gamma, inverse = k.vectors(k.sums), k.array(k.gamma), k.array(k.inverse)
    scale, slope_of, offset = k.array(k.scale), k.array(k.slope), k.array(k.offset)
    for c in k.loop(channels):
        beta, products = k.total(totals[c]), k.total(totals[c + channels])
        gamma[c], gamma[c + channels] = products * inverse[c], beta
        share = k.convert(k.constant(1.0, F64) / count, F32)
        slope_of[c] = k.constant(0.0, F32) - scale[c] * inverse[c] * inverse[c] * products * share
        offset[c] = k.constant(0.0, F32) - scale[c] * beta * share


def spread(k: Code, source: Maps, gradient: Maps, target: Maps, activation: str, adds: bool) -> None:
    """Arguments: source, gradient, target, mean, scale, shift, slope, offset; valid."""
    read, given, written, there = k.vectors(k.source), k.vectors(k.gradient), k.vectors(k.target), _there(k)
    learned = [k.array(pointer) for pointer in (k.scale, k.shift, k.slope, k.offset, k.mean)]
    for c, y in rows(k, source):
        x_row, d_row = read.at(source.index(c, y, 0)), given.at(gradient.index(c, y, 0))
        into = written.at(target.index(c, y, 0))
        scale, shift, slope_of, offset, mean = (array.broadcast(c) for array in learned)
        for places in along(k, source.width):
            for at in places:
                x, d = x_row[at], d_row[at]
                if activation in CHEAP and activation != "none":
                    d = d * slope(k, activation, k.fma(x, scale, shift))
                new = k.fma(d, scale, k.fma(x - mean, slope_of, offset))
                new = k.where(there, new, k.vector(0.0))
                into[at] = into[at] + new if adds else new
