"""Parts of a data set become a source: checked together, a test part held out where there is none, validation kept."""

import numpy as np
import pytest
from idx_files import random_images

from modelflow.data.datasets import normalised
from modelflow.data.parts import source_of_parts
from modelflow.errors import DataError, UsageError

NAMES = ("cat", "dog", "eel")
SUMS = {"x.npz": "0" * 64}


def part(n, *sizes, seed=0):
    return random_images(n, *(sizes or (8, 6)), seed=seed), np.arange(n) % 3


def source(**parts):
    return source_of_parts("npz:x.npz", parts, NAMES, SUMS)


def test_parts_are_a_source():
    made = source(train=part(12, 3, 8, 6), val=part(4, 3, 8, 6, seed=1), test=part(6, 3, 8, 6, seed=2))
    assert (made.shape.in_channels, made.shape.image_size, made.shape.num_classes) == (3, (8, 6), 3)
    assert (len(made.train_images), len(made.val_images), len(made.test_images)) == (12, 4, 6)
    assert (made.class_names, made.checksums, made.notes) == (NAMES, SUMS, ())


def test_a_sixth_is_held_out_where_there_is_no_test_part():
    images, labels = part(60)
    labels = np.sort(labels)
    one, again = (source(train=(images, labels)) for _ in range(2))
    assert sorted(np.bincount(one.train_labels)) == [16, 17, 17]
    assert sorted(np.bincount(one.test_labels)) == [3, 3, 4]
    assert np.array_equal(one.test_images, again.test_images)
    both = np.concatenate([one.train_images, one.test_images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, images))
    assert one.notes == (
        "npz:x.npz has no test images: 10 of its 60 training images are held out as such, the same share of each class "
        "and always the same ones.",
    )


def test_a_class_of_one_image_is_not_held_out():
    images, labels = part(24)[0], np.array([0] * 12 + list(range(1, 13)))
    made = source_of_parts("x", {"train": (images, labels)}, list(map(str, range(13))), SUMS)
    assert made.test_labels.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "no training images, expected some"),
        ({"train": part(0)}, "no training images, expected some"),
        ({"train": part(9), "test": part(0)}, "no test images, expected some"),
        ({"train": part(9), "test": part(3, 6, 8)}, "test images are 6 x 8, training images 8 x 6, expected the same"),
        ({"train": (part(9)[0], part(8)[1])}, "training: 8 labels for 9 images, expected one per image"),
        ({"train": (part(2)[0], np.array([0, 3]))}, "training: label 3 of image 1, expected 0 to 2"),
        ({"train": (part(2)[0], np.array([-1, 0]))}, "training: label -1 of image 0, expected 0 to 2"),
        ({"train": (part(9)[0], np.full(9, 1))}, "all training images are of class dog, expected at least two"),
        ({"train": part(2), "test": part(3)}, "class eel of test image 2 has no training image"),
        ({"train": part(2), "val": part(3), "test": part(2)}, "class eel of validation image 2 has no training image"),
        ({"train": part(3)}, "3 training images are too few to hold some out"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(parts, message):
    with pytest.raises(DataError, match=message):
        source(**parts)


def test_parts_of_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr("modelflow.data.parts.MAX_BYTES", 9 * 48 - 1)
    with pytest.raises(DataError, match=r"its images take 432 bytes, expected at most 431\. Use fewer or smaller"):
        source(train=part(9))


def test_a_validation_part_is_validated_on():
    data = normalised(source(train=part(12), val=part(6, seed=1), test=part(6, seed=2)))
    train, val, test = data.held_out_loaders(4)
    assert (train.images, val.images, test.images) == (12, 6, 6)
    assert val.dataset.tensors[0] is data.val_x_NCHW
    assert val.source is data
    expected = (part(6, seed=1)[0] / 255 - data.mean) / data.std
    np.testing.assert_allclose(data.val_x_NCHW[:, 0], expected, atol=1e-5)
    with pytest.raises(UsageError, match=r"validation_images = 3: .* has a validation split of its own, of 6 images"):
        data.held_out_loaders(4, validation_images=3)
    assert data.notes_for("held-out") == []
    assert data.notes_for("card") == ["npz:x.npz has 6 validation images of its own. Protocol card does not use them."]


def test_images_in_several_parts_are_counted():
    train, val, test = part(12), part(6, seed=1), part(6, seed=2)
    val[0][:2], test[0][0], test[0][1:4] = train[0][:2], train[0][5], val[0][3:6]
    facts = normalised(source(train=train, val=val, test=test)).facts()
    assert facts["test_images_also_in_training"] == 1
    assert facts["validation_images_also_in_training"] == 2
    assert facts["test_images_also_in_validation"] == 3


def test_a_channel_of_one_value_is_not_scaled():
    images, labels = part(12, 3, 8, 6)
    images[:, 2] = 255
    data = normalised(source(train=(images, labels), test=part(6, 3, 8, 6, seed=1)))
    assert np.allclose(data.train_x_NCHW[:, 2], 0)
    assert (data.mean[2], data.std[2]) == (1.0, 1.0)
    assert data.notes == ["channel 2 (from 0) has one value in all training images. It is not scaled."]


def test_unequal_classes_are_told_with_what_to_do():
    labels = np.array([0] * 16 + [1] * 10 + [2] * 10)
    images = random_images(36, 8, 6)
    told = normalised(source(train=(images, labels), test=part(3, seed=1))).facts()["notes"]
    assert told == [
        "the classes are unequal: cat has 16 training images, dog has 10 (1.6 to 1). Accuracy favours the large "
        "classes. To count all classes alike: --class-weights balanced in training, --metric balanced_accuracy in the "
        "comparison."
    ]
    assert normalised(source(train=(images[1:], labels[1:]), test=part(3, seed=1))).facts()["notes"] == []
