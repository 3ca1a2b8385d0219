"""What the terminal shows: tables and progress, by rich. No torch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from modelflow.leaderboard import HEADER, Row, cells
from modelflow.shapes import Shape, Trace

WIDTH_OF_A_FILE = 120


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDTH_OF_A_FILE)


out = _console()
err = _console(stderr=True)


def say(message: str, style: str = "") -> None:
    """One line on the output, as it stands: no markup is read in it."""
    out.print(Text(message, style=style), soft_wrap=True)


def warn(message: str) -> None:
    """One line on the error stream, marked as a warning."""
    err.print(Text("warning: " + message, style="yellow"), soft_wrap=True)


def fail(message: str) -> None:
    """One line on the error stream, marked as an error."""
    err.print(Text("error: " + message, style="red"), soft_wrap=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", left: int = 1) -> None:
    """A table whose first `left` columns are text and the others numbers."""
    drawn = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(header):
        drawn.add_column(Text(name), justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    out.print(drawn)


def leaderboard_table(rows: Sequence[Row]) -> None:
    """The summary table, best first, beside the card's figures."""
    title = "Test accuracy, best first (protocol card: the test images were the validation images)"
    table(HEADER, [cells(row) for row in rows], title, left=2)


def trace_table(traced: Trace) -> None:
    """A line a layer: output shape, parameters, multiply-accumulates, bytes of activations."""
    rows = [("input", _text(traced.input_shape), "", "", "")]
    rows += [
        (layer.name, _text(layer.output_shape), _count(layer.parameters), _count(layer.macs), _count(layer.activation_bytes))
        for layer in traced.layers
    ]
    rows.append(("total", "", f"{traced.parameters:,}", f"{traced.macs:,}", f"{traced.activation_bytes:,}"))
    table(("layer", "output", "parameters", "MACs", "activation bytes"), rows)


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _text(shape: Shape) -> str:
    return "x".join(str(n) for n in shape)


class RunsProgress:
    """Bars for runs that are under way and one for all of them; plain lines where the output is no terminal."""

    def __init__(self, progress: Progress, n_runs: int, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._tasks: dict[str, TaskID] = {}
        self._overall = progress.add_task("all runs", total=n_runs * epochs, note="", visible=n_runs > 1)
        self._done: dict[str, float] = {}

    def show(self, event: Any) -> None:
        """How far one run is (a `study.Event`)."""
        if event.title not in self._tasks:
            self._tasks[event.title] = self._progress.add_task(event.title, total=self._epochs, note="")
        note = f"loss {event.loss:.3f}"
        self._progress.update(self._tasks[event.title], completed=event.done, note=note)
        self._done[event.title] = event.done
        self._progress.update(self._overall, completed=sum(self._done.values()))

    def ended(self, title: str, message: str) -> None:
        """Takes a run's bar away and says how it ended."""
        if title in self._tasks:
            self._progress.remove_task(self._tasks.pop(title))
        self._done[title] = self._epochs
        self._progress.update(self._overall, completed=sum(self._done.values()))
        self._progress.console.print(Text(message), soft_wrap=True)


@contextmanager
def runs_progress(n_runs: int, epochs: int) -> Iterator[RunsProgress]:
    """The bars of a study, shown while the context lasts."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        yield RunsProgress(progress, n_runs, epochs)
