"""CIFAR's binary files, small ones of the same form; the version for Python and damaged files are refused in words."""

import tarfile

import numpy as np
import pytest
from idx_files import random_images

from modelflow.data.sources import canonical, checksums_of, read_source, verify
from modelflow.errors import DataError
from modelflow.io.files import sha256_of_file

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(n, labels, classes, seed=0):
    rows = random_images(n, labels + 3072, seed=seed)
    rows[:, labels - 1] = np.arange(n) % classes
    return rows


def ten(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(records(20, 1, 10, i).tobytes())
    (folder / "test_batch.bin").write_bytes(records(20, 1, 10, 9).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    return folder


def hundred(folder):
    for i, part in enumerate(("train", "test")):
        (folder / f"{part}.bin").write_bytes(records(200, 2, 100, i).tobytes())
    (folder / "fine_label_names.txt").write_bytes(b"\r\n".join(b"name_%d" % k for k in range(100)))
    return folder


def test_ten(tmp_path):
    made = read_source(canonical(str(ten(tmp_path))))
    assert made.name == f"cifar:{tmp_path}"
    assert (made.train_images.shape, made.test_images.shape) == ((100, 3, 32, 32), (20, 3, 32, 32))
    assert made.class_names == tuple(TEN)
    second = records(20, 1, 10, 2)
    assert np.array_equal(made.train_images[20:40, 1].reshape(20, -1), second[:, 1 + 1024 : 1 + 2048])
    assert made.train_labels[20:40].tolist() == second[:, 0].tolist()
    assert made.checksums == checksums_of(made.name)
    assert made.checksums["test_batch.bin"] == sha256_of_file(tmp_path / "test_batch.bin")
    assert len(verify(made.name)) == 6


def test_hundred_by_its_fine_labels(tmp_path):
    made = read_source(f"cifar:{hundred(tmp_path)}")
    assert (len(made.train_images), made.class_names[:2], len(made.class_names)) == (200, ("name_0", "name_1"), 100)
    assert made.train_labels.tolist() == (np.arange(200) % 100).tolist()


def test_the_coarse_label_of_hundred_is_not_looked_at(tmp_path):
    rows = records(200, 2, 100)
    rows[:, 0] = 156  # -100 in a byte, as some write where they know none
    (hundred(tmp_path) / "train.bin").write_bytes(rows.tobytes())
    assert read_source(f"cifar:{tmp_path}").train_labels.tolist() == (np.arange(200) % 100).tolist()


def test_an_archive_is_told_by_its_name_and_not_opened(tmp_path):
    """A header within it may ask for gigabytes."""
    (tmp_path / "c.tar.gz").write_bytes(b"\x1f\x8b" + bytes(50))
    with pytest.raises(DataError, match=r"is an archive, expected its folder"):
        read_source(f"cifar:{tmp_path / 'c.tar.gz'}")


def test_the_folder_that_the_archive_unpacks_to_may_lie_below(tmp_path):
    ten(tmp_path / "cifar-10-batches-bin")
    assert len(read_source(canonical(str(tmp_path))).train_images) == 100


def test_without_names_classes_are_named_by_numbers(tmp_path):
    (ten(tmp_path) / "batches.meta.txt").unlink()
    made = read_source(f"cifar:{tmp_path}")
    assert made.class_names == tuple("0123456789")
    assert made.notes == ("batches.meta.txt is not there. Classes are named by their numbers.",)


@pytest.mark.parametrize(
    "names", [[f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"], ["train", "test", "meta"]]
)
@pytest.mark.parametrize("below", ["", "cifar-10-batches-py"])
def test_the_version_for_python_is_refused_with_where_to_get_the_other(tmp_path, names, below):
    (tmp_path / below).mkdir(exist_ok=True)
    for name in names:
        (tmp_path / below / name).write_bytes(b"\x80\x04.")
    with pytest.raises(
        DataError, match=r"is CIFAR's version for Python.*cifar-10-binary.tar.gz.*https://www.cs.toronto"
    ):
        read_source(canonical(str(tmp_path)))


def test_an_archive_is_to_be_unpacked(tmp_path):
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(ten(tmp_path / "cifar-10-batches-bin"), "cifar-10-batches-bin")
    with pytest.raises(DataError, match=r"is an archive, expected its folder. Unpack it: tar xzf c.tar.gz"):
        read_source(f"cifar:{tmp_path / 'c.tar.gz'}")


def cut(folder):
    (folder / "data_batch_3.bin").write_bytes(records(20, 1, 10).tobytes()[:-1])


def other_label(folder):
    (folder / "test_batch.bin").write_bytes(records(20, 1, 11).tobytes())


def gone(folder):
    (folder / "data_batch_4.bin").unlink()


def empty(folder):
    (folder / "test_batch.bin").write_bytes(b"")


def few_names(folder):
    (folder / "batches.meta.txt").write_text("a\nb\n")


def latin(folder):
    (folder / "batches.meta.txt").write_bytes(b"\xe9\n" * 10)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "data_batch_3.bin: 61,459 bytes, expected records of 3,073 bytes"),
        (other_label, "test_batch.bin: label 10 of image 10, expected 0 to 9"),
        (gone, "data_batch_4.bin: no such file"),
        (empty, "test_batch.bin: 0 bytes, expected records"),
        (few_names, "batches.meta.txt: 2 class names, expected 10"),
        (latin, "batches.meta.txt: is not UTF-8"),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage, message):
    damage(ten(tmp_path))
    with pytest.raises(DataError, match=message) as caught:
        read_source(f"cifar:{tmp_path}")
    assert str(caught.value).endswith("Unpack its archive again.")


def test_files_of_too_many_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("modelflow.data.origins.cifar.MAX_BYTES", 3 * 20 * 3073)
    with pytest.raises(DataError, match=r"data_batch_4\.bin: larger than 0 bytes"):
        read_source(f"cifar:{ten(tmp_path)}")


def test_another_folder(tmp_path):
    with pytest.raises(DataError, match=r"no data_batch_1.bin or train.bin there"):
        read_source(f"cifar:{tmp_path}")
