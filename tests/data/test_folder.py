"""read_folder finds the four files under the names that people have, and refuses files that do not fit each other."""

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
    with pytest.raises(DataError, match="nowhere: no such folder; expected a folder of four IDX files"):
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
    with pytest.raises(DataError, match=f"no file {role.replace('test', 't10k')}-idx[13]-ubyte; expected it plain"):
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
        ("train-labels", np.ones(6, np.uint8), "train-labels-idx1-ubyte: every label is 1; expected at least two"),
        ("test-labels", np.array([0, 1, 7, 2], np.uint8), "t10k-labels-idx1-ubyte: label 7 of image 2 is not among"),
        ("train-images", random_images(6), "train-images-idx1-ubyte: .* 1 dimensions; expected 3 or 4"),
        ("test-labels", random_images(4, 5, 4), "t10k-labels-idx3-ubyte: .* 3 dimensions; expected 1"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, role: str, values: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_folder(write_folder(tmp_path, {**four_arrays(5, 4), role: values}))


def test_a_bad_file_is_named_with_reason_and_mend(tmp_path: Path) -> None:
    path = write_folder(tmp_path, four_arrays(5, 4)) / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: is cut: .*\. Put a good copy in its place\."):
        read_folder(tmp_path)
