"""Pieces of HTML for a notebook's cell: escaped, self-contained, readable on light and dark pages. No torch.

block(headline("generic_2 is the most accurate."), table(found))

Colours are the notebook's own, or are laid over it thinly. Where a notebook takes the style away, as on GitHub, plain
tables are left.
"""

import base64
from collections.abc import Iterable
from html import escape

from modelflow.io.faces.table import Table
from modelflow.text import shown

LONG = 40  # characters of a cell that is broken into lines
STYLE = """
.modelflow { max-width: 72rem; line-height: 1.45; }
.modelflow p { margin: 0.4em 0; max-width: 76ch; }
.modelflow .headline { font-size: 1.15em; font-weight: 600; }
.modelflow .note, .modelflow caption { opacity: 0.8; font-size: 0.92em; }
.modelflow .scroll { overflow-x: auto; }
.modelflow table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5em 0; }
.modelflow caption { caption-side: top; text-align: left; padding: 0.2em 0; white-space: normal; }
.modelflow th, .modelflow td { text-align: right; vertical-align: middle; padding: 0.3em 1em 0.3em 0; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, 0.35); white-space: nowrap; }
.modelflow th { font-weight: 600; vertical-align: bottom; }
.modelflow .text { text-align: left; }
.modelflow .long { text-align: left; white-space: normal; min-width: 34ch; max-width: 60ch; }
.modelflow .indent { white-space: pre; }
.modelflow img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.modelflow figure { display: inline-block; margin: 0.5em 1em 0.5em 0; vertical-align: top; max-width: 100%; }
.modelflow figcaption { opacity: 0.8; font-size: 0.92em; }
.modelflow .chip { border-radius: 1em; padding: 0.1em 0.7em; background: rgba(128, 128, 128, 0.22); }
.modelflow .better { background: rgba(46, 160, 67, 0.25); }
.modelflow .equivalent { background: rgba(56, 118, 220, 0.25); }
.modelflow .cannot-tell { background: rgba(219, 150, 20, 0.28); }
.modelflow .warning { border-left: 4px solid #d1242f; padding-left: 0.7em; }
.modelflow .bar { width: 210px; display: block; overflow: visible; }
.modelflow progress { width: 14em; vertical-align: middle; }
""".strip()


class Markup(str):
    """HTML that is ours, and not escaped again."""


def text(value: object) -> Markup:
    """Any value as one line of text that shows it as it stands."""
    return value if isinstance(value, Markup) else Markup(escape(shown(value)) if value != "" else "")


def block(*parts: Markup) -> Markup:
    """Pieces as what a cell shows, with the style that they need."""
    return Markup(f'<div class="modelflow"><style>{STYLE}</style>{"".join(parts)}</div>')


def paragraph(words: object, kind: str = "note") -> Markup:
    """A paragraph of that class; nothing for no words."""
    return Markup(f'<p class="{kind}">{text(words)}</p>' if words else "")


def headline(words: object) -> Markup:
    """What is to be read first."""
    return paragraph(words, "headline")


def table(found: Table) -> Markup:
    """A table with its caption."""
    names = "".join(f'<th scope="col"{_kind(i, found)}>{text(name)}</th>' for i, name in enumerate(found.header))
    caption = f"<caption>{text(found.caption)}</caption>" if found.caption else ""
    rows = "".join(f"<tr>{''.join(_cells(line, found))}</tr>" for line in found.lines)
    inner = f"<table>{caption}<thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
    return Markup(f'<div class="scroll">{inner}</div>')


def _cells(line: tuple[str, ...], found: Table) -> Iterable[str]:
    for i, value in enumerate(line):
        yield f"<td{_kind(i, found)}>{text(value)}</td>"


def _kind(column: int, found: Table) -> str:
    """Figures stand to the right; text that is long is broken into lines."""
    if column >= found.left:
        return ""
    cells = (line[column] for line in found.lines)
    long = any(len(cell) > LONG and not isinstance(cell, Markup) for cell in cells)
    return f' class="{"long" if long else "text"}"'


def picture(content: bytes, kind: str, says: str, width: int | None = None, caption: str = "") -> Markup:
    """A picture of that MIME type within the HTML itself, as wide as so many pixels; `says` is for who cannot see it.

    As an image, nothing in it is run.
    """
    size = "" if width is None else f' width="{width}"'
    address = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Markup(f'<figure><img src="{address}" alt="{text(says)}"{size}>{below}</figure>')
