"""Which is best and how sure are we: in sentences that are nothing stronger than their intervals. No torch.

headline(group)  ->  "generic_2 is the most accurate of the seven models: better than each of the six others."
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelflow.report.content import Group
from modelflow.report.words import count, counted, in_words, listed, percent
from modelflow.verdicts import MARGIN, Verdict

MARGIN_POINTS = f"{100 * MARGIN:g}"


@dataclass(frozen=True)
class Standing:
    """The most accurate of the models compared, by its mean, and the verdicts of the others against it."""

    best: str
    beaten: tuple[Verdict, ...]
    equivalent: tuple[Verdict, ...]
    open: tuple[Verdict, ...]

    @property
    def others(self) -> int:
        """How many models it was compared with."""
        return len(self.beaten) + len(self.equivalent) + len(self.open)


def standing(group: Group) -> Standing | None:
    """How the best of the models compared stands; None where nothing could be compared."""
    if not group.verdicts:
        return None
    compared = {name for verdict in group.verdicts for name in (verdict.first, verdict.second)}
    best = next(model.name for model in group.models if model.name in compared)
    own = sorted((v for v in group.verdicts if best in (v.first, v.second)), key=lambda v: v.difference.estimate)
    kinds = {kind: tuple(v for v in own if v.kind == kind) for kind in ("better", "equivalent", "cannot tell")}
    return Standing(best, kinds["better"], kinds["equivalent"], kinds["cannot tell"])


def headline(group: Group) -> str:
    """Which model is best, in one sentence."""
    found = standing(group)
    if found is None:
        return _without_verdicts(group)
    if found.open:
        names = [found.best, *(_other(found, v) for v in found.open)]
        return f"It cannot be told which of {listed(names)} is the most accurate."
    if found.equivalent:
        names = [_other(found, v) for v in found.equivalent]
        return (
            f"{found.best} has the highest mean accuracy, and {_equivalent(names)} to it within {MARGIN_POINTS} points."
        )
    if found.others == 1:
        return f"{found.beaten[0].words}."
    return (
        f"{found.best} is the most accurate of the {in_words(found.others + 1)} models: better than each of the "
        f"{in_words(found.others)} others."
    )


def details(group: Group) -> list[str]:
    """What more there is to say, a sentence each."""
    found = standing(group)
    if found is None:
        return _single_details(group)
    sentences = [_lead(found)] if found.others > 1 or found.open or found.equivalent else []
    if found.open and found.equivalent:
        names = [_other(found, v) for v in found.equivalent]
        sentences.append(f"{_equivalent(names).capitalize()} to {found.best} within {MARGIN_POINTS} points.")
    if found.beaten and (found.open or found.equivalent):
        names = [_other(found, v) for v in found.beaten]
        sentences.append(f"{found.best} is better than {listed(names)}.")
    if group.unpaired:
        sentences.append(f"Not compared: {'; '.join(f'{name} ({why})' for name, why in group.unpaired)}.")
    return sentences


def _other(found: Standing, verdict: Verdict) -> str:
    return verdict.second if verdict.first == found.best else verdict.first


def _equivalent(names: Sequence[str]) -> str:
    return f"{listed(names)} {'is' if len(names) == 1 else 'are each'} equivalent"


def _lead(found: Standing) -> str:
    """The interval of the lead over the next best: how close it is."""
    closest = (*found.open, *found.equivalent, *found.beaten)
    verdict = min(closest, key=lambda v: v.difference.estimate)
    low, high = (percent(end, 1) for end in (verdict.interval.low, verdict.interval.high))
    mean = percent(verdict.difference.estimate, 1)
    other = _other(found, verdict)
    return (
        f"The mean of {found.best} lies {mean} points above that of the next, {other} (95 % interval {low} to {high})."
    )


def _without_verdicts(group: Group) -> str:
    best, others = group.models[0], len(group.models) - 1
    if not others:
        return f"{best.name} has {percent(best.accuracy, 1)} % of the {count(group.images)} test images right."
    if group.most_seeds == 1:
        return f"One run of each model cannot tell which of the {in_words(others + 1)} is the most accurate."
    return f"No two of the {in_words(others + 1)} models can be compared."


def _single_details(group: Group) -> list[str]:
    best = group.models[0]
    if len(group.models) == 1:
        if len(best.seeds) > 1:
            return [f"The mean over {counted(len(best.seeds), 'seed')}; there is no other model to compare it with."]
        return ["One run of one model: another seed may give about a point more or less."]
    if group.most_seeds == 1:
        return [
            f"{best.name} stands highest, with {percent(best.accuracy, 1)} %, but the seed alone, which sets the "
            "initial weights, the order of the images and dropout, moves the accuracy of a small network by about a "
            "point. Train each model with several seeds: “modelflow run --seeds 5”.",
        ]
    return [f"Not compared: {'; '.join(f'{name} ({why})' for name, why in group.unpaired)}."]


def protocol_words(protocol: str, reads: int = 1) -> str:
    """What the protocol means for the accuracies that stand there; `reads`: how often a run's test images were used."""
    if protocol.startswith("card"):
        return (
            "The test images also served as validation images, seen after every epoch: nothing may be chosen on these "
            "accuracies, neither a model nor a setting."
        )
    if protocol.startswith("held-out"):
        again = f", but evaluated up to {reads} times since" if reads > 1 else ""
        return f"Validation was on training images held out; the test images were kept for the end{again}."
    return "How validation and test images were kept apart is not known for this protocol."


def dead_runs(group: Group) -> list[tuple[str, int, str]]:
    """Model, seed and warning of each run that looks dead."""
    return [(model.name, seed, words) for model in group.models for seed, words in model.warnings]
