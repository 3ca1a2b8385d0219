"""read_folder finds the four files under the names that people have, and refuses files that do not fit each other."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_files import four_arrays, random_images, write_folder, write_idx

from modelflow.data.folder import ROLES, read_folder
from modelflow.errors import DataError


@pytest.mark.parametrize("prefix", ["", "emnist-balanced-"])
@pytest.mark.parametrize("test", ["t10k", "test"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_finds_the_names_in_use(tmp_path: Path, prefix: str, test: str, end: str) -> None:
    arrays = four_arrays(5, 4)
    (tmp_path / "emnist-balanced-mapping.txt").touch()
    files = read_folder(write_folder(tmp_path, arrays, prefix, test, end))
    assert tuple(files) == ROLES
    assert all(np.array_equal(files[role].values, arrays[role]) for role in ROLES)


def test_a_plain_file_goes_before_its_gz(tmp_path: Path) -> None:
    arrays = four_arrays(5, 4)
    write_folder(tmp_path, arrays)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"never read")
    assert read_folder(tmp_path)["train-images"].path.suffix == ""


def test_no_such_folder_or_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder, expected a folder of four IDX files"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be read as a folder"):
        read_folder(tmp_path / "file")
    with pytest.raises(DataError, match="cannot be read as a folder"):
        read_folder(tmp_path / ("long" * 100))


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_file_is_named(tmp_path: Path, role: str) -> None:
    arrays = four_arrays(5, 4)
    del arrays[role]
    with pytest.raises(DataError, match=f"no file {role.replace('test', 't10k')}-idx[13]-ubyte, expected it plain"):
        read_folder(write_folder(tmp_path, arrays))


def test_several_sets_in_one_folder(tmp_path: Path) -> None:
    for prefix in ("emnist-letters-", "emnist-digits-"):
        write_folder(tmp_path, four_arrays(5, 4), prefix)
    with pytest.raises(DataError, match=r"several data sets .*'emnist-digits-', 'emnist-letters-'.*expected one"):
        read_folder(tmp_path)


def test_two_files_of_one_role(tmp_path: Path) -> None:
    write_folder(tmp_path, four_arrays(5, 4))
    write_idx(tmp_path, "test-images-idx3-ubyte", random_images(4, 5, 4))
    with pytest.raises(DataError, match=r"second file of test-images beside test-images-idx3-ubyte"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("role", "values", "reason"),
    [
        ("train-labels", np.zeros(5, np.uint8), "train-labels-idx1-ubyte: holds 5 labels, but .* holds 6 images"),
        ("test-labels", np.zeros(5, np.uint8), "t10k-labels-idx1-ubyte: holds 5 labels, but .* holds 4 images"),
        ("test-images", random_images(4, 4, 5), "t10k-images-idx3-ubyte: its images are 4 x 5, those of .* 5 x 4"),
        ("test-images", random_images(4, 3, 5, 4), "t10k-images-idx4-ubyte: its images are 3 x 5 x 4, .* 5 x 4"),
        ("train-labels", np.ones(6, np.uint8), "train-labels-idx1-ubyte: every label is 1, expected at least two"),
        ("test-labels", np.array([0, 1, 7, 2], np.uint8), "t10k-labels-idx1-ubyte: label 7 of image 2 is not among"),
        ("train-images", random_images(6), "train-images-idx1-ubyte: .* 1 dimensions, expected 3 or 4"),
        ("train-images", random_images(6, 20), "train-images-idx2-ubyte: .* 2 dimensions, expected 3 or 4 .* Write"),
        ("test-labels", random_images(4, 5, 4), "t10k-labels-idx3-ubyte: .* 3 dimensions, expected 1"),
        ("test-labels", np.eye(4, 3, dtype=np.uint8), "holds labels 4 x 3, expected one per image. .*labels.argmax"),
        ("test-labels", np.eye(4, 8, dtype=np.int32), "holds labels 4 x 8, expected one per image"),
        ("test-labels", np.eye(8, dtype=np.int32)[[1, 2, 1, 2]], "holds labels 4 x 8, expected one per image"),
        ("test-labels", np.array([0, 1, -1, 2], np.int8), "label -1 of image 2, expected 0 to 1999. Number"),
        ("train-labels", np.array([0, 1, 2, 2000, 1, 0], np.int16), "label 2000 of image 3, expected 0 to 1999"),
        ("test-labels", np.array([0, 1, 300, 2], np.int32), "label 300 of image 2 is not among the labels of"),
        ("train-labels", np.zeros(6, np.float32), "its values are float32, expected uint8 or .*Write np.int32"),
        ("test-images", np.zeros((4, 5, 4), np.float64), "its values are float64, expected uint8. Scale them"),
        ("test-images", np.zeros((4, 5, 4), np.int16), "its values are int16, expected uint8. Scale them to 0 to 255"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, role: str, values: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_folder(write_folder(tmp_path, {**four_arrays(5, 4), role: values}))


def test_a_bad_file_is_named_with_reason_and_mend(tmp_path: Path) -> None:
    path = write_folder(tmp_path, four_arrays(5, 4)) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: is cut: .*\. Replace it with a sound copy\."):
        read_folder(tmp_path)


def test_folders_of_the_files_names_beside_them_are_passed_over(tmp_path: Path) -> None:
    """As in Kaggle's archive of MNIST."""
    write_folder(tmp_path, four_arrays(5, 4))
    for path in list(tmp_path.iterdir()):
        (tmp_path / path.name.replace("-idx", ".idx")).mkdir()
    assert tuple(read_folder(tmp_path)) == ROLES


