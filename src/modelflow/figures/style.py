"""How every picture looks: colours for the colour-blind, text shown as it stands, PNG bytes that do not change.

Each drawing function is `@styled`: it draws under these settings over matplotlib's defaults, whatever a matplotlibrc
says; what was set is left as it was. Within `dark` it draws for a dark page. Settings are the process's, so that one
thread draws at a time. Figures are nobody's but the caller's, except within `for_pyplot`.
"""

import io
import textwrap
import threading
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, wraps
from itertools import accumulate
from typing import Any, ParamSpec

from matplotlib import get_backend, rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import LayoutEngine
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

FONT = "DejaVu Sans"
WIDTH, MARGIN = 6.4, 0.12
NEARLY = (0.1, 0.13, 0.87, 0.76)  # where axes are measured, in shares of the figure
DPI, SCREEN_DPI = 250, 96
POINTS_PER_INCH = 72
NO_NAME = "(no name)"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"

SMALLEST = 9.0  # points, of any text

BLUE, VERMILLION, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8c959f"
RED, BANNER = "#d7191c", "#8b1a00"


@dataclass(frozen=True)
class Theme:
    """The colours that differ between a light and a dark page; `right` and `wrong` are those of the report.

    `signed` is the colour map of values below and above zero.
    """

    surface: str
    ink: str
    faint: str
    grid: str
    soft: str
    right: str
    wrong: str
    signed: str | Colormap


LIGHT = Theme("#ffffff", "#1f2328", "#57606a", "#e4e7eb", "#f0f1ef", "#3a76c4", "#d9822b", "RdBu_r")
DARK = Theme(
    *("#0d1117", "#e6edf3", "#9da7b3", "#262c36", "#1f252c", "#2f66b3", "#a8570b"),
    LinearSegmentedColormap.from_list("signed", ["#a6d3ff", "#3579c8", "#161b22", "#c14f30", "#ffb59c"]),
)

SETTINGS: Any = {
    "font.family": [FONT],
    "font.size": 10,
    "text.usetex": False,
    "axes.edgecolor": GREY,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "figure.titlesize": 11.5,
    "savefig.bbox": None,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.8,
}
NOT_THE_LOOK = ("backend", "interactive", "toolbar", "webagg")  # of a notebook or a program around us
LOOK: Any = {name: value for name, value in rcParamsDefault.items() if not name.startswith(NOT_THE_LOOK)} | SETTINGS
THEMED = {
    "ink": ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"),
    "surface": ("axes.facecolor", "figure.facecolor"),
    "grid": ("grid.color",),
}


Arguments = ParamSpec("Arguments")
_drawing = threading.RLock()
_theme = ContextVar("_theme", default=LIGHT)
_for_pyplot = ContextVar("_for_pyplot", default=False)


def theme() -> Theme:
    """The colours to draw in: for a light page, but within `dark`."""
    return _theme.get()


@contextmanager
def dark() -> Iterator[None]:
    """Pictures drawn within are for a dark page."""
    before = _theme.set(DARK)
    try:
        yield
    finally:
        _theme.reset(before)


def _look() -> Any:
    return LOOK | {name: getattr(theme(), colour) for colour, names in THEMED.items() for name in names}


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """`draw` under the settings of this module."""

    @wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with _drawing, rc_context(_look()):
            return draw(*args, **kwargs)

    return in_style


def png(figure: Figure) -> bytes:
    """The picture as PNG: the same bytes for the same picture, without date or version.

    Repeated bytes are all that it is compressed by: quicker by a third, and no larger for the pictures here.
    """
    with _drawing, rc_context(LOOK):
        picture = _drawn_once(figure)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", dpi=(DPI, DPI), compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _drawn_once(figure: Figure) -> Image.Image:
    """`savefig` draws twice where the axes are as large as words leave room."""
    canvas, dpi = figure.canvas, figure.dpi
    drawn: Any = FigureCanvasAgg(figure)
    try:
        figure.set_dpi(DPI)
        drawn.draw()
        return Image.frombuffer("RGBA", drawn.get_width_height(), drawn.buffer_rgba()).convert("RGB")
    finally:
        figure.set_dpi(dpi)
        figure.set_canvas(canvas)


