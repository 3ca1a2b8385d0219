"""MODEL_CARD.md of a study or of one run, in the form that Hugging Face reads; every number from the results. No torch.

    Path("results/MODEL_CARD.md").write_text(study_card("results"))
    Path("results/generic_2/MODEL_CARD.md").write_text(run_card("results/generic_2"))

The front matter is YAML with a `model-index`; the text is Markdown, in which names cannot add any markup of their own.
"""

import re
import shlex
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from modelflow import results
from modelflow.comparison import compare_folders
from modelflow.errors import DataError, ModelFlowError
from modelflow.evaluation.calibration import BINS
from modelflow.presets import CARD, preset
from modelflow.records import Run
from modelflow.report import card_tables as tables
from modelflow.report.card_tables import Model
from modelflow.report.markdown import Ready, escaped, plain, table
from modelflow.results import run_folders
from modelflow.settings import RunSettings
from modelflow.spec import parse_spec

MOST_COMPARED = 20
HUB_DATA = {"fashion-mnist": "zalando-datasets/fashion_mnist"}
FIGURES = (("accuracy", "accuracy", "Accuracy"), ("f1", "macro_f1", "Macro F1"), ("loss", "loss", "Loss"))
ONE_RUN = (
    "The interval is Wilson's, 95 %, over images like the test images, and of this run alone: another seed would give "
    "another accuracy."
)
OVER_SEEDS = (
    "Means over the seeds, ± their standard deviation. The interval is of the mean over all seeds, 95 %, by Student's"
    " t, on these test images; of a model with one run it is Wilson's, over images like them. Another run: where one "
    "more seed lies with 95 %, on the same images."
)
BY_SEEDS = (
    "on the same test images, over seeds and images: better where the p-value, by Holm's method over all pairs, is "
    "below 5 %; equivalent where the 95 % interval of the difference lies within half a point."
)
BY_RUNS = (
    "by one run each (McNemar's test, Holm's method over all pairs): this speaks of these runs, not of the models, "
    "since seeds alone often move the accuracy by more. Three seeds or more of each would speak of the models."
)
USED_FOR_YEARS = (
    "The test images are one sample, and well known ones have been tested on by everyone for years: what is tried "
    "today was chosen by such figures."
)
SAME_BYTES = (
    "Same seeds, versions and machine give the same bytes in model.safetensors, history.csv and predictions.npz; "
    "another processor or version may move the last digits of a weight, and so some predictions."
)
IN_PYTHON = "The run was made in Python, from loaders that no file describes: give them, and the settings above."


def study_card(results_folder: str | Path) -> str:
    """MODEL_CARD.md of all models in a results folder, the most accurate first. Raises `DataError` when it has none."""
    folder = Path(results_folder)
    reads = [tables.read(path) for path in run_folders(folder)]
    if not reads:
        raise DataError(
            f"{folder}: no finished run in it; give a results folder, such as the one `modelflow run` wrote"
        )
    reads.sort(key=lambda read: read.run.model_name)
    grouped = groupby(reads, key=lambda read: read.run.model_name)
    models = [Model(name, list(of_model)) for name, of_model in grouped]
    models.sort(key=lambda model: -fmean(model.accuracies))
    return _rendered(models, folder, study=True)


def run_card(run_folder: str | Path) -> str:
    """MODEL_CARD.md of one run. Raises `DataError` when the folder holds no finished run."""
    read = tables.read(Path(run_folder))
    return _rendered([Model(read.run.model_name, [read])], Path(run_folder), study=False)


def _rendered(models: list[Model], folder: Path, study: bool) -> str:
    what = [{"name": model.name, "what": tables.what_it_is(model.runs[0])} for model in models]
    facts: dict[str, Any] = {"study": study, "models": what}
    parts = (_head(models, study), _making(models, study), _figures(models, study), _verdicts(models, study))
    for part in (*parts, _ending(models, folder, study)):
        facts |= part
    text: str = _environment().get_template("model_card.md.j2").render(facts)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=loader, finalize=escaped, undefined=StrictUndefined, autoescape=False)
    environment.filters["table"] = table
    return environment


def _head(models: list[Model], study: bool) -> dict[str, Any]:
    """Front matter, title, summary and layers."""
    first = models[0].runs[0]
    names = _data_names(models)
    figure = f"{tables.per_cent(fmean(models[0].accuracies))} of {first.metrics.images:,} test images right"
    if study:
        title = f"{tables.count(len(models), 'small network')} compared on {names}"
        summary = f"The most accurate is {models[0].name}, with {figure}{_over(models[0])}."
    else:
        title = f"{first.model_name}, seed {first.seed}, trained on {names}"
        summary = f"A small image classifier, with {figure}."
    layers = [] if study or first.spec is None else tables.layers(first)
    front = Ready(yaml.safe_dump(_front(models), sort_keys=False, allow_unicode=True, width=10**6).rstrip("\n"))
    return {"front": front, "title": title, "summary": summary, "layers": layers, "data_names": names}


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
    data, over = model.runs[0].data, _over(model)
    metrics = [
        {"type": kind, "value": fmean(getattr(run.metrics, field) for run in model.runs), "name": name + over}
        for kind, field, name in FIGURES
    ]
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
    data = {run.data.model_dump_json(): run.data for run in runs}
    protocols = dict.fromkeys(_protocol(run) for run in runs)
    return {
        "data": [{"facts": tables.data_facts(one), "checksums": tables.checksums(one)} for one in data.values()],
        "protocols": list(protocols),
        "training": tables.training(models),
        "costs": tables.costs(models) if study else [],
    }


