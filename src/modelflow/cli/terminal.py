"""What the terminal shows: lines, tables and progress. Rich is imported when a table or a bar is drawn. No torch.

say("Results: results")                                   fail("my_net.json: no such file")
table(("model", "parameters"), [("generic_2", "11,854")])
"""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

from modelflow.io.process import obeys_cursor
from modelflow.text import ended, one_line, shown, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from modelflow.analysis.archive import Content
    from modelflow.analysis.leaderboard import LeaderboardRow
    from modelflow.errors import ModelFlowError
    from modelflow.io.faces.face import Face
    from modelflow.networks.difference import Difference
    from modelflow.networks.trace import Layer, Shape, Trace
    from modelflow.report.comparison import ShownComparison
    from modelflow.results.records import Run
    from modelflow.studies.plan import Event, Plan
    from modelflow.studies.progress import StudyProgress

WIDTH_OF_A_FILE = 120
MAX_NAME_WIDTH = 24


def say(message: str) -> None:
    """A line on the output."""
    click.echo(visible(message))


def log(message: str) -> None:
    """A line on the error stream: what is being done, beside the output."""
    click.echo(visible(message), err=True)


def say_json(data: object) -> None:
    """Data on the output as JSON, which is ASCII without control characters, and harmless in a terminal as it is."""
    click.echo(json.dumps(data, indent=2).replace("\x7f", r"\u007f"))


def say_csv(text: str) -> None:
    """A CSV file on the output: into a file or a pipe as it is, in a terminal each cell `one_line`."""
    if sys.stdout.isatty():
        cells = [[one_line(cell) for cell in row] for row in csv.reader(io.StringIO(text))]
        harmless = io.StringIO()
        csv.writer(harmless, lineterminator="\n").writerows(cells)
        text = harmless.getvalue()
    click.echo(text, nl=False)


def fail(message: str) -> None:
    """A line on the error stream, marked as an error."""
    colour = "red" if obeys_cursor(sys.stderr) and not os.environ.get("NO_COLOR") else None
    click.secho(f"Error: {visible(message)}", err=True, fg=colour)


def draw(picture: str) -> None:
    """Lines of text that are cut rather than wrapped where the terminal is narrower."""
    width = shutil.get_terminal_size().columns if obeys_cursor(sys.stdout) else None
    click.echo("\n".join(line[:width] for line in picture.splitlines()))


def console(stderr: bool = False) -> "Console":
    """The output or the error stream, as wide as the terminal, or `WIDTH_OF_A_FILE` where it is none.

    Whatever colours the surroundings ask for, no escape code is written but into a terminal.
    """
    from rich.console import Console

    seen = obeys_cursor(sys.stderr if stderr else sys.stdout)
    return Console(stderr=stderr, highlight=False, force_terminal=seen, width=None if seen else WIDTH_OF_A_FILE)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", left: int = 1) -> None:
    """A table whose first `left` columns are text and the others numbers; no markup is read in its cells.

    Where the terminal is narrow, text is folded; numbers and short names of rows (the first column) are not.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=Text(visible(title)) if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    whole = {
        i
        for i in range(len(header))
        if i >= left or (i == 0 and max((len(row[0]) for row in rows), default=0) <= MAX_NAME_WIDTH)
    }
    for i, name in enumerate(header):
        justify: Literal["left", "right"] = "left" if i < left else "right"
        drawn.add_column(Text(visible(name)), justify=justify, overflow="fold", no_wrap=i in whole)
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    console().print("", drawn, sep="\n")


def leaderboard_table(rows: "Sequence[LeaderboardRow]", sorted_by: str | None = None) -> None:
    """The summary table, best first, beside the card's figures."""
    from modelflow.analysis.leaderboard import heading, notes, table_of

    drawn, title, below = table_of(rows, sorted_by), heading(rows), notes(rows)
    table(drawn.header, drawn.lines, title, drawn.left)
    for note in below:
        say(note)


def say_text(face: "Face", form: str) -> None:
    """What shows itself, in Markdown or in LaTeX."""
    click.echo(visible(face.to_latex() if form == "latex" else face.to_markdown()), nl=False)


def comparison_tables(comparison: "ShownComparison") -> None:
    """The headline, accuracies with their intervals, then a verdict a line, the best pair first."""
    found = comparison.scores()
    say(comparison.headline)
    table(found.header, found.lines, found.caption, found.left)
    say("")
    for verdict in comparison.verdicts:
        if ended(verdict.words) != comparison.headline:
            say(verdict.words)
    for note in comparison.notes:
        say(note)


