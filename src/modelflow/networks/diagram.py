"""The architecture as a picture (SVG) and as text for the terminal, drawn from a trace. No torch, no numpy.

svg(trace(spec), "generic_2")  ->  "<svg …>"      self-contained, 900 px wide
text(trace(spec))              ->  one line a layer, at most 100 columns
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, pairwise
from string import ascii_uppercase

from modelflow.networks.layers.conv import Conv
from modelflow.networks.layers.pool import Pool
from modelflow.networks.layers.residual import Residual
from modelflow.networks.trace import Layer, Shape, Trace

TIMES = "\N{MULTIPLICATION SIGN}"
TEXT_COLUMNS, MIN_BAR, MAX_BAR = 100, 4, 12
MIN_OPERATIONS = 33  # columns: dropout of any share, linear, ReLU
INSIDE, ADDED = "╎ ", "╰ "  # beside the layers of a residual, and where its input is added

WIDTH, MARGIN = 900, 22
ROW_WIDTH = WIDTH - 2 * MARGIN
TITLE_HEIGHT, FOOT_HEIGHT = 52, 58
ROW_HEIGHT, MIDDLE, UNDER, LINE = 238, 110, 182, 15
ARROW_LENGTH, ARROW_DROP = 30.0, 6.0
MAX_STRETCH = 1.3
MIN_SIDE, MAX_SIDE = 10.0, 58.0
MIN_WINDOWED = 20.0
MIN_COLUMN, MAX_COLUMN = 14.0, 112.0
MAX_PLANES, STACK_DEPTH = 8, 20.0
MIN_UNIT = 6.0

MAX_CAPTION = 24  # characters of a line
CAPTION_LINES = 3  # that a row has room for
SKIP_BELOW, SKIP_APART, MAX_SKIP = 10.0, 7.0, 60.0  # below the glyphs, between the lines of skips, below the middle
TURN_LEFT, TURN_RIGHT = MARGIN - 12, ARROW_LENGTH / 2  # where a row's line goes on to the next: x, and beyond the last
MARK_RADIUS, MARKS_APART = 6.5, 16.0  # of the letters where a skip goes on in another row

Caption = tuple[str, float, str, str]

PAPER, INK, FAINT, RULE = "#ffffff", "#1f2328", "#57606a", "#d0d7de"
FILLS = {"input": "#e4e7eb", "conv": "#a9d3ee", "pool": "#fbdc9a", "flatten": "#e4e7eb", "linear": "#a6dfcb"}
LINES = {"input": "#57606a", "conv": "#00588c", "pool": "#8a5a00", "flatten": "#57606a", "linear": "#00694d"}


@dataclass(frozen=True)
class Step:
    """One thing to draw: what is done, in order, and what comes out of it.

    `depth` says in how many residuals it lies; `source` is the place of the step whose output is added to its own.
    """

    kind: str
    name: str
    operations: tuple[str, ...]
    shape: Shape
    kernel_size: int = 0
    parameters: int = 0
    depth: int = 0
    source: int | None = None

    @property
    def is_flat(self) -> bool:
        """Whether it gives units, not maps."""
        return len(self.shape) < 2

    @property
    def units(self) -> int:
        return math.prod(self.shape)

    @property
    def sides(self) -> Shape:
        """Height and width of its maps; of rows of values a height of 1."""
        return (1, *self.shape[1:])[-2:]


def steps(trace: Trace) -> list[Step]:
    """The input, then every layer with its operations in the order of the forward pass (dropout, itself, ReLU)."""
    drawn = [Step("input", "input", (), trace.input_shape)]
    for layer in trace.layers:
        _add_steps(drawn, layer, 0)
    return drawn


def _add_steps(drawn: list[Step], layer: Layer, depth: int) -> None:
    """A layer's steps: those of the layers that it holds, then its own."""
    source = len(drawn) - 1 if isinstance(layer.written, Residual) else None
    for inner in layer.inner:
        _add_steps(drawn, inner, depth + (source is not None))
    if layer.inner and not layer.operations:
        return
    operations = tuple(re.sub(r"(\d)x(\d)", rf"\1{TIMES}\2", operation) for operation in layer.operations)
    shape, parameters = layer.output_shape, layer.own_parameters
    drawn.append(Step(layer.role, layer.name, operations, shape, _window_of(layer), parameters, depth, source))


