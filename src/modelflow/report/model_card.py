"""MODEL_CARD.md of a study or of one run, in the form that Hugging Face reads; every number from the results. No torch.

    text = study_card(read_content("results"))
    text = run_card(read_seed(Path("results/generic_2")))

The front matter is YAML with a `model-index`; the text is Markdown, in which names cannot add any markup of their own.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelflow.analysis.archive import Content, Group, Model, Seed, model_of, tested_on, values
from modelflow.analysis.verdicts import RunVerdict, Verdict, compare_runs
from modelflow.evaluation.calibration import BINS
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import SHARE, Metric
from modelflow.report import answer, seeds
from modelflow.report import card_tables as tables
from modelflow.report.how import SAME_BYTES, repeat_command, repeat_run
from modelflow.results import layout
from modelflow.results.protocol import Kept, protocol_name, split_kind
from modelflow.results.records import Run
from modelflow.text import Ready, counted, escaped, markdown_table, plain, sentence

MAX_COMPARED = 20
HUB_DATA = {"fashion-mnist": "zalando-datasets/fashion_mnist"}
FIGURES = (("accuracy", "accuracy", "Accuracy"), ("f1", "macro_f1", "Macro F1"), ("loss", "loss", "Loss"))
ONE_RUN = (
    "The interval is {}, 95 %, over images like the test images, and of this run alone. Another seed would give "
    "another {}."
)
OVER_SEEDS = (
    "Means over the seeds, ± their standard deviation. The interval is of the mean over all seeds, 95 %, by Student's"
    " t, on these test images. For a model with one run it is {}, over images like them. Another run: the 95 % "
    "interval of one more seed on the same images."
)
BY_SEEDS = (
    "on the same test images, over seeds and images. Better: the p-value of the difference is below 5 %. Equivalent: "
    "the p-value of a difference of {margin} or more is below 5 %. P-values are adjusted by Holm's method over all "
    f"pairs. With enough seeds per model ({seeds.enough_seeds()}), the chance of even one false “better” is 5 % or "
    "less, as simulated. Nothing is claimed from fewer. The intervals hold for all pairs together (95 %). {trained}"
)
BY_RUNS = (
    "by one run each ({test}, Holm's method over all pairs). This compares these runs, not the models: the "
    "seed alone often moves the {title} by more. To compare the models, train several seeds per model: "
    f"{seeds.enough_seeds()}."
)
USED_FOR_YEARS = (
    "The test images are one sample. Well-known test images have been used by everyone for years, so today's methods "
    "were chosen by such figures."
)


@dataclass(frozen=True, eq=False)
class Part:
    """Models on the same data by the same protocol, which alone are compared; `group` has the verdicts of a study."""

    models: list[Model]
    group: Group | None = None

    @property
    def protocol(self) -> str:
        """Its name."""
        return self.models[0].protocol

    @property
    def metric(self) -> Metric:
        """What they are judged by."""
        return self.models[0].metric

    @property
    def test_reads(self) -> list[int | None]:
        """How often each run's test images were evaluated; None where it is not known."""
        return [run.test_reads for model in self.models for run in model.runs]

    @property
    def title(self) -> str:
        """Data and protocol."""
        run = self.models[0].first
        data = f"{run.data.name or 'no name'}, {run.metrics.images:,} test images"
        return f"{data}, protocol {self.protocol or 'not known'}"


@dataclass(frozen=True)
class Exported:
    """A run's model in an export's folder: its `use` as Markdown, how it was checked, captions of its files."""

    folder: Path
    use: str
    checked: tuple[str, ...]
    captions: Mapping[str, str]


def study_card(content: Content) -> str:
    """MODEL_CARD.md of all models in a results folder, the best first.

    Models are grouped and compared as in report.html; what cannot be read is named among the limits.
    """
    parts = [Part(list(group.models), group) for group in content.groups]
    left_out = [f"Left out, {where}: {why}" for where, why in content.left_out]
    left_out = [f"Not the whole study: {content.missing}", *left_out] if content.missing else left_out
    left_out = [content.other_metric, *left_out] if content.other_metric else left_out
    command, caution = repeat_command(content)
    if command and caution:
        left_out.append(f"The command below: {caution}")
    return _rendered(parts, content.folder, left_out, (command, SAME_BYTES if command else caution))


