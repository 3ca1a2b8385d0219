"""The charts: first the data of each, then its Vega-Lite specification as plain data. No torch.

charts = charts_of(group)      # name -> Chart(spec, what it shows in words); the page draws them by name

Colours are the page's own variables (`var(--m0)`), so that one drawing serves light, dark and print.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from modelflow.analysis.archive import Group, Model, every_so_many
from modelflow.analysis.intervals import Interval
from modelflow.evaluation.scores.score import Metric
from modelflow.figures.pareto import Box, pareto_front, place_labels
from modelflow.report.answer import of_validation, score_words
from modelflow.report.marks import MODELS
from modelflow.report.words import listed, two_lines
from modelflow.text import counted, sentence

Spec = dict[str, Any]
Rows = list[dict[str, Any]]
Tip = tuple[str, str, str | None]  # field, title, number format
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLOURS = 8
MAX_EPOCHS = 60
MAX_MARKS = 12  # on the axis of epochs, one for each
WIDE_RANGE = 30
ROW_HEIGHT, COST_HEIGHT, CURVES_HEIGHT, BINS_HEIGHT = 36, 340, 280, 260
TEXT_ROOM = 0.14
MIN_LABEL, LETTER, LABEL_LINE = 140, 8, 16  # pixels for a name at least, of a letter, of a line's height
WIDTH, NARROW, LABEL_SIZE, MAX_LABEL = 600, 270, 11.0, 18
POINT_LINE, POINT_ROOM, MAX_LINE = 13, 160, 24  # of a name beside a point: a line's height, its most pixels, letters
POINT = 11  # across, in pixels
FEW = 30  # predictions of a bin: their share of right ones is uncertain by 9 points or more
MEASURED = ("seconds", "latency")
COST_MARKS: Spec = {  # 0.2 and 200 as they are, 20,000 as 20k; the label is empty where a logarithm has too many marks
    "format": "~s",
    "labelExpr": "datum.label && datum.value < 1000 ? format(datum.value, '.12~g') : datum.label",
}
INK, MUTED, LINE, SURFACE = "var(--ink)", "var(--muted)", "var(--line)", "var(--surface)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
NONE_HIDDEN: Spec = {"name": "hidden", "value": []}  # the names of models that are not shown
SHOWN = "indexof(hidden, datum.model) < 0"
CONFIG: Spec = {
    "background": "transparent",
    "font": FONT,
    "mark": {"aria": False},
    "view": {"stroke": None},
    "axis": {
        "aria": False,
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11.5,
        "titleFontSize": 12,
        "domainColor": LINE,
        "tickColor": LINE,
        "gridColor": LINE,
        "labelLimit": 130,
        "titlePadding": 8,
    },
}


@dataclass(frozen=True)
class Chart:
    """A specification, and in words what it shows, for who cannot see it."""

    spec: Spec
    label: str


@dataclass(frozen=True)
class Cost:
    """Something that a model costs: its name in short, the title of its axis, and how it is read from a model."""

    key: str
    name: str
    title: str
    of: Callable[[Model], float | None]


COSTS = (
    Cost("parameters", "Parameters", "Parameters", lambda model: model.first.parameters),
    Cost("macs", "MACs", "Multiply-accumulates for one image", lambda model: model.first.macs),
    Cost("seconds", "Training time", "Seconds of training", lambda model: model.seconds),
    Cost("latency", "Latency", "Milliseconds for one image", lambda model: _first(model.latency("1"))),
    Cost("disk", "File", "Bytes of weights", lambda model: model.first.bytes_on_disk),
    Cost("flash", "Flash", "Bytes of flash, as C in int8", lambda model: model.on_device("int8_flash")),
    Cost("ram", "RAM", "Bytes of RAM, as C in int8", lambda model: model.on_device("int8_ram")),
)


def _first(found: tuple[float, int] | None) -> float | None:
    return found[0] if found else None


def colour(model: Model) -> str:
    """The variable of the page that holds the model's colour."""
    return f"var(--m{model.index % COLOURS})"


def shape(model: Model) -> str:
    """The model's mark as a path: with the colours it repeats after 56 models only."""
    return MODELS[model.index % len(MODELS)]


