"""A model in 8 bits beside the float's: images to choose its scales by, its accuracy on the test images. No torch."""

import numpy as np

from modelflow.analysis.intervals import paired_difference
from modelflow.data.source import Source
from modelflow.export.target import as_NCHW
from modelflow.io.array import Array


def calibration(source: Source, count: int) -> Array:
    """Training images in bytes, N x C x H x W: `count` of them, or all if fewer, evenly spread."""
    images = source.train_images
    return as_NCHW(images[np.linspace(0, len(images) - 1, min(count, len(images)), dtype=int)])


def beside_float(name: str, int8_N: Array, float_N: Array) -> str:
    """The accuracy of the file `name`, with the interval of its difference, by which test images each has right."""
    interval = paired_difference(int8_N.astype(float), float_N.astype(float)).interval()
    gain, low, high = (100 * share for share in (int8_N.mean() - float_N.mean(), interval.low, interval.high))
    return (
        f"{name}: accuracy {int8_N.mean():.2%}, float {float_N.mean():.2%}. Difference {gain:+.2f} points (95 % "
        f"interval {low:+.2f} to {high:+.2f}, paired over {len(int8_N):,} test images)."
    )
