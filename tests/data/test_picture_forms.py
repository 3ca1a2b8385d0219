"""Pictures of every kind become pixels as they are seen, beside Pillow's own turning and PyTorch's resampling."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from modelflow.data import pictures
from modelflow.data.pictures import common_size, fitted, read_picture, size_of_picture, to_form

RNG = np.random.default_rng(0)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str, **how) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    buffer.seek(0)
    return buffer


def colours(height: int = 6, width: int = 9) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))


def pixels(file: io.BytesIO) -> np.ndarray:
    return np.asarray(read_picture(file))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF"])
def test_a_file_is_told_by_what_it_holds(kind):
    image = colours()
    file = saved(image, kind, lossless=True) if kind == "WEBP" else saved(image, kind)
    if kind == "TIFF":
        with pytest.raises(ValueError, match="is a TIFF or raw picture, expected one of PNG"):
            read_picture(file)
    else:
        assert np.array_equal(pixels(file), np.asarray(image))
        file.seek(0)
        assert size_of_picture(file) == (6, 9)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_turned_as_its_camera_says(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(colours(16, 24), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    file.seek(0)
    assert np.array_equal(pixels(file), expected)
    file.seek(0)
    assert size_of_picture(file) == expected.shape[:2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing():
    file = saved(colours(16, 24), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 20)
    assert pixels(file).shape == (16, 24, 3)


def test_transparency_is_white_also_of_palettes():
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    assert pixels(saved(image, "PNG", transparency=1)).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    layered = Image.new("RGBA", (2, 1))
    layered.putdata([(0, 0, 0, 0), (200, 100, 0, 51)])  # 51 of 255 is a fifth
    assert pixels(saved(layered, "PNG")).tolist() == [[[255, 255, 255], [244, 224, 204]]]
    grey = Image.new("LA", (2, 1))
    grey.putdata([(0, 0), (100, 255)])
    assert pixels(saved(grey, "PNG")).tolist() == [[255, 100]]
    assert pixels(saved(Image.new("RGB", (1, 1), RED), "PNG", transparency=RED)).tolist() == [[[255, 255, 255]]]
    assert pixels(saved(Image.new("L", (1, 1), 7), "PNG", transparency=7)).tolist() == [[255]]


def test_sixteen_bits_are_scaled_to_eight():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    assert pixels(saved(Image.fromarray(values), "PNG")).tolist() == [[0, 0, 1, 1, 128, 255]]


def test_one_bit_is_black_and_white():
    image = Image.fromarray(np.array([[True, False]]))
    assert (image.mode, pixels(saved(image, "PNG")).tolist()) == ("1", [[255, 0]])


def test_cmyk_is_rgb():
    image = Image.new("RGB", (8, 8), (180, 60, 20)).convert("CMYK")
    assert np.abs(pixels(saved(image, "JPEG", quality=100)).astype(int) - (180, 60, 20)).max() <= 3


def test_of_an_animation_the_first_frame():
    frames = [Image.new("RGB", (5, 4), colour) for colour in (RED, GREEN, BLUE)]
    for kind, how in (("GIF", {}), ("WEBP", {"lossless": True})):
        file = saved(frames[0], kind, save_all=True, append_images=frames[1:], **how)
        assert (pixels(file) == RED).all()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\0\0\0\x18ftypheic", "is a HEIC picture, as iPhones take, expected one of PNG, .* Save it as JPEG or PNG"),
        (b"\0\0\0\x1cftypavif", "is an AVIF picture"),
        (b"II*\0", "is a TIFF or raw picture"),
        (b"MM\0*", "is a TIFF or raw picture"),
        (b'<?xml version="1.0"?>\n<svg', "is a drawing in SVG"),
        (b"\n<!DOCTYPE html>", "is a web page, .* Download the picture itself"),
        (b"version https://git-lfs.github.com/spec/v1", "is a pointer of Git LFS, .* Fetch the file: git lfs pull"),
    ],
)
def test_files_that_are_no_picture_of_ours_are_called_by_their_kind(head, said):
    with pytest.raises(ValueError, match=said):
        read_picture(io.BytesIO(head + bytes(100)))


def test_what_is_cut_empty_or_no_picture_is_said(monkeypatch):
    whole = saved(colours(40, 40), "PNG").getvalue()
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
        content = saved(colours(40, 40), kind).getvalue()
        with pytest.raises(ValueError, match="is damaged"):
            read_picture(io.BytesIO(content[: len(content) * 2 // 3]))
    for content, reason in (
        (b"", "is empty, expected one of PNG"),
        (b"hello", "is none of PNG"),
        (whole[:50] + b"\0" + whole[51:], "is damaged"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_picture(io.BytesIO(content))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1599)
    with pytest.raises(ValueError, match="has 1,600 pixels, expected at most 1,599"):
        size_of_picture(io.BytesIO(whole))


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (20_000, 20_000, "has more than 67,108,864 pixels, the limit"),
        (9_000, 9_000, "has 81,000,000 pixels, expected at most 67,108,864"),
        (1, 40_000, "is of 40000 x 1 pixels, expected 1 to 32,768 a side"),
    ],
)
def test_pictures_of_too_many_pixels_are_refused_by_their_header(width, height, reason):
    header = bytearray(saved(Image.new("L", (1, 1)), "BMP").getvalue())
    header[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    with pytest.raises(ValueError, match=reason):
        size_of_picture(io.BytesIO(bytes(header)))


sides = st.integers(1, 300)


@given(sides, sides, sides, sides)
def test_the_fitted_size_touches_the_room_and_keeps_the_aspect(height, width, high, wide):
    new_height, new_width = fitted((height, width), (high, wide))
    assert 1 <= new_height <= high
    assert 1 <= new_width <= wide
    assert new_height == high or new_width == wide
    scale = min(high / height, wide / width)
    assert abs(new_height - max(1, height * scale)) <= 0.5 + 1e-9
    assert abs(new_width - max(1, width * scale)) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("sizes", "common"),
    [
        ([(28, 28)], (28, 28)),
        ([(64, 20)], (64, 20)),
        ([(96, 96)], (64, 64)),
        ([(3000, 4000)], (48, 64)),
        ([(3000, 4000), (4000, 3000)], (64, 64)),
        ([(20, 30), (40, 10)], (40, 30)),
        ([(20, 30), (480, 640)], (48, 64)),
        ([(1, 5000)], (1, 64)),
    ],
)
def test_the_common_size(sizes, common):
    assert common_size(sizes) == common


def test_a_picture_is_fitted_in_the_middle_of_black():
    pixels_HW = to_form(Image.new("L", (20, 10), 200), (8, 8), 1)
    assert pixels_HW.tolist() == [[0] * 8] * 2 + [[200] * 8] * 4 + [[0] * 8] * 2
    pixels_HWC = to_form(Image.new("RGB", (10, 20), RED), (8, 8), 3)
    assert pixels_HWC[0].tolist() == [[0] * 3] * 2 + [[255, 0, 0]] * 4 + [[0] * 3] * 2


def test_a_picture_of_the_size_stays():
    image = colours(5, 7)
    assert np.array_equal(to_form(image, (5, 7), 3), np.asarray(image))
    assert np.array_equal(to_form(image, (5, 7), 1), np.asarray(image.convert("L")))


@pytest.mark.parametrize("size", [(6, 8), (11, 7), (40, 60)])
def test_resampling_is_pytorchs_antialiased_bicubic(size):
    """In middle values: Pillow's two passes, each of bytes, would cut off what is below 0 or above 255 between them."""
    image = Image.fromarray(RNG.integers(80, 170, (90, 60, 3), np.uint8))
    height, width = fitted((90, 60), size)
    x_NCHW = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(x_NCHW, (height, width), mode="bicubic", antialias=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    found = to_form(image, size, 3)[top : top + height, left : left + width]
    assert np.abs(found - expected[0].permute(1, 2, 0).clamp(0, 255).numpy()).max() <= 1.5


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_grey_is_the_same_in_one_channel_and_in_three(height, width, side, seed):
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8))
    grey = to_form(image, (side, side), 1)
    assert np.array_equal(to_form(image.convert("RGB"), (side, side), 3), np.repeat(grey[..., None], 3, axis=2))
