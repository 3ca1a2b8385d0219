"""Every pair of models as a square: each row's model against each column's, by its verdict. No torch.

for row in pairs_of(group): row.model, row.cells
"""

from dataclasses import dataclass
from typing import Literal

from modelflow.analysis.archive import Group, Model
from modelflow.analysis.intervals import Interval
from modelflow.analysis.units import difference_number, range_words
from modelflow.analysis.verdicts import Verdict
from modelflow.evaluation.scores.score import Unit

MAX_MODELS = 12  # of which a square can be read
MIN_MODELS = 3  # a single pair needs no square

Seen = Literal["better", "worse", "equivalent", "cannot tell"]


@dataclass(frozen=True)
class Cell:
    """A pair as its row's model sees it: the verdict, the difference and its interval (of all pairs) as texts."""

    kind: Seen
    difference: str
    interval: str
    words: str


@dataclass(frozen=True, eq=False)
class Row:
    """A model against each of the others, None for itself and for models that it was not compared with."""

    model: Model
    cells: tuple[tuple[Model, Cell | None], ...]


def pairs_of(group: Group) -> list[Row]:
    """The square of the models that were compared, the best first; empty for too few or too many of them."""
    compared = {name for verdict in group.verdicts for name in (verdict.first, verdict.second)}
    models = [model for model in group.models if model.name in compared]
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        return []
    unit = group.metric.unit
    cells = {(v.first, v.second): _cell(v, unit, swapped=False) for v in group.verdicts}
    cells |= {(v.second, v.first): _cell(v, unit, swapped=True) for v in group.verdicts}
    return [Row(row, tuple((column, cells.get((row.name, column.name))) for column in models)) for row in models]


def _cell(verdict: Verdict, unit: Unit, swapped: bool) -> Cell:
    """The pair as its first model sees it, or, `swapped`, its second."""
    found, estimate, kind = verdict.interval, verdict.difference.estimate, verdict.kind
    if not swapped:
        return Cell(kind, _signed(estimate, unit), range_words(found, unit), verdict.words)
    turned = Interval(-found.high, -found.low)
    seen: Seen = "worse" if kind == "better" else kind
    return Cell(seen, _signed(-estimate, unit), range_words(turned, unit), verdict.words)


def _signed(difference: float, unit: Unit) -> str:
    """A difference with its sign, a plus too."""
    text = difference_number(difference, unit)
    return f"+{text}" if difference > 0 and not text.startswith("-") else text
