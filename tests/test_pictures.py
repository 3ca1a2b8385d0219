"""The pictures of README.md and docs: light and dark, at twice the size, small files; made from stored results."""

import re
from pathlib import Path

import numpy as np
import pytest
from doc_images import IMAGES, few_colours
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PICTURES = sorted(IMAGES.glob("*.png"))


def shown():
    """Each picture that a page shows, by Markdown or by HTML."""
    found = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        links = re.findall(r"!\[[^]]*\]\(([^)#]+)", text) + re.findall(r'src(?:set)?="([^"]+)"', text)
        found |= {(page.parent / link).resolve() for link in links}
    return found


def test_every_picture_is_shown_and_each_is_there_light_and_dark():
    assert shown() == set(PICTURES)
    names = {path.stem for path in PICTURES}
    light = {name for name in names if not name.endswith("_dark")}
    assert names == light | {f"{name}_dark" for name in light}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_sharp_small_and_of_its_page(path):
    assert path.stat().st_size < 200_000
    picture = Image.open(path).convert("RGB")
    assert picture.width >= 1600
    corner = sum(picture.getpixel((0, 0))) / 3
    assert corner < 32 if path.stem.endswith("_dark") else corner > 245


def test_few_colours_keep_the_page_exactly_and_all_others_nearly():
    picture_HW3 = np.full((200, 200, 3), (250, 250, 248), np.uint8)
    rng = np.random.default_rng(0)
    picture_HW3[50:150, 50:150] = np.linspace((20, 60, 120), (240, 130, 40), 10_000).reshape(100, 100, 3)
    picture_HW3[0, :] = rng.integers(0, 256, 3)
    few = np.asarray(few_colours(picture_HW3).convert("RGB")).astype(int)
    assert (few[-50:] == picture_HW3[-50:]).all()
    assert np.abs(few - picture_HW3).max() <= 8
