"""Data sets by name, normalised once and kept as tensors: "fashion-mnist", "digits", "idx:FOLDER"."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelflow.data.batches import Batches
from modelflow.data.classes import without_images
from modelflow.data.origins.origin import Images, Source
from modelflow.data.repeats import repeats, with_other_label
from modelflow.data.sources import read_source
from modelflow.data.split import held_out
from modelflow.errors import DataError, UsageError

EVALUATION_BATCH = 1000
CHUNK_PIXELS = 2**18
CACHE_LINE = 16  # floats
SPLIT_SEED = 0  # the same images are held out for every model and seed
HELD_OUT = 5000
HELD_OUT_SHARE = 12  # at most a twelfth of the training images, which for Fashion-MNIST is 5,000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images scaled to [0, 1], then normalised with the mean and std of the training images, and their labels."""

    name: str
    train_x_NCHW: Tensor = field(repr=False)
    train_y_N: Tensor = field(repr=False)
    test_x_NCHW: Tensor = field(repr=False)
    test_y_N: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    mean: float
    std: float
    checksums: dict[str, str] = field(repr=False)  # file name -> SHA-256 of the uncompressed file
    folder: str | None = None  # where an idx: folder lies, or the folder that was named for a known set

    @property
    def in_channels(self) -> int:
        return self.train_x_NCHW.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width."""
        return self.train_x_NCHW.shape[2], self.train_x_NCHW.shape[3]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def test_in_training(self) -> int:
        """How many test images are training images too, pixel by pixel."""
        return len(self._repeats)

    @property
    def test_in_training_other_label(self) -> int:
        """How many of those have only other labels in training."""
        return with_other_label(self._repeats, self.train_y_N.tolist(), self.test_y_N.tolist())

    @property
    def notes(self) -> list[str]:
        """What is to be known of its labels before training."""
        return [note] if (note := without_images(self.train_y_N)) else []

    @cached_property
    def _repeats(self) -> dict[int, list[int]]:
        return repeats(self.train_x_NCHW.flatten(1).numpy(), self.test_x_NCHW.flatten(1).numpy())

    def loaders(self, batch_size: int = 16, seed: int = 42) -> tuple[Batches, Batches]:
        """Training batches in an order drawn from the seed, and the test images, in order, for validation."""
        order = torch.Generator().manual_seed(seed)
        train = Batches(self.train_x_NCHW, self.train_y_N, batch_size, shuffle=True, generator=order)
        val = Batches(self.test_x_NCHW, self.test_y_N, EVALUATION_BATCH)
        train.source = val.source = self
        return train, val

    def held_out_loaders(
        self, batch_size: int = 16, seed: int = 42, validation_images: int | None = None
    ) -> tuple[Batches, Batches, Batches]:
        """Training batches in an order drawn from the seed, images held out of them, and the test images.

        `validation_images` are held out, the same share of each class and the same ones for every seed. The default is
        5,000, or a twelfth of the training images if that is fewer. Raises `UsageError` unless some are left of either.
        """
        count = self.held_out_count(validation_images)
        kept_N, held_N = held_out(self.train_y_N.numpy(), count, SPLIT_SEED)
        order = torch.Generator().manual_seed(seed)
        x_NCHW, y_N, index_N = self.train_x_NCHW, self.train_y_N, torch.from_numpy(held_N)
        train = Batches(x_NCHW, y_N, batch_size, shuffle=True, generator=order, index_N=torch.from_numpy(kept_N))
        val = Batches(x_NCHW.index_select(0, index_N), y_N.index_select(0, index_N), EVALUATION_BATCH)
        test = Batches(self.test_x_NCHW, self.test_y_N, EVALUATION_BATCH)
        for batches in (train, val, test):
            batches.source = self
        return train, val, test

    def held_out_count(self, validation_images: int | None = None) -> int:
        """How many training images are held out. Raises `UsageError` unless some are left of either."""
        images = len(self.train_y_N)
        count = validation_images or min(HELD_OUT, max(1, images // HELD_OUT_SHARE))
        if not 0 < count < images:
            raise UsageError(
                f"validation_images = {count:,}: {self.name} has {images:,} training images. Hold out fewer, or "
                "validate on the test images: --protocol card."
            )
        return count

    def samples(self, per_class: int = 12) -> tuple[Images, NDArray[np.int64]]:
        """The first training images of each class as bytes, and their labels."""
        chosen = [torch.nonzero(self.train_y_N == k).flatten()[:per_class] for k in range(self.num_classes)]
        index = torch.cat(chosen)
        pixels = (self.train_x_NCHW[index] * self.std + self.mean).clamp(0, 1) * 255
        return pixels.round().to(torch.uint8).numpy(), self.train_y_N[index].numpy()

    def facts(self) -> dict[str, Any]:
        """What the data set holds, as plain data."""
        return {
            "name": self.name,
            "training_images": len(self.train_y_N),
            "test_images": len(self.test_y_N),
            "channels": self.in_channels,
            "height": self.image_size[0],
            "width": self.image_size[1],
            "classes": list(self.class_names),
            "training_images_per_class": torch.bincount(self.train_y_N, minlength=self.num_classes).tolist(),
            "mean": round(self.mean, 4),
            "std": round(self.std, 4),
            "test_images_also_in_training": self.test_in_training,
            "of_those_with_another_label": self.test_in_training_other_label,
            "checksums": self.checksums,
            "notes": self.notes,
        }


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """The data set of this name. Files that are not on this machine are downloaded."""
    return normalised(read_source(name, data_dir))


def normalised(source: Source) -> Dataset:
    """Raises `DataError` when all training pixels have one value."""
    mean, std = pixel_statistics(source.train_images, source.white)
    if std == 0:
        raise DataError(f"{source.name}: all training pixels have the same value, expected images. Use other images.")
    return Dataset(
        source.name,
        normalise(source.train_images, mean, std, source.white),
        torch.from_numpy(source.train_labels).long(),
        normalise(source.test_images, mean, std, source.white),
        torch.from_numpy(source.test_labels).long(),
        source.class_names,
        mean,
        std,
        source.checksums,
        source.folder,
    )


def pixel_statistics(images: Images, white: int = 255) -> tuple[float, float]:
    """Mean and std of all pixels, scaled to [0, 1]: exact but for the last rounding, from a count of each value."""
    counts = torch.bincount(torch.from_numpy(images).flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / white
    mean = (counts @ values) / counts.sum()
    variance = (counts @ (values - mean) ** 2) / counts.sum()
    return float(mean), float(variance.sqrt())


def normalise(images: Images, mean: float, std: float, white: int = 255) -> Tensor:
    """Float32 NCHW through a table of the 256 values, in chunks that stay in the processor's cache.

    The memory is numpy's, which on Linux asks for huge pages, so that an image from anywhere costs hardly a page walk;
    the first image begins at a cache line.
    """
    table = ((np.arange(256) / white - mean) / std).astype(np.float32)
    pixels, memory = images.reshape(-1), np.empty(images.size + CACHE_LINE, np.float32)
    skip = -memory.ctypes.data % (4 * CACHE_LINE) // 4
    result = memory[skip : skip + images.size]
    for start in range(0, images.size, CHUNK_PIXELS):
        chunk = slice(start, start + CHUNK_PIXELS)
        np.take(table, pixels[chunk], out=result[chunk], mode="clip")
    count, *channels, height, width = images.shape
    return torch.from_numpy(result).view(count, channels[0] if channels else 1, height, width)
