"""Whatever is given as images: the same pixels give the same, what is unlike is told, the rest is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from modelflow.errors import DataError
from modelflow.export.given import images_of

GREY, RGB = (1, 8, 6), (3, 8, 6)


@pytest.fixture
def greys():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 6), np.uint8)


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), np.uint8)


def shares(given, shape, white=255):
    return images_of(given, shape, white).shares_NCHW


WAYS = {
    "N x H x W": lambda x: x,
    "N x C x H x W": lambda x: x[:, None],
    "N x H x W x C": lambda x: x[..., None],
    "floats": lambda x: x / 255,
    "float32": lambda x: (x / 255).astype(np.float32),
    "int64": lambda x: x.astype(np.int64),
    "a tensor": torch.from_numpy,
    "a tensor that learns": lambda x: torch.tensor(x / 255, requires_grad=True),
    "nested lists": lambda x: x.tolist(),
    "a list of arrays": list,
    "a list of tensors": lambda x: [torch.from_numpy(one) for one in x],
    "pictures": lambda x: [Image.fromarray(one) for one in x],
    "not contiguous": lambda x: x[::-1][::-1],
}


@pytest.mark.parametrize("way", WAYS)
def test_grey_images_in_each_way(greys, way):
    found = images_of(WAYS[way](greys), GREY)
    assert found.notes == ()
    assert np.allclose(found.shares_NCHW, greys[:, None] / 255, atol=1e-7)


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        lambda x: x.transpose(0, 3, 1, 2),
        list,
        lambda x: [Image.fromarray(one) for one in x],
        lambda x: [one.transpose(2, 0, 1) for one in x],
    ],
)
def test_colour_images_in_each_way(colours, given):
    assert np.allclose(shares(given(colours), RGB), colours.transpose(0, 3, 1, 2) / 255)


def test_one_image(greys, colours, tmp_path):
    one, colour = greys[0], colours[0]
    Image.fromarray(one).save(tmp_path / "one.png")
    for given in (
        one,
        one[None],
        one[..., None],
        Image.fromarray(one),
        tmp_path / "one.png",
        str(tmp_path / "one.png"),
    ):
        assert np.allclose(shares(given, GREY), one[None, None] / 255)
    for given in (colour, colour.transpose(2, 0, 1), Image.fromarray(colour)):
        assert np.allclose(shares(given, RGB), colour.transpose(2, 0, 1)[None] / 255)


def test_bytes_of_a_data_set_whose_white_is_16(greys):
    assert np.allclose(shares(greys // 16, GREY, 16), greys[:, None] // 16 / 16)
    bright = images_of(greys, GREY, 16)
    assert np.allclose(bright.shares_NCHW, greys[:, None] / 255)
    assert "read as 0 to 255, the training files have 0 to 16" in bright.notes[0]
    dark = Image.fromarray(greys[0] // 16)  # a picture is one whatever its values
    assert np.allclose(shares(dark, GREY, 16), np.asarray(dark) / 255)


def test_another_size_and_colour_is_told_and_brought_to_the_form(colours):
    found = images_of(np.full((16, 12, 3), 255, np.uint8), GREY)
    assert found.notes == ("RGB made grey, resized from 16x12 to 8x6",)
    assert np.allclose(found.shares_NCHW, 1)
    wide = images_of(np.full((6, 18), 255, np.uint8), GREY)
    assert wide.notes == ("resized from 6x18 to 8x6, padded with black",)
    assert np.allclose(wide.shares_NCHW[0, 0, 3:5], 1)
    assert np.allclose(wide.shares_NCHW[0, 0, [0, 1, 6, 7]], 0)
    weights = np.array([0.299, 0.587, 0.114])
    assert np.allclose(shares(colours, GREY)[:, 0], colours / 255 @ weights, atol=1 / 255)  # a byte's rounding
    assert np.allclose(shares(colours[..., 0], RGB), colours[:, None, :, :, 0].repeat(3, 1) / 255)


def test_a_mean_is_kept_by_resizing():
    smooth = np.linspace(0, 1, 64 * 48).reshape(64, 48)
    assert shares(smooth, GREY).mean() == pytest.approx(0.5, abs=0.01)


def test_images_of_several_sizes_are_counted(greys):
    found = images_of([greys[0], np.zeros((16, 12), np.uint8), np.zeros((16, 12)), greys[1] / 255], GREY)
    assert found.notes == ("2 of 4 images: resized from 16x12 to 8x6",)
    assert found.shares_NCHW.shape == (4, *GREY)
    assert np.allclose(found.shares_NCHW[[0, 3], 0], greys[:2] / 255)


BAD = {
    "nothing": ([], "got 0, expected images"),
    "no images": (np.zeros((0, 8, 6), np.uint8), "0x8x6"),
    "None": (None, "a NoneType"),
    "a number": (3, "expected images"),
    "rows of unequal length": ([[1, 2], [3]], "a list"),
    "texts": (np.array([["a"]]), "expected images"),
    "five axes": (np.zeros((1, 1, 1, 8, 6)), "expected images"),
    "normalised floats": (np.full((8, 6), -0.5), "floats from -0.5 to -0.5, expected shares from 0 to 1"),
    "floats up to 255": (np.full((8, 6), 200.0), "floats from 200 to 200"),
    "not a number": (np.full((8, 6), np.nan), "floats from nan"),
    "infinite": (np.full((8, 6), np.inf), "floats from inf"),
    "whole numbers up to 1": (np.ones((8, 6), int), "int64 from 1 to 1"),
    "truths": (np.ones((8, 6), bool), "bool from True"),
    "above a byte": (np.full((8, 6), 300), "int64 from 300"),
    "several ways": (np.zeros((3, 20, 20)), "several ways"),
    "two channels": (np.zeros((4, 2, 8, 6)), "no images like 1x8x6"),
    "a batch in a list": ([np.zeros((2, 8, 6))], "one image each"),
    "no such path": ("none.png", "none.png: no such file"),
    "complex": (np.zeros((8, 6), complex), "expected images"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_right_is_refused(what):
    given, words = BAD[what]
    with pytest.raises(DataError) as told:
        images_of(given, GREY)
    assert words in str(told.value)


def test_four_channels_are_refused_for_a_network_of_three():
    with pytest.raises(DataError, match="no images like 3x8x6"):
        images_of(np.zeros((2, 4, 8, 6)), RGB)
