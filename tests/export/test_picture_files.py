"""Pictures as they come: modes, orientation, transparency, first frames; damaged and hostile files are named."""

import io
import os
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from modelflow.errors import DataError
from modelflow.export import pictures
from modelflow.export.pictures import parse_picture, read_picture

RNG = np.random.default_rng(0)
COLOUR = Image.fromarray(RNG.integers(0, 256, (9, 7, 3), np.uint8))


def parsed(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return parse_picture(buffer.getvalue(), "x")


def test_colour_and_grey_lose_nothing():
    assert (parsed(COLOUR) == np.asarray(COLOUR)).all()
    grey = COLOUR.convert("L")
    assert (parsed(grey)[..., 0] == np.asarray(grey)).all()


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP", "GIF", "JPEG"])
def test_each_format(form):
    assert parsed(Image.new("RGB", (7, 9), (200, 10, 10)), form).shape == (9, 7, 3)


def test_sixteen_bits_are_scaled():
    deep = Image.fromarray(np.array([[0, 257, 65535]], np.uint16))
    assert parsed(deep)[..., 0].tolist() == [[0, 1, 255]]


def test_one_bit_is_black_and_white():
    assert set(np.unique(parsed(COLOUR.convert("1")))) == {0, 255}


def test_palettes_and_cmyk_are_colours():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 99, 199])
    assert (parsed(palette) == [9, 99, 199]).all()
    assert parsed(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "JPEG").min() > 250


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_becomes_white(mode):
    assert (parsed(Image.new(mode, (4, 4), 0)) == 255).all()
    assert parsed(Image.new(mode, (4, 4), 0)).shape[2] == (3 if mode == "RGBA" else 1)


def test_a_camera_that_was_turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    assert parsed(COLOUR, "PNG", exif=exif).shape == (7, 9, 3)
    assert (parsed(COLOUR, "PNG", exif=exif) == np.rot90(np.asarray(COLOUR), -1)).all()


def test_of_several_frames_the_first():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert parsed(frames[0], "GIF", save_all=True, append_images=frames[1:])[0, 0].tolist() == [255, 0, 0]


def content(form="PNG"):
    buffer = io.BytesIO()
    COLOUR.save(buffer, form)
    return buffer.getvalue()


def test_a_file_cut_anywhere_before_its_last_pixels_is_refused():
    whole = content()
    for length in range(0, len(whole) - 24, 7):  # an empty end of 12 bytes, and checksums
        with pytest.raises(DataError, match=r"^x: "):
            parse_picture(whole[:length], "x")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_changed_bytes_raise_nothing_else(form):
    whole = content(form)
    for _ in range(300):
        changed = bytearray(whole)
        for place in RNG.integers(0, len(whole), 3):
            changed[place] = RNG.integers(0, 256)
        with suppress(DataError):
            assert parse_picture(bytes(changed), "x").dtype == np.uint8


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr("modelflow.data.pictures.MAX_PIXELS", 62)
    with pytest.raises(DataError, match="63 pixels, expected at most 62"):
        parse_picture(content(), "x")


def test_files_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png: is none of PNG"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(DataError, match="not a file"):
        read_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a file"):
        read_picture(tmp_path / "pipe.png")
    monkeypatch.setattr(pictures, "MAX_BYTES", 3)
    with pytest.raises(DataError, match="larger than 3 bytes"):
        read_picture(tmp_path / "text.png")
