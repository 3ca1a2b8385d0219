"""Tables in LaTeX for a paper, in the style of booktabs. No torch."""

from modelflow.io.faces.table import Table
from modelflow.text import ended, latex

HEAD = r"% \usepackage{booktabs}"


def document_part(*tables: Table) -> str:
    """The tables one after the other, each a float with its caption; the document loads booktabs."""
    return "\n".join([HEAD, *map(table, tables)])


def table(found: Table) -> str:
    """A float: caption and method above the table, as is usual for tables."""
    columns = "l" * found.left + "r" * (len(found.header) - found.left)
    words = " ".join(latex(ended(part)) for part in (found.caption, found.method) if part)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{words}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            _row(found.header),
            r"    \midrule",
            *map(_row, found.lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"    {' & '.join(map(latex, cells))} \\\\"