def _window_of(layer: Layer) -> int:
    """The side of the window that slides over its input; 0 where there is none."""
    if isinstance(layer.written, Conv):
        return layer.written.kernel[1]
    return layer.written.window[1] if isinstance(layer.written, Pool) and len(layer.output_shape) == 3 else 0


def shape_text(shape: Shape) -> str:
    """Sizes with multiplication signs between them."""
    return TIMES.join(str(n) for n in shape)


def cost_text(trace: Trace) -> str:
    """Total parameters and multiply-accumulates in words."""
    return f"{trace.parameters:,} parameters · {trace.macs_text} multiply-accumulates (MACs) per image"


# --- text ------------------------------------------------------------------------------------------------------------


def text(trace: Trace) -> str:
    """The architecture in plain text: a line a layer, its output as a bar, at most 100 columns wide."""
    drawn = steps(trace)
    rows = [_cells(step) for step in drawn]
    others = [max(len(row[i]) for row in rows) for i in range(3)]
    left = TEXT_COLUMNS - sum(others) - len("├─▶ ") - 4 * 2
    wrapped = [_wrapped(step, max(MIN_OPERATIONS, left - MIN_BAR)) for step in drawn]
    widest = max(len(line) for lines in wrapped for line in lines)
    bars = _bars(drawn, min(MAX_BAR, left - widest))
    lines = []
    for i, ((shape, name, parameters), (first, *more), bar) in enumerate(zip(rows, wrapped, bars, strict=True)):
        branch = "┌" if i == 0 else "└" if i == len(rows) - 1 else "├"
        cells = (
            first.ljust(widest),
            shape.rjust(others[0]),
            name.ljust(others[1]),
            parameters.rjust(others[2]),
            bar,
        )
        lines.append(f"{branch}─▶ {'  '.join(cells)}".rstrip())
        lines += [f"{' ' if branch == '└' else '│'}   {line}" for line in more]
    lines += ["", cost_text(trace), "Bars: side of the maps █, number of units ▪.", ""]
    return "\n".join(_shortened(line, TEXT_COLUMNS) for line in lines)


def _wrapped(step: Step, most: int) -> list[str]:
    """What is done, on lines of at most `most` characters if it can be, beside the skips that lead past it."""
    beside = INSIDE * step.depth
    first = beside if step.source is None else beside + ADDED
    lines = [first]
    for i, operation in enumerate(step.operations or [step.kind]):
        words = f" → {operation}" if i else operation
        if i and len(lines[-1] + words) > most:
            lines.append(beside + " ")
        lines[-1] += words
    return lines


def _cells(step: Step) -> tuple[str, str, str]:
    """Shape, name, parameters."""
    parameters = f"{step.parameters:,} parameters" if step.parameters else ""
    return shape_text(step.shape), step.name if step.name != step.kind else "", parameters


def _bars(drawn: list[Step], columns: int) -> list[str]:
    most_units = max((step.units for step in drawn if step.is_flat), default=1)
    widest = max((step.sides[1] for step in drawn if not step.is_flat), default=1)
    return [
        "▪" * max(1, round(columns * step.units / most_units))
        if step.is_flat
        else "█" * max(1, round(columns * step.sides[1] / widest))
        for step in drawn
    ]


# --- svg -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Glyph:
    """A step with the size of what is drawn for it, and the room that its captions need."""

    step: Step
    width: float
    height: float
    depth: float
    room: float


@dataclass(frozen=True)
class _Placed:
    """A glyph with its place on the page: the left edge and width of its cell, the middle of its row."""

    glyph: _Glyph
    left: float
    cell: float
    middle: float

    @property
    def step(self) -> Step:
        return self.glyph.step

    @property
    def centre(self) -> float:
        return self.left + self.cell / 2

    @property
    def x(self) -> float:
        return self.centre + ARROW_LENGTH / 2 - (self.glyph.width + self.glyph.depth) / 2

    @property
    def y(self) -> float:
        return self.middle - self.glyph.height / 2

    @property
    def right(self) -> float:
        return self.x + self.glyph.width + self.glyph.depth


