"""How far a study is, in words: how each run ended, how many are left and for about how long. No torch."""

import time

from modelflow.errors import ModelFlowError
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import Metric
from modelflow.studies.forecast import Forecast, in_words
from modelflow.studies.order import costs
from modelflow.studies.plan import Event, Outcome, Plan
from modelflow.text import shown

SECONDS_BETWEEN_LINES = 10.0, 60.0  # at first, and at most
SHARE_BETWEEN_LINES = 0.1  # of the time so far


class Pace:
    """When a line is due, where nothing is drawn: soon at first, more seldom the longer a study takes."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether nothing was logged for long enough."""
        now, (least, most) = time.monotonic(), SECONDS_BETWEEN_LINES
        return now - self._last >= min(most, max(least, SHARE_BETWEEN_LINES * (now - self._began)))

    def reset(self) -> None:
        """That something is logged now."""
        self._last = time.monotonic()


class StudyProgress:
    """Of the runs that are `due`, trained so many at a time, by their events and ends.

    `metric` is what their study is decided by.
    """

    def __init__(self, due: list[Plan], jobs: int, metric: Metric = ACCURACY) -> None:
        self._metric = metric
        work = costs(due)
        jobs = min(jobs, len(due))
        self._forecast = Forecast({plan.title: work[plan.model_name] for plan in due}, jobs, time.monotonic())
        self.runs, self.ended = len(due), set[str]()

    @property
    def share(self) -> float:
        """Of all work, how much is done."""
        return self._forecast.share

    @property
    def left(self) -> str:
        """How many runs have ended, and about how long the others take: "3 of 8 runs, 2 min left"."""
        ended = f"{len(self.ended)} of {self.runs} runs"
        if len(self.ended) == self.runs:
            return ended
        left = in_words(self._forecast.seconds_left(time.monotonic()))
        return f"{ended}, {left}" if left else ended

    def on_event(self, event: Event) -> None:
        """How far one run is."""
        self._forecast.heard(event.title, event.done / event.total, time.monotonic())

    def on_end(self, plan: Plan, outcome: Outcome) -> str:
        """How a run ended and what is left, in a line, and one for each warning."""
        self.ended.add(plan.title)
        self._forecast.ended(plan.title, time.monotonic(), isinstance(outcome, ModelFlowError))
        left = f" ({self.left})" if len(self.ended) < self.runs else ""
        return "\n".join([_ending(plan, outcome, self._metric) + left, *_warnings(plan, outcome)])


def _ending(plan: Plan, outcome: Outcome, metric: Metric) -> str:
    if isinstance(outcome, ModelFlowError):
        return f"{plan.title}: FAILED: {str(outcome).removeprefix(f'{plan.title}: ')}"
    seconds, engine = outcome.seconds["training"], outcome.engine
    by = " by autograd" if engine.startswith("autograd") else ""
    score = "" if metric is ACCURACY else f"{metric.title} {metric.text(outcome.metrics.score(metric.name))}, "
    accuracy = f"accuracy {outcome.metrics.accuracy:.2%} (protocol {plan.settings.protocol})"
    return f"{plan.title}: {score}{accuracy} after {seconds:.0f} s of training{by}"


def _warnings(plan: Plan, outcome: Outcome) -> list[str]:
    found = () if isinstance(outcome, ModelFlowError) else outcome.warnings
    return [f"warning: {plan.title}: {shown(warning)}" for warning in found]