def notebook_png(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """The picture as PNG, and its width and height in a notebook's pixels, of which it has several each."""
    width, height = (round(SCREEN_DPI * inches) for inches in figure.get_size_inches())
    return png(figure), {"width": width, "height": height}


class Drawn(Figure):
    """A figure that a notebook shows where it is a cell's value, whatever backend matplotlib has there."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return notebook_png(self)


class Shown(Drawn):
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
            return Drawn(**options)
    return Drawn(**options)


class OneAxes(LayoutEngine):
    """Axes as large as the words around them and the title leave room; `below` them so many inches are kept free.

    The words are measured once; matplotlib's constrained layout measures them twice, which took a third of the time.
    """

    _adjust_compatible = _colorbar_gridspec = False

    def __init__(self, axes: Axes, title: Text, below: float) -> None:
        super().__init__()
        self._axes, self._title, self._below = axes, title, below

    def execute(self, figure: Figure) -> None:
        """Places the axes, from wherever they are to the same place."""
        self._axes.set_position(NEARLY)
        words = self._axes.get_tightbbox()
        if words is None:
            return
        inside, title = self._axes.get_window_extent(), self._title.get_window_extent()
        margin = MARGIN * figure.dpi
        place = Bbox.from_extents(
            margin + inside.x0 - words.x0,
            margin + inside.y0 - words.y0 + self._below * figure.dpi,
            figure.bbox.x1 - margin - (words.x1 - inside.x1),
            title.y0 - margin - (words.y1 - inside.y1),
        )
        self._axes.set_position(place.transformed(figure.transFigure.inverted()).bounds)


def one_axes(
    title: str, height: float, width: float = WIDTH, note: str = "", below: float = 0.0
) -> tuple[Figure, Axes]:
    """A figure with a single pair of axes, `title` above and a smaller `note` below; sizes in inches.

    `below` is kept free for what the caller puts there.
    """
    words = heading(title, width)
    tall = height + 0.2 * words.count("\n")
    figure = _new_figure(figsize=(width, tall))
    axes = figure.add_subplot()
    heads = figure.suptitle(words, x=MARGIN / width, y=1 - MARGIN / tall, ha="left", va="top")
    if note:
        axes.set_xlabel(heading(note, width * 1.1), fontsize=SMALLEST, color=theme().faint, labelpad=7)
    figure.set_layout_engine(OneAxes(axes, heads, below))
    return figure, axes


@dataclass(frozen=True)
class Margins:
    """What is free around axes, in inches; the title has its own room above."""

    left: float = MARGIN
    right: float = MARGIN
    top: float = MARGIN
    bottom: float = MARGIN


def placed_axes(title: str, width: float, height: float, margins: Margins) -> tuple[Figure, Axes]:
    """A figure with axes of exactly this size in inches, `title` above."""
    whole = margins.left + width + margins.right
    words = heading(title, whole)
    tall = margins.bottom + height + margins.top + 0.2 * words.count("\n") + 0.4
    figure = _new_figure(figsize=(whole, tall))
    figure.suptitle(words, x=MARGIN / whole, y=1 - MARGIN / tall, ha="left", va="top")
    return figure, figure.add_axes((margins.left / whole, margins.bottom / tall, width / whole, height / tall))


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


def folded(text: object, width: float, most: int = 2, size: float = SMALLEST) -> list[str]:
    """`text` in at most `most` lines of `width` points, broken after spaces and slashes, or where it must be."""
    rest = plain(text)
    lines: list[str] = []
    while len(lines) < most - 1 and (fitting := _fitting(rest, width, size)) < len(rest):
        end = 1 + max(rest[: fitting + 1].rfind(" "), rest[:fitting].rfind("/")) or fitting
        lines.append(rest[:end].strip())
        rest = rest[end:].strip()
    fitting = _fitting(rest, width, size)
    return [*lines, rest if fitting >= len(rest) else rest[: _fitting(rest, width - size, size)].rstrip() + "…"]


def _fitting(text: str, width: float, size: float) -> int:
    """How many characters fit, one at least."""
    return max(1, sum(end <= width for end in accumulate(size * _advance(character) for character in text)))


def text_width(text: str, size: float = SMALLEST) -> float:
    """How wide one line is, in points."""
    return size * sum(map(_advance, text))


@cache
def _advance(character: str) -> float:
    """How far a character reaches, in sizes of the font."""
    with _drawing:
        font = _font()
        font.set_size(1, POINTS_PER_INCH)
        return font.load_char(ord(character)).linearHoriAdvance / 65536


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
def _font() -> FT2Font:
    return FT2Font(findfont(FONT))


@cache
def _characters() -> frozenset[int]:
    return frozenset(_font().get_charmap())


def number(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:.3g}".replace("-", MINUS)
