"""What is asked for now is joined to what was asked for in a results folder before, and written there. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelflow.errors import ModelFlowError, UsageError
from modelflow.io.files import write_atomic
from modelflow.results import layout
from modelflow.results.asked import read_asked, study_fields, together
from modelflow.results.settings import StudySettings, read_study
from modelflow.text import ended


def write_asked(study: StudySettings, where: Path) -> None:
    """study.json, before anything is trained, so that what is missing can be told from what was never asked for.

    Models that were asked for in this folder before stay in it, with settings or seeds of their own in studies.json.
    Raises `UsageError` where all of it together is more than one study may be.
    """
    studies = joined(read_asked(where).studies, study)
    _check_readable(together(studies), where)
    if len(studies) > 1:
        _write_json(where / layout.STUDIES, [study_fields(one) for one in studies])
    else:
        (where / layout.STUDIES).unlink(missing_ok=True)
    _write_json(where / layout.STUDY, study_fields(together(studies)))


def joined(earlier: Sequence[StudySettings], study: StudySettings) -> list[StudySettings]:
    """What was asked for in a folder, and then `study`: a model that it asks for again is asked for as it says.

    Studies with the same settings and seeds become one.
    """
    names, now = set(study.specs()), _but_models(study)
    kept = [rest for one in earlier if (rest := _without(one, names)).models]
    alike = [one for one in kept if _but_models(one) == now]
    return [*(one for one in kept if _but_models(one) != now), together([*alike, study])]


def _without(study: StudySettings, names: set[str]) -> StudySettings:
    return study.model_copy(update={"models": [model for model in study.models if model["name"] not in names]})


def _but_models(study: StudySettings) -> dict[str, Any]:
    return study.model_dump(exclude={"models", "recipe", "max_parameters", "metric", "margin"})


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
