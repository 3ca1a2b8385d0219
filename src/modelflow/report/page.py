"""One page that says it all: a results folder as a single HTML file that needs nothing else. No torch.

page = render(read_content("results"))          # report.html

Whatever comes from the folder is data: text is escaped, pictures are drawn anew, the page may load and send nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from modelflow.analysis.archive import Content, Group, Model
from modelflow.analysis.units import range_words
from modelflow.data.source import Source
from modelflow.errors import DataError
from modelflow.io.array import Array
from modelflow.networks.trace import Trace
from modelflow.report import answer, charts, finding, how, images, live, marks, seeds, words
from modelflow.report.bars import Axis, VerdictRow, bars, p_words
from modelflow.report.filters import Filters, filters_of
from modelflow.report.mistakes import MAX_NUMBERS, Mistakes, Pair, mistakes_of, votes_words
from modelflow.report.pairs import Row, pairs_of
from modelflow.report.sealed import as_base64, as_data, as_file, as_script, policy
from modelflow.text import counted, sentence, shown

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("dom", "report", "live", "try", "follow")  # in the order in which they run
MAX_CLASSES, MAX_CONFUSIONS = 30, 30
TOP_CONFUSIONS = 6
NOTICE = (
    "/* Vega, Vega-Lite, Vega-Embed and Vega-Interpreter: (c) University of Washington Interactive Data Lab and "
    "contributors, BSD 3-Clause License; D3: (c) Mike Bostock, ISC License. Unchanged but for being bundled. */"
)
MAX_EMBEDDED_BYTES = 1_550_000  # of study.json, images, weights and pictures, as text; all else takes up to 1.55 MB


@dataclass(frozen=True, eq=False)
class Shown:
    """A group with all that its part of the page shows; `no_images` and `no_live` say why there are none.

    `by_protocol` is what captions say of its protocol.
    """

    group: Group
    by_protocol: str
    charts: dict[str, charts.Chart]
    verdicts: tuple[VerdictRow, ...]
    axis: Axis | None
    pairs: list[Row]
    mistakes: Mistakes | None
    sheet: images.Sheet | None
    no_images: str
    live: live.Live | None
    no_live: str
    insides: tuple["Inside", ...] = ()

    @property
    def id(self) -> str:
        """What its parts are called in the page."""
        return f"g{self.group.number}"

    @property
    def indices(self) -> dict[str, int]:
        """What each model is called where the reader chooses which are shown."""
        return {model.name: model.index for model in self.group.models}

    @property
    def size(self) -> int:
        """Bytes of test images and weights, as text."""
        return (len(self.sheet.picture.address) if self.sheet else 0) + (self.live.size if self.live else 0)

    @property
    def places(self) -> dict[int, int]:
        """By image, which tile of the sheet shows it."""
        return {int(image): place for place, image in enumerate(self.mistakes.shown)} if self.mistakes else {}


@dataclass(frozen=True, eq=False)
class Inside:
    """The pictures of one model: its architecture, and those of its first run's layers (`left_out` to save room)."""

    drawing: tuple[str, Trace] | None
    filters: tuple[Filters, ...] = ()
    outputs: images.Picture | None = None
    left_out: bool = False

    @property
    def size(self) -> int:
        """Of what is from files, as it stands in the page."""
        return sum(len(layer.svg) for layer in self.filters) + (len(self.outputs.address) if self.outputs else 0)


def render(content: Content, data_dir: str | Path | None = None, training: bool = False) -> str:
    """The page as text: the same for the same folder and data.

    Images come from the data set where it is on this machine, in `data_dir` or where ModelFlow keeps it; nothing is
    downloaded. While runs are `training`, the page brings itself up to date.
    """
    made = how.how_made(content)
    taken = made.alone.size if made.alone else 0
    shown = _with_insides(content, _all_shown(content, data_dir, taken), taken)
    script, style = _script(), (TEMPLATES / "report.css").read_text("utf-8")
    template = _environment().get_template("report.html.j2")
    text = template.render(
        content=content,
        training=training,
        shown=shown,
        how=made,
        new_study_command=partial(how.new_study_command, content),
        seeds=seeds,
        name=how.results_name(content.folder),
        title=finding.title(content),
        glance=finding.glance,
        data_title=finding.data_title,
        data=as_data(_data(shown)),
        script=script,
        style=style,
        policy=policy(script),
        most_classes=MAX_CLASSES,
        most_numbers=MAX_NUMBERS,
        distinct_models=list({model.index: model for model in content.models}.values()),
        confusions=confusions,
        top_confusions=TOP_CONFUSIONS,
        sure=sure,
        votes_words=votes_words,
        answer=answer,
        charts=charts,
        signs=marks.SIGNS,
        as_file=as_file,
        words=words,
    )
    return text.strip() + "\n"