def charts_of(group: Group, by_protocol: str = "") -> dict[str, Chart]:
    """All charts of a group by their names in the page; `by_protocol` is what their titles say of the protocol."""
    at = f"g{group.number}"
    charts = {f"{at}-accuracy": accuracy_chart(group, by_protocol)}
    charts |= {f"{at}-cost-{cost.key}": cost_chart(group, cost, by_protocol) for cost in costs_of(group)}
    if curve_rows(group):
        charts |= {f"{at}-{name}": curves_chart(group, name, by_protocol) for name in ("training", "validation")}
    return charts | {
        f"{at}-bins-{i}": bins_chart(model, by_protocol) for i, model in enumerate(group.models) if model.bins
    }


# --- accuracy --------------------------------------------------------------------------------------------------------


def accuracy_rows(group: Group) -> Rows:
    """A row a model: mean and interval in per cent, or in the unit of the metric."""
    return [
        {
            **_mean_and_interval(model),
            "runs": len(model.seeds),
            "text": _text(model),
            "end": max(_mean_and_interval(model)["high"], *(_level(score, model) for score in model.scores)),
        }
        for model in group.models
    ]


def _mean_and_interval(model: Model) -> dict[str, Any]:
    """An interval that is not known is drawn as none."""
    interval = model.interval or Interval(model.score, model.score)
    ends = {"mean": model.score, "low": interval.low, "high": interval.high}
    return {"model": model.name} | {name: _level(value, model) for name, value in ends.items()}


def _text(model: Model) -> str:
    """Its score beside the chart."""
    return score_words(model).partition(" ")[0]


def seed_rows(group: Group) -> Rows:
    """A row a run: its accuracy in per cent, or its score by another metric."""
    return [
        {"model": model.name, "seed": str(seed.run.seed), "accuracy": _level(score, model)}
        for model in group.models
        for seed, score in zip(model.seeds, model.scores, strict=True)
    ]


def _labels(names: Sequence[str]) -> Spec:
    """Names beside the rows; long ones take two lines where there is no room for one, the row in the middle."""
    room = f"max({MIN_LABEL}, width / 3)"
    lines = {name: two_lines(name) for name in names}
    long = {name: found for name, found in lines.items() if len(found) > 1}
    is_split = f"indexof({json.dumps(list(long))}, datum.label) >= 0 && {LETTER} * length(datum.label) > {room}"
    split = "".join(f"datum.label == {json.dumps(name)} ? {json.dumps(found)} : " for name, found in long.items())
    return {
        "labelLimit": {"expr": room},
        "labelExpr": f"{is_split} ? ({split}datum.label) : datum.label",
        "labelOffset": {"expr": f"{is_split} ? {-LABEL_LINE / 2:g} : 0"},
        "labelLineHeight": LABEL_LINE,
    }


def accuracy_chart(group: Group, by_protocol: str = "") -> Chart:
    """Each run's accuracy as a dot, the mean of each model, and its interval."""
    names = [model.name for model in group.models]
    y: Spec = {"field": "model", "type": "nominal", "sort": names, "title": None}
    y["axis"] = {"labelFontSize": 13, "labelColor": INK, "domain": False, "ticks": False, "labelPadding": 10}
    y["axis"] |= _labels(names)
    means = {"values": accuracy_rows(group)}
    seeds = seed_rows(group)
    reach = [row[end] for row in means["values"] for end in ("low", "end")] + [row["accuracy"] for row in seeds]
    ends = _ends(reach, group.metric)
    ends[1] += TEXT_ROOM * (ends[1] - ends[0])

    def x(field: str) -> Spec:
        return _share(field, f"test {_axis(group.metric)}{by_protocol}", ends)

    bars = _layer(
        {"type": "bar", "height": 10, "opacity": 0.28, "cornerRadius": 5},
        {"y": y, "x": x("low"), "x2": {"field": "high"}, "color": _colours(group), **_tips(_mean_tips(group.metric))},
        means,
    )
    dots = _layer(
        {"type": "point", "filled": True, "size": 72, "opacity": 1, "stroke": SURFACE, "strokeWidth": 0.8},
        {
            "y": y,
            "x": x("accuracy"),
            "color": _colours(group),
            "shape": _shapes(group),
            **_tips(_seed_tips(group.metric)),
        },
        {"values": seeds},
    )
    mean = _layer(
        {"type": "tick", "thickness": 2.5, "size": 22, "color": INK},
        {"y": y, "x": x("mean"), **_tips(_mean_tips(group.metric))},
        means,
    )
    text = _layer(
        {"type": "text", "align": "left", "dx": 9, "fontSize": 12, "color": INK},
        {"y": y, "x": x("end"), "text": {"field": "text", "type": "nominal"}},
        means,
    )
    layers = [_of_shown(layer) for layer in (bars, dots, mean, text)]
    rows = {"height": ROW_HEIGHT, "models": names}  # the page makes it as high as the models that are shown
    spec = _spec({"params": [NONE_HIDDEN], "layer": layers, "height": ROW_HEIGHT * len(names), "usermeta": rows})
    what = f"{sentence(group.metric.title)}{by_protocol}: {_span(group.models)}"
    return Chart(spec, f"{what}. The table below has every figure.")


