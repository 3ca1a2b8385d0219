"""What is asked for like a study that is there: its settings, and where its data are. No torch."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modelflow.data.source import IN_MEMORY
from modelflow.data.sources import folder_of, is_fixed
from modelflow.errors import ModelFlowError, UsageError
from modelflow.results import layout
from modelflow.results.asked import read_asked
from modelflow.results.settings import StudySettings, read_study


class Like(NamedTuple):
    """What is asked for like a study: its settings, the folder of its data where one is known, what to know of them."""

    settings: StudySettings
    data_dir: Path | None
    note: str


def like(study: Path, wanted: Mapping[str, object], data_dir: Path | None = None) -> Like:
    """What the study in a folder was asked for, but for what is `wanted` otherwise: fields that are None are not.

    Its data are looked for in `data_dir`, else where a finished run of it had them. Raises `UsageError` where there is
    no study, its images are in no file or are not there any more, or a whole recipe is asked for.
    """
    if wanted.get("recipe") is not None:
        raise UsageError("recipe: the study that is joined has all settings. Give single ones, such as epochs.")
    studies = read_asked(study).studies
    if not studies:
        raise UsageError(f"like {study}: no study.json there that can be read. Give the folder of a study.")
    last = studies[-1]
    if last.dataset.startswith(IN_MEMORY):
        raise UsageError(f"like {study}: its images were given as arrays. Call run_models with them again.")
    note = f"note: {study} holds {len(studies)} studies. The settings of the last one count."
    data_dir = data_dir or _data_dir(study, str(wanted.get("dataset") or last.dataset))
    if wanted.get("dataset") is None:
        check_there(f"like {study}", last.dataset, data_dir)
    settings = read_study(last.model_dump(exclude={"models"}), data_dir, **wanted)
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