def run_card(seed: Seed, exported: Exported | None = None, metric: Metric = ACCURACY) -> str:
    """MODEL_CARD.md of one run, or the card of its exported model; its study is decided by `metric`."""
    known = (
        metric if seed.figures.score(metric.name) is not None else ACCURACY
    )  # of an older record, without predictions
    part = Part([model_of(seed.run.model_name, 0, [seed], known)])
    folder = seed.folder if exported is None else exported.folder
    return _rendered([part], folder, [], repeat_run(seed.run, seed.folder), exported)


def _rendered(
    parts: list[Part], folder: Path, left_out: list[str], repeated: tuple[str, str], exported: Exported | None = None
) -> str:
    """The card; `repeated` is the command that repeats it, which may be empty, and what to know of it."""
    study = parts[0].group is not None
    models = [model for part in parts for model in part.models]
    by_name = {model.name: model for model in reversed(models)}
    what = [{"name": name, "what": tables.what_it_is(by_name[name].runs[0])} for name in dict.fromkeys(_names(models))]
    facts: dict[str, Any] = {"study": study, "models": what, "parts": [_figures(part) for part in parts], "bins": BINS}
    facts |= {"metric": models[0].metric.title}
    facts |= {"use": Ready(exported.use.strip() if exported else ""), "checked": exported.checked if exported else ()}
    captions = exported.captions if exported else {}
    for some in (_head(parts, study), _making(models, study), _ending(parts, folder, left_out, repeated, captions)):
        facts |= some
    text: str = _environment().get_template("model_card.md.j2").render(facts)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


def _names(models: list[Model]) -> list[str]:
    return [model.name for model in models]


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, finalize=escaped, undefined=StrictUndefined, autoescape=False)
    environment.filters["table"] = markdown_table
    return environment


def _head(parts: list[Part], study: bool) -> dict[str, Any]:
    """Front matter, title, summary and layers."""
    models = [model for part in parts for model in part.models]
    first = models[0].runs[0]
    names = _data_names(models)
    if study:
        title = f"{counted(len(set(_names(models))), 'small network')} compared on {names}"
        summary = [line for part in parts for line in _summary(part, len(parts) > 1)]
    else:
        title = f"{first.model_name}, seed {first.seed}, trained on {names}"
        summary = [f"A small image classifier, with {_figure(models[0])}{_also_validated(models[0].protocol)}."]
    layers = [] if study else tables.layers(first)
    notes = first.traced.notes if layers and first.traced else ()
    front = Ready(yaml.safe_dump(_front(models), sort_keys=False, allow_unicode=True, width=10**6).rstrip("\n"))
    return {
        "front": front,
        "title": title,
        "summary": summary,
        "layers": layers,
        "layer_notes": notes,
        "data_names": names,
    }


def _summary(part: Part, several: bool) -> list[str]:
    """The headline of the report, nothing stronger than its verdicts, and the highest mean."""
    assert part.group is not None
    best = part.models[0]
    where = f"On {part.title}: " if several else ""
    lines = [f"{where}{answer.headline(part.group)}"]
    lines += [notice for notice in (seeds.too_few_seeds(part.group), part.group.unlike) if notice]
    if len(part.models) > 1:
        figure = f"{_figure(best)}{_over(best)}{_also_validated(part.protocol)}"
        lines.append(f"{sentence(part.metric.highest)} mean {part.metric.title}: {best.name}, with {figure}.")
    return lines


def _figure(model: Model) -> str:
    score, images = model.metric.text(fmean(model.scores)), model.runs[0].metrics.images
    if model.metric is ACCURACY:
        return f"{score} of {images:,} test images right"
    unit = "" if model.metric.unit is SHARE else f" {model.metric.unit.level}"
    return f"a {model.metric.title} of {score}{unit} on {images:,} test images"


def _also_validated(protocol: str) -> str:
    """What a figure needs to say with it unless the test images were kept apart."""
    return {
        "held-out": "",
        "card": " (test images also validated on)",
        "not known": " (validation images unknown)",
    }[split_kind(protocol)]


def _over(model: Model) -> str:
    return f", the mean of {len(model.runs)} seeds" if len(model.runs) > 1 else ""


def _data_names(models: list[Model]) -> str:
    return ", ".join(dict.fromkeys(run.data.name for model in models for run in model.runs))


