"""Markdown of values from anywhere: shown as they stand, without any markup of their own. No torch."""

import re
import unicodedata
from collections.abc import Sequence


class Ready(str):
    """Text that is Markdown already and is not escaped again."""


def escaped(value: object) -> str:
    """Any value as one line of Markdown that shows it as it stands: no markup, no HTML, no control characters."""
    if isinstance(value, Ready):
        return value
    text = plain(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]#|~$])", r"\\\1", text).replace("@", "&#64;")
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\1\2", text)


def plain(value: object) -> str:
    """One line without control, formatting (such as right-to-left marks) or unpaired surrogate characters."""
    kept = (_kept(character) for character in str(value))
    return " ".join("".join(kept).split())


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    return "" if category in ("Cf", "Cs", "Co", "Cn") else " " if category[0] in "CZ" else character


def table(rows: Sequence[Sequence[object]], left: int = 1) -> Ready:
    """Rows as a table, the first one its head; all columns but the first `left` are aligned to the right."""
    cells = [[escaped(value) for value in row] for row in rows]
    rule = ["---"] * left + ["---:"] * (len(rows[0]) - left)
    return Ready("".join(f"| {' | '.join(line)} |\n" for line in (cells[0], rule, *cells[1:])))
