"""Arrays in .npz as MedMNIST, Keras and KMNIST have them; what is hostile or of another form is refused."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from idx_files import random_images

from modelflow.data.datasets import load_dataset
from modelflow.data.sources import canonical, checksums_of, read_source, verify
from modelflow.errors import DataError, UsageError
from modelflow.io.files import sha256_of_file


def labels(n, dtype=np.uint8):
    return (np.arange(n) % 3).astype(dtype)


def medmnist(*size, n=12):
    parts = {"train": n, "val": 6, "test": 6}
    images = {f"{part}_images": random_images(count, *size, seed=count + len(part)) for part, count in parts.items()}
    return images | {f"{part}_labels": labels(count)[:, None] for part, count in parts.items()}


def keras(**changes):
    arrays = {"x_train": random_images(12, 8, 6), "y_train": labels(12, np.int64)}
    return arrays | {"x_test": random_images(6, 8, 6, seed=1), "y_test": labels(6)} | changes


def source(path, arrays, save=np.savez_compressed):
    save(path, **arrays)
    return read_source(f"npz:{path}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("size", [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_medmnist(tmp_path, size, save):
    arrays = medmnist(*size)
    made = source(tmp_path / "m.npz", arrays, save)
    expected = arrays["train_images"] if len(size) == 2 else np.moveaxis(arrays["train_images"], 3, 1)
    assert np.array_equal(made.train_images.reshape(12, -1, 8, 6), expected.reshape(12, -1, 8, 6))
    assert (len(made.val_images), len(made.test_images), made.shape.in_channels) == (6, 6, 3 if size[2:] == (3,) else 1)
    assert made.val_labels.tolist() == labels(6).tolist()
    assert made.class_names == ("0", "1", "2")
    assert made.checksums == checksums_of(f"npz:{tmp_path / 'm.npz'}") == {"m.npz": sha256_of_file(tmp_path / "m.npz")}


def test_keras_and_a_path_without_a_prefix(tmp_path):
    made = source(tmp_path / "k.npz", keras())
    assert canonical(str(tmp_path / "k.npz")) == made.name == f"npz:{tmp_path / 'k.npz'}"
    assert np.array_equal(made.test_images, keras()["x_test"])
    assert [row.ok for row in verify(made.name)] == [True]
    assert load_dataset(tmp_path / "k.npz").image_size == (8, 6)


def kmnist(folder, parts=("train", "test"), prefix="kmnist-"):
    for part in parts:
        np.savez_compressed(folder / f"{prefix}{part}-imgs.npz", random_images(12, 8, 6, seed=len(part)))
        np.savez_compressed(folder / f"{prefix}{part}-labels.npz", labels(12))


def test_kmnist(tmp_path):
    kmnist(tmp_path)
    (tmp_path / "kmnist_classmap.csv").write_text("index,codepoint,char\n")
    made = read_source(canonical(str(tmp_path)))
    assert np.array_equal(made.train_images, random_images(12, 8, 6, seed=5))
    assert len(made.checksums) == len(verify(made.name)) == 4


def test_pairs_of_two_data_sets_and_halves_of_pairs(tmp_path):
    kmnist(tmp_path)
    (tmp_path / "kmnist-test-labels.npz").unlink()
    assert read_source(f"npz:{tmp_path}").notes[0] == "kmnist-test-imgs.npz has no labels and is left out."
    (tmp_path / "kmnist-train-labels.npz").unlink()
    with pytest.raises(DataError, match=r"kmnist-train-imgs.npz: no file of train labels beside it"):
        read_source(f"npz:{tmp_path}")
    kmnist(tmp_path, prefix="k49-")
    with pytest.raises(DataError, match=r"holds several data sets \(k49-, kmnist-\), expected one"):
        read_source(f"npz:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no files such as train-imgs\.npz"):
        read_source(f"npz:{tmp_path / 'empty'}")


def test_a_test_part_without_labels_is_left_out_and_one_held_out(tmp_path):
    arrays = keras()
    del arrays["y_test"]
    made = source(tmp_path / "k.npz", arrays)
    assert (len(made.train_images), len(made.test_images)) == (10, 2)
    assert made.notes[0] == "x_test has no labels and is left out."


def test_labels_that_begin_at_1_are_counted_from_0(tmp_path):
    from_1 = keras() | {name: labels_N + 1 for name, labels_N in keras().items() if name.startswith("y_")}
    made = source(tmp_path / "k.npz", from_1)
    assert made.train_labels.tolist() == labels(12).tolist()
    assert (made.class_names, made.labels_from) == (("1", "2", "3"), 1)
    assert "labels begin at 1. Classes are counted from 0" in made.notes[0]
    named = source(tmp_path / "k.npz", from_1 | {"class_names": np.array(["cat", "dog", "eel"])})
    assert (named.class_names, named.labels_from) == (("cat", "dog", "eel"), 1)
    kept = source(tmp_path / "k.npz", from_1 | {"class_names": np.array(["none", "cat", "dog", "eel"])})
    assert (kept.class_names[int(kept.train_labels[0])], kept.labels_from) == ("cat", 0)


def test_names_of_classes_may_be_given(tmp_path):
    made = source(tmp_path / "k.npz", keras(class_names=np.array(["cat", "dog", "eel"])))
    assert made.class_names == ("cat", "dog", "eel")
    beyond = np.array([0x110000, 65, 66], np.uint32).view("<U1")
    for names in (
        ["cat", "dog"],
        ["cat", "dog", "dog"],
        ["cat", "dog", ""],
        [1, 2, 3],
        ["cat", "dog", "\ud800"],
        beyond,
    ):
        with pytest.raises(DataError, match="class_names: expected a text of its own for each of the 3 classes"):
            source(tmp_path / "k.npz", keras(class_names=np.array(names)))


def test_arrays_in_the_order_of_fortran_and_of_other_bytes(tmp_path):
    images, big = np.asfortranarray(random_images(12, 8, 6)), labels(12).astype(">i4")
    made = source(tmp_path / "k.npz", keras(x_train=images, y_train=big))
    assert np.array_equal(made.train_images, images)
    assert made.train_labels.tolist() == labels(12).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": np.zeros((12, 8, 6))}, "x_train: its values are float64, expected uint8"),
        ({"x_train": np.zeros((12, 8, 6), np.int64)}, "x_train: its values are int64, expected uint8"),
        ({"x_train": random_images(12, 3, 8, 6)}, r"its channels come first, .*images.transpose\(0, 2, 3, 1\)"),
        ({"x_train": random_images(12, 9, 9, 9)}, "x_train: holds 12 x 9 x 9 x 9, expected N x height x width"),
        ({"x_train": random_images(12, 48)}, "x_train: holds 12 x 48, expected N x height x width"),
        ({"x_train": np.array([None, 1], object)}, "x_train: its values are Python objects, expected numbers"),
        ({"y_train": np.eye(3, dtype=int)[labels(12)]}, r"y_train: holds labels 12 x 3, .*labels.argmax\(1\)"),
        ({"y_train": np.eye(3)[labels(12)]}, r"y_train: holds labels 12 x 3, .*labels.argmax\(1\)"),
        ({"y_train": random_images(12, 5) % 2}, "y_train: holds labels 12 x 5, .* Several classes per image cannot be"),
        (
            {"y_train": np.array(["cat", "dog", "eel"])[labels(12)]},
            r"y_train: its labels are texts, .* class_names, labels = np\.unique\(labels, return_inverse=True\)",
        ),
        ({"y_train": labels(12) > 0}, r"y_train: its labels are bool, .*labels.astype\(int\)"),
        ({"x_train": random_images(12, 8, 6) > 9}, "x_train: its values are bool, expected uint8"),
        ({"x_train": np.zeros((12, 8, 6), np.uint16)}, "x_train: its values are uint16, expected uint8"),
        ({"y_train": labels(12, np.float32)}, r"y_train: its labels are float32, .*labels.astype\(int\)"),
        ({"y_train": labels(12, np.int8) - 1}, "y_train: label -1, expected 0 to 1999"),
        ({"y_train": labels(12, np.int64) + 10**9}, "y_train: label 1000000002, expected 0 to 1999"),
        ({"y_train": labels(11)}, "training: 11 labels for 12 images"),
        ({"x_test": random_images(6, 8, 7)}, "test images are 8 x 7, training images 8 x 6"),
        ({"x_test": np.zeros((0, 8, 6), np.uint8)}, "x_test: holds 0 x 8 x 6, expected images"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_the_fix(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        source(tmp_path / "k.npz", keras(**changes))


def test_other_arrays_are_refused_with_what_is_there(tmp_path):
    with pytest.raises(DataError, match=r"holds a, b, expected train_images, train_labels, .* or x_train"):
        source(tmp_path / "k.npz", {"a": labels(3), "b": labels(3)})
    arrays = keras()
    del arrays["y_train"]
    with pytest.raises(DataError, match="holds no y_train, expected one label per image"):
        source(tmp_path / "k.npz", arrays)
    with pytest.raises(UsageError, match="channels: npz: reads images as they are"):
        load_dataset(f"npz:{tmp_path / 'k.npz'}", channels=3)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "k.npz"
    for content in (b"", b"PK\3\4" * 99):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"k.npz: is no zip archive.*Replace it with a sound copy"):
            read_source(f"npz:{path}")
    source(path, keras())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="is no zip archive, or is cut"):
        read_source(f"npz:{path}")
    with pytest.raises(DataError, match="no such file"):
        read_source(f"npz:{tmp_path / 'gone.npz'}")


def member(shape, content=b"", version=(1, 0), descr="|u1"):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(head)) + head.encode() + content


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (member("(99999999999, 99, 99)"), "bytes, expected at most 805,306,368 in all"),
        (member("(60000, 28, 28)"), "does not fit its 128 bytes"),
        (member("(-1, 28, 28)"), "its header says -1 x 28 x 28"),
        (member("(1, 28, 28)", bytes(10**6)), "does not fit its 1,000,128 bytes"),
        (member("(1,)", b"x", version=(9, 9)), "header of version"),
        (member("(1,)", b"x", descr="|O"), "Python objects"),
        (member("(1,)", b"x" * 8, descr="<M8[s]"), "its values are"),
        (b"\x93NUMPY", "expected an .npz file"),
        (b"", "expected an .npz file"),
    ],
)
def test_hostile_headers_make_no_room(tmp_path, hostile, message):
    path = archive(tmp_path / "k.npz", [("x_train.npy", hostile), ("y_train.npy", hostile)])
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        read_source(f"npz:{path}")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_hostile_archives(tmp_path):
    path, one = tmp_path / "k.npz", member("(1, 1, 1)", b"x")
    with pytest.raises(DataError, match="holds more than 64 arrays"):
        read_source(f"npz:{archive(path, [(f'{i}.npy', one) for i in range(65)])}")
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(path, [("x_train.npy", one), ("x_train.npy", one)])
    with pytest.raises(DataError, match="two of one name"):
        read_source(f"npz:{path}")
    with pytest.raises(DataError, match="packed in another way"):
        read_source(f"npz:{archive(path, [('x_train.npy', one)], zipfile.ZIP_BZIP2)}")


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "k.npz"
    source(path, keras(), np.savez)
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        read_source(f"npz:{path}")


def test_packed_bytes_that_are_damaged(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **keras())
    content = bytearray(buffer.getvalue())
    place = content.index(b"x_train.npy") + 60
    content[place : place + 30] = bytes(30)
    (tmp_path / "k.npz").write_bytes(content)
    with pytest.raises(DataError, match="Replace it with a sound copy"):
        read_source(f"npz:{tmp_path / 'k.npz'}")