def _front(models: list[Model]) -> dict[str, Any]:
    """The front matter; no licence: that is for whoever publishes the weights."""
    runs = [run for model in models for run in model.runs]
    hub = list(dict.fromkeys(HUB_DATA[run.data.name] for run in runs if run.data.name in HUB_DATA))
    return {
        "library_name": "modelflow",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "cnn", "pytorch", "modelflow"],
        **({"datasets": hub} if hub else {}),
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": plain(model.name), "results": [_result(model)]} for model in models],
    }


def _result(model: Model) -> dict[str, Any]:
    """One entry of a model-index: https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""
    data, over = model.runs[0].data, _also_validated(model.protocol) + _over(model)
    metrics = [
        {"type": kind, "value": fmean(getattr(run.metrics, field) for run in model.runs), "name": name + over}
        for kind, field, name in FIGURES
    ]
    own = model.metric
    if own.name not in {field for _, field, _ in FIGURES}:
        metrics.append({"type": own.name, "value": model.score, "name": sentence(own.title) + over})
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": _identifier(data.name), "name": plain(data.name) or "no name", "split": "test"},
        "metrics": metrics,
    }


def _identifier(name: str) -> str:
    """A data set's name as Hugging Face takes it for a type."""
    return HUB_DATA.get(name) or re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:96] or "unnamed"


def _making(models: list[Model], study: bool) -> dict[str, Any]:
    """Data, protocols, training and its costs."""
    runs = [run for model in models for run in model.runs]
    data = {run.data.model_dump_json(exclude={"folder"}): run.data for run in runs}
    protocols: dict[tuple[str, str, int | None], list[Run]] = defaultdict(list)
    for run in runs:
        protocols[protocol_name(run), run.data.name, run.data.validation_images].append(run)
    several = len({run.data.name for run in runs}) > 1
    return {
        "data": [{"facts": tables.data_facts(one), "checksums": tables.checksums(one)} for one in data.values()],
        "protocols": [_protocol(name, alike, several) for (name, *_), alike in protocols.items()],
        "training": tables.training(models),
        "costs": tables.costs(models) if study else [],
    }


def _protocol(called: str, runs: list[Run], several: bool) -> str:
    """What was validated and tested on what, in words; the runs share data, one of `several`, and protocol."""
    data, kept = runs[0].data, split_kind(called)
    name = f"Protocol {called or 'not known'}{f' on {data.name}' if several else ''}: "
    if kept == "held-out":
        held = f"{data.validation_images:,} " if data.validation_images is not None else ""
        return (
            f"{name}{held}of the training images were held out, the same share of each class, for validation "
            f"after each epoch. {sentence(answer.reads_words([one.test_reads for one in runs]))}."
        )
    if kept == "card":
        return (
            f"{name}the test images also served as validation: their loss was measured after each epoch. The figures "
            "are of the last epoch. What is chosen by them is chosen on the test images and looks better than it is."
        )
    return f"{name}it is unknown how validation and test images were kept apart."


def _figures(part: Part) -> dict[str, Any]:
    """Evaluation, verdicts, calibration and figures by class."""
    models, study = part.models, part.group is not None
    bins = [] if study else models[0].bins
    verdicts, note = _verdicts(part.group)
    return {
        "title": part.title,
        "protocol": answer.protocol_words(part.protocol, part.test_reads),
        "evaluation": tables.study_figures(models) if study else tables.run_figures(models[0]),
        "evaluation_note": _evaluation_note(models),
        "verdicts": [verdict.words for verdict in verdicts],
        "verdicts_note": note,
        "calibration": tables.calibration(models),
        "reliability": tables.reliability_rows(bins),
        "classes": tables.study_classes(models) if study else tables.run_classes(models[0]),
        "classes_note": _classes_note(models) if study else "",
    }


def _evaluation_note(models: list[Model]) -> str:
    """Of which kind the intervals are."""
    metric = models[0].metric
    how = answer.one_run_method(metric, "'s")
    if any(len(model.runs) > 1 for model in models):
        return OVER_SEEDS.format(how)
    return ONE_RUN.format(how, metric.title)


def _classes_note(models: list[Model]) -> str:
    more = f" The {tables.MAX_COLUMNS} {_best_models(models[0].metric)}." if len(models) > tables.MAX_COLUMNS else ""
    return f"Means over the seeds.{more} Precision and recall of each run: {layout.REPORT_CSV} in its folder."


