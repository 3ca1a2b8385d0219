"""A table as data: what is written in it, and what has to be known to read it. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows as they are shown: the first `left` columns are text, the others figures.

    `caption` says what they are, `method` in sentences how the figures were found, for who reads the table alone.
    """

    header: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]
    left: int
    caption: str = ""
    method: str = ""
