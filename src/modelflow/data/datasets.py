"""Data sets by name or path, normalised once and kept as tensors: "fashion-mnist", "digits", "idx:FOLDER"."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelflow.data.batches import Batches
from modelflow.data.classes import imbalance, without_images
from modelflow.data.repeats import named, repeats, with_other_label
from modelflow.data.source import Form, Images, Source
from modelflow.data.sources import read_source
from modelflow.data.split import held_out
from modelflow.errors import DataError, UsageError

EVALUATION_BATCH = 1000
CHUNK_PIXELS = 2**18
CACHE_LINE = 16  # floats
SPLIT_SEED = 0  # the same images are held out for every model and seed
HELD_OUT = 5000
HELD_OUT_SHARE = 12  # at most a twelfth of the training images, which for Fashion-MNIST is 5,000
Statistic = float | list[float]  # of all channels of grey images, else one a channel


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images scaled to [0, 1], then normalised with the mean and std of the training images, and their labels.

    `mean` and `std` are numbers of grey images, else lists with a number per channel. Images for validation are those
    of the data set's own split, None where it has none.
    """

    name: str
    train_x_NCHW: Tensor = field(repr=False)
    train_y_N: Tensor = field(repr=False)
    test_x_NCHW: Tensor = field(repr=False)
    test_y_N: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    mean: Statistic
    std: Statistic
    checksums: dict[str, str] = field(repr=False)  # file name -> SHA-256 of the uncompressed file
    folder: str | None = None  # where an idx: folder lies, or the folder that was named for a known set
    val_x_NCHW: Tensor | None = field(default=None, repr=False)
    val_y_N: Tensor | None = field(default=None, repr=False)
    source_notes: tuple[str, ...] = ()  # how it was read
    labels_from: int = 0  # what the label of the first class is in its files
    form: dict[str, str | int | bool] | None = None  # what was asked for of how it is read, if anything

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
        return len(self._repeats["test", "training"])

    @property
    def test_in_training_other_label(self) -> int:
        """How many of those have only other labels in training."""
        return with_other_label(self._repeats["test", "training"], self.train_y_N.tolist(), self.test_y_N.tolist())

    @property
    def validation_in_training(self) -> int | None:
        """How many images of its own validation split are training images too; None without such a split."""
        return None if self.val_x_NCHW is None else len(self._repeats["validation", "training"])

    @property
    def test_in_validation(self) -> int | None:
        """How many test images are images of its own validation split too; None without such a split."""
        return None if self.val_x_NCHW is None else len(self._repeats["test", "validation"])

    @property
    def notes(self) -> list[str]:
        """What is to be known of how it was read, of its labels, and of images that it has twice, before training."""
        twice = (named(*parts, places) for parts, places in self._repeats.items())
        return [*self.source_notes, *filter(None, [without_images(self.train_y_N), *twice])]

    def notes_for(self, protocol: str) -> list[str]:
        """`notes`, and what a protocol leaves unused of the data set."""
        if protocol != "card" or self.val_y_N is None:
            return self.notes
        unused = f"{self.name} has {len(self.val_y_N):,} validation images of its own. Protocol card does not use them."
        return [*self.notes, unused]

    @property
    def imbalance(self) -> str:
        """How unequal the classes are in training, and what to do; empty where they are not."""
        return imbalance(self.train_y_N, self.class_names)

    @cached_property
    def _repeats(self) -> dict[tuple[str, str], dict[int, list[int]]]:
        """Of two parts the images of the first that are images of the second, as `repeats` gives them."""
        found = {("test", "training"): repeats(*_rows(self.train_x_NCHW, self.test_x_NCHW))}
        if self.val_x_NCHW is not None:
            found["validation", "training"] = repeats(*_rows(self.train_x_NCHW, self.val_x_NCHW))
            found["test", "validation"] = repeats(*_rows(self.val_x_NCHW, self.test_x_NCHW))
        return found

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
        5,000, or a twelfth of the training images if that is fewer. Of a data set with a validation split of its own,
        that is used and nothing held out. Raises `UsageError` unless some are left of either.
        """
        count = self.held_out_count(validation_images)
        if self.val_x_NCHW is not None and self.val_y_N is not None:
            train, test = self.loaders(batch_size, seed)
            val = Batches(self.val_x_NCHW, self.val_y_N, EVALUATION_BATCH)
            val.source = self
            return train, val, test
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
        """How many training images are held out: none of a data set with a validation split of its own.

        Raises `UsageError` unless some are left of either, and for a number of them beside a split of its own.
        """
        if self.val_y_N is not None:
            if validation_images is not None:
                raise UsageError(
                    f"validation_images = {validation_images:,}: {self.name} has a validation split of its own, of "
                    f"{len(self.val_y_N):,} images. Remove it."
                )
            return 0
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
        pixels = (self.train_x_NCHW[index] * _by_channel(self.std) + _by_channel(self.mean)).clamp(0, 1) * 255
        return pixels.round().to(torch.uint8).numpy(), self.train_y_N[index].numpy()

    def facts(self) -> dict[str, Any]:
        """What the data set holds, as plain data."""
        return {
            "name": self.name,
            "training_images": len(self.train_y_N),
            "validation_images": None if self.val_y_N is None else len(self.val_y_N),
            "test_images": len(self.test_y_N),
            "channels": self.in_channels,
            "height": self.image_size[0],
            "width": self.image_size[1],
            "classes": list(self.class_names),
            "training_images_per_class": torch.bincount(self.train_y_N, minlength=self.num_classes).tolist(),
            "mean": _rounded(self.mean),
            "std": _rounded(self.std),
            "test_images_also_in_training": self.test_in_training,
            "of_those_with_another_label": self.test_in_training_other_label,
            "validation_images_also_in_training": self.validation_in_training,
            "test_images_also_in_validation": self.test_in_validation,
            "checksums": self.checksums,
            "notes": [*self.notes, *filter(None, [self.imbalance])],
        }


def load_dataset(
    name: str | os.PathLike[str],
    data_dir: str | Path | None = None,
    *,
    image_size: int | str | tuple[int, int] | None = None,
    channels: int | None = None,
    transpose: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """The data set of this name or at this path. Files of known sets that are not on this machine are downloaded.

    `image_size` is a side or height and width, such as 32, (32, 48) or "32x48"; `channels` are 1 or 3; `transpose`
    exchanges rows and columns; `skip_bad` leaves out files that cannot be read. A format that leaves no such choice
    raises `UsageError`. `DataError` is raised for files that are damaged, or nowhere.
    """
    return normalised(read_source(os.fspath(name), data_dir, Form.of(image_size, channels, transpose, skip_bad)))


def normalised(source: Source, statistics: tuple[Statistic, Statistic] | None = None) -> Dataset:
    """The data set of a source, normalised by mean and std of its training images, or by `statistics`.

    Raises `DataError` when all training pixels have one value.
    """
    mean, std = statistics or pixel_statistics(source.train_images, source.white)
    notes = list(source.notes)
    if std == 0 or (isinstance(std, list) and not any(std)):
        raise DataError(f"{source.name}: all training pixels have the same value, expected images. Use other images.")
    if isinstance(std, list) and 0 in std:
        notes.append(f"channel {std.index(0)} (from 0) has one value in all training images. It is not scaled.")
        std = [value or 1.0 for value in std]
    val_images, val_labels = source.val_images, source.val_labels
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
        None if val_images is None else normalise(val_images, mean, std, source.white),
        None if val_labels is None else torch.from_numpy(val_labels).long(),
        tuple(notes),
        source.labels_from,
        source.form.asked or None,
    )


def _rows(*images_NCHW: Tensor) -> Iterator[NDArray[np.float32]]:
    return (x_NCHW.flatten(1).numpy() for x_NCHW in images_NCHW)


def _by_channel(value: Statistic) -> float | Tensor:
    return torch.tensor(value)[:, None, None] if isinstance(value, list) else value


def _rounded(value: Statistic) -> Statistic:
    return [round(one, 4) for one in value] if isinstance(value, list) else round(value, 4)


def pixel_statistics(images: Images, white: int = 255) -> tuple[Statistic, Statistic]:
    """Mean and std of the pixels of images N x H x W, or of each channel of N x C x H x W, scaled to [0, 1].

    Exact but for the last rounding, from a count of each value.
    """
    if images.ndim == 3 or images.shape[1] == 1:
        return _of_pixels(images, white)
    means, stds = zip(*(_of_pixels(images[:, c], white) for c in range(images.shape[1])), strict=True)
    return list(means), list(stds)


def _of_pixels(images: Images, white: int) -> tuple[float, float]:
    counts = torch.bincount(torch.from_numpy(images).flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / white
    mean = (counts @ values) / counts.sum()
    variance = (counts @ (values - mean) ** 2) / counts.sum()
    return float(mean), float(variance.sqrt())


def normalise(images: Images, mean: Statistic, std: Statistic, white: int = 255) -> Tensor:
    """Float32 NCHW through a table of the 256 values, in chunks that stay in the processor's cache.

    `mean` and `std` are of all pixels, or lists with one number per channel. The memory is numpy's, which on Linux asks
    for huge pages, so that an image from anywhere costs hardly a page walk; the first image begins at a cache line.
    """
    memory = np.empty(images.size + CACHE_LINE, np.float32)
    skip = -memory.ctypes.data % (4 * CACHE_LINE) // 4
    result = memory[skip : skip + images.size]
    count, *channels, height, width = images.shape
    if isinstance(mean, list) and isinstance(std, list):
        result_NCHW = result.reshape(images.shape)
        for c in range(images.shape[1]):
            _look_up(images[:, c], mean[c], std[c], white, result_NCHW[:, c])
    else:
        _look_up(images.reshape(-1), mean, std, white, result)
    return torch.from_numpy(result).view(count, channels[0] if channels else 1, height, width)


def _look_up(pixels: Images, mean: Any, std: Any, white: int, result: NDArray[np.float32]) -> None:
    """Writes the normalised pixels (or images N x H x W) into `result` of their shape."""
    table = ((np.arange(256) / white - mean) / std).astype(np.float32)
    step = max(1, CHUNK_PIXELS * len(pixels) // pixels.size)
    for start in range(0, len(pixels), step):
        chunk = slice(start, start + step)
        np.take(table, pixels[chunk], out=result[chunk], mode="clip")
