"""How every picture looks: colours for the colour-blind, text shown as it stands, PNG bytes that do not change.

Each drawing function is `@styled`: it draws under these settings, and matplotlib's own are left as they were.
"""

import io
import textwrap
import unicodedata
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

FONT = "DejaVu Sans"
WIDTH = 6.4
DPI = 125
NO_NAME = "(no name)"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"

NOTE_SIZE = 9.0

BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
GREY, FAINT, INK = "#8c959f", "#57606a", "#1f2328"
RED, BANNER = "#d7191c", "#8b1a00"

SETTINGS: Any = {
    "font.family": [FONT],
    "font.size": 10,
    "text.usetex": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.facecolor": "white",
    "axes.unicode_minus": True,
    "grid.color": "#e4e7eb",
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.titlesize": 11.5,
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
}


Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """`draw` under the settings of this module."""

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return in_style


def png(figure: Figure) -> bytes:
    """The picture as PNG: the same bytes for the same picture, without date or version."""
    buffer = io.BytesIO()
    with rc_context(SETTINGS):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def one_axes(title: str, height: float, width: float = WIDTH, note: str = "") -> tuple[Figure, Axes]:
    """A figure with a single pair of axes, `title` above and a smaller `note` below; sizes in inches."""
    words = heading(title, width)
    figure = Figure(figsize=(width, height + 0.2 * words.count("\n")), layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(words, x=0.02, ha="left")
    if note:
        axes.set_xlabel(heading(note, width * 1.1), fontsize=NOTE_SIZE, color=FAINT, labelpad=7)
    return figure, axes


def heading(title: str, width: float = WIDTH) -> str:
    """A title of any length, safe and broken into lines (three at most) that fit a picture `width` inches wide."""
    lines = textwrap.wrap(plain(title), max(20, round(width * 10.5)), max_lines=3, placeholder=" …")
    return escaped("\n".join(lines))


def label(name: object, most: int = 24) -> str:
    """A name of any origin as a short label that matplotlib shows as it stands."""
    return escaped(shortened(plain(name), most))


def plain(text: object) -> str:
    """One line of characters that the font has; what it lacks becomes a replacement character."""
    line = " ".join("".join(map(_shown, str(text))).split())
    return line or NO_NAME


def shortened(text: str, most: int) -> str:
    """At most `most` characters; an ellipsis stands for the rest."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def escaped(text: str) -> str:
    """`text` with its dollars kept from matplotlib's mathtext."""
    return text.replace("$", r"\$")


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cf", "Cs"):
        return ""
    if category[0] in "CZ":
        return " "
    return character if ord(character) in _characters() else REPLACEMENT


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FONT)).get_charmap())


def number(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:.3g}".replace("-", MINUS)
