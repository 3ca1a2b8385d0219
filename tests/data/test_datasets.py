"""load_dataset gives normalised tensors and what is needed to name and repeat them, for each kind of name."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from idx_files import four_arrays, idx_bytes, random_images, write_folder

from modelflow.data import datasets, fetch
from modelflow.data.datasets import Dataset, load_dataset, normalise, pixel_statistics
from modelflow.data.known_sets import FASHION_MNIST, KnownSet
from modelflow.data.origins import digits as digits_file
from modelflow.data.origins import downloaded
from modelflow.data.source import Form
from modelflow.data.sources import fetch_dataset, names, verify
from modelflow.errors import DataError, UsageError
from modelflow.results.settings import RunSettings, read_study


def test_fashion_mnist(fashion_mnist: Dataset) -> None:
    assert fashion_mnist.train_x_NCHW.shape == (60000, 1, 28, 28)
    assert fashion_mnist.test_x_NCHW.shape == (10000, 1, 28, 28)
    assert fashion_mnist.train_y_N.bincount().tolist() == [6000] * 10
    assert fashion_mnist.test_y_N.bincount().tolist() == [1000] * 10
    assert (fashion_mnist.train_x_NCHW.dtype, fashion_mnist.train_y_N.dtype) == (torch.float32, torch.int64)
    assert (fashion_mnist.in_channels, fashion_mnist.image_size, fashion_mnist.num_classes) == (1, (28, 28), 10)
    assert fashion_mnist.class_names == (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    assert fashion_mnist.checksums == {file.name: file.sha256 for file in FASHION_MNIST.files}


def test_fashion_mnist_statistics_against_float64(fashion_mnist: Dataset) -> None:
    train = fetch.find_all(FASHION_MNIST)["train-images"].values / 255
    assert fashion_mnist.mean == pytest.approx(train.mean(), abs=1e-12)
    assert fashion_mnist.std == pytest.approx(train.std(), abs=1e-12)
    assert (round(fashion_mnist.mean, 4), round(fashion_mnist.std, 4)) == (0.2860, 0.3530)
    normalised = fashion_mnist.train_x_NCHW.numpy().astype(np.float64)
    assert normalised.mean() == pytest.approx(0, abs=1e-6)
    assert normalised.std() == pytest.approx(1, abs=1e-6)


def test_fashion_mnist_test_images_use_the_training_statistics(fashion_mnist: Dataset) -> None:
    test = fetch.find_all(FASHION_MNIST)["test-images"].values / 255
    expected = (test - fashion_mnist.mean) / fashion_mnist.std
    assert np.abs(fashion_mnist.test_x_NCHW.numpy()[:, 0] - expected).max() < 1e-6
    assert abs(fashion_mnist.test_x_NCHW.mean()) > 1e-4


@pytest.mark.parametrize("white", [255, 16])
def test_statistics_and_normalisation_against_numpy(monkeypatch: pytest.MonkeyPatch, white: int) -> None:
    monkeypatch.setattr(datasets, "CHUNK_PIXELS", 7)
    images = np.minimum(random_images(5, 3, 4, 3), np.uint8(white))
    mean, std = pixel_statistics(images, white)
    scaled = images / white
    assert mean == pytest.approx(scaled.mean((0, 2, 3)), abs=1e-12)
    assert std == pytest.approx(scaled.std((0, 2, 3)), abs=1e-12)
    out_NCHW = normalise(images, mean, std, white)
    assert out_NCHW.shape == images.shape
    by_channel = [np.array(values)[:, None, None] for values in (mean, std)]
    assert np.allclose(out_NCHW.numpy(), (scaled - by_channel[0]) / by_channel[1], atol=1e-6)
    grey = images[:, 0]
    assert pixel_statistics(grey, white) == pytest.approx(((grey / white).mean(), (grey / white).std()), abs=1e-12)
    assert np.allclose(normalise(grey, 0.4, 0.2, white)[:, 0].numpy(), (grey / white - 0.4) / 0.2, atol=1e-6)


def test_digits() -> None:
    digits = load_dataset("digits")
    assert digits.train_x_NCHW.shape == (1442, 1, 8, 8)
    assert digits.test_x_NCHW.shape == (355, 1, 8, 8)
    assert digits.class_names == tuple("0123456789")
    shares = digits.test_y_N.bincount() / (digits.train_y_N.bincount() + digits.test_y_N.bincount())
    assert shares.min() > 0.19
    assert shares.max() <= 0.2
    assert digits.train_x_NCHW.max() == pytest.approx((1 - digits.mean) / digits.std)
    assert digits.train_x_NCHW.double().std(correction=0) == pytest.approx(1, abs=1e-6)
    assert torch.equal(digits.train_x_NCHW, load_dataset("digits").train_x_NCHW)


def test_digits_are_all_of_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    digits = load_dataset("digits")
    x_NCHW = torch.cat([digits.train_x_NCHW, digits.test_x_NCHW]) * digits.std + digits.mean
    ours = sorted((image * 16).round().int().flatten().tolist() for image in x_NCHW)
    assert ours == sorted(load_digits().data.astype(int).tolist())


def test_other_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits_file, "SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"the digits have SHA-256 .*, expected 0{64}\. Reinstall"):
        load_dataset("digits")


@pytest.mark.parametrize("end", ["", ".gz"], ids=["plain", "gz"])
@pytest.mark.parametrize(("sizes", "channels"), [((5, 4), 1), ((1, 5, 4), 1), ((3, 5, 4), 3)])
def test_idx_folder(tmp_path: Path, sizes: tuple[int, ...], channels: int, end: str) -> None:
    arrays = four_arrays(*sizes)
    data = load_dataset(f"idx:{write_folder(tmp_path, arrays, end=end)}")
    assert (data.in_channels, data.image_size, data.num_classes) == (channels, (5, 4), 3)
    assert data.class_names == ("0", "1", "2")
    assert data.train_y_N.tolist() == arrays["train-labels"].tolist()
    train = arrays["train-images"].reshape(6, channels, 5, 4) / 255
    mean, std = (of(train, (0, 2, 3), keepdims=True) for of in (np.mean, np.std))
    assert np.allclose(data.train_x_NCHW.numpy(), (train - mean) / std, atol=1e-6)
    assert isinstance(data.mean, float) == (channels == 1)
    name = f"train-images-idx{arrays['train-images'].ndim}-ubyte"
    assert data.checksums[name] == hashlib.sha256(idx_bytes(arrays["train-images"])).hexdigest()


def test_idx_folder_of_one_colour(tmp_path: Path) -> None:
    write_folder(tmp_path, {**four_arrays(5, 4), "train-images": np.full((6, 5, 4), 7, np.uint8)})
    with pytest.raises(DataError, match="all training pixels have the same value"):
        load_dataset(f"idx:{tmp_path}")


def test_loaders(tmp_path: Path) -> None:
    data = load_dataset(f"idx:{write_folder(tmp_path, four_arrays(5, 4))}")
    train, val = data.loaders()
    assert (train.batch_size, train.shuffle, train.generator.initial_seed()) == (16, True, 42)
    assert (val.batch_size, val.shuffle) == (1000, False)
    assert (len(train.dataset), len(val.dataset)) == (6, 4)
    assert data.loaders(batch_size=2, seed=7)[0].generator.initial_seed() == 7


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fashion-mnst", " Did you mean fashion-mnist?"),
        ("Digits", " Did you mean digits?"),
        ("xyzzy", ""),
        ("", ""),
        ("idx:", ""),
    ],
)
def test_unknown_names(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_dataset(name)
    assert str(caught.value) == (f"unknown data set {name!r}, expected one of {', '.join(names())}.{hint}")


def test_a_path_is_told_by_what_lies_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data set is recognised there\. Give a name .*, or .*idx:FOLDER"):
        load_dataset(str(tmp_path))
    write_folder(tmp_path, four_arrays(5, 4))
    assert load_dataset(tmp_path).name == f"idx:{tmp_path}"
    assert read_study({"models": ["c4 gap fc"], "dataset": tmp_path}).dataset == f"idx:{tmp_path}"


@pytest.mark.parametrize(
    ("given", "size"), [(32, (32, 32)), ("32", (32, 32)), ("32x48", (32, 48)), ((9, 8), (9, 8)), ([9, 8], (9, 8))]
)
def test_sizes_of_images(given: object, size: tuple[int, int]) -> None:
    assert Form.of(given) == Form(size)
    settings = RunSettings(image_size=given)
    assert (settings.image_size, settings.form) == ("x".join(map(str, size)), Form(size))


@pytest.mark.parametrize("given", [0, -1, 513, "32x", "x32", "32x48x3", "٣٢", 3.5, True, (1, 2, 3), "1" * 9])
def test_other_sizes_are_refused(given: object) -> None:
    with pytest.raises(UsageError, match=r"image_size = .*: expected a side, or HEIGHTxWIDTH"):
        load_dataset("digits", image_size=given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"image_size = .*: expected a side, or HEIGHTxWIDTH"):
        read_study({"image_size": given})


@pytest.mark.parametrize("name", ["digits", "idx:x"])
def test_a_format_refuses_what_it_does_not_take(name: str) -> None:
    with pytest.raises(UsageError, match=r"channels: (digits|idx:) reads images as they are\. Remove it\."):
        load_dataset(name, channels=3)
    with pytest.raises(UsageError, match=r"channels = 2: expected 1 .* or 3"):
        load_dataset(name, channels=2)


def test_verify_and_fetch_give_a_row_for_each_file(
    known: KnownSet, cache: Path, arrays: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(downloaded.KNOWN_SETS, "small", known)
    with pytest.raises(DataError, match="could not get"):
        verify("small")
    cache.mkdir()
    write_folder(cache, arrays, end=".gz")
    rows = verify("small")
    assert rows == fetch_dataset("small")
    assert [row.file for row in rows] == [f"{file.name}.gz" for file in known.files]
    assert {(row.place, row.ok) for row in rows} == {(str(cache), True)}
    assert [row.sha256 for row in rows] == [file.sha256 for file in known.files]


def test_verify_raises_for_the_first_bad_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, four_arrays(5, 4))
    assert len(verify(f"idx:{folder}")) == 4
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: is empty"):
        verify(f"idx:{folder}")


def test_verify_digits() -> None:
    assert [row.ok for row in verify("digits")] == [True]
    assert fetch_dataset("digits") == verify("digits")


def test_images_held_out_are_neither_trained_on_nor_lost(fashion_mnist: Dataset) -> None:
    train, val, test = fashion_mnist.held_out_loaders(seed=7)
    assert (train.images, val.images, test.images) == (55_000, 5_000, 10_000)
    assert val.dataset.tensors[1].bincount().tolist() == [500] * 10
    order_N = train.order()
    kept = set(order_N.tolist())
    assert len(kept) == 55_000
    held = sorted(set(range(60_000)) - kept)
    assert torch.equal(val.dataset.tensors[0], fashion_mnist.train_x_NCHW[held])
    assert torch.equal(test.dataset.tensors[0], fashion_mnist.test_x_NCHW)
    again = fashion_mnist.held_out_loaders(seed=8)
    assert torch.equal(again[1].dataset.tensors[0], val.dataset.tensors[0])
    assert not torch.equal(again[0].order(), order_N)


def test_a_pass_over_a_part_of_the_images(fashion_mnist: Dataset) -> None:
    train = fashion_mnist.held_out_loaders(batch_size=1000, validation_images=100)[0]
    assert (train.images, len(train)) == (59_900, 60)
    assert sum(len(y_B) for _, y_B in train) == 59_900


def test_of_few_images_a_twelfth_is_held_out(tmp_path: Path) -> None:
    assert load_dataset("digits").held_out_loaders()[1].images == 1442 // 12
    few = load_dataset(f"idx:{write_folder(tmp_path, four_arrays(5, 4))}")
    assert few.held_out_loaders()[1].images == 1
    with pytest.raises(UsageError, match=r"validation_images = 6: .* has 6 training images"):
        few.held_out_loaders(validation_images=6)


def test_letters_of_emnist_lie_on_their_side_and_begin_at_1(tmp_path: Path) -> None:
    arrays = four_arrays(5, 4)
    for part in ("train", "test"):
        arrays[f"{part}-labels"] = arrays[f"{part}-labels"] + np.uint8(1)
    write_folder(tmp_path, arrays, prefix="emnist-letters-", test="test")
    data = load_dataset(tmp_path, transpose=True)
    assert (data.image_size, data.class_names, data.labels_from) == ((4, 5), ("1", "2", "3"), 1)
    assert data.train_y_N.tolist() == [0, 1, 2, 0, 1, 2]
    pixels = data.test_x_NCHW * data.std + data.mean
    assert np.array_equal((pixels * 255).round()[:, 0].numpy(), arrays["test-images"].swapaxes(1, 2))
    assert data.notes == ["labels begin at 1. Classes are counted from 0, and named by their labels."]
    assert data.form == {"transpose": True}
