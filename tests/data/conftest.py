"""A small known data set that nothing on this machine has, an HTTP server for it, and the real Fashion-MNIST."""

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from idx_files import Bytes, four_arrays, idx_bytes
from local_server import Server, serving

from modelflow.data import fetch
from modelflow.data.datasets import Dataset
from modelflow.data.known_sets import KnownFile, KnownSet

NAMES = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "test-images": "t10k-images-idx3-ubyte",
    "test-labels": "t10k-labels-idx1-ubyte",
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


@pytest.fixture
def arrays() -> dict[str, Bytes]:
    return four_arrays(5, 4)


@pytest.fixture
def pages(arrays: dict[str, Bytes]) -> dict[str, bytes]:
    """The gzipped files by name."""
    return {f"{NAMES[role]}.gz": gzip.compress(idx_bytes(values)) for role, values in arrays.items()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in place of the user's, no data folder in the environment, and no Debian packages."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(fetch, "cache_folder", lambda _: folder)
    monkeypatch.delenv(fetch.DATA_DIR_VARIABLE, raising=False)
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    return folder


@pytest.fixture
def known(arrays: dict[str, Bytes], tmp_path: Path, server: Server, cache: Path) -> KnownSet:
    """Three classes, two addresses: /first and /second."""
    assert not cache.exists()
    files = tuple(
        KnownFile(role, NAMES[role], values.shape, hashlib.sha256(idx_bytes(values)).hexdigest())
        for role, values in arrays.items()
    )
    addresses = (f"{server.address}/first", f"{server.address}/second")
    return KnownSet("small", ("a", "b", "c"), files, addresses, "no-such-package", tmp_path / "debian")


@pytest.fixture(scope="session")
def fashion_mnist(fashion: Dataset) -> Dataset:
    """The real one, under the name these tests use."""
    return fashion
