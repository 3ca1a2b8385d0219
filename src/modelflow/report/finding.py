"""The top of the page: its finding in a few words, and the best model at a glance. No torch.

title(content)     ->  "Fashion-MNIST: generic_2 is best of seven"
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelflow.analysis.archive import Content, Group, Model
from modelflow.analysis.units import range_words
from modelflow.report.answer import Standing, score_words, standing
from modelflow.report.words import count, in_words, listed, significant
from modelflow.text import sentence, shown

WRITTEN = {
    "fashion-mnist": "Fashion-MNIST",
    "mnist": "MNIST",
    "kmnist": "KMNIST",
    "emnist-letters": "EMNIST Letters",
    "cifar-10": "CIFAR-10",
}
MAX_NAMED = 3  # models that may be best, in a title
KILOBYTE = 1000


@dataclass(frozen=True)
class Glance:
    """The best model: why it is that one, its score, the interval, and what it costs, each with its name."""

    heading: str
    model: Model
    score: str
    interval: str
    costs: tuple[tuple[str, str], ...]


def data_title(name: str) -> str:
    """A data set as its authors write it; of a path the last part."""
    _, colon, path = name.partition(":")
    last = path.rstrip("/").rpartition("/")[2] if colon else name
    return WRITTEN.get(name, shown(last or name))


def title(content: Content) -> str:
    """What the page finds, in a few words; of several groups, which data they are on."""
    if len(content.groups) == 1:
        return _title(content.groups[0])
    names = list(dict.fromkeys(data_title(group.data.name) for group in content.groups))
    return f"{sentence(in_words(len(content.groups)))} comparisons: {listed(names)}"


def _title(group: Group) -> str:
    found = standing(group)
    said = _without_verdicts(group) if found is None else _of_standing(found, group)
    return f"{data_title(group.data.name)}: {said}"


def _without_verdicts(group: Group) -> str:
    best, number = group.models[0], in_words(len(group.models))
    if len(group.models) == 1:
        return f"{best.name}, {score_words(best)}"
    return f"{number} models, one run of each" if group.most_seeds == 1 else f"{number} models, none compared"


def _of_standing(found: Standing, group: Group) -> str:
    number = in_words(found.others + 1) + (" compared" if group.unpaired else "")
    if any(verdict.has_too_few_seeds for verdict in found.open):
        return f"{found.best} leads {number}, with too few seeds to tell"
    if found.open:
        names = [found.best, *(found.other(verdict) for verdict in found.open)]
        who = listed(names, "or") if len(names) <= MAX_NAMED else f"any of {in_words(len(names))}"
        return f"inconclusive, {who} may be best of {number}"
    if found.equivalent:
        names = [found.other(verdict) for verdict in found.equivalent]
        who = listed(names) if len(names) < MAX_NAMED else f"{in_words(len(names))} models"
        verb = "is" if len(names) == 1 else "are"
        return f"{found.best} is {group.metric.highest} of {number}, {who} {verb} equivalent"
    return f"{found.best} is best of {number}"


def glance(group: Group) -> Glance:
    """The best model of a group, or where that is open, the one with the best mean."""
    found = standing(group)
    model = group.models[0] if found is None else next(one for one in group.models if one.name == found.best)
    return Glance(
        _heading(found, group),
        model,
        score_words(model),
        f"{range_words(model.interval, group.metric.unit)}" if model.interval else "",
        tuple(_costs(model)),
    )


def _heading(found: Standing | None, group: Group) -> str:
    if len(group.models) == 1:
        return "The model"
    if found is not None and not found.open and not found.equivalent:
        return "Best model"
    return f"{sentence(group.metric.highest)} {'mean ' if group.most_seeds > 1 else ''}{group.metric.title}"


def _costs(model: Model) -> Sequence[tuple[str, str]]:
    """Parameters, the size of the file, and the least time of a forward pass, as far as they are known."""
    latency, size = model.latency("1"), model.first.bytes_on_disk
    known = [("parameters", count(model.first.parameters))]
    known += [("KB of weights", significant(size / KILOBYTE))] if size else []
    return known + ([("ms per image", significant(latency[0], 2))] if latency else [])
