"""All scores of one evaluation, as a record."""

from functools import cache

import modelflow.evaluation.scores as folder
from modelflow.errors import UsageError
from modelflow.evaluation.record import Metrics
from modelflow.evaluation.scores.score import Metric, Score
from modelflow.io.array import Array
from modelflow.io.found import classes_in
from modelflow.io.validation import did_you_mean
from modelflow.text import sentence, short


@cache
def scores() -> dict[str, Score]:
    """Each score by its name, found in the files of the folder `scores`."""
    return {score.name: score() for score in classes_in(folder, Score)}


@cache
def metrics() -> dict[str, Metric]:
    """The scores that a study can be decided by, each by the word of `--metric`."""
    return {score.word: score for score in scores().values() if isinstance(score, Metric)}


ACCURACY = metrics()["accuracy"]


def metric_named(word: str) -> Metric:
    """The metric of this word. Raises `UsageError` for another."""
    known = metrics()
    if not isinstance(word, str) or word not in known:
        hint = sentence(did_you_mean(word, list(known)))
        raise UsageError(f"metric {short(word)}: expected one of {', '.join(known)}. {hint}".rstrip())
    return known[word]


def measure(logits_NK: Array, y_N: Array) -> Metrics:
    """The scores of logits, images x classes, and labels; those without a field of their own are in `more`."""
    found = {name: score.of(logits_NK, y_N) for name, score in scores().items()}
    more = {name: value for name, value in found.items() if name not in Metrics.model_fields}
    return Metrics(images=len(y_N), more=more, **{name: found[name] for name in found.keys() - more})
