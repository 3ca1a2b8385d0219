"""How bytes of an image become the numbers that a network takes: channel by channel, from the training images."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelflow.networks.program.operations import Floats, single

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Pixels:
    """`mean` and `std` of each channel, or one of all, of values scaled to [0, 1]; `white` is the byte that is 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: int = 255

    def of(self, channels: int) -> "Pixels":
        """With a mean and std for each of so many channels."""
        if len(self.mean) == channels:
            return self
        return Pixels(self.mean * channels, self.std * channels, self.white)

    @property
    def factor(self) -> Floats:
        """By which the bytes of each channel are multiplied."""
        return single(1 / (self.white * np.asarray(self.std, np.float64)))

    @property
    def offset(self) -> Floats:
        """What is then added."""
        return single(-np.asarray(self.mean, np.float64) / np.asarray(self.std, np.float64))

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest number that a byte becomes."""
        return float(self.offset.min()), float((self.factor * self.white + self.offset).max())

    def normalised(self, images_NCHW: Images) -> Tensor:
        """Images as the network takes them, in float32."""
        scaled = images_NCHW.astype(np.float32) * self.factor[:, None, None] + self.offset[:, None, None]
        return torch.from_numpy(scaled)
