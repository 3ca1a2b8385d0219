"""How every picture looks: colours for the colour-blind, text shown as it stands, PNG bytes that do not change.

Each drawing function is `@styled`: it draws under these settings over matplotlib's defaults, whatever a matplotlibrc
says; what was set is left as it was. Settings are the process's, so that one thread draws at a time. Figures are
nobody's but the caller's, except within `for_pyplot`.
"""

import io
import textwrap
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, ParamSpec

from matplotlib import get_backend, rc_context, rcParamsDefault
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
NOT_THE_LOOK = ("backend", "interactive", "toolbar", "webagg")  # of a notebook or a program around us
LOOK: Any = {name: value for name, value in rcParamsDefault.items() if not name.startswith(NOT_THE_LOOK)} | SETTINGS


Arguments = ParamSpec("Arguments")
_drawing = threading.RLock()
_for_pyplot = ContextVar("_for_pyplot", default=False)


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """`draw` under the settings of this module."""

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with _drawing, rc_context(LOOK):
            return draw(*args, **kwargs)

    return in_style


def png(figure: Figure) -> bytes:
    """The picture as PNG: the same bytes for the same picture, without date or version."""
    buffer = io.BytesIO()
    with _drawing, rc_context(LOOK):
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


class Shown(Figure):
    """A figure of pyplot: a notebook and `plt.show()` show it, and a notebook once."""

    def _ipython_display_(self) -> None:
        """Taken from pyplot when a notebook shows it as a cell's value, else it would again at the cell's end."""
        if "inline" in get_backend():
            from matplotlib import pyplot

            pyplot.close(self)
        raise NotImplementedError  # the word for: show it as any other figure


@contextmanager
def for_pyplot() -> Iterator[None]:
    """Figures made within are pyplot's too, where a user could see them: by the main thread, with a working display."""
    before = _for_pyplot.set(threading.current_thread() is threading.main_thread())
    try:
        yield
    finally:
        _for_pyplot.reset(before)


def _new_figure(**options: Any) -> Figure:
    if _for_pyplot.get():
        try:
            from matplotlib import pyplot

            return pyplot.figure(FigureClass=Shown, **options)
        except Exception:  # each backend says in its own way that there is no display
            return Figure(**options)
    return Figure(**options)


def one_axes(title: str, height: float, width: float = WIDTH, note: str = "") -> tuple[Figure, Axes]:
    """A figure with a single pair of axes, `title` above and a smaller `note` below; sizes in inches."""
    words = heading(title, width)
    figure = _new_figure(figsize=(width, height + 0.2 * words.count("\n")), layout="constrained")
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
