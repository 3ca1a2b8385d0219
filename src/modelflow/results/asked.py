"""What was asked for in a results folder: study.json and studies.json, read once into one value. No torch.

asked = read_asked("results")
asked.study.seeds, asked.metric, asked.missing()      # [42, 43], accuracy, "2 of the 14 runs that study.json asks …"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from modelflow.errors import ModelFlowError, UsageError
from modelflow.evaluation.measure import ACCURACY, metric_named
from modelflow.evaluation.scores.score import Metric
from modelflow.io.bounds import MAX_STUDY_BYTES
from modelflow.io.config import read_fields
from modelflow.results import layout
from modelflow.results.records import Run
from modelflow.results.settings import StudySettings, study_of_fields, validated, whole

MAX_NAMED = 5  # models of which a message says what is missing


@dataclass(frozen=True, eq=False)
class Asked:
    """What the folder `where` says was asked for: the `fields` of its study.json, or why there are none (`unread`).

    That is empty where there is no study.json.
    """

    where: Path
    fields: dict[str, Any] | None
    unread: str = ""

    @property
    def study(self) -> StudySettings | None:
        """The study of study.json; None where there is none that can be read."""
        return self._found[0]

    @property
    def why(self) -> str:
        """Why study.json cannot be read; empty where it can, and where there is none."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[StudySettings | None, str]:
        if self.fields is None:
            return None, self.unread
        try:
            return study_of_fields(self.fields, self.where / layout.STUDY), ""
        except ModelFlowError as error:
            return None, str(error)

    @cached_property
    def studies(self) -> tuple[StudySettings, ...]:
        """All that was asked for, by settings and seeds: of studies.json where `study` is of these, or that alone."""
        if self.study is None:
            return ()
        path = self.where / layout.STUDIES
        try:
            entries = [] if path.is_symlink() else read_fields(path, MAX_STUDY_BYTES)
            studies = tuple(_of_entry(entry, path) for entry in entries) if isinstance(entries, list) else ()
        except ModelFlowError:
            studies = ()
        same = bool(studies) and study_fields(together(studies)) == study_fields(self.study)
        return studies if same else (self.study,)

    @property
    def metric(self) -> Metric | None:
        """The metric that study.json keeps: accuracy in one of before any was kept; None without a study.json.

        Raises `UsageError` where that names a metric that is none here.
        """
        if self.fields is None:
            return None
        word = self.fields.get("metric")
        try:
            return ACCURACY if word is None else metric_named(word)
        except UsageError as error:
            raise UsageError(f"{self.where / layout.STUDY}: {error}") from None

    def metric_of(self, word: str | None) -> Metric:
        """The metric of this word; left out, the one that is kept, or else accuracy. Raises as `metric_named` does."""
        return metric_named(word) if word is not None else self.metric or ACCURACY

    def by(self, metric: Metric) -> StudySettings | None:
        """`study` where it is decided by this metric."""
        return self.study if self.study is not None and self.study.decided_by is metric else None

    def margin(self, metric: Metric) -> float | None:
        """The margin that is kept, of 1: the metric's own in a study of before any was kept.

        None without a study, or where that is decided by another metric.
        """
        if (kept := self.by(metric)) is None:
            return None
        return metric.margin if kept.margin is None else kept.margin / metric.unit.scale

    def other_metric(self, metric: Metric) -> str:
        """What to know of results shown by another metric than the study keeps; empty where it is that."""
        if (kept := self.metric) in (None, metric):
            return ""
        return (
            f"{layout.STUDY} keeps {kept.title}, and this is by {metric.title}. A metric chosen after seeing "
            "results is called “better” too easily."
        )

    def missing(self) -> str:
        """Which of the runs that were asked for are not finished, in words; empty where all are, or none is known.

        Raises `DataError` where a run's folder is a symbolic link.
        """
        seeds, done = {}, {}
        for study in self.studies:
            of_study = set(study.seeds)
            for name in study.specs():
                seeds[name] = of_study
                done[name] = seeds[name] & _finished_seeds(self.where / name, study.seeds[0])
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


NOTHING_ASKED = Asked(Path(), None)


def read_asked(where: str | Path) -> Asked:
    """What a folder says was asked for. A study.json that is a link, or no whole study, counts for nothing."""
    path = Path(where) / layout.STUDY
    try:
        fields = None if path.is_symlink() else read_fields(path, MAX_STUDY_BYTES)
        return Asked(path.parent, _written(fields, path))
    except ModelFlowError as error:
        return Asked(path.parent, None, str(error) if path.is_file() else "")


def missing(where: str | Path) -> str:
    """The earlier name of `Asked.missing`: which of the runs asked for in a folder are not finished, in words."""
    return read_asked(where).missing()


def _of_entry(fields: object, path: Path) -> StudySettings:
    return whole(validated(StudySettings, _written(fields, path), str(path)))


def _written(fields: object, path: Path) -> dict[str, Any]:
    """The fields of a study as it is written: with the specs of its models."""
    models = fields.get("models") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(models, list) or not all(map(_has_spec, models)):
        raise UsageError(f"{path}: expected a study's settings with the specs of its models")
    return fields


def _has_spec(model: object) -> bool:
    return isinstance(model, dict) and isinstance(model.get("spec"), dict)


def metric_of_run(folder: Path, run: Run) -> Metric:
    """The metric that the study of a run keeps, or else accuracy."""
    return read_asked(layout.model_folder(folder, run).parent).metric_of(None)


def study_fields(study: StudySettings) -> dict[str, Any]:
    """A whole study as it is written."""
    return study.model_dump(mode="json")


def together(studies: Sequence[StudySettings]) -> StudySettings:
    """The settings and seeds of the last one, the models of all."""
    return studies[-1].model_copy(update={"models": [model for study in studies for model in study.models]})


def _finished_seeds(folder: Path, first: int) -> set[int]:
    """Those of a model's folder, which itself holds the run of the study's first seed."""
    names = (str(first) if place == folder else place.name for place in layout.model_runs(folder))
    return {int(name) for name in names if name.isdecimal()}


def _seed_list(seeds: set[int]) -> str:
    if len(seeds) > MAX_NAMED:
        return f"{len(seeds):,} seeds"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, sorted(seeds)))}"
