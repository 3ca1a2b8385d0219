"""Write IDX files for tests: whole ones, and folders of four."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
TYPES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(values: Bytes) -> bytes:
    """The values as they are, of any type that the format has."""
    head = bytes([0, 0, TYPES[values.dtype.name], values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def random_images(*sizes: int, seed: int = 0) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, sizes, np.uint8)


def write_idx(folder: Path, name: str, values: Bytes) -> Path:
    data = idx_bytes(values)
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def four_arrays(*image_size: int) -> dict[str, Bytes]:
    """Six training and four test images of this size, three classes."""
    return {
        "train-images": random_images(6, *image_size),
        "train-labels": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "test-images": random_images(4, *image_size, seed=1),
        "test-labels": np.array([2, 1, 0, 0], np.uint8),
    }


def write_folder(folder: Path, arrays: dict[str, Bytes], prefix: str = "", test: str = "t10k", end: str = "") -> Path:
    for role, values in arrays.items():
        name = f"{prefix}{role.replace('test', test)}-idx{values.ndim}-ubyte{end}"
        write_idx(folder, name, values)
    return folder
