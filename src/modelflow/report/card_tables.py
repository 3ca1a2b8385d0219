"""The tables of a model card, as rows of text. No torch."""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelflow.analysis.archive import Model
from modelflow.analysis.identity import short_form_of
from modelflow.analysis.intervals import Interval, accuracy_interval, prediction_interval
from modelflow.evaluation.calibration import Bin
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.networks.description import parse_spec
from modelflow.networks.trace import shape_text, trace
from modelflow.report.words import significant
from modelflow.results import layout
from modelflow.results.contents import caption_of
from modelflow.results.protocol import protocol_of
from modelflow.results.records import OPTIONS, DataRecord, OnDevice, Run
from modelflow.results.run_settings import LATER_SETTINGS, OPTIONAL_SETTINGS
from modelflow.text import counted

Rows = list[list[str]]
MAX_COLUMNS = 8
MAX_PARAMETERS = 10**12
LATENCIES = {"milliseconds for 1 image": "1", "for 64": "64"}
ON_DEVICE: dict[str, OnDevice] = {"bytes of flash, as C in int8": "int8_flash", "bytes of RAM": "int8_ram"}


def what_it_is(run: Run) -> str:
    """A model in one line: blocks, shapes, costs."""
    if run.spec is None:
        macs = "" if run.macs is None else f", {run.macs:,} multiply-accumulates per image"
        return f"{run.model_class}, a module without a spec, {run.parameters:,} parameters{macs}"
    traced = trace(parse_spec(run.spec), max_parameters=MAX_PARAMETERS)
    costs = f"{run.parameters:,} parameters, {traced.macs:,} multiply-accumulates per image"
    if form := short_form_of(run):
        return f"{form}, from images of {shape_text(traced.input_shape)}. {costs}"
    blocks, linear = len(traced.of_kind("conv")), len(traced.of_kind("linear"))
    classes = traced.layers[-1].output_shape[0]
    return (
        f"{counted(blocks, 'convolutional block')} and {counted(linear, 'fully connected layer')}, from images of "
        f"{shape_text(traced.input_shape)} to {classes} classes. {costs}"
    )


def layers(run: Run) -> Rows:
    """Each layer with its output and its costs for one image; nothing of a module that was not traced."""
    if run.spec is not None:
        found = [layer for _, layer in trace(parse_spec(run.spec), max_parameters=MAX_PARAMETERS).rows()]
        lines = [(one.name, one.what, one.output_shape, one.own_parameters, one.own_macs) for one in found]
    elif run.traced is not None:
        lines = [(one.name, one.what, one.output_shape, one.parameters, one.macs) for one in run.traced.layers]
    else:
        return []
    head = ["layer", "kind", "output", "parameters", "multiply-accumulates"]
    return [head, *([name, what, shape_text(gives), f"{n:,}", f"{macs:,}"] for name, what, gives, n, macs in lines)]


def data_facts(data: DataRecord) -> Rows:
    """What the images are, how many, and how they are normalised."""
    held = {"training images": data.training_images, "validation images": data.validation_images}
    held |= {"test images": data.test_images}
    rows: Rows = [["data", data.name]]
    rows += [[name, f"{images:,}"] for name, images in held.items() if images is not None]
    if data.test_in_training is not None:
        rows.append(["test images also in training", f"{data.test_in_training:,}"])
    if data.validation_in_training is not None:
        rows.append(["validation images also in training", f"{data.validation_in_training:,}"])
    if data.test_in_validation is not None:
        rows.append(["test images also in validation", f"{data.test_in_validation:,}"])
    if data.mean is not None and data.std is not None:
        rows.append(["normalised by mean and standard deviation", f"{_digits(data.mean)}, {_digits(data.std)}"])
    return rows


def _digits(value: float | list[float]) -> str:
    """A number, or those of the channels."""
    return " ".join(f"{one:.6f}" for one in value) if isinstance(value, list) else f"{value:.6f}"


def checksums(data: DataRecord) -> Rows:
    """The files of a data set, or its parts in memory; nothing where they are not known."""
    rows: Rows = [[name, value] for name, value in data.checksums.items()]
    return [["file or part", "SHA-256"], *rows] if rows else []


def training(models: list[Model]) -> list[dict[str, Any]]:
    """The settings, once where all models share them, and otherwise by the models that do."""
    found: dict[str, tuple[Rows, list[str]]] = {}
    for model in models:
        rows = _settings(model.runs)
        found.setdefault(repr(rows), (rows, []))[1].append(model.name)
    single = len(found) == 1
    return [{"settings": rows, "models": "" if single else ", ".join(names)} for rows, names in found.values()]


