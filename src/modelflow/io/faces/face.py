"""What shows itself: as a notebook's cell, as a data frame, in Markdown and in LaTeX. No torch.

class Leaderboard(Face, list[LeaderboardRow]):
    def _tables(self): ...          # what it shows
    def _rows(self): ...            # the same as plain data, unrounded
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelflow.io.faces import html
from modelflow.io.faces.frame import frame
from modelflow.io.faces.html import Markup
from modelflow.io.faces.latex import document_part
from modelflow.io.faces.table import Table
from modelflow.text import escaped, markdown_table

if TYPE_CHECKING:
    from pandas import DataFrame


class Face:
    """Something with tables; what derives from it says which, and what stands above and below them."""

    def _headline(self) -> str:
        """What is to be read first, in a sentence."""
        return ""

    def _tables(self) -> Sequence[Table]:
        """What it shows."""
        raise NotImplementedError

    def _notes(self) -> Sequence[str]:
        """What is to be said below the tables."""
        return ()

    def _rows(self) -> Sequence[dict[str, Any]]:
        """The same as plain data: a row each, unrounded."""
        raise NotImplementedError

    def _paper_tables(self) -> Sequence[Table]:
        """Those for a paper, each to be read alone."""
        return self._tables()

    def _body(self) -> Sequence[Markup]:
        """What stands between headline and notes."""
        return [html.table(table) for table in self._tables()]

    def __repr__(self) -> str:
        return self.to_markdown().rstrip()

    def _repr_html_(self) -> str:
        notes = [html.paragraph(note) for note in self._notes()]
        return html.block(html.headline(self._headline()), *self._body(), *notes)

    def to_frame(self) -> "DataFrame":
        """A data frame of pandas, unrounded. Raises `UsageError` where pandas is not installed."""
        return frame(self._rows())

    def to_markdown(self) -> str:
        """Headline, tables and notes in Markdown."""
        tables = [
            part
            for table in self._tables()
            for part in (escaped(table.caption), markdown_table([table.header, *table.lines], table.left).rstrip())
        ]
        parts = [escaped(self._headline()), *tables, *map(escaped, self._notes())]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_latex(self) -> str:
        """The tables for a paper, in the style of booktabs: n, intervals and method stand in their captions.

        The document needs `\\usepackage{booktabs}`.
        """
        return document_part(*self._paper_tables())
