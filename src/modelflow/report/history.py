"""The losses of a run, as Python's users get them: a curve, a table. No torch."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from modelflow.io.bounds import MAX_EPOCHS
from modelflow.io.faces import html
from modelflow.io.faces.face import Face
from modelflow.io.faces.html import Markup
from modelflow.io.faces.table import Table
from modelflow.report.answer import of_validation
from modelflow.results.records import Epoch


class History(Face, tuple[Epoch, ...]):
    """The epochs of a run with their losses; `title` says of which run, `protocol` by which protocol."""

    title: str
    protocol: str

    def __new__(cls, epochs: Iterable[Epoch], title: str, protocol: str) -> "History":
        made = super().__new__(cls, epochs)
        made.title, made.protocol = title, protocol
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        """For copies and pickles."""
        return tuple(self), self.title, self.protocol

    def curves(self) -> Markup:
        """Both losses over the epochs; nothing where there are none."""
        return _curves(self) if self else Markup("")

    def _headline(self) -> str:
        return self.title

    def _tables(self) -> Sequence[Table]:
        lines = [(str(one.epoch), _loss(one.loss), _loss(one.val_loss)) for one in self]
        caption = f"Mean loss per image after each epoch{of_validation(self.protocol)}"
        return [Table(("Epoch", "Training loss", "Validation loss"), lines, 0, caption)]

    def _paper_tables(self) -> Sequence[Table]:
        (table,) = self._tables()
        return [Table(table.header, table.lines, table.left, f"{self.title}: {_small(table.caption)}")]

    def _body(self) -> Sequence[Markup]:
        return [self.curves()]

    def _rows(self) -> Sequence[dict[str, Any]]:
        return [one.model_dump() for one in self]


def _small(words: str) -> str:
    return words[:1].lower() + words[1:]


def _loss(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _curves(history: History) -> Markup:
    from modelflow.figures.losses import plot_losses
    from modelflow.figures.style import notebook_png

    by_epoch = {one.epoch: one for one in history if 0 < one.epoch <= MAX_EPOCHS}
    found = [by_epoch.get(number) for number in range(1, max(by_epoch, default=0) + 1)]
    losses = [math.nan if one is None else one.loss for one in found]
    val_losses = [None if one is None else one.val_loss for one in found]
    title = f"{history.title}: loss over {len(found):,} epoch{'s' * (len(found) != 1)}{of_validation(history.protocol)}"
    content, size = notebook_png(plot_losses(losses, val_losses, title))
    return html.picture(content, "image/png", title, size["width"])