def _settings(runs: list[Run]) -> Rows:
    rows: Rows = [["setting", "value"], ["epochs", _all(f"{run.epochs}" for run in runs)]]
    rows.append(["seeds" if len(runs) > 1 else "seed", _all(str(run.seed) for run in runs)])
    rows.append(["learning rate", _all(f"{run.lr:g}" for run in runs)])
    left_out = ("epochs", "lr", "max_parameters", *_unset(runs), *_said_twice(runs))
    kept = [name for name in runs[0].settings if name not in left_out]
    rows += [[name.replace("_", " "), _all(_setting(run, name) for run in runs)] for name in kept]
    rows.append(
        [
            "trained by",
            _all(f"{run.engine or 'not known'} on {run.device}, {counted(run.threads, 'thread')}" for run in runs),
        ]
    )
    rows.append(["processor", _all(run.processor for run in runs)])
    rows.append(["versions", _all(", ".join(f"{k} {v}" for k, v in run.versions.items()) for run in runs)])
    rows.append(["revision", _all(run.git_revision or "not known" for run in runs)])
    if len(runs) == 1:
        rows.append(["started", runs[0].started])
        rows += [[f"seconds of {name}", f"{seconds:.1f}"] for name, seconds in runs[0].seconds.items()]
    return rows


def _unset(runs: list[Run]) -> list[str]:
    """Options of the training that none of the runs was given."""
    usual = LATER_SETTINGS
    return [
        name for name in OPTIONAL_SETTINGS if all(run.settings.get(name, usual[name]) == usual[name] for run in runs)
    ]


def _said_twice(runs: list[Run]) -> list[str]:
    """Options of optimizer and loss, such as `optimizer.momentum`, where a setting of that name says the same."""
    settings = [run.settings for run in runs]
    return [
        option
        for option in settings[0]
        if option.startswith(OPTIONS)
        and (name := option.partition(".")[2]) in settings[0]
        and all(of.get(option) == of.get(name) for of in settings)
    ]


def _setting(run: Run, name: str) -> str:
    """A setting as it was given; of the images held out how many there were, also where that was left to the recipe."""
    value = run.settings.get(name)
    if name != "validation_images" or value is not None:
        return str(value)
    if protocol_of(run).kind == "card":
        return "none held out"
    return "not known" if run.data.validation_images is None else f"{run.data.validation_images:,}"


def _all(values: Iterable[str]) -> str:
    return " · ".join(dict.fromkeys(values))


def costs(models: list[Model]) -> Rows:
    """What each model costs: seconds are the mean over its seeds, milliseconds of a forward pass the least."""
    sizes = ["parameters", "multiply-accumulates", "bytes of weights", *ON_DEVICE]
    rows: Rows = [["model", *sizes, "seconds of training per run", *LATENCIES]]
    for model in models:
        first = model.first
        seconds = statistics.fmean(run.seconds.get("training", 0.0) for run in model.runs)
        found = [first.parameters, first.macs, first.bytes_on_disk, *map(model.on_device, ON_DEVICE.values())]
        rows.append(
            [
                model.name,
                *map(_known, found),
                f"{seconds:.1f}",
                *(_latency(model, batch) for batch in LATENCIES.values()),
            ]
        )
    return rows


