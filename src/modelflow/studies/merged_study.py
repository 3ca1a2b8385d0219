"""What merged studies were decided by: kept in the folder's own study.json where all agree. No torch."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from modelflow.results.asked import read_asked
from modelflow.results.joining import write_asked
from modelflow.results.settings import StudySettings
from modelflow.text import one_line

Studies = Mapping[str, Sequence[StudySettings]]


def keep(studies: Studies, merged: Mapping[str, Collection[str]], into: Path, had_runs: bool) -> str:
    """Writes the settings of the `studies` by source for the `merged` models, or says why not; empty where it does.

    `had_runs` says whether runs lay in the folder before.
    """
    before = {one_line(into): read_asked(into).studies} if had_runs else {}
    decided = {name: _decided(found) for name, found in {**before, **studies}.items()}
    if len(set(decided.values())) > 1 or "" in decided.values():
        by = "; ".join(f"{name}: {how or 'not known'}" for name, how in decided.items())
        return f"study.json keeps no metric and margin, which differ: {by}. Give --metric and --margin."
    for name, found in studies.items():
        for study in found:
            if (renamed := _renamed(study, name, merged[name])).models:
                write_asked(renamed, into)
    return ""


def _decided(studies: Sequence[StudySettings]) -> str:
    """The metric and the margin of a folder's studies, in words; empty where they are not known."""
    if not studies:
        return ""
    metric, margin = studies[-1].decided_by, studies[-1].margin
    return metric.title if margin is None else f"{metric.title}, margin {margin:.3g} {metric.unit.difference}"


def _renamed(study: StudySettings, source: str, merged: Collection[str]) -> StudySettings:
    """A study with its merged models alone, called as they are now."""
    models = [{**model, "name": f"{source}-{model['name']}"} for model in study.models]
    return study.model_copy(update={"models": [model for model in models if model["name"] in merged]})
