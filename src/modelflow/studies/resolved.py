"""A study resolved once into one value that is only handed down: settings, networks, runs, what it keeps. No torch."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from modelflow.errors import UsageError
from modelflow.evaluation.scores.score import Metric
from modelflow.networks.code import Code
from modelflow.results import layout
from modelflow.results.asked import kept_metric, metric_of, read_written_study
from modelflow.results.settings import StudySettings
from modelflow.studies.plan import Plan, plans, unfinished
from modelflow.studies.run import checksums_now, dataset_of


@dataclass(frozen=True)
class ResolvedStudy:
    """A study, resolved once: its settings, the folder of its results, and its runs, each with its network and folder.

    `data_dir` is the folder that was named for its data, if any.
    """

    settings: StudySettings
    where: Path
    data_dir: Path | None
    planned: list[Plan]

    def decided(self) -> "ResolvedStudy":
        """With the metric and the margin that it keeps; raises as `kept_metric_of` and `kept_margin_of`."""
        settings = self.settings.model_copy(update={"metric": kept_metric_of(self.settings, self.where).word})
        margin = kept_margin_of(settings, self.where, self.data_dir)
        return replace(self, settings=settings.model_copy(update={"margin": margin}))


def resolved(
    settings: StudySettings, where: Path, data_dir: Path | None, device: str | None, allow_code: bool = False
) -> ResolvedStudy:
    """Raises `SpecError`, `UsageError` or `DataError` for what cannot be trained.

    Also `UsageError` for models to train that are in files of code, unless it is allowed to run these: `allow_code`.
    """
    checksums = checksums_now(settings.dataset, settings.form, data_dir)
    planned = plans(settings, where, data_dir, checksums, device)
    if any(isinstance(plan.spec, Code) for plan in planned):
        check_code(unfinished(planned), allow_code)
    return ResolvedStudy(settings, where, data_dir, planned)


def check_code(planned: list[Plan], allowed: bool) -> None:
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


def kept_metric_of(study: StudySettings, where: Path) -> Metric:
    """The metric that a study keeps: that of a study.json beside finished runs, else as asked for.

    Raises `UsageError` where another is asked for than was kept before those runs were seen.
    """
    asked, kept = metric_of(study.metric, None), kept_metric(where) if any(layout.run_folders(where)) else None
    if kept is None:
        return asked
    if study.metric is not None and asked is not kept:
        raise UsageError(
            f"metric {asked.word}: {where / layout.STUDY} keeps {kept.word}, chosen before its runs were seen. Leave "
            f"it out, or give another folder with --results. To look only: modelflow compare {where} "
            f"--metric {asked.word}"
        )
    return kept


def kept_margin_of(study: StudySettings, where: Path, data_dir: Path | None) -> float | None:
    """The margin that a study keeps, in points or nats: that of a study.json beside finished runs, else as asked for.

    Raises `UsageError` where another is asked for than was kept before those runs were seen.
    """
    from modelflow.analysis.comparison import kept_margin

    metric = metric_of(study.metric, None)
    unit, kept = metric.unit, kept_margin(where, metric) if any(layout.run_folders(where)) else None
    if kept is None:
        return margin_asked(study, data_dir)
    if study.margin is not None and not math.isclose(study.margin, unit.scale * kept):
        raise UsageError(
            f"margin {study.margin:g}: {where / layout.STUDY} keeps {unit.scale * kept:.3g} {unit.difference}, chosen "
            f"before its runs were seen. Leave it out, or give another folder with --results. To look only: modelflow "
            f"compare {where} --margin {study.margin:g}"
        )
    return read_written_study(where).margin


def margin_asked(study: StudySettings, data_dir: Path | None) -> float:
    """In points (or nats), or the default for the test images there are. Raises `UsageError` for too small a one."""
    from modelflow.analysis.verdicts import margin_of

    metric, data = metric_of(study.metric, None), dataset_of(study.dataset, data_dir, study.form)
    return metric.unit.scale * margin_of(study.margin, len(data.test_y_N), metric)