def _protocol(run: Run) -> str:
    """What was validated and tested on what, in words."""
    data, name = run.data, f"Protocol {run.protocol}: "
    if run.protocol.startswith("held-out"):
        held = f"{data.validation_images:,} " if data.validation_images is not None else ""
        return (
            f"{name}{held}of the training images were held out, the same share of each class, and validated on "
            f"after each epoch; the test images were evaluated {_times(run.test_reads)}, after the last one."
        )
    if run.protocol.startswith("card"):
        return (
            f"{name}the test images served as validation too: their loss was taken after each epoch. The figures are "
            "of the last epoch. What is chosen by them is chosen on the test images, and looks better than it is."
        )
    return f"{name}not one that this card knows."


def _times(reads: int | None) -> str:
    return {None: "at the end", 1: "once"}.get(reads, f"{reads} times")


def _figures(models: list[Model], study: bool) -> dict[str, Any]:
    """Evaluation, calibration and figures by class."""
    bins = models[0].reads[0].bins if not study else []
    note = OVER_SEEDS if any(len(model.runs) > 1 for model in models) else ONE_RUN
    return {
        "evaluation": tables.study_figures(models) if study else tables.run_figures(models[0].reads[0]),
        "evaluation_note": note,
        "calibration": tables.calibration(models),
        "bins": BINS,
        "reliability": tables.reliability_rows(bins),
        "classes": tables.study_classes(models) if study else tables.run_classes(models[0].reads[0]),
        "classes_note": _classes_note(models) if study else "",
    }


def _classes_note(models: list[Model]) -> str:
    more = f" The {tables.MOST_COLUMNS} most accurate models." if len(models) > tables.MOST_COLUMNS else ""
    return f"Means over the seeds.{more} Precision and recall of each run: {results.REPORT_CSV} in its folder."


def _verdicts(models: list[Model], study: bool) -> dict[str, Any]:
    """What the predictions say of each pair of models; a study's alone."""
    if not study:
        return {"verdicts": [], "verdicts_note": ""}
    if len(models) < 2:
        return {"verdicts": [], "verdicts_note": "One model: nothing to compare it with."}
    folders = [model.reads[0].folder for model in models[:MOST_COMPARED]]
    try:
        found = compare_folders(folders).verdicts
    except ModelFlowError as error:
        return {"verdicts": [], "verdicts_note": f"The models are not compared: {error}"}
    most = f"the {MOST_COMPARED} most accurate models" if len(models) > MOST_COMPARED else "the models"
    several = all(len(model.runs) > 1 for model in models[:MOST_COMPARED])
    note = f"Each pair of {most}, {BY_SEEDS if several else BY_RUNS}"
    return {"verdicts": [verdict.words for verdict in found], "verdicts_note": note}


def _ending(models: list[Model], folder: Path, study: bool) -> dict[str, Any]:
    """Limits, how to repeat it, and the files."""
    command, note = _study_command(folder) if study else _run_command(models[0].runs[0])
    return {
        "limits": _limits(models),
        "command": Ready(plain(command)),
        "repeat_note": note,
        "files": tables.files(folder),
    }


def _limits(models: list[Model]) -> list[str]:
    runs = [run for model in models for run in model.runs]
    lines = list(dict.fromkeys(_limit_of(run.protocol) for run in runs))
    if one := [model.name for model in models if len(model.runs) == 1]:
        lines.append(f"One seed of {', '.join(one)}: seeds alone often move the accuracy by a point.")
    lines.append(USED_FOR_YEARS)
    for run in runs:
        lines += [f"Warning, {run.model_name}, seed {run.seed}: {text}" for text in run.warnings]
        lines += [f"Note, {run.model_name}, seed {run.seed}: {text}" for text in run.notes] if len(runs) == 1 else []
    return lines


def _limit_of(protocol: str) -> str:
    if protocol.startswith("held-out"):
        return "Nothing was chosen by the test images within a run (protocol held-out)."
    if protocol.startswith("card"):
        return "The test images served as validation too (protocol card): nothing may be chosen by these figures."
    return "Whether the test images had a part in the training is not known."


def _study_command(folder: Path) -> tuple[str, str]:
    """The command that trains it all again, given above the results folder, and what to know of it."""
    if not (folder / results.STUDY).is_file():
        return "modelflow run", f"There is no {results.STUDY} in the folder: give the settings above."
    return shlex.join(
        ["modelflow", "run", f"{folder.resolve().name}/{results.STUDY}", "--results", "again"]
    ), SAME_BYTES


def _run_command(run: Run) -> tuple[str, str]:
    """The command that trains the run again, and what to know of it."""
    if run.spec is None or "dataset" not in run.settings:
        return "python", IN_PYTHON
    spec = parse_spec(run.spec)
    if run.model_name in CARD and preset(run.model_name) == spec:
        return shlex.join(["modelflow", "train", run.model_name, *_options(run), "--results", "again"]), SAME_BYTES
    words = ["modelflow", "train", results.SPEC, *_options(run), "--results", "again"]
    return shlex.join(words), f"In this folder; the model is then called by its file, spec. {SAME_BYTES}"


def _options(run: Run) -> Sequence[str]:
    """What differs from the recipe that has the run's schedule, which has no option of its own."""
    recipe: dict[str, Any] = {"recipe": "best" if run.settings.get("schedule") == "one-cycle" else "card"}
    usual = RunSettings(**recipe).model_dump() | {"recipe": "card"}
    asked = {"protocol": "card"} | run.settings | recipe
    words = ["--seed", str(run.seed)]
    for field, value in asked.items():
        if field != "schedule" and value is not None and value != usual.get(field):
            option = "--" + field.replace("_", "-")
            words += [option] if value is True else [option, str(value)]
    return words
