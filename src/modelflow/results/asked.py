"""What was asked for in a results folder, by study.json and studies.json, and what is still missing of it. No torch."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from modelflow.data.source import IN_MEMORY, Form
from modelflow.data.sources import folder_of, is_fixed
from modelflow.errors import ModelFlowError, UsageError
from modelflow.evaluation.measure import ACCURACY, metric_named
from modelflow.evaluation.scores.score import Metric
from modelflow.io.bounds import MAX_STUDY_BYTES
from modelflow.io.config import read_fields
from modelflow.io.files import write_atomic
from modelflow.results import layout
from modelflow.results.records import Run
from modelflow.results.settings import RunSettings, StudySettings, read_study, read_study_file, validated, whole
from modelflow.text import ended

MAX_NAMED = 5  # models of which a message says what is missing
CHECKSUMS = "checksums"  # of the data, in plan.json
OPTIONAL_SETTINGS = (
    *("momentum", "nesterov", "weight_decay", "label_smoothing", "class_weights", "ema"),
    *("shift", "flip", "cutout"),
    *Form._fields,
)
LATER_SETTINGS = {  # which older records do not name, with what they mean by that
    name: RunSettings.model_fields[name].default for name in ("schedule", "validation_images", *OPTIONAL_SETTINGS)
}


class Like(NamedTuple):
    """What is asked for like a study: its settings, the folder of its data where one is known, what to know of them."""

    settings: StudySettings
    data_dir: Path | None
    note: str


def read_written_study(where: str | Path) -> StudySettings:
    """study.json as a study writes it, with its specs within. Raises `UsageError` or `SpecError` for any other."""
    path = Path(where) / layout.STUDY
    _check_written(None if path.is_symlink() else read_fields(path, MAX_STUDY_BYTES), path)
    return read_study_file(path)


def kept_study(where: str | Path, metric: Metric) -> StudySettings | None:
    """The study of study.json; None where that cannot be read, or is decided by another metric."""
    try:
        kept = read_written_study(where)
    except ModelFlowError:
        return None
    return kept if kept.decided_by is metric else None


def kept_metric(where: str | Path) -> Metric | None:
    """The metric of study.json: accuracy in one of before any was kept; None without study.json.

    Raises `UsageError` where that names a metric that is none here.
    """
    path = Path(where) / layout.STUDY
    try:
        fields = None if path.is_symlink() else read_fields(path, MAX_STUDY_BYTES)
        _check_written(fields, path)
    except ModelFlowError:
        return None
    word = fields.get("metric") if isinstance(fields, dict) else None
    if word is None:
        return ACCURACY
    try:
        return metric_named(word)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def metric_of(word: str | None, where: str | Path | None) -> Metric:
    """The metric of this word; left out, that which the study in a folder keeps, or else accuracy.

    Raises `UsageError` for a word of none.
    """
    if word is not None:
        return metric_named(word)
    return (None if where is None else kept_metric(where)) or ACCURACY


def metric_of_run(folder: Path, run: Run) -> Metric:
    """The metric that the study of a run keeps, or else accuracy."""
    return metric_of(None, layout.model_folder(folder, run).parent)


def other_metric(metric: Metric, where: str | Path) -> str:
    """What to know of results shown by another metric than the study keeps; empty where it is that."""
    kept = kept_metric(where)
    if kept in (None, metric):
        return ""
    return (
        f"{layout.STUDY} keeps {kept.title}, and this is by {metric.title}. A metric chosen after seeing results is "
        "called “better” too easily."
    )


def _check_written(fields: object, path: Path) -> None:
    models = fields.get("models") if isinstance(fields, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(one, dict) and isinstance(one.get("spec"), dict) for one in models
    ):
        raise UsageError(f"{path}: expected a study's settings with the specs of its models")


def read_studies(where: Path) -> list[StudySettings]:
    """All that was asked for in a folder, by settings and seeds: studies.json where study.json is of it, or that alone.

    Empty where no study can be read.
    """
    try:
        written = read_written_study(where)
    except ModelFlowError:
        return []
    path = where / layout.STUDIES
    try:
        entries = [] if path.is_symlink() else read_fields(path, MAX_STUDY_BYTES)
        studies = [_of_entry(entry, path) for entry in entries] if isinstance(entries, list) else []
    except ModelFlowError:
        studies = []
    same = bool(studies) and study_fields(together(studies)) == study_fields(written)
    return studies if same else [written]


def like(study: Path, asked: Mapping[str, object], data_dir: Path | None = None) -> Like:
    """What the study in a folder was asked for, but for what is `asked` otherwise: fields that are None are not.

    Its data are looked for in `data_dir`, else where a finished run of it had them. Raises `UsageError` where there is
    no study, its images are in no file or are not there any more, or a whole recipe is asked for.
    """
    if asked.get("recipe") is not None:
        raise UsageError("recipe: the study that is joined has all settings. Give single ones, such as epochs.")
    studies = read_studies(study)
    if not studies:
        raise UsageError(f"like {study}: no study.json there that can be read. Give the folder of a study.")
    last = studies[-1]
    if last.dataset.startswith(IN_MEMORY):
        raise UsageError(f"like {study}: its images were given as arrays. Call run_models with them again.")
    note = f"note: {study} holds {len(studies)} studies. The settings of the last one count."
    data_dir = data_dir or _data_dir(study, str(asked.get("dataset") or last.dataset))
    if asked.get("dataset") is None:
        check_there(f"like {study}", last.dataset, data_dir)
    settings = read_study(last.model_dump(exclude={"models"}), data_dir, **asked)
    return Like(settings, data_dir, note if len(studies) > 1 else "")


def _data_dir(study: Path, dataset: str) -> Path | None:
    """The folder of the files of a data set, as a finished run of the study names it."""
    for folder in layout.run_folders(study):
        with suppress(ModelFlowError):
            data = layout.read_run(folder).data
            if data.name == dataset:
                return data.data_dir
    return None


def check_there(what: str, dataset: str, data_dir: Path | None) -> None:
    """Raises `UsageError` where the path of the data of a study or a run (`what`) leads nowhere."""
    place = None if is_fixed(dataset) else folder_of(dataset, data_dir)
    if place is not None and not os.path.exists(place):
        raise UsageError(
            f"{what}: its images {dataset} are not in {place}. Give the folder that holds them: --data-dir FOLDER, in "
            "Python data_dir=…"
        )


def _of_entry(fields: Any, path: Path) -> StudySettings:
    _check_written(fields, path)
    return whole(validated(StudySettings, fields, str(path)))


def study_fields(study: StudySettings) -> dict[str, Any]:
    """A whole study as it is written."""
    return study.model_dump(mode="json")


def joined(earlier: list[StudySettings], study: StudySettings) -> list[StudySettings]:
    """What was asked for in a folder, and then `study`: a model that it asks for again is asked for as it says.

    Studies with the same settings and seeds become one.
    """
    names, now = set(study.specs()), _but_models(study)
    kept = [rest for one in earlier if (rest := _without(one, names)).models]
    alike = [one for one in kept if _but_models(one) == now]
    return [*(one for one in kept if _but_models(one) != now), together([*alike, study])]


def together(studies: list[StudySettings]) -> StudySettings:
    """The settings and seeds of the last one, the models of all."""
    return studies[-1].model_copy(update={"models": [model for study in studies for model in study.models]})


def _without(study: StudySettings, names: set[str]) -> StudySettings:
    return study.model_copy(update={"models": [model for model in study.models if model["name"] not in names]})


def _but_models(study: StudySettings) -> dict[str, Any]:
    return study.model_dump(exclude={"models", "recipe", "max_parameters", "metric", "margin"})


def missing(where: str | Path) -> str:
    """Which of the runs that were asked for in a folder are not finished, in words.

    Empty when all are, or no study file can be read. Raises `DataError` where a run's folder is a symbolic link.
    """
    where = Path(where)
    seeds, done = {}, {}
    for study in read_studies(where):
        of_study = set(study.seeds)
        for name in study.specs():
            seeds[name] = of_study
            done[name] = seeds[name] & _finished_seeds(where / name, study.seeds[0])
    begun = [name for name, found in done.items() if len(found) < len(seeds[name])]
    if not begun:
        return ""
    asked_for, left = sum(map(len, seeds.values())), sum(len(seeds[name]) - len(done[name]) for name in begun)
    named = [f"{name} ({_seed_list(seeds[name] - done[name])})" for name in begun[:MAX_NAMED]]
    named += [f"{len(begun) - MAX_NAMED} more models"] if len(begun) > MAX_NAMED else []
    return (
        f"{left:,} of the {asked_for:,} runs that {layout.STUDY} asks for are not finished: {', '.join(named)}. "
        "Unless they are still training, give the same command again."
    )


def _finished_seeds(folder: Path, first: int) -> set[int]:
    """Those of a model's folder, which itself holds the run of the study's first seed."""
    names = (str(first) if place == folder else place.name for place in layout.model_runs(folder))
    return {int(name) for name in names if name.isdecimal()}


def _seed_list(seeds: set[int]) -> str:
    if len(seeds) > MAX_NAMED:
        return f"{len(seeds):,} seeds"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, sorted(seeds)))}"


def settings_asked(settings: RunSettings) -> dict[str, Any]:
    """Those that make a run another one."""
    return settings.model_dump(exclude={"max_parameters", "recipe"})


def settings_of(run: Run) -> dict[str, Any]:
    """Those of a finished run, as `settings_asked` has them."""
    return {**LATER_SETTINGS, **run.settings, "epochs": run.epochs}


def knows_data(stored: dict[str, object]) -> bool:
    """Whether what a run was asked for, as it is stored, says of which data; that of older versions does not."""
    return bool(stored.get(CHECKSUMS))


def write_asked(study: StudySettings, where: Path) -> None:
    """study.json, before anything is trained, so that what is missing can be told from what was never asked for.

    Models that were asked for in this folder before stay in it, with settings or seeds of their own in studies.json.
    """
    studies = joined(read_studies(where), study)
    _check_readable(together(studies), where)
    if len(studies) > 1:
        _write_json(where / layout.STUDIES, [study_fields(one) for one in studies])
    else:
        (where / layout.STUDIES).unlink(missing_ok=True)
    _write_json(where / layout.STUDY, study_fields(together(studies)))


def _check_readable(study: StudySettings, where: Path) -> None:
    """Raises `UsageError` where all that was asked for in a folder is more than one study may be, or could be read."""
    try:
        read_study(study_fields(study))
    except ModelFlowError as error:
        raise UsageError(
            f"{where}: together with its earlier studies, {ended(error)} Give another folder with --results."
        ) from None


def _write_json(path: Path, fields: object) -> None:
    write_atomic(path, json.dumps(fields, indent=2) + "\n")