def _span(models: Sequence[Model]) -> str:
    """The best and the last of the models, best first; or the one that there is."""
    ends = [f"{model.name} with {score_words(model)}" for model in (models[0], models[-1])]
    return ends[0] if len(models) == 1 else f"{counted(len(models), 'model')}, best first, from {ends[0]} to {ends[1]}"


def _mean_tips(metric: Metric) -> list[Tip]:
    digits = f".{metric.unit.level_digits}f"
    mean = ("mean", f"mean, {metric.unit.level}", digits)
    return [("model", "model", None), mean, ("low", "95 % from", digits), ("high", "to", digits)]


def _seed_tips(metric: Metric) -> list[Tip]:
    score = ("accuracy", f"{metric.title}, {metric.unit.level}", f".{metric.unit.level_digits}f")
    return [("model", "model", None), ("seed", "seed", None), score]


# --- cost ------------------------------------------------------------------------------------------------------------


def costs_of(group: Group) -> list[Cost]:
    """The costs that are known for at least one model."""
    return [cost for cost in COSTS if any(_known(cost, model) for model in group.models)]


def _known(cost: Cost, model: Model) -> float | None:
    """What the model costs; None for what no logarithm can show."""
    value = cost.of(model)
    return float(value) if value is not None and value > 0 else None


def cost_rows(group: Group, cost: Cost) -> Rows:
    """A row a model whose cost is known: the cost, mean and interval as `accuracy_rows`, whether no other beats it.

    `at` is the cost that its point is drawn at: points that would hide each other are set apart.
    """
    known = [(model, value) for model in group.models if (value := _known(cost, model))]
    points = ((model.name, _ordered(value), model.score) for model, value in known)
    front = {name for name, *_ in pareto_front(points, group.metric)}
    rows = [
        {"model": model.name, "cost": value, **_mean_and_interval(model), "front": model.name in front}
        for model, value in known
    ]
    return [row | {"at": at} for row, at in zip(rows, _set_apart(rows), strict=True)]


def _set_apart(rows: Rows) -> list[float]:
    """The costs at which models are drawn: those that would lie on others moved side by side, in the order of cost.

    Of equal costs the model on the front stays, where the line of the front turns.
    """
    if not rows:
        return []
    low, high = _log_ends([row["cost"] for row in rows])
    across = WIDTH / math.log(high / low)
    at: dict[int, float] = {}
    for i in sorted(range(len(rows)), key=lambda i: (rows[i]["cost"], not rows[i]["front"], rows[i]["model"])):
        beside = [at[j] for j in at if rows[j]["low"] <= rows[i]["high"] and rows[i]["low"] <= rows[j]["high"]]
        at[i] = rows[i]["cost"]
        while any(abs(math.log(at[i] / other)) * across < POINT for other in beside):
            at[i] = float(f"{at[i] * math.exp(1 / across):.6g}")
    return [at[i] for i in range(len(rows))]


def _ordered(value: float) -> int:
    """A cost as a whole number that keeps the order of thousandths."""
    return round(1000 * value)


