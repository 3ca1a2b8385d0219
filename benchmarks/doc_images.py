"""Pictures of docs/images, each for a light and for a dark page."""

import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from modelflow.figures.style import dark, png
from modelflow.io.files import write_atomic

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COMMON = 64
THEMES = {"light": ("", nullcontext), "dark": ("_dark", dark)}  # what the file's name ends in, how it is drawn


def few_colours(picture_HW3: np.ndarray) -> Image.Image:
    """256 colours: the most common ones as they are, then ever that which is farthest from those taken.

    Of the pictures here each pixel stays within 8 of 255 of its own; Pillow's own reductions tint the page.
    """
    codes, where, counts = np.unique(
        picture_HW3 @ np.array([1 << 16, 1 << 8, 1]), return_inverse=True, return_counts=True
    )
    colours_C3 = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    taken = list(np.argsort(-counts)[:COMMON])
    away_CT = _squares(colours_C3, colours_C3[taken])
    while len(taken) < min(256, len(codes)):
        taken.append(away_CT.min(axis=1).argmax())
        away_CT = np.hstack([away_CT, _squares(colours_C3, colours_C3[taken[-1:]])])
    few = Image.fromarray(away_CT.argmin(axis=1)[where].reshape(picture_HW3.shape[:2]).astype(np.uint8))
    few.putpalette(colours_C3[taken].astype(np.uint8).ravel().tolist())
    return few


def _squares(colours_C3: np.ndarray, others_T3: np.ndarray) -> np.ndarray:
    return np.asarray(((colours_C3[:, None] - others_T3) ** 2).sum(axis=2))


def save(name: str, picture: bytes) -> None:
    """A PNG's picture as a small PNG."""
    small = io.BytesIO()
    few_colours(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))).save(small, "PNG", optimize=True)
    write_atomic(IMAGES / f"{name}.png", small.getvalue())


def save_drawn(name: str, draw: Callable[[], Figure]) -> None:
    """A figure for a light page, and again for a dark one."""
    for ending, themed in THEMES.values():
        with themed():
            save(name + ending, png(draw()))