def svg(trace: Trace, title: str) -> str:
    """The architecture as a self-contained SVG 900 px wide: maps as stacked planes, units as columns."""
    title = _legal(title)
    rows = _placed(_rows(_glyphs(steps(trace))))
    height = round(rows[-1][0].middle - MIDDLE) + ROW_HEIGHT + FOOT_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}" font-family="Helvetica, Arial, \'DejaVu Sans\', sans-serif">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(_description(trace))}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        _words(_shortened(title, 80), MARGIN, 32, 18, anchor="start", weight="bold", most=ROW_WIDTH),
    ]
    for row in rows:
        parts.extend(_drawn_row(row))
    parts.extend(_turn(before[-1], after[0]) for before, after in pairwise(rows))
    skips = list(_skips(rows))
    parts.extend(part for skip in skips for part in _skip_line(skip))
    parts.extend(mark for skip in skips for mark in _skip_marks(skip))
    parts.extend(_foot(trace, height, skips))
    return "\n".join([*parts, "</svg>", ""])


def _legal(words: str) -> str:
    """`words` without what XML forbids and without marks that would turn the direction of the text around it."""
    legal = (c if c.isprintable() else " " for c in words)
    return " ".join("".join(legal).split()) or "(no name)"


def _shortened(words: str, most: int) -> str:
    return words if len(words) <= most else words[: most - 1] + "…"


def _description(trace: Trace) -> str:
    layers = (f"{s.name}: {', then '.join(s.operations) or 'image'}, gives {shape_text(s.shape)}" for s in steps(trace))
    return ". ".join([*layers, cost_text(trace)]) + "."


def _glyphs(drawn: list[Step]) -> list[_Glyph]:
    largest_map = max((max(step.sides) for step in drawn if not step.is_flat), default=1)
    most_units = max((step.units for step in drawn if step.is_flat), default=1)
    glyphs = []
    for step in drawn:
        width, height, depth = _box(step, largest_map, most_units)
        captions = max(_text_width(words, size, weight) for words, size, weight, _ in (*_above(step), *_below(step)))
        glyphs.append(_Glyph(step, width, height, depth, max(captions + 8, width + depth + ARROW_LENGTH)))
    return glyphs


def _box(step: Step, largest_map: int, most_units: int) -> tuple[float, float, float]:
    """Width, height and depth of the glyph: planes grow with the map's side, columns with the root of the units."""
    if step.is_flat:
        share = math.sqrt(step.units / most_units)
        return 14.0, MIN_COLUMN + (MAX_COLUMN - MIN_COLUMN) * share, 0.0
    height, width = (MIN_SIDE + (MAX_SIDE - MIN_SIDE) * side / largest_map for side in step.sides)
    planes = min(step.shape[0], MAX_PLANES)
    return width, height, STACK_DEPTH * (planes - 1) / (MAX_PLANES - 1)


def _rows(glyphs: list[_Glyph]) -> list[list[_Glyph]]:
    """One row when all fits; otherwise the featurizer and the classifier on rows of their own, evenly filled."""
    if _fits(glyphs):
        return [glyphs]
    flat = next((i for i, glyph in enumerate(glyphs) if glyph.step.is_flat), len(glyphs))
    ends = _ends(glyphs)
    parts = [(start, stop) for start, stop in ((0, flat), (flat, len(glyphs))) if start < stop]
    return [
        glyphs[start:stop]
        for first, last in parts
        for start, stop in pairwise(_evenly(glyphs, [end for end in ends if first <= end <= last]))
    ]


def _fits(row: list[_Glyph]) -> bool:
    return sum(glyph.room for glyph in row) <= ROW_WIDTH


def _ends(glyphs: list[_Glyph]) -> list[int]:
    """Where a row may end: not within a residual that has room on a row. The line past it begins with the row then."""
    within = set[int]()
    for end, glyph in enumerate(glyphs):
        if (source := glyph.step.source) is not None and _fits(glyphs[source + 1 : end + 1]):
            within.update(range(source + 2, end + 1))
    return [end for end in range(len(glyphs) + 1) if end not in within]