def trace_table(traced: "Trace") -> None:
    """A line a layer: output shape, parameters, multiply-accumulates, bytes of activations."""
    total = ("total", "", _count(traced.parameters), _count(traced.macs), _count(traced.activation_bytes))
    layers_table(traced.input_shape, traced.rows(), total)
    most, layer = traced.peak
    say(f"peak activation memory: {most:,} bytes per image, while {layer.name} runs")


def layers_table(input_shape: "Shape", layers: "Iterable[tuple[int, Layer]]", *below: tuple[str, ...]) -> None:
    """As `trace_table`, of some layers, each with how many others it lies in; then the rows `below`."""
    from modelflow.networks.trace import shape_text

    rows: list[tuple[str, ...]] = [("input", shape_text(input_shape), "", "", "")]
    for depth, layer in layers:
        costs = _count(layer.own_parameters), _count(layer.own_macs), _count(layer.own_activation_bytes)
        rows.append(("  " * depth + layer.name, shape_text(layer.output_shape), *costs))
    table(("layer", "output", "parameters", "MACs", "activation bytes"), [*rows, *below])


def difference_table(found: "Difference") -> None:
    """The layers of two networks side by side, marked where they differ; where costs differ, both: A's, then B's."""
    rows = []
    for pair in found.pairs:
        mark = "" if pair.is_same else "-" if pair.b is None else "+" if pair.a is None else "~"
        sides = [pair.a, pair.b]
        costs = [
            [_count(getattr(side, cost)) if side else "" for side in sides]
            for cost in ("parameters", "macs", "activation_bytes")
        ]
        rows.append((mark, *pair.items, *(_both(*cost) for cost in costs)))
    totals = [
        (_count(getattr(found.a, cost)), _count(getattr(found.b, cost)))
        for cost in ("parameters", "macs", "activation_bytes")
    ]
    rows.append(("", "total", "", *(_both(*total) for total in totals)))
    table(("", "A", "B", "parameters", "MACs", "activation bytes"), rows, left=3)


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} → {b}" if a and b else a or b


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def answer(content: "Content") -> None:
    """What a report answers, what is missing of its study, and where it lies."""
    from modelflow.report.answer import after_headline, answers
    from modelflow.results.layout import REPORT

    for group, words in zip(content.groups, answers(content), strict=True):
        say(words)
        if more := after_headline(group):
            say(more)
    if content.missing:
        say(content.missing)
    say(f"Report: {(content.folder / REPORT).resolve()}")


class RunsProgress:
    """Bars for runs that are under way and one for all of them; plain lines where the output is no terminal."""

    def __init__(self, progress: "Progress", study: "StudyProgress", epochs: int) -> None:
        from modelflow.studies.progress import Pace

        self._progress = progress
        self._study = study
        self._epochs = epochs
        self._pace = Pace()
        self._tasks: dict[str, TaskID] = {}
        self._overall = progress.add_task("all runs", total=1.0, done="", note="", visible=study.runs > 1)

    def on_event(self, event: "Event") -> None:
        """How far one run is; what is heard late, of a run that has ended, is not shown."""
        if event.title in self._study.ended:
            return
        if event.title not in self._tasks:
            self._tasks[event.title] = self._progress.add_task(event.title, total=self._epochs, done="", note="")
        if event.note and not self._progress.console.is_terminal:
            self.log(f"{event.title}: {event.note}")
        note = shown(event.note) if event.note else "" if event.loss is None else f"loss {event.loss:.3f}"
        done = f"{event.done:.1f}/{self._epochs} epochs"
        self._progress.update(self._tasks[event.title], completed=event.done, done=done, note=note)
        self._study.on_event(event)
        self._show_all()
        if not self._progress.console.is_terminal and self._pace.is_due():
            self.log(self._study.left)

    def on_end(self, plan: "Plan", outcome: "Run | ModelFlowError") -> None:
        """Takes a run's bar away and says how it ended, and how much is left."""
        if plan.title in self._tasks:
            self._progress.remove_task(self._tasks.pop(plan.title))
        said = self._study.on_end(plan, outcome)
        self._show_all()
        self.log(said)

    def log(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(visible(text), markup=False, soft_wrap=True)
        self._pace.reset()

    def _show_all(self) -> None:
        self._progress.update(self._overall, completed=self._study.share, done=self._study.left)


@contextmanager
def runs_progress(study: "StudyProgress", epochs: int) -> Iterator[RunsProgress]:
    """The bars of a study, shown on the error stream while the context lasts."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[done]}", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        yield RunsProgress(progress, study, epochs)