def test_files_that_lie_a_folder_deeper_are_told(tmp_path: Path) -> None:
    write_folder(tmp_path, four_arrays(5, 4))
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / "moved")
        path.mkdir()
        (tmp_path / "moved").rename(path / path.name)
    with pytest.raises(DataError, match=r"no file train-images.* in it are folders. Move the files inside them up"):
        read_folder(tmp_path)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32"])
@pytest.mark.parametrize("one_each", [lambda y: y, lambda y: y[:, None]], ids=["N", "N x 1"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_labels_of_any_whole_type_are_read(tmp_path: Path, kind: str, one_each: Callable, end: str) -> None:
    arrays = four_arrays(5, 4)
    other = {role: one_each(y.astype(kind)) if "labels" in role else y for role, y in arrays.items()}
    files = read_folder(write_folder(tmp_path, other, end=end))
    assert all(np.array_equal(files[role].values, arrays[role]) for role in ROLES)
    assert all(file.values.dtype.isnative for file in files.values())


def test_qmnist_as_it_is_distributed(tmp_path: Path) -> None:
    """Eight int32 an image: class, series, writer, digit, NIST's code of the class, and three more."""
    arrays = four_arrays(5, 4)
    for role in ("train-labels", "test-labels"):
        y, draw = arrays[role], np.random.default_rng(1).integers
        table = np.stack([y, draw(4, size=len(y)), draw(2599, size=len(y)), y, y + 30, y, y * 0, y * 0], 1)
        write_idx(tmp_path, f"qmnist-{role}-idx2-int.gz", table.astype(np.int32))
        write_idx(tmp_path, f"qmnist-{role.replace('labels', 'images')}-idx3-ubyte.gz", arrays[f"{role[:-6]}images"])
    files = read_folder(tmp_path)
    assert all(np.array_equal(files[role].values, arrays[role]) for role in ROLES)


def test_labels_of_types_too_large_are_never_set_aside(tmp_path: Path) -> None:
    path = write_folder(tmp_path, four_arrays(5, 4)) / "train-labels-idx1-ubyte"
    path.write_bytes(gzip.compress(bytes([0, 0, 0x0C, 1, 0x0F, 0xFF, 0xFF, 0xFF])))
    with pytest.raises(DataError, match="is too large"):
        read_folder(tmp_path)


LAST = {  # height x width x channels, and how they should be
    (8, 8, 3): "3 x 8 x 8",
    (8, 8, 1): "1 x 8 x 8",
    (9, 8, 1): "1 x 9 x 8",
    (4, 4, 3): "3 x 4 x 4",
    (2, 2, 3): "3 x 2 x 2",
    (3, 3, 4): "4 x 3 x 3",
    (8, 8, 13): "13 x 8 x 8",
}
FIRST = [(3, 8, 8), (4, 3, 3), (1, 2, 2), (3, 4, 4), (8, 3, 3), (13, 8, 8), (1, 1, 28), (3, 5, 4), (1, 1, 1)]


@pytest.mark.parametrize("sizes", [(3, 3, 3), (8, 8, 8)])
def test_images_of_which_nothing_tells_where_the_channels_are_are_refused(tmp_path: Path, sizes: tuple) -> None:
    write_folder(tmp_path, four_arrays(*sizes))
    with pytest.raises(DataError, match="does not tell where the channels are, expected channels x height x width"):
        read_folder(tmp_path)


@pytest.mark.parametrize(("sizes", "told"), [*LAST.items(), *((sizes, "") for sizes in FIRST)])
def test_channels_that_come_last_are_told(tmp_path: Path, sizes: tuple[int, ...], told: str) -> None:
    write_folder(tmp_path, four_arrays(*sizes))
    if not told:
        assert read_folder(tmp_path)["train-images"].sizes == (6, *sizes)
        return
    with pytest.raises(DataError, match=rf"height x width x channels.* {told}\. Write images\.transpose"):
        read_folder(tmp_path)
