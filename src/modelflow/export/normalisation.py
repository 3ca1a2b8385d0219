"""How images become what a network takes: shares of white, less the mean, by the standard deviation. No torch.

Normalisation((0.286,), (0.353,)).of(images_NCHW)          # of bytes, or of floats from 0 to 1
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from modelflow.data.sources import white_of
from modelflow.errors import DataError
from modelflow.results.records import Run

Array = np.ndarray[Any, Any]


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


def normalisation_of(run: Run) -> Normalisation:
    """That of the images that a run was trained on. Raises `DataError` where its record has none."""
    mean, std = run.data.mean, run.data.std
    if mean is None or std is None:
        raise DataError(
            f"{run.model_name}: run.json has no mean and std of the training images: the run is of an older version, "
            "or of loaders made in Python. Train it again on a data set by name, or normalise the images as for "
            "training and give them to load_run(…).model."
        )
    return Normalisation(_channels(mean), _channels(std), white_of(run.data.name))


def _channels(values: Any) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, list) else (values,)
