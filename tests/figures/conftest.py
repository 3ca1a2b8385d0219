"""Names that nobody should have given, and a look at the words on a figure."""

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

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