def _evenly(glyphs: list[_Glyph], ends: list[int]) -> list[int]:
    """Those of the `ends` between which rows have as many glyphs as each other, as far as may be, and room for them."""
    first, length = ends[0], ends[-1] - ends[0]
    for n_rows in range(math.ceil(sum(glyph.room for glyph in glyphs[first : ends[-1]]) / ROW_WIDTH), length):
        even = (first + round(i * length / n_rows) for i in range(n_rows + 1))
        bounds = sorted({_nearest(ends, place) for place in even})
        if all(_fits(glyphs[start:stop]) for start, stop in pairwise(bounds)):
            return bounds
    return ends


def _nearest(ends: list[int], place: int) -> int:
    return min(ends, key=lambda end: abs(end - place))


def _placed(rows: list[list[_Glyph]]) -> list[list[_Placed]]:
    placed: list[list[_Placed]] = []
    top = TITLE_HEIGHT
    for row in rows:
        stretch = min(MAX_STRETCH, ROW_WIDTH / sum(glyph.room for glyph in row))
        left = float(MARGIN)
        top += _more_room(row)
        placed.append([])
        for glyph in row:
            placed[-1].append(_Placed(glyph, left, glyph.room * stretch, top + MIDDLE))
            left += glyph.room * stretch
        top += ROW_HEIGHT
    return placed


def _more_room(row: Sequence["_Glyph | _Placed"]) -> int:
    """Pixels that its captions need above a row beyond what each row has."""
    return LINE * max(0, *(len(_above(glyph.step)) - CAPTION_LINES for glyph in row))


def _drawn_row(row: list[_Placed]) -> Iterator[str]:
    for i, placed in enumerate(row):
        if placed.step.operations:
            yield _arrow(row[i - 1].right + 5 if i else placed.left, placed.x - 5, placed.middle + ARROW_DROP)
        yield from _column(placed) if placed.step.is_flat else _planes(placed)
        yield from _captions(placed)
    for before, placed in pairwise(row):
        if placed.step.kernel_size and min(before.glyph.height, placed.glyph.height) >= MIN_WINDOWED:
            yield _window(before, placed)


def _planes(placed: _Placed) -> Iterator[str]:
    glyph = placed.glyph
    n_planes = min(glyph.step.shape[0], MAX_PLANES)
    for i in reversed(range(n_planes)):
        offset = glyph.depth * i / max(n_planes - 1, 1)
        yield _rect(placed.x + offset, placed.y - offset, glyph.width, glyph.height, glyph.step.kind)


def _column(placed: _Placed) -> Iterator[str]:
    """A column, with its units drawn one by one where there is room for each."""
    units, kind, height = placed.step.units, placed.step.kind, placed.glyph.height
    yield _rect(placed.x, placed.y, placed.glyph.width, height, kind, radius=5)
    apart = height / units
    if apart < MIN_UNIT:
        return
    for i in range(units):
        yield (
            f'<circle cx="{placed.x + placed.glyph.width / 2:.1f}" cy="{placed.y + (i + 0.5) * apart:.1f}" '
            f'r="{min(4.5, apart / 2 - 0.6):.1f}" fill="{PAPER}" stroke="{LINES[kind]}" stroke-width="1"/>'
        )


def _rect(x: float, y: float, width: float, height: float, kind: str, radius: float = 1) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" '
        f'fill="{FILLS[kind]}" stroke="{LINES[kind]}" stroke-width="1"/>'
    )


def _arrow(start: float, end: float, y: float) -> str:
    return (
        f'<path d="M{start:.1f} {y:.1f}H{end - 5:.1f}" stroke="{FAINT}" stroke-width="1.5" fill="none"/>'
        f'<path d="M{end:.1f} {y:.1f}l-7 -3.8v7.6z" fill="{FAINT}"/>'
    )


