"""A study resolved once into one value that is only handed down: settings, networks, runs, what it keeps. No torch."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelflow.errors import UsageError
from modelflow.evaluation.scores.score import Metric
from modelflow.networks.code import Code
from modelflow.results import layout
from modelflow.results.asked import Asked, read_asked
from modelflow.results.settings import StudySettings
from modelflow.studies.plan import Plan, plans, unfinished
from modelflow.studies.run import checksums_now, dataset_of

if TYPE_CHECKING:
    from modelflow.data.datasets import Dataset


@dataclass(frozen=True)
class ResolvedStudy:
    """A study, resolved once: its settings, the folder of its results, and its runs, each with its network and folder.

    `data_dir` is the folder that was named for its data, if any. Of the runs, something is still to be done for `due`.
    """

    settings: StudySettings
    where: Path
    data_dir: Path | None
    planned: list[Plan]
    due: list[Plan]

    @property
    def data(self) -> "Dataset":
        """Raises `DataError` as `dataset_of` does."""
        return dataset_of(self.settings.dataset, self.data_dir, self.settings.form)

    def decided(self, anew: bool = False) -> "ResolvedStudy":
        """With the metric and the margin that it keeps: those of a study.json beside finished runs, else as asked for.

        `anew`, those runs do not count, for they are about to be set aside. Raises `UsageError` where others are asked
        for than were kept before the runs were seen, and for a margin too small for the test images.
        """
        asked, where, kept = self.settings, self.where, None
        metric = asked.decided_by
        if not anew and any(layout.run_folders(where)):
            before = read_asked(where)
            metric = _kept_metric(asked, before)
            kept = before.by(metric)
        margin = _kept_margin(asked, kept, where) if kept is not None else _margin_asked(asked, metric, self.data)
        return replace(self, settings=asked.model_copy(update={"metric": metric.word, "margin": margin}))


def resolved(
    settings: StudySettings,
    where: Path,
    data_dir: Path | None,
    device: str | None,
    allow_code: bool = False,
    anew: bool = False,
) -> ResolvedStudy:
    """Raises `SpecError`, `UsageError` or `DataError` for what cannot be trained.

    Also `UsageError` for models to train that are in files of code, unless it is allowed to run these: `allow_code`.
    `anew`, all of its runs are due, whatever is there of them.
    """
    checksums = checksums_now(settings.dataset, settings.form, data_dir)
    planned = plans(settings, where, data_dir, checksums, device)
    due = planned if anew else unfinished(planned)
    _check_code(due, allow_code)
    return ResolvedStudy(settings, where, data_dir, planned, due)


def _check_code(planned: list[Plan], allowed: bool) -> None:
    """Raises `UsageError` for code of runs that is not at hand, has changed, or is in a file and not `allowed`."""
    codes = {plan.model_name: plan.spec for plan in planned if isinstance(plan.spec, Code)}
    for name, code in codes.items():
        code.check_at_hand(name)
    asking = [f"{name} ({code.place})" for name, code in codes.items() if code.is_in_file]
    if asking and not allowed:
        raise UsageError(
            f"models: training would run the code of {', '.join(asking)}. Code can do anything that you can. Read it "
            "first, then give --allow-code (in Python: allow_code=True)."
        )


def _kept_metric(study: StudySettings, before: Asked) -> Metric:
    """The metric of study.json, if there is one. Raises `UsageError` where another is asked for."""
    asked, kept, where = study.decided_by, before.metric, before.where
    if kept is None:
        return asked
    if study.metric is not None and asked is not kept:
        raise UsageError(
            f"metric {asked.word}: {where / layout.STUDY} keeps {kept.word}, chosen before its runs were seen. Leave "
            f"it out, or give another folder with --results. To look only: modelflow compare {where} "
            f"--metric {asked.word}"
        )
    return kept


def _kept_margin(study: StudySettings, kept: StudySettings, where: Path) -> float | None:
    """The margin of the `kept` study.json, in points or nats. Raises `UsageError` where another is asked for."""
    metric = kept.decided_by
    points = metric.unit.scale * metric.margin if kept.margin is None else kept.margin
    if study.margin is not None and not math.isclose(study.margin, points):
        raise UsageError(
            f"margin {study.margin:g}: {where / layout.STUDY} keeps {points:.3g} {metric.unit.difference}, chosen "
            f"before its runs were seen. Leave it out, or give another folder with --results. To look only: modelflow "
            f"compare {where} --margin {study.margin:g}"
        )
    return kept.margin


def _margin_asked(study: StudySettings, metric: Metric, data: "Dataset") -> float:
    """In points (or nats), or the default for the test images there are. Raises `UsageError` for too small a one."""
    from modelflow.analysis.verdicts import margin_of

    return metric.unit.scale * margin_of(study.margin, len(data.test_y_N), metric)
