"""Pictures of the report: pixels of the data set as they are, and nothing but pixels from a results folder."""

import base64
import io
import os
import re

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from modelflow.data.sources import read_source
from modelflow.errors import DataError
from modelflow.report import images
from modelflow.report.page import TEMPLATES


def opened(picture):
    kind, _, content = picture.address.partition(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_pixels_are_those_of_the_test_images(content):
    group = content.groups[0]
    found = images.evaluated_source(group.data, group.labels_N)
    source = read_source("digits")
    pixels = images.as_bytes(found.test_images, found.white)
    assert pixels.shape == (355, 8, 8)
    assert (pixels == np.round(source.test_images * (255 / 16))).all()


def test_tiles_lie_row_by_row_within_one_grey_level_of_sixteen(content):
    group = content.groups[0]
    source = images.evaluated_source(group.data, group.labels_N)
    pixels = images.as_bytes(source.test_images[:30], source.white)
    sheet = images.sprite(pixels)
    drawn = np.asarray(opened(sheet.picture).convert("L")).astype(int)
    assert (sheet.columns, sheet.rows, sheet.width, sheet.height) == (24, 2, 8, 8)
    for i, image in enumerate(pixels):
        y, x = 8 * (i // 24), 8 * (i % 24)
        assert np.abs(drawn[y : y + 8, x : x + 8] - image).max() <= 9


def test_large_images_in_colour_are_made_small():
    sheet = images.sprite(np.random.default_rng(0).integers(0, 256, (3, 100, 50, 3), np.uint8))
    assert (sheet.width, sheet.height) == (16, 32)
    assert opened(sheet.picture).size == (48, 32)


def test_channels_become_colours_or_the_first_one_grey():
    assert images.as_bytes(np.zeros((2, 3, 5, 4), np.uint8), 255).shape == (2, 5, 4, 3)
    assert images.as_bytes(np.zeros((2, 2, 5, 4), np.uint8), 255).shape == (2, 5, 4)


def test_data_that_are_not_those_of_the_runs_are_not_shown(content):
    data, labels_N = content.groups[0].data, content.groups[0].labels_N
    other = data.model_copy(update={"checksums": {"digits": "0" * 64}})
    with pytest.raises(DataError, match="differs by SHA-256"):
        images.evaluated_source(other, labels_N)
    with pytest.raises(DataError, match="not evaluated on the test images"):
        images.evaluated_source(data, labels_N[::-1])
    with pytest.raises(DataError, match="unknown data set"):
        images.evaluated_source(data.model_copy(update={"name": "TensorDataset"}), labels_N)


def test_pictures_keep_their_pixels_and_lose_all_else(tmp_path):
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "<script>alert(1)</script>")
    Image.new("RGB", (2000, 500), "#ff0000").save(tmp_path / "a.png", pnginfo=note)
    picture = images.stored_picture(tmp_path / "a.png", tmp_path)
    drawn = opened(picture)
    assert (picture.width, picture.height) == (1000, 250)
    assert drawn.convert("RGB").getpixel((5, 5)) == (255, 0, 0)
    assert "Comment" not in drawn.info


def test_rare_colours_are_nearly_kept(results):
    paths = [*results.rglob("filters_*.png"), *results.rglob("intermediate_outputs.png")]
    assert len(paths) > 4
    for path in paths:
        picture = images.stored_picture(path, results)
        stored = Image.open(path).convert("RGB")
        if stored.width > images.WIDEST:
            stored = stored.reduce(2)
        assert np.abs(np.asarray(opened(picture).convert("RGB")).astype(int) - np.asarray(stored)).max() <= 24, path


def test_a_picture_of_very_many_colours_is_reduced_in_the_way_that_stays_fast(tmp_path, monkeypatch):
    ways, quantize = [], Image.Image.quantize
    monkeypatch.setattr(Image.Image, "quantize", lambda *a, **k: ways.append(k["method"]) or quantize(*a, **k))
    for side in (100, 300):
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "many.png")
        picture = images.stored_picture(tmp_path / "many.png", tmp_path)
        assert len(opened(picture).convert("RGB").getcolors(side * side)) <= images.COLOURS
    assert ways == [Image.Quantize.MAXCOVERAGE, Image.Quantize.MEDIANCUT]


def test_what_is_no_picture_of_the_folder_is_left_out(tmp_path):
    root, outside = tmp_path / "results", tmp_path / "secret.png"
    root.mkdir()
    Image.new("RGB", (4, 4)).save(outside)
    os.symlink(outside, root / "link.png")
    os.symlink(tmp_path, root / "folder")
    (root / "page.png").write_text("<html>")
    (root / "cut.png").write_bytes(outside.read_bytes()[:40])
    (root / "large.png").write_bytes(images.PNG_SIGNATURE + bytes(images.MAX_PNG_BYTES))
    for name in ("link.png", "folder/secret.png", "page.png", "cut.png", "large.png", "none.png", "."):
        assert images.stored_picture(root / name, root) is None, name


def test_a_picture_that_unpacks_to_too_much_is_left_out(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "bomb.png")
    assert images.stored_picture(tmp_path / "bomb.png", tmp_path) is None


def test_the_architecture_is_drawn_from_the_spec_and_never_from_the_file(copied, content):
    (copied / "wide" / "architecture.svg").write_text("<svg onload='alert(1)'/>")
    run = content.groups[0].models[0].first
    drawn, traced = images.drawing(run)
    assert "<title>wide</title>" in drawn
    assert "onload" not in drawn
    style = (TEMPLATES / "report.css").read_text("utf-8")
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn)) - {"none"}
    assert len(colours) > 5
    for colour in colours:  # each a variable of the page, so that it has a light and a dark side
        name = re.fullmatch(r"var\((--[\w-]+)\)", colour).group(1)
        assert f"{name}: light-dark(" in style
    assert traced.parameters == run.parameters
    assert images.drawing(run.model_copy(update={"spec": None})) is None
    assert images.drawing(run.model_copy(update={"spec": {"in_channels": "<b>"}})) is None
