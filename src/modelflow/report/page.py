"""One page that says it all: a results folder as a single HTML file that needs nothing else. No torch.

page = render(read_content("results"))          # report.html

Whatever comes from the folder is data: text is escaped, pictures are drawn anew, the page may load and send nothing.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from modelflow.analysis.archive import Array, Content, Group, Model
from modelflow.analysis.units import range_words
from modelflow.errors import DataError
from modelflow.networks.trace import Trace
from modelflow.report import answer, charts, how, images, marks, words
from modelflow.report.bars import Axis, VerdictRow, bars
from modelflow.report.mistakes import MAX_NUMBERS, Mistakes, Pair, mistakes_of
from modelflow.text import sentence, shown

TEMPLATES = Path(__file__).parent / "templates"
MAX_CLASSES, MAX_CONFUSIONS = 30, 30
TOP_CONFUSIONS = 6
NOTICE = (
    "/* Vega, Vega-Lite, Vega-Embed and Vega-Interpreter: (c) University of Washington Interactive Data Lab and "
    "contributors, BSD 3-Clause License; D3: (c) Mike Bostock, ISC License. Unchanged but for being bundled. */"
)
MAX_PICTURE_BYTES = 1_500_000


@dataclass(frozen=True, eq=False)
class Shown:
    """A group with all that its part of the page shows; `no_images` says why there are none."""

    group: Group
    charts: dict[str, charts.Chart]
    insides: tuple["Inside", ...]
    verdicts: tuple[VerdictRow, ...]
    axis: Axis | None
    mistakes: Mistakes | None
    sheet: images.Sheet | None
    no_images: str

    @property
    def id(self) -> str:
        """What its parts are called in the page."""
        return f"g{self.group.number}"

    @property
    def places(self) -> dict[int, int]:
        """By image, which tile of the sheet shows it."""
        return {int(image): place for place, image in enumerate(self.mistakes.shown)} if self.mistakes else {}


@dataclass(frozen=True, eq=False)
class Inside:
    """The pictures of one model: its architecture, and those that its first run left (`left_out` to save room)."""

    drawing: tuple[images.Picture, Trace] | None
    filters: tuple[images.Picture, ...] = ()
    outputs: images.Picture | None = None
    left_out: bool = False

    @property
    def size(self) -> int:
        """Of the pictures from files, as they stand in the page."""
        return sum(len(picture.address) for picture in (*self.filters, self.outputs) if picture)


def render(content: Content, data_dir: str | Path | None = None) -> str:
    """The page as text: the same for the same folder and data.

    Images come from the data set where it is on this machine, in `data_dir` or where ModelFlow keeps it; nothing is
    downloaded.
    """
    insides = _insides(content)
    shown = [_shown(group, insides[i], data_dir) for i, group in enumerate(content.groups)]
    script, style = _script(), (TEMPLATES / "report.css").read_text("utf-8")
    template = _environment().get_template("report.html.j2")
    text = template.render(
        content=content,
        shown=shown,
        how=how.how_made(content),
        name=how.results_name(content.folder),
        data=_json(_data(shown)),
        script=script,
        style=style,
        policy=_policy(script),
        most_classes=MAX_CLASSES,
        most_numbers=MAX_NUMBERS,
        confusions=confusions,
        top_confusions=TOP_CONFUSIONS,
        sure=sure,
        answer=answer,
        charts=charts,
        signs=marks.SIGNS,
        words=words,
    )
    return text.strip() + "\n"


def _shown(group: Group, insides: tuple[Inside, ...], data_dir: str | Path | None) -> Shown:
    found = mistakes_of(group)
    sheet, why = None, ""
    if found is None:
        why = "The predictions of these runs cannot be read, so their mistakes cannot be shown."
    elif len(found.shown):
        sheet, why = _sheet(group, found, data_dir)
    rows, axis = verdict_rows(group)
    return Shown(group, charts.charts_of(group), insides, rows, axis, found, sheet, why)


def _sheet(group: Group, found: Mistakes, data_dir: str | Path | None) -> tuple[images.Sheet | None, str]:
    try:
        pixels = images.evaluated_pixels(group.data, found.labels_N, data_dir)
    except DataError as error:
        return None, f"The images cannot be shown: {error}"
    return images.sprite(pixels[found.shown]), ""


def _insides(content: Content) -> list[tuple[Inside, ...]]:
    """By group, for each model; once the page has no more room, pictures from files are left out."""
    room, found = MAX_PICTURE_BYTES, []
    for group in content.groups:
        of_group = []
        for model in group.models:
            inside = _inside(model, content.folder) if room > 0 else None
            if inside is None or inside.size > room:
                room, inside = 0, Inside(images.drawing(model.first), left_out=True)
            room -= inside.size
            of_group.append(inside)
        found.append(tuple(of_group))
    return found


def _inside(model: Model, root: Path) -> Inside:
    folder = model.seeds[0].folder
    filters = tuple(images.filter_pictures(folder, root))
    return Inside(images.drawing(model.first), filters, images.outputs_picture(folder, root))


def verdict_rows(group: Group) -> tuple[tuple[VerdictRow, ...], Axis | None]:
    """The verdicts, those about the best model first, on one axis of differences; and where its marks lie on it."""
    standing = answer.standing(group)
    return bars(group.verdicts, group.margin, standing.best if standing else "", group.metric.unit)


def confusions(model: Model, most: int = MAX_CONFUSIONS) -> list[tuple[str, str, int, float]]:
    """The most frequent confusions: true class, class taken for it, how often, and the share of the true class."""
    assert model.counts is not None
    off = model.counts.copy()
    totals = off.sum(1)
    off[range(len(off)), range(len(off))] = 0
    flat = off.ravel().argsort(kind="stable")[::-1][:most]
    pairs = [divmod(int(place), len(off)) for place in flat]
    names = model.class_names
    return [(names[i], names[j], int(off[i, j]), off[i, j] / totals[i]) for i, j in pairs if off[i, j]]


def sure(confidence: float) -> int:
    """A confidence in whole per cent: 100 for nothing less."""
    return 100 if confidence >= 1 else min(99, round(100 * confidence))


# --- what the page's script works with -------------------------------------------------------------------------------


def _data(shown: Iterable[Shown]) -> dict[str, Any]:
    shown = list(shown)
    return {
        "charts": {name: chart.spec for one in shown for name, chart in one.charts.items()},
        "datasets": {f"{one.id}-curves": charts.curve_rows(one.group) for one in shown},
        "mistakes": {one.id: _mistake_data(one) for one in shown if one.mistakes},
    }


def _mistake_data(one: Shown) -> dict[str, Any]:
    """Counts for every pair of models, and for each image shown what each model says of it; confidence in per cent."""
    found = one.mistakes
    assert found is not None
    at = found.shown
    return {
        "models": [votes.model.name for votes in found.votes],
        "marks": [charts.colour(votes.model) for votes in found.votes],
        "runs": [votes.runs for votes in found.votes],
        "classes": list(one.group.class_names),
        "images": len(found.labels_N),
        "only": found.only_MM.tolist(),
        "apart": found.apart_MM.tolist(),
        "right": found.right.sum(1).tolist(),
        "shown": at.tolist(),
        "labels": found.labels_N[at].tolist(),
        "predicted": [votes.predicted_N[at].tolist() for votes in found.votes],
        "confidence": [[sure(share) for share in votes.confidence_N[at]] for votes in found.votes],
        "surest_only": _places(found.surest_only, one),
        "surest_apart": _places(found.surest_apart, one),
    }


def _places(lists: dict[Pair, Array], one: Shown) -> dict[str, list[int]]:
    """For each pair "0,1" of models the places of its images among those shown."""
    places = one.places
    return {f"{i},{j}": [places[image] for image in images.tolist()] for (i, j), images in lists.items()}


def _json(data: dict[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


@cache
def _script() -> str:
    """Vega, Vega-Lite and Vega-Embed, then the page's own script; each keeps its names to itself."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    own = (TEMPLATES / "report.js").read_text("utf-8")
    script = f"{NOTICE}\n(() => {{\n{bundle}\n}})();\n{own}"
    return script.replace("</script", r"<\/script").replace("<!--", r"\x3c!--")


def _policy(script: str) -> str:
    """The content security policy: this very script, styles and pictures within the page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "decimal": words.decimal,
        "count": words.count,
        "minus": words.minus,
        "significant": words.significant,
        "p": words.p_text,
        "counted": words.counted,
        "shown": shown,
        "range": range_words,
        "sentence": sentence,
        "level": words.level,
    }
    return environment
