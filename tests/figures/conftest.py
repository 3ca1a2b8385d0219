"""Names that nobody should have given, and a look at the words on a figure."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from modelflow.figures.style import DPI, SMALLEST

HOSTILE = [
    "$x^2$ & $",
    "<img src=x onerror=alert(1)>",
    "",
    "a very long class name that never seems to come to an end",
    "שלום עולם",
    "مرحبا",
    "あいう",
    "a\\$b\n\tc",
    "$",
    "\u202eevil\x00\ud800",
]


@pytest.fixture
def hostile_names() -> list[str]:
    return HOSTILE


@pytest.fixture
def words():
    def on(figure: Figure) -> list[str]:
        return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]

    return on


@pytest.fixture
def legible():
    """Whether no text is smaller than 9 points or cut off, and no two horizontal ones overlap."""

    def of(figure: Figure) -> bool:
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        assert min(text.get_fontsize() for text in shown) >= SMALLEST
        boxes_T4 = np.array([text.get_window_extent().extents for text in shown])
        assert boxes_T4.min() >= -1
        assert (boxes_T4[:, 2:] - figure.bbox.extents[2:]).max() <= 1
        level_T22 = boxes_T4[[not text.get_rotation() for text in shown]].reshape(-1, 2, 2)
        starts, ends = (np.swapaxes(level_T22[None, :, end], 0, 1) for end in (0, 1))
        shared_TT2 = np.minimum(ends, ends.swapaxes(0, 1)) - np.maximum(starts, starts.swapaxes(0, 1))
        return bool((np.triu(shared_TT2.min(2), 1) <= 2).all())

    return of
