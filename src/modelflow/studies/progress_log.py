"""How far a study is, logged where Python runs it: in a notebook's cell, in lines elsewhere, or not at all.

with progress_log(due, jobs, verbose=True) as log:
    train_due(due, engine, log, written)
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.io.faces import html
from modelflow.io.lines import line
from modelflow.studies.plan import Event, Outcome, Plan
from modelflow.studies.progress import Pace, StudyProgress

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

SECONDS_BETWEEN_PICTURES = 0.5
MAX_LINES = 30  # that a cell shows


class ProgressLog(Protocol):
    """What a study's events are logged by."""

    def on_event(self, event: Event) -> None:
        """How far one run is."""

    def on_end(self, plan: Plan, outcome: Outcome) -> None:
        """How a run ended."""

    def log(self, text: str) -> None:
        """Something else to be said."""


class Silence:
    """Says nothing."""

    def on_event(self, event: Event) -> None:
        pass

    def on_end(self, plan: Plan, outcome: Outcome) -> None:
        pass

    def log(self, text: str) -> None:
        pass


class Lines:
    """Lines on the error stream: how each run ends, and now and then how far all are."""

    def __init__(self, progress: StudyProgress) -> None:
        self._progress, self._pace = progress, Pace()

    def on_event(self, event: Event) -> None:
        self._progress.on_event(event)
        if event.note:
            self.log(f"{event.title}: {event.note}")
        elif self._pace.is_due():
            self.log(self._progress.left)

    def on_end(self, plan: Plan, outcome: Outcome) -> None:
        self.log(self._progress.on_end(plan, outcome))

    def log(self, text: str) -> None:
        line(text, errors=True)
        self._pace.reset()


class Cell:
    """A part of a notebook's cell that is drawn anew as the study goes on."""

    def __init__(self, progress: StudyProgress) -> None:
        from IPython.display import display

        self._progress = progress
        self._running: dict[str, Event] = {}
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._drawn = time.monotonic()
        self._handle: DisplayHandle = display(self, display_id=True)  # type: ignore[no-untyped-call]

    def on_event(self, event: Event) -> None:
        self._progress.on_event(event)
        if event.title not in self._progress.ended:
            self._running[event.title] = event
        if event.note:
            self.log(f"{event.title}: {event.note}")
        elif time.monotonic() - self._drawn >= SECONDS_BETWEEN_PICTURES:
            self.draw()

    def on_end(self, plan: Plan, outcome: Outcome) -> None:
        self._running.pop(plan.title, None)
        self.log(self._progress.on_end(plan, outcome))

    def log(self, text: str) -> None:
        self._lines.extend(text.splitlines())
        self.draw()

    def draw(self) -> None:
        self._handle.update(self)  # type: ignore[no-untyped-call]
        self._drawn = time.monotonic()

    def __repr__(self) -> str:
        return "\n".join([*self._lines, self._progress.left])

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self._progress.share:.4f}" max="1"></progress> {html.text(self._progress.left)}'
        return html.block(
            *(html.paragraph(line, "line") for line in self._lines),
            html.Markup(f"<p>{bar}</p>"),
            *(html.paragraph(_words(event)) for event in self._running.values()),
        )


def _words(event: Event) -> str:
    loss = "" if event.loss is None else f", loss {event.loss:.3f}"
    return f"{event.title}: {event.done:.1f}/{event.total} epochs{loss}"


@contextmanager
def progress_log(due: list[Plan], jobs: int, verbose: bool, metric: Metric = ACCURACY) -> Iterator[ProgressLog]:
    """A log of the runs that are `due`, trained so many at a time, as it suits where Python runs.

    `metric` is what their study is decided by.
    """
    if not verbose:
        yield Silence()
        return
    progress = StudyProgress(due, jobs, metric)
    if not in_kernel():
        yield Lines(progress)
        return
    cell = Cell(progress)
    try:
        yield cell
    finally:
        cell.draw()


def in_kernel() -> bool:
    """Whether a notebook's kernel runs this, as IPython knows."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