def cost_chart(group: Group, cost: Cost, by_protocol: str = "") -> Chart:
    """The score over what a model costs, with the models that no other beats joined by a line."""
    rows = cost_rows(group, cost)
    x_ends, y_ends = (
        _log_ends([row[cost] for row in rows for cost in ("cost", "at")]),
        _ends([row[end] for row in rows for end in ("low", "high")], group.metric),
    )
    x = {"field": "at", "type": "quantitative", "scale": {"type": "log", "domain": x_ends, "nice": False}}
    x |= {"axis": {"title": f"{cost.title} (logarithmic)", **COST_MARKS, "tickCount": 5, "grid": False}}
    title = f"{_axis(group.metric)}{by_protocol}"
    y = _share("mean", title, y_ends)
    front = sorted((row for row in rows if row["front"]), key=lambda row: row["cost"])
    line = _layer(
        {"type": "line", "interpolate": "step-after", "color": MUTED, "strokeDash": [5, 4], "strokeWidth": 1.4},
        {"x": x | {"field": "cost"}, "y": y},
        {"values": front},
    )
    bars = _layer(
        {"type": "rule", "strokeWidth": 3, "opacity": 0.4},
        {"x": x, "y": _share("low", title, y_ends), "y2": {"field": "high"}, "color": _colours(group)},
        {"values": rows},
    )
    points = _layer(
        {"type": "point", "filled": True, "size": 110, "opacity": 1, "stroke": SURFACE, "strokeWidth": 1},
        {"x": x, "y": y, "color": _colours(group), "shape": _shapes(group)} | _tips(_cost_tips(cost, group.metric)),
        {"values": rows},
    )
    places = _places(rows, x_ends, y_ends)
    names = [_name_of(row, *place, x, y) for row, place in zip(rows, places, strict=True)]
    layers = [line, *(_of_shown(layer) for layer in (bars, points, *names))]
    spec = _spec({"params": [NONE_HIDDEN], "layer": layers, "height": COST_HEIGHT})
    unbeaten = listed([row["model"] for row in front])
    what = f"{sentence(group.metric.title)}{by_protocol}, against {cost.title.lower()}"
    return Chart(spec, f"{what}. Pareto front: {unbeaten}.")


def _name_lines(name: str) -> list[str]:
    """A name beside its point: a long one on two lines."""
    return two_lines(name) if len(name) > MAX_LABEL else [name]


def _name_of(row: dict[str, Any], dx: int, dy: int, align: str, x: Spec, y: Spec) -> Spec:
    """The name beside a point, the middle of its lines at the place chosen."""
    lines = _name_lines(row["model"])
    rise = POINT_LINE * (len(lines) - 1) / 2
    look = {"align": align, "baseline": "middle", "dx": dx, "dy": -dy - rise, "fontSize": LABEL_SIZE, "color": INK}
    mark = {"type": "text", "text": lines, "lineHeight": POINT_LINE, "limit": POINT_ROOM, **look}
    return _layer(mark, {"x": x, "y": y}, {"values": [row]})


def _cost_tips(cost: Cost, metric: Metric) -> list[Tip]:
    own: Tip = ("cost", cost.title, ",.4~g" if cost.key in MEASURED else ",")
    return [("model", "model", None), own, *_mean_tips(metric)[1:]]


def _places(rows: Rows, x_ends: list[float], y_ends: list[float]) -> list[tuple[int, int, str]]:
    """Where each name stands beside its point, so that they do not cover each other on a narrow screen either."""
    low, high = (math.log(end) for end in x_ends)
    points = [
        (
            NARROW * (math.log(row["at"]) - low) / (high - low),
            COST_HEIGHT * (row["mean"] - y_ends[0]) / (y_ends[1] - y_ends[0]),
        )
        for row in rows
    ]
    names = ["\n".join(line[:MAX_LINE] for line in _name_lines(row["model"])) for row in rows]
    return place_labels(points, names, Box(0, 0, NARROW, COST_HEIGHT), LABEL_SIZE)


def _log_ends(values: Sequence[float]) -> list[float]:
    ratio = max(max(values) / min(values), 4.0)
    return [min(values) / ratio**0.12, max(values) * ratio**0.12]


def _ends(values: Sequence[float], metric: Metric) -> list[float]:
    """Of an axis of scores: a little wider than these, and than a hundredth of 1."""
    low, high = min(values), max(values)
    room = 0.08 * max(high - low, metric.unit.scale / 100)
    return [max(0.0, low - room), min(metric.unit.scale * metric.unit.most, high + room)]


def _axis(metric: Metric) -> str:
    """A score and its unit."""
    return f"{metric.title} ({metric.unit.level})"


# --- learning curves -------------------------------------------------------------------------------------------------