def _window(before: _Placed, placed: _Placed) -> str:
    """The window that slides over the maps before, and the one value of the map after that it gives."""
    width, height = before.glyph.width, before.glyph.height
    size = max(3.0, width * placed.step.kernel_size / before.step.shape[2])
    x, y = before.x + width - size - min(3.0, (width - size) / 2), before.y + min(3.0, (height - size) / 2)
    to_x, to_y = placed.x + placed.glyph.width * 0.25, placed.y + placed.glyph.height * 0.25
    colour = LINES[placed.step.kind]
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{size:.1f}" height="{size:.1f}" fill="{PAPER}" fill-opacity="0.75" '
        f'stroke="{colour}" stroke-width="1.2"/>'
        f'<path d="M{x + size:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}L{x + size:.1f} {y + size:.1f}" fill="{colour}" '
        f'fill-opacity="0.10" stroke="{colour}" stroke-width="0.8" stroke-dasharray="3 2"/>'
        f'<circle cx="{to_x:.1f}" cy="{to_y:.1f}" r="1.8" fill="{colour}"/>'
    )


def _captions(placed: _Placed) -> Iterator[str]:
    above, below = _above(placed.step), _below(placed.step)
    top, x, most = placed.middle - MIDDLE, placed.centre + ARROW_LENGTH / 2, placed.cell - 4
    for i, (words, size, weight, colour) in enumerate(above):
        yield _words(words, x, top + 8 + LINE * (i + 3 - len(above)), size, weight=weight, colour=colour, most=most)
    for i, (words, size, weight, colour) in enumerate(below):
        yield _words(words, x, top + UNDER + LINE * i, size, weight=weight, colour=colour, most=most)


def _above(step: Step) -> list[Caption]:
    """What is done, in its order, on as many lines as it takes; the layer itself stands out."""
    captions: list[Caption] = []
    for operation in step.operations:
        strong = operation != "ReLU" and not operation.startswith("dropout")
        look = (12, "bold", LINES[step.kind]) if strong else (12, "normal", INK)
        captions += [(line, *look) for line in _caption_lines(operation)]
    return captions


def _caption_lines(operation: str) -> list[str]:
    """Broken after a comma where it is long."""
    lines = [""]
    for part in re.split(r"(?<=,) ", operation):
        if lines[-1] and len(f"{lines[-1]} {part}") > MAX_CAPTION:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def _below(step: Step) -> list[Caption]:
    """What comes out and what it takes: name, shape, parameters."""
    captions: list[Caption] = [(step.name, 11, "normal", FAINT), (_shape_words(step), 13, "bold", INK)]
    if step.parameters:
        captions.append((f"{step.parameters:,} parameters", 11, "normal", FAINT))
    return captions


def _shape_words(step: Step) -> str:
    if step.is_flat:
        return f"{step.units:,} unit{'s' if step.units > 1 else ''}"
    return shape_text(step.shape)


def _words(
    words: str,
    x: float,
    y: float,
    size: float,
    anchor: str = "middle",
    weight: str = "normal",
    colour: str = INK,
    most: float = ROW_WIDTH,
) -> str:
    """A line of text, squeezed when it would be wider than `most` pixels."""
    wide = _text_width(words, size, weight) > most + 1
    squeezed = f' textLength="{most:.0f}" lengthAdjust="spacingAndGlyphs"' if wide else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}"{squeezed}>{escape(words)}</text>'
    )


def _text_width(words: str, size: float, weight: str) -> float:
    """Pixels that a line takes at most in the usual sans-serif fonts."""
    return sum(1.0 if ord(c) > 0x2E80 else 0.61 for c in words) * size * (1.1 if weight == "bold" else 1)


