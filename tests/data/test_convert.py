"""Batches of any kind become images and labels; outputs of any kind logits; what cannot is said."""

import re
from collections import UserDict, namedtuple

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelflow.data.convert import classes, dtype_of, kind_of_labels, labels, logits_of, pair, pairs, tensor_of
from modelflow.errors import DataError

X, Y = torch.arange(12.0).view(3, 1, 2, 2), torch.tensor([2, 0, 1])


def only(batch, dtype=torch.float32):
    """Images, labels and notes of one batch."""
    notes = []
    ((x, y),) = pairs([batch], dtype, notes.append)
    return x, y, notes


@pytest.mark.parametrize(
    ("batch", "note"),
    [
        ((X, Y), ""),
        ([X, Y], ""),
        ((X.numpy(), Y.numpy()), ""),
        ((X.tolist(), Y.tolist()), "images are float64, weights float32"),
        ((list(X), list(Y)), ""),
        ((X.double(), Y), "images are float64, weights float32: images are converted"),
        ((X.half(), Y), "images are float16, weights float32: images are converted"),
        ((X.to(torch.uint8), Y), r"uint8.*without scaling"),
        ((X.numpy()[:, :, ::-1][:, :, ::-1], Y), ""),
        ({"image": X, "label": Y}, "'image' holds the images"),
        (UserDict(pixel_values=X, labels=Y), "'labels' holds the labels"),
        ((X, Y, "where"), "batches hold 3 items: the first is used as images, the second as labels"),
        (namedtuple("Sample", "x y")(X, Y), ""),
    ],
)
def test_batches_of_any_kind_are_images_and_labels(batch, note):
    x, y, notes = only(batch)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    assert bool(notes) == bool(note)
    assert not note or any(re.search(note, text) for text in notes)


def test_a_batch_of_the_right_kind_is_taken_as_it_is():
    x, y = next(pairs(iter([(X, Y)]), torch.float32))
    assert x is X
    assert y is Y
    whole = X.long()
    assert next(pairs(iter([(whole, Y)]), None))[0] is whole


def test_what_a_model_writes_into_a_batch_of_a_list_is_not_there_the_next_time():
    batches = [(X.clone(), Y.clone())]
    for x, y in pairs(batches, torch.float32):
        x.zero_()
        y.zero_()
    assert torch.equal(batches[0][0], X)
    assert torch.equal(batches[0][1], Y)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (None, "a batch is None, expected images and labels"),
        (X, "a batch is float32 3x1x2x2, expected images and labels"),
        ((X,), "a batch is a tuple of 1"),
        ({"foo": X, "label": Y}, "has the keys foo, label, expected images as 'image'"),
        ({"image": X}, "expected labels as 'label'"),
        ((None, Y), "the images of a batch are None"),
        ((X, None), "the labels of a batch are None"),
        (
            (X, ["cat", "dog", "cat"]),
            "the labels of a batch are a list of 3, the first a str.*Number the classes",
        ),
        ((X, [1, None, 2]), "the labels of a batch are"),
        (([Image.new("L", (2, 2))] * 3, Y), r"the first a Image.*ToTensor\(\)"),
        ((Image.new("L", (2, 2)), 1), r"the images of a batch are.*ToTensor\(\)"),
    ],
)
def test_batches_that_are_none_are_said(batch, said):
    with pytest.raises(DataError, match=said):
        only(batch)


def test_what_torch_cannot_collate_is_said_with_its_fix():
    pictures = DataLoader([(Image.new("L", (2, 2)), 0)] * 3, 3)
    with pytest.raises(DataError, match=r"it holds <class 'PIL.Image.Image'>.*ToTensor\(\)"):
        list(pairs(pictures, torch.float32))
    sizes = DataLoader([(torch.zeros(1, 2 + i, 2), 0) for i in range(3)], 3)
    with pytest.raises(DataError, match=r"its images differ in size.*Resize"):
        list(pairs(sizes, torch.float32))

    def fails(_):
        raise TypeError("one of the user's own")

    with pytest.raises(TypeError, match="the user's own"):
        list(pairs(DataLoader(TensorDataset(X, Y), 3, collate_fn=fails), torch.float32))


def test_labels_of_a_kind_of_its_own_are_left_alone():
    assert labels(Y) is Y
    assert pair((X, Y))[1] is Y


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (Y, None),
        (Y.int(), None),
        (Y.to(torch.uint8), None),
        (Y.float(), "float32"),
        (Y[:, None], "N x 1"),
        (Y[:, None, None].double(), "N x 1 x 1"),
        (nn.functional.one_hot(Y), "one-hot"),
        (nn.functional.one_hot(Y).float(), "one-hot"),
        (nn.functional.one_hot(Y).bool(), "one-hot"),
    ],
)
def test_labels_that_say_one_class_an_image(given, kind):
    found = classes(given)
    assert torch.equal(found, Y)
    assert found.dtype == torch.int64
    assert kind_of_labels(given) == kind


@pytest.mark.parametrize(
    "given",
    [
        torch.tensor(1),
        Y + 0.5,
        torch.full((3,), float("nan")),
        torch.tensor([[1, 1], [0, 1]]),
        torch.tensor([[0.5, 0.5], [0.0, 1.0]]),
        torch.zeros(3, 2),
        nn.functional.one_hot(Y)[:, :, None].expand(3, 3, 3),
        "cat",
    ],
)
def test_labels_that_say_none(given):
    assert classes(given) is None


def test_logits_within_outputs():
    logits = torch.rand(4, 3)
    record = namedtuple("Outputs", "aux logits")(torch.rand(4, 2), logits)
    mapping = {"features": torch.rand(4, 9), "logits": logits}
    for outputs in (logits, (logits, None), [None, logits], record, mapping, {"only": logits}):
        assert tensor_of(outputs) is logits
    assert torch.equal(logits_of(logits[:, :, None, None]), logits)
    maps = torch.rand(4, 3, 2, 1)
    assert logits_of(maps) is maps
    assert tensor_of(None) is None


def test_the_kind_of_number_that_a_model_computes_with():
    assert dtype_of(nn.Linear(2, 2).double()) == torch.float64
    assert dtype_of(nn.Flatten()) == torch.float32
    assert dtype_of(nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2))) is None