def curve_rows(group: Group) -> Rows:
    """A row for each run and epoch; of long runs every so many epochs, and the last."""
    return [
        {
            "model": model.name,
            "seed": str(seed.run.seed),
            "epoch": epoch.epoch,
            "training": _rounded(epoch.loss),
            "validation": _rounded(epoch.val_loss),
        }
        for model in group.models
        for seed in model.seeds
        for epoch in every_so_many(seed.history, MAX_EPOCHS)
    ]


def mean_losses(group: Group, which: str) -> dict[int, dict[str, float]]:
    """By epoch the "training" or "validation" loss of each model, the mean over its runs: what the thick lines show."""
    losses: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in curve_rows(group):
        if row[which] is not None:
            losses[row["epoch"]][row["model"]].append(row[which])
    return {epoch: {name: fmean(found) for name, found in losses[epoch].items()} for epoch in sorted(losses)}


def thinned(group: Group) -> bool:
    """Whether of a run only every so many epochs are drawn."""
    return any(len(seed.history) > MAX_EPOCHS for model in group.models for seed in model.seeds)


def _rounded(loss: float | None) -> float | None:
    return float(f"{loss:.4g}") if loss is not None and math.isfinite(loss) else None


def curves_chart(group: Group, which: str, by_protocol: str = "") -> Chart:
    """The training or validation loss of every run over its epochs, thin, and the mean of each model."""
    rows = curve_rows(group)
    losses = [row[name] for row in rows for name in ("training", "validation") if row[name] is not None]
    axis = {"title": "epoch", "format": ",d", "tickMinStep": 1, "grid": False}
    x: Spec = {"field": "epoch", "type": "quantitative", "axis": axis}
    epochs = sorted({row["epoch"] for row in rows})
    x["scale"] = {"domain": _epoch_ends(epochs), "nice": False}
    tested = of_validation(group.protocol)
    title = f"{which} loss{tested if which == 'validation' else ''}"
    y: Spec = {"field": which, "type": "quantitative", "axis": {"title": title, "tickCount": 5}}
    y["scale"] = _loss_scale(losses)
    one_run = {"detail": {"field": "seed", "type": "nominal"}, "color": _colours(group)}
    runs = _layer({"type": "line", "strokeWidth": 1, "opacity": 0.55}, {"x": x, "y": y, **one_run})
    mean = {"x": x, "y": y | {"aggregate": "mean"}, "color": _colours(group)}
    single = len(epochs) == 1  # a line of one point would not be seen
    x["axis"] |= {"values": epochs} if len(epochs) <= MAX_MARKS else {}
    means = _layer({"type": "line", "strokeWidth": 2.4, "point": single}, mean)
    tips: list[Tip] = [("model", "model", None), ("seed", "seed", None), ("epoch", "epoch", None)]
    tips += [("training", "training loss", ".4f"), ("validation", f"validation loss{tested}", ".4f")]
    points = _layer(
        {"type": "point", "filled": True, "size": 46},
        {"x": x, "y": y, "color": _colours(group), "shape": _shapes(group), **_tips(tips)}
        | {"opacity": {"condition": {"param": "near", "value": 1, "empty": False}, "value": 0}},
    )
    near = {"type": "point", "on": "pointermove", "clear": "pointerout", "nearest": True}
    points["params"] = [{"name": "near", "select": near | {"fields": ["model", "seed", "epoch"]}}]
    spec = _spec({"data": {"name": f"g{group.number}-curves"}, "layer": [runs, means, points], "height": CURVES_HEIGHT})
    spec |= {"params": [NONE_HIDDEN], "transform": [{"filter": f"isValid(datum.{which}) && {SHOWN}"}]}
    return Chart(spec, f"The {title} of every run over its epochs{by_protocol}. The tables below have its values.")


def _epoch_ends(epochs: Sequence[int]) -> list[float]:
    first, last = min(epochs), max(epochs)
    return [first, last] if first < last else [first - 0.5, last + 0.5]


def _loss_scale(losses: Sequence[float]) -> Spec:
    wide = min(losses) > 0 and max(losses) > WIDE_RANGE * min(losses)
    kind: Spec = {"type": "log"} if wide else {"zero": False}
    return kind | {"domain": [min(losses), max(losses)], "nice": True}


# --- calibration -----------------------------------------------------------------------------------------------------


