"""How images become what a network takes: shares of white, less the mean, by the standard deviation. No torch.

Normalisation((0.286,), (0.353,)).of(images_NCHW)          # of bytes, or of floats from 0 to 1
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelflow.data.sources import white_of
from modelflow.errors import DataError
from modelflow.io.array import Array
from modelflow.results.records import Run


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per channel, or one of all, of images scaled to [0, 1].

    `white` is the value of a white pixel in bytes like those of the training images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    white: int = 255

    def of(self, images_NCHW: Array, white: int | None = None) -> Array:
        """Float32 N x C x H x W of bytes from 0 to `white` (else its own), or of floats from 0 to 1."""
        mean_C11, std_C11 = (np.array(values)[:, None, None] for values in (self.mean, self.std))
        scale = (white or self.white) if images_NCHW.dtype == np.uint8 else 1
        normalised: Array = ((images_NCHW / scale - mean_C11) / std_C11).astype(np.float32)
        return normalised

    def over(self, channels: int) -> "Normalisation":
        """With a mean and a standard deviation for each of so many channels."""
        if len(self.mean) == len(self.std) == channels:
            return self
        mean, std = (values if len(values) == channels else values * channels for values in (self.mean, self.std))
        return Normalisation(mean, std, self.white)

    def exchanged(self, mean: float) -> str:
        """What to know of images of this mean: whether black and white seem to be exchanged; else empty."""
        usual, spread = sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)
        opposite = (mean - 0.5) * (0.5 - usual) > 0 and abs(mean - 0.5) >= abs(usual - 0.5)
        if not opposite or abs(mean - usual) <= spread:
            return ""
        return f"mean {mean:.2f} of white, training images {usual:.2f}: are light and dark exchanged?"


def normalisation_of(run: Run, channels: int) -> Normalisation:
    """That of the images that a run was trained on. Raises `DataError` where its record has none that can be."""
    mean, std = run.data.mean, run.data.std
    if mean is None or std is None:
        raise DataError(
            f"{run.model_name}: run.json has no mean and std of the training images. The run is from an older "
            "version, or used loaders made in Python. Train it again on a data set by name. Or normalise the images "
            "as for training and give them to load_run(…).model."
        )
    found = Normalisation(_channels(mean), _channels(std), white_of(run.data.name))
    if not {len(found.mean), len(found.std)} <= {1, channels} or min(found.std) <= 0:
        raise DataError(f"{run.model_name}: mean {mean} and std {std} in run.json cannot be. Restore it from a copy.")
    return found


def _channels(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, list) else (values,)