def _all_shown(content: Content, data_dir: str | Path | None, taken: int = 0) -> list[Shown]:
    """Each group without the pictures of its models, beside so many bytes."""
    shown = list[Shown]()
    for group in content.groups:
        room = MAX_EMBEDDED_BYTES - taken - sum(one.size for one in shown)
        shown.append(_shown(group, answer.told_of_protocol(content, group), data_dir, room))
    return shown


def _shown(group: Group, by_protocol: str, data_dir: str | Path | None, room: int) -> Shown:
    found, (rows, axis) = mistakes_of(group), verdict_rows(group)
    sheet, running, no_images, no_live = None, None, "", ""
    try:
        if found is None:
            raise DataError("The predictions of these runs cannot be read, so their mistakes cannot be shown.")
        source = _source(group, found, data_dir)
        if len(found.shown):
            sheet = images.sprite(images.as_bytes(source.test_images[found.shown], source.white))
            room -= len(sheet.picture.address)
        running, no_live = _live(group, found, source, room)
    except DataError as error:
        no_images = no_live = str(error)
    drawn = charts.charts_of(group, by_protocol)
    return Shown(group, by_protocol, drawn, rows, axis, pairs_of(group), found, sheet, no_images, running, no_live)


def _source(group: Group, found: Mistakes, data_dir: str | Path | None) -> Source:
    try:
        return images.evaluated_source(group.data, found.labels_N, data_dir)
    except DataError as error:
        raise DataError(f"The images cannot be shown: {error}") from None


def _live(group: Group, found: Mistakes, source: Source, room: int) -> tuple[live.Live | None, str]:
    try:
        return live.live_of(group, found, source, room), ""
    except DataError as error:
        return None, str(error)


def _with_insides(content: Content, shown: list[Shown], taken: int) -> list[Shown]:
    """With the pictures of each model; once the page has no more room, those from files are left out."""
    room, found = MAX_EMBEDDED_BYTES - taken - sum(one.size for one in shown), list[Shown]()
    for one in shown:
        insides = list[Inside]()
        for model in one.group.models:
            inside = _inside(model, content.folder, room)
            room = 0 if inside.left_out else room - inside.size
            insides.append(inside)
        found.append(replace(one, insides=tuple(insides)))
    return found


def _inside(model: Model, root: Path, room: int) -> Inside:
    """The drawing alone where the pictures from files take more room."""
    folder, drawing = model.seeds[0].folder, images.drawing(model.first)
    if room > 0:
        filled = Inside(drawing, filters_of(folder, model.first), images.outputs_picture(folder, root))
        if filled.size <= room:
            return filled
    return Inside(drawing, left_out=True)


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
        "live": {one.id: _live_data(one.live, one.group) for one in shown if one.live and one.live.models},
    }


def _mistake_data(one: Shown) -> dict[str, Any]:
    """Counts for every pair of models, and for each image shown what each model says of it; confidence in per cent."""
    found = one.mistakes
    assert found is not None
    at = found.shown
    return {
        "models": [_named(votes.model) for votes in found.votes],
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


def _live_data(found: live.Live, group: Group) -> dict[str, Any]:
    """What the page's script computes with; pixels as they lie in the files, weights in float16."""
    assert group.labels_N is not None
    return {
        "classes": list(group.class_names),
        "shape": found.images_NCHW.shape[1:],
        "white": found.white,
        "framing": found.framing and found.framing._asdict(),
        "ground": found.ground,
        "images": {
            "numbers": found.chosen.tolist(),
            "labels": group.labels_N[found.chosen].tolist(),
            "pixels": as_base64(found.images_NCHW.tobytes()),
        },
        "models": [_live_model(one) for one in found.models],
        "apart": {f"{i},{j}": place for (i, j), place in found.apart.items()},
    }


def _live_model(one: live.LiveModel) -> dict[str, Any]:
    return {
        **_named(one.model),
        "index": one.model.index,
        "operations": one.operations,
        "seeds": [
            {
                "seed": seed.number,
                "mean": seed.normalisation.mean,
                "std": seed.normalisation.std,
                "weights": as_base64(seed.weights.astype("<f2").tobytes()),
            }
            for seed in one.seeds
        ],
    }


def _named(model: Model) -> dict[str, str]:
    """Its name and its mark."""
    return {"name": model.name, "shape": charts.shape(model), "colour": charts.colour(model)}


def _places(lists: dict[Pair, Array], one: Shown) -> dict[str, list[int]]:
    """For each pair "0,1" of models the places of its images among those shown."""
    places = one.places
    return {f"{i},{j}": [places[image] for image in images.tolist()] for (i, j), images in lists.items()}


@cache
def _script() -> str:
    """Vega, Vega-Lite and Vega-Embed, then the page's own scripts."""
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    own = "".join((TEMPLATES / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    script = f"{NOTICE}\n(() => {{\n{bundle}\n}})();\n{own}"
    return as_script(script)


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
        "breakable": words.breakable,
        "significant": words.significant,
        "p": p_words,
        "counted": counted,
        "shown": shown,
        "range": range_words,
        "sentence": sentence,
        "level": words.level,
    }
    return environment