def bin_rows(model: Model) -> Rows:
    """A row for each bin that holds images, and whether these are few."""
    return [
        {
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "images": one.images,
            "few": one.images < FEW,
            "confidence": round(one.confidence, 4),
            "accuracy": round(one.accuracy, 4),
        }
        for one in model.bins
        if one.images
    ]


def bins_chart(model: Model, by_protocol: str = "") -> Chart:
    """The reliability diagram: accuracy over confidence, where a calibrated model lies on the diagonal."""
    unit = {"domain": [0, 1], "nice": False}
    x: Spec = {"type": "quantitative", "scale": unit, "axis": {"title": "confidence", "format": ".1f", "grid": False}}
    share = {"title": f"accuracy{by_protocol}", "format": ".1f"}
    y: Spec = {"type": "quantitative", "scale": unit, "axis": share}
    tips = [("low", "confidence above", ".2f"), ("high", "up to", ".2f"), ("images", "predictions", ",")]
    tips += [("confidence", "mean confidence", ".3f"), ("accuracy", "accuracy", ".3f")]
    bars = _layer(
        {"type": "rect", "color": colour(model), "stroke": SURFACE, "strokeWidth": 1},
        {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y | {"field": "accuracy"}, "y2": {"datum": 0}}
        | {"opacity": _faded(0.1, 0.4)}
        | _tips(tips),
    )
    diagonal = _layer(
        {"type": "line", "color": MUTED, "strokeDash": [5, 4], "strokeWidth": 1.4},
        {"x": x | {"field": "at"}, "y": y | {"field": "at"}},
        {"values": [{"at": 0}, {"at": 1}]},
    )
    size: Spec = {"field": "images", "type": "quantitative", "legend": None}
    size["scale"] = {"type": "sqrt", "range": [18, 240]}
    points = _layer(
        {"type": "point", "filled": True, "color": colour(model), "stroke": SURFACE, "strokeWidth": 1},
        {"x": x | {"field": "confidence"}, "y": y | {"field": "accuracy"}, "size": size, **_tips(tips)}
        | {"opacity": _faded(0.35, 1)},
    )
    rows = bin_rows(model)
    spec = _spec({"data": {"values": rows}, "layer": [bars, diagonal, points], "height": BINS_HEIGHT})
    what = f"Reliability diagram of {model.name}{by_protocol}, {len(rows)} bins with images"
    return Chart(spec, f"{what}. The table below has every figure.")


def _faded(few: float, usual: float) -> Spec:
    """How opaque what stands for a bin is."""
    return {"condition": {"test": "datum.few", "value": few}, "value": usual}


# --- what all share --------------------------------------------------------------------------------------------------


def _spec(own: Spec) -> Spec:
    fit = {"type": "fit-x", "contains": "padding"}
    return {"$schema": SCHEMA, "width": WIDTH, "autosize": fit, "padding": 2, "config": CONFIG} | own


def _of_shown(layer: Spec) -> Spec:
    """A layer with data of its own, without the models in the signal `hidden`."""
    return layer | {"transform": [{"filter": SHOWN}]}


def _layer(mark: Spec, encoding: Spec, data: Spec | None = None) -> Spec:
    return ({"data": data} if data else {}) | {"mark": mark, "encoding": encoding}


def _share(field: str, title: str, ends: list[float] | None = None) -> Spec:
    scale: Spec = {"zero": False} if ends is None else {"domain": ends, "nice": False}
    axis = {"title": title, "tickCount": 6}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def _colours(group: Group) -> Spec:
    return _own(group, [colour(model) for model in group.models])


def _shapes(group: Group) -> Spec:
    return _own(group, [shape(model) for model in group.models])


def _own(group: Group, values: list[str]) -> Spec:
    scale = {"domain": [model.name for model in group.models], "range": values}
    return {"field": "model", "type": "nominal", "legend": None, "scale": scale}


def _tips(fields: Sequence[Tip]) -> Spec:
    tips = []
    for name, title, number_format in fields:
        tip = {"field": name, "title": title, "type": "quantitative" if number_format else "nominal"}
        tips.append(tip | ({"format": number_format} if number_format else {}))
    return {"tooltip": tips}


def _level(score: float, model: Model) -> float:
    """In per cent, or the unit of the metric."""
    return round(model.metric.unit.scale * score, 4)
