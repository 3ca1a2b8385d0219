"""What the files of a data set are now, without reading them more often than needed."""

import hashlib
import os
import time

import numpy as np
import pytest
from idx_files import four_arrays, random_images, write_folder, write_idx

from modelflow.data import unchanged
from modelflow.data.origins import idx_folder
from modelflow.data.sources import checksums_of, folder_of, read_source
from modelflow.errors import DataError

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path, four_arrays(5, 4))


@pytest.fixture
def read(monkeypatch):
    """How often files are read."""
    times = []
    real = idx_folder.read_folder
    monkeypatch.setattr(idx_folder, "read_folder", lambda folder: times.append(folder) or real(folder))
    return times


def on_disk(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_checksums_are_those_of_what_is_read_now(folder):
    name = f"idx:{folder}"
    assert checksums_of(name) == read_source(name).checksums == on_disk(folder)
    write_idx(folder, IMAGES, random_images(6, 5, 4, seed=9))
    assert checksums_of(name) == on_disk(folder)


def test_a_change_of_the_same_size_with_the_old_time_is_noticed(folder):
    before = checksums_of(f"idx:{folder}")
    times = (folder / IMAGES).stat()
    write_idx(folder, IMAGES, random_images(6, 5, 4, seed=9))
    os.utime(folder / IMAGES, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert checksums_of(f"idx:{folder}") != before


def test_files_are_read_again_until_their_times_tell_and_then_no_more(folder, read, monkeypatch):
    for _ in range(2):
        checksums_of(f"idx:{folder}")
    assert len(read) == 2
    now = time.time()
    monkeypatch.setattr(unchanged.time, "time", lambda: now + 60)
    for _ in range(3):
        checksums_of(f"idx:{folder}")
    assert len(read) == 3
    write_idx(folder, IMAGES, random_images(6, 5, 4, seed=9))
    assert checksums_of(f"idx:{folder}") == on_disk(folder)
    assert len(read) == 4


def test_a_plain_file_beside_a_packed_one_is_another_file(tmp_path, monkeypatch):
    folder = write_folder(tmp_path, four_arrays(5, 4), end=".gz")
    now = time.time()
    monkeypatch.setattr(unchanged.time, "time", lambda: now + 60)
    before = checksums_of(f"idx:{folder}")
    write_idx(folder, IMAGES, random_images(6, 5, 4, seed=9))
    assert checksums_of(f"idx:{folder}") != before


def test_known_sets_are_known_without_a_file():
    assert checksums_of("digits") == read_source("digits").checksums
    assert len(checksums_of("fashion-mnist")) == 4


def test_a_folder_is_told_from_that_of_the_same_name_elsewhere(tmp_path, monkeypatch):
    for place, seed in (("a", 1), ("b", 2)):
        (tmp_path / place / "data").mkdir(parents=True)
        write_folder(tmp_path / place / "data", four_arrays(5, 4) | {"train-images": random_images(6, 5, 4, seed=seed)})
        monkeypatch.chdir(tmp_path / place)
        assert folder_of("idx:data") == str(tmp_path / place / "data")
        assert checksums_of("idx:data") == on_disk(tmp_path / place / "data")


def test_a_named_folder_is_known_and_none_is_not(tmp_path, monkeypatch):
    monkeypatch.delenv("MODELFLOW_DATA_DIR", raising=False)
    assert folder_of("digits") is folder_of("fashion-mnist") is None
    monkeypatch.chdir(tmp_path)
    assert folder_of("fashion-mnist", "d") == str(tmp_path / "d")
    assert read_source("digits").folder is None


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        checksums_of(f"idx:{tmp_path / 'gone'}")


def test_labels_count_too(folder):
    before = checksums_of(f"idx:{folder}")
    write_idx(folder, "t10k-labels-idx1-ubyte", np.array([0, 1, 0, 0], np.uint8))
    assert checksums_of(f"idx:{folder}") != before
