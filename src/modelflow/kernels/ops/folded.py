"""Evaluation of a convolution that a batch norm alone reads: one convolution, by weights in which the norm is folded.

w'[o] = scale[o] w[o],  bias'[o] = scale[o] bias[o] + beta[o] - scale[o] mean[o],  scale = gamma / sqrt(var + eps)

with the running mean and variance. The norm's activation is applied to the sums.
"""

from dataclasses import dataclass, replace
from typing import Any

from modelflow.kernels.emit import F32, F64, Code
from modelflow.kernels.ops.convolve import Convolve
from modelflow.kernels.ops.correlation import correlate
from modelflow.kernels.ops.norm import EPSILON, Norm
from modelflow.kernels.ops.operation import Given, Numbers, Operation, Schedule


@dataclass(frozen=True, eq=False)
class Folded(Operation):
    """Both in one. It is not trained."""

    convolve: Convolve
    norm: Norm

    @property
    def weights(self) -> int:
        """Of each output channel."""
        (height, width), depth = self.convolve.kernel, self.inputs[0].shape[0] // self.convolve.groups
        return depth * height * width

    def kept(self, lanes: int) -> int:
        return self.norm.channels * (self.weights + 1)

    def forward(self, s: Schedule) -> None:
        convolve, norm, channels = self.convolve, self.norm, self.norm.channels
        (source, at), (target, to) = s.value(self.inputs[0]), s.value(self.output)
        weight, bias = s.kept(self), s.kept(self) + channels * self.weights
        learned: dict[str, Any] = {"gamma": s.parameter(norm.gamma), "running": s.running(norm.running)}
        own: dict[str, Any] = {} if convolve.bias is None else {"own_bias": s.parameter(convolve.bias)}
        sizes = (channels, self.weights, bool(own))
        s.once(fold, *sizes, own_weight=s.parameter(convolve.weight), weight=weight, bias=bias, **learned, **own)
        sums = replace(convolve.sums(source, target), has_bias=True, activation=norm.activation)
        s.per_block(correlate, s.registers, sums, source=at, target=to, weight=weight, bias=bias)

    def backward(self, s: Schedule) -> None:
        raise NotImplementedError

    def reference(self, given: Given, *inputs: Numbers) -> Numbers:
        return self.norm.reference(given, self.convolve.reference(given, *inputs))


def fold(k: Code, channels: int, weights: int, has_bias: bool) -> None:
    """Arguments: own_weight, weight, bias, gamma, running; own_bias, if the convolution has one."""
    own, weight, bias, gamma, running = map(k.array, (k.own_weight, k.weight, k.bias, k.gamma, k.running))
    for c in k.loop(channels):
        variance = k.convert(running[c + channels], F64) + EPSILON
        scale = gamma[c] * k.convert(k.constant(1.0, F64) / k.sqrt(variance), F32)
        beyond = running[c] - k.array(k.own_bias)[c] if has_bias else running[c]
        bias[c] = gamma[c + channels] - beyond * scale
        for i in k.loop(weights):
            weight[c * weights + i] = own[c * weights + i] * scale