def _verdicts(group: Group | None) -> tuple[Sequence[Verdict | RunVerdict], str]:
    """What the predictions say of each pair of models, and how; a study's alone."""
    if group is None:
        return (), ""
    if len(group.models) < 2:
        return (), "One model: nothing to compare it with."
    not_compared = ", ".join(f"{name} ({why})" for name, why in group.unpaired)
    by, values_words = _by(group.metric), answer.image_values(group.metric)
    values_words = f" {values_words}" if values_words else ""
    if group.verdicts:
        shown, which = _of_the_best(group)
        how = BY_SEEDS.format(margin=answer.margin(group), trained=answer.trained(group))
        left_out = f" Not compared: {not_compared}." if not_compared else ""
        return shown, f"{which}{by}, {how}{values_words}{left_out}"
    if group.most_seeds == 1 and (of_runs := _run_verdicts(group)):
        test = "McNemar's test" if group.metric is ACCURACY else "paired t test over images"
        how = BY_RUNS.format(test=test, title=group.metric.title)
        return of_runs, f"Each pair of the models{by}, {how}{values_words}"
    return (), f"The models are not compared: {not_compared}."


def _by(metric: Metric) -> str:
    return "" if metric is ACCURACY else f" by {metric.title}"


def _best_models(metric: Metric) -> str:
    return "most accurate models" if metric is ACCURACY else f"models best by {metric.title}"


def _of_the_best(group: Group) -> tuple[list[Verdict], str]:
    """The verdicts that are listed; the family is of all pairs whatever is listed."""
    names = {model.name for model in group.models[:MAX_COMPARED]}
    shown = [verdict for verdict in group.verdicts if {verdict.first, verdict.second} <= names]
    if len(shown) == len(group.verdicts):
        return shown, "Each pair of the models"
    return shown, f"Each pair of the {MAX_COMPARED} {group.metric.best} of {len(group.models)} models"


def _run_verdicts(group: Group) -> Sequence[RunVerdict]:
    """Of one run each, where at least two were tested on the same images."""
    models = [model for model in group.models[:MAX_COMPARED] if tested_on(model, group.labels_N)]
    if len(models) < 2 or group.labels_N is None:
        return ()
    of_runs = {model.name: values(model)[0] for model in models}
    return compare_runs(of_runs, group.metric, group.metric.groups(group.labels_N))


def _ending(
    parts: list[Part], folder: Path, left_out: list[str], repeated: tuple[str, str], captions: Mapping[str, str]
) -> dict[str, Any]:
    """Limits, how to repeat it, and the files."""
    models = [model for part in parts for model in part.models]
    command, note = repeated
    return {
        "limits": [*left_out, *_limits(models)],
        "command": Ready(plain(command)),
        "repeat_note": note,
        "files": tables.files(folder, captions),
    }


def _limits(models: list[Model]) -> list[str]:
    runs = [run for model in models for run in model.runs]
    reads: dict[Kept, list[int | None]] = defaultdict(list)
    for run in runs:
        reads[split_kind(protocol_name(run))].append(run.test_reads)
    lines = [_limit(kept, of_runs) for kept, of_runs in reads.items()]
    if one := [model.name for model in models if len(model.runs) == 1]:
        lines.append(f"One seed of {', '.join(one)}: {answer.seed_alone(models[0].metric)}.")
    lines += answer.repeated_images(run.data for run in runs)
    lines.append(USED_FOR_YEARS)
    for run in runs:
        lines += [f"Warning, {run.model_name}, seed {run.seed}: {text}" for text in run.warnings]
        lines += [f"Note, {run.model_name}, seed {run.seed}: {text}" for text in run.notes] if len(runs) == 1 else []
    return lines


def _limit(kept: Kept, reads: list[int | None]) -> str:
    """What the runs of a protocol say of the test images, `reads` as for `answer.reads_words`."""
    if kept == "card":
        return "The test images also served as validation (protocol card). Choose nothing by these figures."
    if kept == "not known":
        return "It is unknown whether the test images had a part in the training."
    if set(reads) == {1}:
        return "Nothing was chosen by the test images within a run (protocol held-out)."
    return f"{sentence(answer.reads_words(reads))}. Something may have been chosen by them (protocol held-out)."
