"""What the terminal shows: lines, tables and progress. Rich is imported when a table or a bar is drawn. No torch.

say("Results: results")                                   fail("my_net.json: no such file")
table(("model", "parameters"), [("generic_2", "11,854")])
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from modelflow.leaderboard import Row
    from modelflow.shapes import Trace

WIDTH_OF_A_FILE = 120
LONGEST_KEPT = 24


def say(message: str) -> None:
    """A line on the output."""
    click.echo(message)


def tell(message: str) -> None:
    """A line on the error stream: what is being done, beside the output."""
    click.echo(message, err=True)


def fail(message: str) -> None:
    """A line on the error stream, marked as an error."""
    colour = None if os.environ.get("NO_COLOR") else "red"
    click.secho(f"error: {message}", err=True, fg=colour)


def draw(picture: str) -> None:
    """Lines of text that are cut rather than wrapped where the terminal is narrower."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo("\n".join(line[:width] for line in picture.splitlines()))


def console(stderr: bool = False) -> "Console":
    """The output or the error stream, as wide as the terminal, or `WIDTH_OF_A_FILE` where it is none."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else WIDTH_OF_A_FILE)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", left: int = 1) -> None:
    """A table whose first `left` columns are text and the others numbers; no markup is read in its cells.

    Where the terminal is narrow, text is folded; numbers and short names of rows (the first column) are not.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    whole = {
        i
        for i in range(len(header))
        if i >= left or (i == 0 and max((len(row[0]) for row in rows), default=0) <= LONGEST_KEPT)
    }
    for i, name in enumerate(header):
        justify: Literal["left", "right"] = "left" if i < left else "right"
        drawn.add_column(Text(name), justify=justify, overflow="fold", no_wrap=i in whole)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console().print("", drawn, sep="\n")


def leaderboard_table(rows: "Sequence[Row]") -> None:
    """The summary table, best first, beside the card's figures."""
    from modelflow.leaderboard import HEADER, cells, dead_note, heading

    columns = len(HEADER) - 2 * all(row.card_accuracy is None for row in rows)  # the card's two come last
    table(HEADER[:columns], [cells(row)[:columns] for row in rows], heading(rows), left=2)
    if note := dead_note(rows):
        say(note)


def trace_table(traced: "Trace") -> None:
    """A line a layer: output shape, parameters, multiply-accumulates, bytes of activations."""
    from modelflow.shapes import shape_text

    rows = [("input", shape_text(traced.input_shape), "", "", "")]
    for layer in traced.layers:
        costs = _count(layer.parameters), _count(layer.macs), _count(layer.activation_bytes)
        rows.append((layer.name, shape_text(layer.output_shape), *costs))
    rows.append(("total", "", _count(traced.parameters), _count(traced.macs), _count(traced.activation_bytes)))
    table(("layer", "output", "parameters", "MACs", "activation bytes"), rows)


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


class RunsProgress:
    """Bars for runs that are under way and one for all of them; plain lines where the output is no terminal."""

    def __init__(self, progress: "Progress", n_runs: int, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._tasks: dict[str, TaskID] = {}
        self._overall = progress.add_task("all runs", total=n_runs * epochs, note="", visible=n_runs > 1)
        self._done: dict[str, float] = {}

    def show(self, event: Any) -> None:
        """How far one run is (a `study.Event`)."""
        if event.title not in self._tasks:
            self._tasks[event.title] = self._progress.add_task(event.title, total=self._epochs, note="")
        if event.note and not self._progress.console.is_terminal:
            self._progress.console.print(f"{event.title}: {event.note}", markup=False, soft_wrap=True)
        note = event.note or f"loss {event.loss:.3f}"
        self._progress.update(self._tasks[event.title], completed=event.done, note=note)
        self._count(event.title, event.done)

    def ended(self, title: str, message: str) -> None:
        """Takes a run's bar away and says how it ended."""
        if title in self._tasks:
            self._progress.remove_task(self._tasks.pop(title))
        self._count(title, self._epochs)
        self._progress.console.print(message, markup=False, soft_wrap=True)

    def _count(self, title: str, epochs_done: float) -> None:
        self._done[title] = epochs_done
        self._progress.update(self._overall, completed=sum(self._done.values()))


@contextmanager
def runs_progress(n_runs: int, epochs: int) -> Iterator[RunsProgress]:
    """The bars of a study, shown on the error stream while the context lasts."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.completed:.1f}/{task.total} epochs", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield RunsProgress(progress, n_runs, epochs)
