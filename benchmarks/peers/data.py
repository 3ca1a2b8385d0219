"""Fashion-MNIST for the peers: four gzipped IDX files read with numpy, normalised once, kept in memory."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEAN, STD = 0.28604, 0.35302
IMAGE_HEADER, LABEL_HEADER = 16, 8


@dataclass(frozen=True)
class Data:
    """Images N x 1 x 28 x 28 (float32) and labels N (int64), to train on and to test on."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def read(folder: Path) -> Data:
    """All four files of the folder."""
    return Data(
        _images(folder / "train-images-idx3-ubyte.gz"),
        _labels(folder / "train-labels-idx1-ubyte.gz"),
        _images(folder / "t10k-images-idx3-ubyte.gz"),
        _labels(folder / "t10k-labels-idx1-ubyte.gz"),
    )


def _images(path: Path) -> np.ndarray:
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=IMAGE_HEADER)
    table = ((np.arange(256) / 255 - MEAN) / STD).astype(np.float32)
    return table[pixels].reshape(-1, 1, 28, 28)


def _labels(path: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=LABEL_HEADER).astype(np.int64)
