"""Data sets by name, normalised once and kept as tensors: "fashion-mnist", "digits", "idx:FOLDER"."""

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelflow.data import fetch
from modelflow.data.batches import Batches
from modelflow.data.folder import read_folder
from modelflow.data.idx import IdxFile
from modelflow.errors import DataError, UsageError

KNOWN_SETS = {known.name: known for known in (fetch.FASHION_MNIST,)}
NAMES = (*KNOWN_SETS, "digits", "idx:FOLDER")
VALIDATION_BATCH = 1000
CHUNK_PIXELS = 2**18

DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
DIGITS_WHITE = 16
DIGITS_TEST_EVERY = 5

Images = NDArray[np.uint8]


class FileRow(NamedTuple):
    file: str
    place: str
    sha256: str
    ok: bool


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

    def loaders(self, batch_size: int = 16, seed: int = 42) -> tuple[Batches, Batches]:
        """Training batches in an order drawn from the seed, and the test images, in order, for validation."""
        order = torch.Generator().manual_seed(seed)
        train = Batches(self.train_x_NCHW, self.train_y_N, batch_size, shuffle=True, generator=order)
        val = Batches(self.test_x_NCHW, self.test_y_N, VALIDATION_BATCH)
        train.source = val.source = self
        return train, val

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
            "checksums": self.checksums,
        }


def load_dataset(name: str, data_dir: str | Path | None = None) -> Dataset:
    """The data set of this name; files that are nowhere on this machine are fetched."""
    if name == "digits":
        return _load_digits()
    if name in KNOWN_SETS:
        known = KNOWN_SETS[name]
        return _from_files(name, fetch.fetch(known, data_dir), known.class_names)
    files = read_folder(_folder(name))
    num_classes = int(files["train-labels"].values.max()) + 1
    return _from_files(name, files, tuple(map(str, range(num_classes))))


def fetch_dataset(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Get what is missing, check all, and say where each file is."""
    return _rows(fetch.fetch(KNOWN_SETS[name], data_dir)) if name in KNOWN_SETS else verify(name)


def verify(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Check the files that are there, fetching none: a row for each, or DataError for the first bad one."""
    if name == "digits":
        _load_digits()
        return [FileRow("digits", "scikit-learn", DIGITS_SHA256, ok=True)]
    if name in KNOWN_SETS:
        return _rows(fetch.find_all(KNOWN_SETS[name], data_dir))
    return _rows(read_folder(_folder(name)))


def _rows(files: Mapping[str, IdxFile]) -> list[FileRow]:
    return [FileRow(file.path.name, str(file.path.parent), file.sha256, ok=True) for file in files.values()]


def _folder(name: str) -> Path:
    kind, _, folder = str(name).partition(":")
    if kind == "idx" and folder:
        return Path(os.path.expanduser(folder))
    near = difflib.get_close_matches(str(name).lower(), NAMES, n=1)
    if os.path.isdir(name):
        near = [f"idx:{name}"]
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown data set {name!r}; expected one of {', '.join(NAMES)}.{hint}")


def _from_files(name: str, files: Mapping[str, IdxFile], class_names: tuple[str, ...]) -> Dataset:
    checksums = {file.name: file.sha256 for file in files.values()}
    return _dataset(name, {role: file.values for role, file in files.items()}, class_names, checksums)


def _load_digits() -> Dataset:
    """Scikit-learn's digits; of each class every fifth image is for testing: 1,442 to train, 355 to test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    sha256 = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if sha256 != DIGITS_SHA256:
        raise DataError(
            f"scikit-learn: its digits have SHA-256 {sha256}; expected {DIGITS_SHA256}. Reinstall scikit-learn."
        )
    test = every_nth_of_each_class(labels, DIGITS_TEST_EVERY)
    parts = {
        "train-images": images[~test],
        "train-labels": labels[~test],
        "test-images": images[test],
        "test-labels": labels[test],
    }
    return _dataset("digits", parts, tuple("0123456789"), {"digits": sha256}, white=DIGITS_WHITE)


def every_nth_of_each_class(labels_N: Images, n: int) -> NDArray[np.bool_]:
    chosen_N = np.zeros(len(labels_N), np.bool_)
    for label in np.unique(labels_N):
        chosen_N[np.flatnonzero(labels_N == label)[n - 1 :: n]] = True
    return chosen_N


def _dataset(
    name: str, parts: Mapping[str, Images], class_names: tuple[str, ...], checksums: dict[str, str], white: int = 255
) -> Dataset:
    mean, std = pixel_statistics(parts["train-images"], white)
    if std == 0:
        raise DataError(f"{name}: all training pixels have the same value; expected images. Use other images.")
    return Dataset(
        name,
        normalise(parts["train-images"], mean, std, white),
        torch.from_numpy(parts["train-labels"]).long(),
        normalise(parts["test-images"], mean, std, white),
        torch.from_numpy(parts["test-labels"]).long(),
        class_names,
        mean,
        std,
        checksums,
    )


def pixel_statistics(images: Images, white: int = 255) -> tuple[float, float]:
    """Mean and std of all pixels, scaled to [0, 1]: exact but for the last rounding, from a count of each value."""
    counts = torch.bincount(torch.from_numpy(images).flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / white
    mean = (counts @ values) / counts.sum()
    variance = (counts @ (values - mean) ** 2) / counts.sum()
    return float(mean), float(variance.sqrt())


def normalise(images: Images, mean: float, std: float, white: int = 255) -> Tensor:
    """Float32 NCHW through a table of the 256 values, in chunks that stay in the processor's cache."""
    table = ((np.arange(256) / white - mean) / std).astype(np.float32)
    out = torch.empty(images.size, dtype=torch.float32)
    pixels, result = images.reshape(-1), out.numpy()
    for start in range(0, images.size, CHUNK_PIXELS):
        chunk = slice(start, start + CHUNK_PIXELS)
        np.take(table, pixels[chunk], out=result[chunk], mode="clip")
    count, *channels, height, width = images.shape
    return out.view(count, channels[0] if channels else 1, height, width)