@dataclass(frozen=True)
class _Skip:
    """From a residual's input to where it is added: a line past the layers in between, below them, row by row.

    Where it goes on in another row, both ends are marked by one letter.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    lines: tuple[float, ...]  # heights, one a row
    exits: tuple[float, ...]  # where the line leaves each row but the last
    entry: float  # where it enters the others
    letter: str


def _skips(rows: list[list[_Placed]]) -> Iterator[_Skip]:
    placed = [(i, glyph) for i, row in enumerate(rows) for glyph in row]
    letters = cycle(ascii_uppercase)
    for source, last, level in sorted(_levels([glyph.step for _, glyph in placed]), key=lambda skip: skip[0]):
        glyph = placed[last][1]
        spanned = list(dict.fromkeys(row for row, _ in placed[source + 1 : last + 1]))
        below = SKIP_BELOW + max(one.glyph.height for _, one in placed[source : last + 1]) / 2
        below = min(below + SKIP_APART * level, MAX_SKIP)
        aside = MARKS_APART * level
        yield _Skip(
            start=_branch(placed[source], placed[source + 1]),
            end=(glyph.x + glyph.glyph.width * 0.3, glyph.y + glyph.glyph.height + 1),
            lines=tuple(rows[row][0].middle + below for row in spanned),
            exits=tuple(_right_end(rows[row][-1]) - MARKS_APART - aside for row in spanned[:-1]),
            entry=MARGIN + aside,
            letter=next(letters) if len(spanned) > 1 else "",
        )


def _levels(drawn: list[Step]) -> Iterator[tuple[int, int, int]]:
    """Each skip from its source to its end, with how many others lie between it and the glyphs."""
    levels: dict[int, int] = {}
    for end, step in enumerate(drawn):
        if step.source is not None:
            levels[end] = 1 + max((level for other, level in levels.items() if other > step.source), default=-1)
            yield step.source, end, levels[end]


def _branch(source: tuple[int, _Placed], first: tuple[int, _Placed]) -> tuple[float, float]:
    """Where a skip leaves its source: below it, or where the next row begins, if what it leads past is there."""
    (row, placed), (next_row, following) = source, first
    if row != next_row:
        return TURN_LEFT, following.middle + ARROW_DROP
    return placed.x + placed.glyph.width * 0.7, placed.y + placed.glyph.height


def _skip_line(skip: _Skip) -> Iterator[str]:
    (x, y), (to_x, to_y), colour = skip.start, skip.end, LINES["conv"]
    path = f"M{x:.1f} {y:.1f}V{skip.lines[0]:.1f}"
    for exit_x, line in zip(skip.exits, skip.lines[1:], strict=True):
        path += f"H{exit_x:.1f}M{skip.entry:.1f} {line:.1f}"
    path += f"H{to_x:.1f}V{to_y + 4:.1f}"
    yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="5 3"/>'
    yield f'<path d="M{to_x:.1f} {to_y:.1f}l-3.8 7h7.6z" fill="{colour}"/>'


def _skip_marks(skip: _Skip) -> Iterator[str]:
    for exit_x, (before, after) in zip(skip.exits, pairwise(skip.lines), strict=True):
        yield from _mark(exit_x, before, skip.letter)
        yield from _mark(skip.entry, after, skip.letter)


def _mark(x: float, y: float, letter: str) -> Iterator[str]:
    colour = LINES["conv"]
    yield (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{MARK_RADIUS}" fill="{PAPER}" stroke="{colour}" stroke-width="1.2"/>')
    yield _words(letter, x, y + 3.3, 9, weight="bold", colour=colour)


def _right_end(placed: _Placed) -> float:
    """Where the line to the next row turns down, after the last of a row."""
    return placed.left + placed.cell + TURN_RIGHT


def _turn(before: _Placed, after: _Placed) -> str:
    """The line from the end of a row to the beginning of the next."""
    y, right, left = before.middle + ARROW_DROP, _right_end(before), TURN_LEFT
    return (
        f'<path d="M{before.right + 5:.1f} {y:.1f}H{right:.1f}V{y + 110:.1f}H{left}V{after.middle + ARROW_DROP:.1f}'
        f'H{after.left:.1f}" fill="none" stroke="{FAINT}" stroke-width="1.5" stroke-linejoin="round"/>'
    )


def _foot(trace: Trace, height: int, skips: list[_Skip]) -> Iterator[str]:
    how = "Planes: a channel each, 8 at most. Their side grows with the map's. Columns: height with the units' root."
    if skips:
        added = "added to the output, A to A" if any(skip.letter for skip in skips) else "added to the output"
        how = f"Planes: a channel each, 8 at most. Columns: height with the units' root. Dashed: {added}."
    yield f'<path d="M{MARGIN} {height - 52}H{WIDTH - MARGIN}" stroke="{RULE}" stroke-width="1"/>'
    yield _words(cost_text(trace), MARGIN, height - 31, 14, anchor="start", weight="bold", most=ROW_WIDTH)
    yield _words(how, MARGIN, height - 12, 12, anchor="start", colour=FAINT, most=ROW_WIDTH)
