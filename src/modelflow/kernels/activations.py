"""Activations and their slopes, vectors of values: PyTorch's, with its default arguments.

exp is Cephes' polynomial (see `loss`); erf is Abramowitz and Stegun's 7.1.26, good to 1.5e-7.
"""

from collections.abc import Callable
from math import erf, pi, sqrt

import numpy as np

from modelflow.io.array import Array
from modelflow.kernels.emit import Code, Num
from modelflow.kernels.loss import exp

LEAK = 0.01
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
ERF_P = 0.3275911
TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
TANH_SMALL = 0.625


def activated(k: Code, name: str, z: Num) -> Num:
    """The activation of that name; "none" for none."""
    return VALUES[name](k, z)


def slope(k: Code, name: str, z: Num) -> Num:
    """Its derivative."""
    return SLOPES[name](k, z)


def sigmoid(k: Code, z: Num) -> Num:
    """Of the exponential of a number that is not positive, which cannot overflow."""
    e = exp(k, k.like(z, 0.0) - _size(k, z))
    return k.where(z < 0.0, e, k.like(z, 1.0)) / (e + 1.0)


def tanh(k: Code, z: Num) -> Num:
    """By a polynomial near 0, where 1 - e would lose digits."""
    size = _size(k, z)
    e = exp(k, size * -2.0)
    large = (k.like(z, 1.0) - e) / (e + 1.0)
    square = z * z
    y = k.vector(TANH[0])
    for coefficient in TANH[1:]:
        y = k.fma(y, square, k.vector(coefficient))
    small = k.fma(y * square, z, z)
    return k.where(size < TANH_SMALL, small, k.where(z < 0.0, k.like(z, 0.0) - large, large))


def _size(k: Code, z: Num) -> Num:
    return k.where(z < 0.0, k.like(z, 0.0) - z, z)


def _clamped(k: Code, z: Num, least: float, most: float) -> Num:
    """NaN stays NaN."""
    z = k.where(z < least, k.like(z, least), z)
    return k.where(z > most, k.like(z, most), z)


def _inside(k: Code, z: Num, least: float, most: float, value: Num) -> Num:
    """`value` between the ends, 0 elsewhere."""
    return k.where((z > least) & (z < most), value, k.like(z, 0.0))


def _normal_share(k: Code, z: Num) -> Num:
    """The standard normal distribution function."""
    size = _size(k, z) * (1 / sqrt(2))
    t = k.like(z, 1.0) / k.fma(size, k.vector(ERF_P), k.vector(1.0))
    y = k.vector(ERF[0])
    for coefficient in ERF[1:]:
        y = k.fma(y, t, k.vector(coefficient))
    tail = y * t * exp(k, k.like(z, 0.0) - size * size) * 0.5
    return k.where(z < 0.0, tail, k.like(z, 1.0) - tail)


def _normal_density(k: Code, z: Num) -> Num:
    return exp(k, z * z * -0.5) * (1 / sqrt(2 * pi))


def _silu_slope(k: Code, z: Num) -> Num:
    s = sigmoid(k, z)
    return s * k.fma(z, k.like(z, 1.0) - s, k.vector(1.0))


def _hard_swish_slope(k: Code, z: Num) -> Num:
    between = k.fma(z, k.vector(1 / 3), k.vector(0.5))
    return k.where(z < -3.0, k.like(z, 0.0), k.where(z > 3.0, k.like(z, 1.0), between))


def _sigmoid_slope(k: Code, z: Num) -> Num:
    s = sigmoid(k, z)
    return s * (k.like(z, 1.0) - s)


def _tanh_slope(k: Code, z: Num) -> Num:
    t = tanh(k, z)
    return k.like(z, 1.0) - t * t


CHEAP = ("none", "relu", "leaky_relu", "relu6", "hard_swish")  # whose slope may be computed twice


REFERENCES: dict[str, Callable[[Array], Array]] = {
    "none": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z < 0, LEAK * z, z),
    "relu6": lambda z: np.clip(z, 0, 6),
    "hard_swish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: z * (1 + np.vectorize(erf, otypes=[z.dtype])(z / sqrt(2))) / 2,
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
}
Function = Callable[[Code, Num], Num]
VALUES: dict[str, Function] = {
    "none": lambda _k, z: z,
    "relu": lambda k, z: k.relu(z),
    "leaky_relu": lambda k, z: k.where(z < 0.0, z * LEAK, z),
    "relu6": lambda k, z: _clamped(k, z, 0.0, 6.0),
    "hard_swish": lambda k, z: z * _clamped(k, z + 3.0, 0.0, 6.0) * (1 / 6),
    "silu": lambda k, z: z * sigmoid(k, z),
    "gelu": lambda k, z: z * _normal_share(k, z),
    "tanh": tanh,
    "sigmoid": sigmoid,
}
SLOPES: dict[str, Function] = {
    "none": lambda k, z: k.like(z, 1.0),
    "relu": lambda k, z: k.where(z > 0.0, k.like(z, 1.0), k.like(z, 0.0)),
    "leaky_relu": lambda k, z: k.where(z > 0.0, k.like(z, 1.0), k.like(z, LEAK)),
    "relu6": lambda k, z: _inside(k, z, 0.0, 6.0, k.like(z, 1.0)),
    "hard_swish": _hard_swish_slope,
    "silu": _silu_slope,
    "gelu": lambda k, z: k.fma(z, _normal_density(k, z), _normal_share(k, z)),
    "tanh": _tanh_slope,
    "sigmoid": _sigmoid_slope,
}
