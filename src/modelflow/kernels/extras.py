"""What a step does beside a plain loss and an update: images changed, the loss weighted or smoothed, weights averaged.

Weighted and smoothed cross-entropy is PyTorch's (Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567):

    loss = sum_i sum_c t[y_i, c] * -log p[i, c] / sum_i w[y_i],    t[y, c] = (1 - s) w[y] [c = y] + s / K w[c]

with weights w of the K classes and smoothing s. The average is  a = a + share (p - a)  after each update, of the
parameters and of the running statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelflow.kernels.emit import F32, I32, I64, Array, Code, Num, Operand
from modelflow.kernels.maps import Maps

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Extras:
    """Which of them are compiled."""

    weighted: bool = False
    averaged: bool = False
    augmented: bool = False

    def __bool__(self) -> bool:
        return self.weighted or self.averaged or self.augmented

    @property
    def scalar_count(self) -> int:
        """Numbers that they need a step: what losses are divided by, as a factor; the average's share."""
        return self.weighted + self.averaged


PLAIN = Extras()


@dataclass(frozen=True)
class Targets:
    """The weight of each class, K numbers, and the smoothing of the targets, from 0 to 1."""

    weights_K: NDArray[np.float64]
    smoothing: float

    def table(self) -> Floats:
        """What a target has of its own class more than of any, then what it has of any: 2 K numbers."""
        shared_K = self.weights_K * (self.smoothing / len(self.weights_K))
        return np.concatenate([self.weights_K * (1 - self.smoothing), shared_K]).astype(np.float32)

    def factors(self, labels_N: NDArray[np.int64], starts_S: Sequence[int]) -> NDArray[np.float64]:
        """One over the summed weights of each step, whose images begin at `starts_S`."""
        with np.errstate(divide="ignore"):  # of classes without weight alone: the loss is not a number, as PyTorch's
            return 1 / np.add.reduceat(self.weights_K[labels_N], starts_S)


def average(k: Code, packed: int, row: int) -> None:
    """Arguments: params, share. Takes what is packed, parameters and running statistics, into the average's row."""
    values, averages = k.vectors(k.params), k.vectors(k.params).at(row * packed // k.lanes)
    share = k.array(k.share).broadcast(0)
    for i in k.loop(packed // k.lanes):
        averages[i] = k.fma(share, values[i] - averages[i], averages[i])


def changes_an_image(maps: Maps) -> int:
    """Numbers that say how an image is changed: a source of each row and column, and the ends of a blanked square."""
    return maps.height + maps.width + 4


def gather_changed(k: Code, maps: Maps) -> None:
    """Arguments: images, order, changes, valid, target. As `general.gather`, each pixel from where it is said."""
    images, order, target = k.array(k.images), k.array(k.order, I64), k.vectors(k.target)
    for lane in k.loop(k.lanes):
        which = k.where(k.valid > lane, lane, k.integer(0))
        image = images.at(order[which] * (maps.channels * maps.places))
        change = k.array(k.changes, I32).at(which * changes_an_image(maps))
        top, bottom, left, right = (_number(k, change, maps.height + maps.width + i) for i in range(4))
        for c in k.loop(maps.channels):
            for y in k.loop(maps.height):
                row = image.at((c * maps.height + _number(k, change, y)) * maps.width)
                into, blanked = target.at(maps.index(c, y, 0)).of(F32), (y >= top) & (y < bottom)
                for x in k.loop(maps.width):
                    pixel, inside = row[_number(k, change, x + maps.height)], blanked & (x >= left) & (x < right)
                    into[x * k.lanes + lane] = k.where(inside, k.constant(0.0, F32), pixel)


def _number(k: Code, change: Array, index: Operand) -> Num:
    return k.convert(change[index], I64)