def _known(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _latency(model: Model, batch: str) -> str:
    found = model.latency(batch)
    return "" if found is None else significant(found[0])


def run_figures(model: Model) -> Rows:
    """The evaluation of a model's one run; lines that its record lacks are left out."""
    seed = model.seeds[0]
    metrics, run = seed.figures, seed.run
    interval = accuracy_interval([metrics.accuracy], metrics.images)
    rows: Rows = [["figure", "value"]]
    if model.metric is not ACCURACY:
        span = f" ({_span(model.interval, model.metric)})" if model.interval else ""
        rows.append([f"{model.metric.title}, which decides", model.metric.text(model.score) + span])
    rows.append(["accuracy", f"{per_cent(metrics.accuracy)} ({_span(interval)})"])
    rows += [["macro F1", f"{metrics.macro_f1:.4f}"], ["loss, nats per image", f"{metrics.loss:.4f}"]]
    if metrics.top2_accuracy is not None:
        rows.append(["top-2 accuracy", per_cent(metrics.top2_accuracy)])
    rows.append(["test images", f"{metrics.images:,}"])
    if run.validation is not None:
        held = run.validation
        rows.append([f"accuracy on {held.images:,} held-out images", per_cent(held.accuracy)])
    rows += [[f"milliseconds for {counted(int(n), 'image')}", f"{ms:g}"] for n, ms in run.latency_ms.items()]
    if run.bytes_on_disk is not None:
        rows.append([f"bytes of {layout.WEIGHTS}", f"{run.bytes_on_disk:,}"])
    rows += [
        [what, f"{run.bytes_on_device[name]:,}"] for what, name in ON_DEVICE.items() if name in run.bytes_on_device
    ]
    return rows


def study_figures(models: list[Model]) -> Rows:
    """The evaluation of each model over its seeds."""
    metric = models[0].metric
    accuracy = [] if metric is ACCURACY else ["accuracy"]
    head = ["model", "seeds", metric.title, "95 % interval", "another run", *accuracy, "top-2 accuracy"]
    rows: Rows = [[*head, "macro F1", "loss"]]
    for model in models:
        runs, several, unit = model.runs, len(model.runs) > 1, metric.unit
        spread = f" ± {unit.scale * statistics.stdev(model.scores):.{unit.level_digits}f}" if several else ""
        differ = len(set(model.scores)) > 1  # or else nothing is known of how far another seed may lie
        another = prediction_interval(model.scores, most=unit.most) if differ else None
        top2 = model.mean("top2_accuracy")
        rows.append(
            [
                *(model.name, str(len(runs)), metric.text(statistics.fmean(model.scores)) + spread),
                *(_span(model.interval, metric), _span(another, metric)),
                *(per_cent(model.accuracy) for _ in accuracy),
                *(
                    "" if top2 is None else per_cent(top2),
                    f"{statistics.fmean(run.metrics.macro_f1 for run in runs):.4f}",
                ),
                f"{statistics.fmean(run.metrics.loss for run in runs):.4f}",
            ]
        )
    return rows


def per_cent(share: float) -> str:
    """A share of 1 in per cent."""
    return f"{100 * share:.2f} %"


def _span(interval: Interval | None, metric: Metric = ACCURACY) -> str:
    """An interval in the unit of the metric; empty where it is not known."""
    if interval is None:
        return ""
    low, high = (f"{metric.unit.scale * end:.{metric.unit.level_digits}f}" for end in (interval.low, interval.high))
    return f"{low} to {high}"


def calibration(models: list[Model]) -> Rows:
    """Means over the seeds; models without predictions or figures of their own are left out."""
    rows: Rows = [["model", "Brier score", "calibration error", "confidence minus accuracy"]]
    for model in models:
        brier, error = model.mean("brier"), model.mean("calibration_error")
        if brier is None or error is None:
            continue
        over = [_overconfidence(seed.bins) for seed in model.seeds if seed.bins]
        rows.append(
            [model.name, f"{brier:.4f}", _points(error), f"{100 * statistics.fmean(over):+.2f}" if over else ""]
        )
    return rows if len(rows) > 1 else []


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"


def _overconfidence(bins: list[Bin]) -> float:
    images = sum(one.images for one in bins)
    return sum(one.images * (one.confidence - one.accuracy) for one in bins) / images


def reliability_rows(bins: list[Bin]) -> Rows:
    """The bins that have images."""
    rows: Rows = [["confidence", "images", "mean confidence", "accuracy"]]
    for one in bins:
        if one.images:
            span = f"{one.low:.3f} to {one.high:.3f}"
            rows.append([span, f"{one.images:,}", per_cent(one.confidence), per_cent(one.accuracy)])
    return rows if len(rows) > 1 else []


def run_classes(model: Model) -> Rows:
    """Precision, recall and F1 of each class, of a model's one run."""
    rows: Rows = [["class", "precision", "recall", "F1", "images"]]
    for row in model.classes:
        rows.append([row.name, f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", f"{row.support:,}"])
    return rows if len(rows) > 1 else []


def study_classes(models: list[Model]) -> Rows:
    """F1 of each class, the mean over seeds, of the most accurate models that have the best one's classes."""
    whole = [model for model in models if len(model.predicting) == len(model.seeds)]
    shown = [model for model in whole if model.class_names == whole[0].class_names][:MAX_COLUMNS]
    if not shown:
        return []
    rows: Rows = [["F1 of", *(model.name for model in shown)]]
    reports = [[seed.classes(model.class_names) for seed in model.seeds] for model in shown]
    for k, name in enumerate(shown[0].class_names):
        rows.append([name, *(f"{statistics.fmean(report[k].f1 for report in of_model):.4f}" for of_model in reports)])
    return rows


def files(folder: Path, captions: Mapping[str, str]) -> Rows:
    """The folder's files, and the folders of runs below it; `captions` of files that no results folder has."""
    rows: Rows = [["file", "what it holds"]]
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not layout.SET_ASIDE.search(path.name):
            further = path.name == layout.SEEDS and (folder / layout.RUN).is_file()
            rows.append([f"{path.name}/", "further seeds, the same files" if further else "the runs of a model"])
        elif path.is_file() and not path.name.startswith("."):
            caption = captions.get(path.name) or caption_of(path.name) or _picture(path.name)
            rows.append([path.name, caption])
    return rows


def _picture(name: str) -> str:
    if name.startswith("filters_"):
        return "filters of a convolutional layer"
    return {layout.MODEL_CARD: "this card", layout.REPORT: "the study as one page"}.get(name, "")
