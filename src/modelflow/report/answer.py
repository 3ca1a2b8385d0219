"""Which is best and how sure are we: in sentences that are nothing stronger than their intervals. No torch.

headline(group)  ->  "generic_2 is the most accurate of the seven models: better than each of the six others."
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelflow.analysis.archive import Content, Group, Model
from modelflow.analysis.units import amount_words, range_words
from modelflow.analysis.verdicts import (
    AFTER_A_LOOK,
    OF_ALL,
    OF_TRAINED,
    UNCERTAIN,
    Kind,
    Verdict,
    margin_words,
    most_dying_percent,
    trained_words,
)
from modelflow.evaluation.measure import ACCURACY
from modelflow.evaluation.scores.score import SHARE, Metric
from modelflow.report.words import count, decimal, in_words, listed, ordinal, percent, significant
from modelflow.results.protocol import split_kind
from modelflow.results.records import Run
from modelflow.results.run_settings import LATER_SETTINGS, OPTIONAL_SETTINGS
from modelflow.text import counted, sentence, shown

WIDE_MARGIN = 0.02  # a share of 1
WHICH = {OF_TRAINED: "over its runs that train", OF_ALL: "over all its runs"}  # a mean is of
UNCERTAIN_AMOUNT = (
    f"“Better {UNCERTAIN}”: the test tells the two apart, and the interval in words, which keeps more room for all "
    "pairs at once, still holds 0. The direction is shown, not the size."
)
LATENCY_BY_LAYERS = (
    "PyTorch starts each layer by itself, so a small network of many layers may take longer than a large one of few."
)
LATER_SEEDS = f"{AFTER_A_LOOK}, as simulated."
DECIDE_BEFORE = f"Choose the number of seeds before you train. {LATER_SEEDS}"


@dataclass(frozen=True)
class Standing:
    """The best of the models compared, by its runs that train, and the verdicts of the others against it."""

    best: str
    beaten: tuple[Verdict, ...]
    equivalent: tuple[Verdict, ...]
    open: tuple[Verdict, ...]

    @property
    def others(self) -> int:
        """How many models it was compared with."""
        return len(self.beaten) + len(self.equivalent) + len(self.open)

    @property
    def closest(self) -> Verdict:
        """The verdict on the next best."""
        return min((*self.open, *self.equivalent, *self.beaten), key=lambda v: v.difference.estimate)

    def other(self, verdict: Verdict) -> str:
        """The model that a verdict sets the best against."""
        return verdict.second if verdict.first == self.best else verdict.first


def standing(group: Group) -> Standing | None:
    """How the best of the models compared stands; None where nothing could be compared."""
    return standing_of([model.name for model in group.models], group.verdicts)


def standing_of(names: Sequence[str], verdicts: Sequence[Verdict]) -> Standing | None:
    """How the best of the models of these names, the most accurate first, stands; None without verdicts."""
    if not verdicts:
        return None
    compared = {name for verdict in verdicts for name in (verdict.first, verdict.second)}
    beaten = {verdict.second for verdict in verdicts}
    best = next(name for name in names if name in compared - beaten)
    own = sorted((v for v in verdicts if best in (v.first, v.second)), key=lambda v: v.difference.estimate)
    kinds = {kind: tuple(v for v in own if v.kind == kind) for kind in ("better", "equivalent", "cannot tell")}
    return Standing(best, kinds["better"], kinds["equivalent"], kinds["cannot tell"])


def headline(group: Group) -> str:
    """Which model is best, in one sentence."""
    found = standing(group)
    if found is None:
        return _without_verdicts(group)
    best = next(model for model in group.models if model.name == found.best)
    mean = mean_words(best.score, len(best.seeds), group.metric)
    return headline_of(found, group.margin, [name for name, _ in group.unpaired], mean, group.metric)


def answers(content: Content) -> list[str]:
    """The headline of each group, said which where there are several."""
    several = len(content.groups) > 1
    return [
        (f"{shown(group.data.name)}, protocol {shown(group.protocol or 'not known')}: " if several else "")
        + headline(group)
        for group in content.groups
    ]


def headline_of(found: Standing, margin: float, unpaired: Sequence[str], mean: str, metric: Metric = ACCURACY) -> str:
    """Which model is best, in one sentence; of too few seeds which leads, and that nothing is shown.

    `unpaired` are the names of those that could not be compared, `mean` is that of the best, as `mean_words` tells it.
    """
    scope = f" of the {in_words(found.others + 1)} that can be compared" if unpaired else ""
    few = [verdict for verdict in found.open if verdict.has_too_few_seeds]
    said = _leading(found, few, scope, mean, metric) if few else _answer(found, margin, scope, metric)
    return f"{said}. Not compared: {listed(unpaired)}." if unpaired else f"{said}."


def mean_words(score: float, seeds: int, metric: Metric) -> str:
    """A mean with a digit less than in tables, and over how many seeds: "91.2 % over two seeds"."""
    return f"{_score_text(score, metric)} over {in_words(seeds)} seeds"


def seed_alone(metric: Metric) -> str:
    """Why one run of a model says little of it."""
    known = " (on Fashion-MNIST by about a point)" if metric is ACCURACY else ""
    return f"the seed alone moves the {metric.title} of a small network{known}"


def level_words(metric: Metric) -> str:
    """In what its scores stand in tables."""
    return "per cent" if metric.unit is SHARE else metric.unit.level


def one_run_method(metric: Metric, ending: str = "") -> str:
    """By what the interval of a single run is found (docs/statistics.md): Wilson or, with an ending, Wilson's."""
    if metric.unit is not SHARE:
        return "Student's t"
    return f"Wilson{ending}{'' if metric is ACCURACY else ' for an effective number of images'}"


def image_values(metric: Metric) -> str:
    """What the verdicts of another metric than accuracy are computed from; empty for accuracy."""
    if metric is ACCURACY:
        return ""
    better = " Lower is better." if metric.less_is_better else ""
    return (
        f"{metric.of_an_image} The mean of these values is the {metric.title}. Verdicts and intervals are found from "
        f"them as those of an accuracy are from right and wrong.{better}"
    )


def what_costs(metric: Metric) -> str:
    """What is had for parameters and time."""
    return metric.title if metric is ACCURACY else f"a better {metric.title}"


def within(margin: float, metric: Metric) -> str:
    """The margin that models are equivalent within."""
    return f"within {amount_words(margin, metric.unit)}"


def _leading(found: Standing, few: Sequence[Verdict], scope: str, mean: str, metric: Metric) -> str:
    """The headline without its end where of `few` the seeds are too few: who leads, and against whom that is open."""
    lead = f"{found.best} has the {metric.highest} mean {metric.title}{scope}, {WHICH.get(found.closest.runs, mean)}"
    if len(few) == found.others:
        return f"{lead}. The seeds are too few to say that any difference is real"
    names, others = ([found.other(v) for v in found.open if (v in few) is which] for which in (True, False))
    said = f"{lead}. Against {listed(names)}, the seeds are too few to say that the lead is real"
    return f"{said}. Against {listed(others)}, it is inconclusive" if others else said


def _answer(found: Standing, margin: float, scope: str, metric: Metric) -> str:
    """The headline without its end; `scope` says among which models, where these are not all."""
    if found.open:
        rivals = sorted((*found.open, *found.equivalent), key=lambda v: v.difference.estimate)
        names = [found.best, *(found.other(v) for v in rivals)]
        return f"Inconclusive: {listed(names, 'or')} may be the {metric.best}{scope}"
    if found.equivalent:
        names = [found.other(v) for v in found.equivalent]
        highest = f"the {metric.highest} mean {metric.title}{scope}"
        return f"{found.best} has {highest}, and {_equivalent(names)} to it {within(margin, metric)}"
    if found.others == 1:
        parts = [scope.strip(), "" if metric is ACCURACY else f"by {metric.title}", found.beaten[0].words]
        first, *others = [part for part in parts if part]
        return ", ".join([sentence(first), *others]) if others else first
    among = scope or f" of the {in_words(found.others + 1)} models"
    return f"{found.best} is the {metric.best}{among}: better than each of the {in_words(found.others)} others"


def details(group: Group) -> list[str]:
    """What more there is to say, a sentence each."""
    found = standing(group)
    if found is None:
        return _single_details(group)
    sentences = (
        [_lead(found, "next of those compared" if group.unpaired else "next", group.metric)]
        if found.others > 1 or found.open or found.equivalent
        else []
    )
    if found.open and found.equivalent:
        names = [found.other(v) for v in found.equivalent]
        sentences.append(f"{_equivalent(names)} to {found.best} {within(group.margin, group.metric)}.")
    if found.equivalent and not found.open and (wide := after_headline(group)):
        sentences.append(wide)
    if found.beaten and (found.open or found.equivalent):
        names = [found.other(v) for v in found.beaten]
        sentences.append(f"{found.best} is better than {listed(names)}.")
    sentences += cost_words(group, found)
    if group.unpaired:
        sentences.append(f"Not compared: {', '.join(f'{name} ({why})' for name, why in group.unpaired)}.")
    return sentences


def without_a_look(words: str) -> str:
    """A verdict's words in a table of many, beside which `DECIDE_BEFORE` stands once."""
    return words.replace(f". {AFTER_A_LOOK}", "")


def clear_alone(verdict: Verdict) -> str:
    """Why a bar clear of 0 stands beside "inconclusive"; empty elsewhere, and where the words tell of too few seeds."""
    is_clear = verdict.kind == "cannot tell" and verdict.pair_interval.low > 0
    if not is_clear or verdict.has_too_few_seeds or verdict.pairs == 1:
        return ""
    return f"Clear of 0 alone, not after allowing for {verdict.pairs:,} pairs."


def after_headline(group: Group) -> str:
    """What a headline alone would hide: why it is left open, by the closest pair, or how wide its margin is."""
    found = standing(group)
    if found is None:
        return ""
    if found.open:
        return f"{min(found.open, key=lambda v: v.difference.estimate).words}."
    if found.equivalent and group.margin > WIDE_MARGIN and group.metric.unit is SHARE:
        points = amount_words(group.margin)
        if group.metric is not ACCURACY:
            return f"{points} are a wide margin. Equivalent says little."
        return (
            f"{points} are {round(group.margin * group.images):,} of {group.images:,} test images. With so few, "
            "equivalent says little."
        )
    return ""


def still_learning(group: Group) -> str:
    """A notice where most runs had their lowest validation loss in their last epoch; empty elsewhere."""
    seeds = [seed for model in group.models for seed in model.seeds]
    known = [one for one in seeds if one.history and None not in {epoch.val_loss for epoch in one.history}]
    last = sum(len(one.history) > 1 and one.lowest == one.history[-1].val_loss for one in known)
    if 2 * last <= len(known):
        return ""
    return (
        f"In {last:,} of {counted(len(known), 'run')}, the validation loss was lowest in the last epoch. Longer "
        "training may improve them and change the ranking."
    )


def conditions(group: Group) -> str:
    """With which settings the answer was found, as far as all runs share them; empty without an answer."""
    if not group.verdicts:
        return ""
    runs = [seed.run for model in group.models for seed in model.seeds]
    found = [
        {_setting(run, "optimizer") for run in runs},
        {_rate(run) for run in runs},
        {_setting(run, "batch_size", "batch size ") for run in runs},
        *({_option(run, name) for run in runs} for name in OPTIONAL_SETTINGS),
        {counted(run.epochs, "epoch") for run in runs},
    ]
    shared = [text for texts in found if len(texts) == 1 for text in texts if text]
    said = f"Valid for {', '.join(shared) or 'the settings of each run'}. Other settings may change the ranking."
    return f"{said} {group.unlike}" if group.unlike else said


def _option(run: Run, name: str) -> str:
    """A rare setting, where it was given."""
    value = run.settings.get(name, LATER_SETTINGS[name])
    words = name.replace("_", " ")
    return "" if value == LATER_SETTINGS[name] else words if value is True else f"{words} {shown(value)}"


def _setting(run: Run, name: str, before: str = "") -> str:
    value = run.settings.get(name)
    return "" if value is None else f"{before}{shown(value)}"


def _rate(run: Run) -> str:
    if run.settings.get("find_best_lr"):
        return "a learning rate searched for by each run"
    schedule = _setting(run, "schedule")
    constant = schedule in ("", "constant")
    return f"learning rate {run.lr:g}" if constant else f"learning rate up to {run.lr:g}, {schedule}"


def tally(group: Group) -> str:
    """How many of the pairs compared are decided, in a sentence; empty where there is but one."""
    kinds = Counter(verdict.kind for verdict in group.verdicts)
    words: dict[Kind, str] = {
        "better": "better",
        "equivalent": f"equivalent {within(group.margin, group.metric)}",
        "cannot tell": "inconclusive",
    }
    parts = [f"{kinds[kind]:,} {said}" for kind, said in words.items() if kinds[kind]]
    return f"{len(group.verdicts):,} pairs compared: {', '.join(parts)}." if len(group.verdicts) > 1 else ""


def compared(group: Group) -> list[Model]:
    """The models that are in a verdict."""
    names = {name for verdict in group.verdicts for name in (verdict.first, verdict.second)}
    return [model for model in group.models if model.name in names]


def trained(group: Group) -> str:
    """That the verdicts are of the runs that train, and how many died or may; empty without verdicts."""
    judged = compared(group)
    return trained_words([model.died for model in judged], [len(model.seeds) for model in judged]) if judged else ""


def unseen_deaths(content: Content) -> str:
    """How many runs may die of a model of which none did, by the fewest runs of any; empty without such a model."""
    runs = [len(model.seeds) for group in content.groups for model in compared(group) if not model.died]
    if not runs:
        return ""
    fewest = min(runs)
    return f"With 0 of {counted(fewest, 'run')} dead, that is up to {most_dying_percent(0, fewest)} %."


def any_uncertain(group: Group) -> bool:
    """Whether a verdict says that one is better by an uncertain amount."""
    return any(UNCERTAIN in verdict.words for verdict in group.verdicts)


def margin(group: Group) -> str:
    """What would matter, in the unit of the metric, and why."""
    return margin_words(group.margin, group.images, group.metric.unit)


def cost_words(group: Group, found: Standing) -> list[str]:
    """How many parameters the best has, and how models with fewer stand to it; nothing where all have as many."""
    parameters = {model.name: model.first.parameters for model in group.models}
    own = parameters[found.best]
    if len(set(parameters.values())) == 1:
        return []
    fewer, more = (sum(sign * (other - own) < 0 for other in parameters.values()) for sign in (1, -1))
    rank = f"the {ordinal(fewer + 1, 'fewest')}" if fewer <= more else f"the {ordinal(more + 1, 'most')}"
    among = f"of the {in_words(len(parameters))} models"
    cheaper = _cheaper(found, parameters, within(group.margin, group.metric))
    return [f"{found.best} has {own:,} parameters, {rank} {among}{cheaper}."]


def _cheaper(found: Standing, parameters: Mapping[str, int], within_margin: str) -> str:
    """How the models with fewer parameters than the best stand to it, by their verdicts."""
    own = parameters[found.best]

    def named(verdicts: Sequence[Verdict]) -> list[str]:
        names = [found.other(v) for v in verdicts]
        return [f"{name} ({parameters[name]:,})" for name in names if parameters[name] < own]

    same, unclear, beaten = (named(verdicts) for verdicts in (found.equivalent, found.open, found.beaten))
    said = [f". With fewer, {_equivalent(same)} to it {within_margin}"] if same else []
    said += [f". Against {listed(unclear)}, with fewer, it is inconclusive"] if unclear else []
    if beaten and not said:
        each = "each model compared with fewer" if found.others + 1 < len(parameters) else "each model with fewer"
        return f". It is better than {f'{beaten[0]}, which has fewer' if len(beaten) == 1 else each}"
    return "".join(said)


def _equivalent(names: Sequence[str]) -> str:
    return f"{listed(names)} {'is' if len(names) == 1 else 'are each'} equivalent"


def _lead(found: Standing, following: str, metric: Metric) -> str:
    """The interval of the lead over the next best: how close it is."""
    verdict = found.closest
    unit, above = metric.unit, "below" if metric.less_is_better else "above"
    lead = f"{decimal(unit.scale * verdict.difference.estimate, unit.digits)} {unit.difference} {above}"
    other, several = found.other(verdict), "simultaneous " if verdict.pairs > 1 else ""
    which = f" {WHICH[verdict.runs]}" if verdict.runs else ""
    return (
        f"The mean of {found.best}{which} lies {lead} that of the {following}, {other} ({several}95 % interval "
        f"{range_words(verdict.interval, unit)})."
    )


def _without_verdicts(group: Group) -> str:
    best, others = group.models[0], len(group.models) - 1
    if not others and group.metric is not ACCURACY:
        return (
            f"{best.name} has a {group.metric.title} of {score_words(best)} on the {count(group.images)} test images."
        )
    if not others:
        return f"{best.name} has {percent(best.accuracy, 1)} % of the {count(group.images)} test images right."
    if group.most_seeds == 1:
        return f"One run of each model cannot tell which of the {in_words(others + 1)} is the {group.metric.best}."
    return f"No two of the {in_words(others + 1)} models can be compared."


def score_words(model: Model) -> str:
    """Its mean by its metric, with a digit less than in tables."""
    return _score_text(model.score, model.metric)


def _score_text(score: float, metric: Metric) -> str:
    unit = metric.unit
    return f"{unit.scale * score:.{unit.level_digits - 1}f} {unit.level}"


def _single_details(group: Group) -> list[str]:
    best = group.models[0]
    if len(group.models) == 1:
        if len(best.seeds) > 1:
            return [
                f"This is the mean over {counted(len(best.seeds), 'seed')}. There is no other model to compare it with."
            ]
        return [f"One run of one model, and {seed_alone(group.metric)}."]
    if group.most_seeds == 1:
        return [
            f"{best.name} is {group.metric.highest}, with {score_words(best)}, but {seed_alone(group.metric)}. The "
            "seed sets initial weights, order of the images and dropout. Train several seeds per model. "
            f"{DECIDE_BEFORE}",
        ]
    return [f"Not compared: {', '.join(f'{name} ({why})' for name, why in group.unpaired)}."]


class WithRepeats(Protocol):
    """What is needed here of data, a data set or the record of it."""

    @property
    def name(self) -> str:
        """What they are called."""

    @property
    def test_in_training(self) -> int | None:
        """How many test images are training images too; None where not known."""

    @property
    def test_in_training_other_label(self) -> int | None:
        """How many of those have only other labels in training."""

    @property
    def validation_in_training(self) -> int | None:
        """How many images of a validation split of its own are training images too; None where there is none."""

    @property
    def test_in_validation(self) -> int | None:
        """How many test images are of a validation split of its own too; None where there is none."""


def repeated_images(data: Iterable[WithRepeats]) -> list[str]:
    """A notice for each data set of which images of one split are images of another too."""
    said = {}
    for one in data:
        if one.test_in_training:
            said[one.name, "test", one.test_in_training] = _repeated(one)
        for part, found, of in (
            ("validation", one.validation_in_training, "training"),
            ("test", one.test_in_validation, "validation"),
        ):
            if found:
                number, verb = counted(found, f"{part} image"), "is" if found == 1 else "are"
                also = f"{number} of {shown(one.name)} {verb} also among its {of} images, pixel by pixel."
                said[one.name, part + of, found] = also
    return list(said.values())


def _repeated(data: WithRepeats) -> str:
    number, of = counted(data.test_in_training or 0, "test image"), f" of {shown(data.name)}"
    other = data.test_in_training_other_label
    labels = f" {count(other)} of them {'has' if other == 1 else 'have'} another label there." if other else ""
    return (
        f"{number}{of} {'is' if data.test_in_training == 1 else 'are'} also among its training images, pixel by pixel. "
        f"A model may have memorised them, so accuracies look better than on new images.{labels}"
    )


def told_of_protocol(content: Content, group: Group) -> str:
    """What captions, titles and labels say of a group's protocol: nothing where all groups have the same."""
    several = len({one.protocol for one in content.groups}) > 1
    return f", protocol {split_kind(group.protocol)}" if several else ""


def of_validation(protocol: str) -> str:
    """What figures of the validation images need to say with them."""
    return " (these are the test images)" if split_kind(protocol) == "card" else ""


def latency_words(model: Model) -> str:
    """How long a forward pass takes: the least over the runs; empty where it was not measured."""
    found = {name: model.latency(batch) for batch, name in (("1", "one image"), ("64", "64 images"))}
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return ""
    times = listed([f"{significant(least, 2)} ms for {name}" for name, (least, _) in known.items()])
    runs = max(runs for _, runs in known.values())
    how = f"the lowest of {runs:,} runs, measured" if runs > 1 else "one run, perhaps measured"
    said = f"A forward pass on one thread takes {times} ({how} beside other trainings). Differences are not tested."
    return f"{said} {LATENCY_BY_LAYERS}"


def seconds_words(group: Group) -> str:
    """What the seconds of training of a group's runs include."""
    runs = [seed.run for model in group.models for seed in model.seeds]
    older = any("compiling" not in run.seconds and not run.engine.startswith("autograd") for run in runs)
    return f"Seconds include {'compiling and ' if older else ''}waiting for a shared core."


def protocol_words(protocol: str, reads: Sequence[int | None]) -> str:
    """What the protocol means for the accuracies that stand there; `reads` as for `reads_words`."""
    kept = split_kind(protocol)
    if kept == "card":
        return (
            "The test images also served as validation images after every epoch. Do not choose a model or a setting by "
            "these accuracies."
        )
    if kept == "held-out":
        return f"Validation used held-out images. {sentence(reads_words(reads))}."
    return "It is unknown how this protocol kept validation and test images apart."


def reads_words(reads: Sequence[int | None]) -> str:
    """How often the test images were evaluated, from the `test_reads` of each run, None where it is not known."""
    known = {times for times in reads if times is not None}
    if not known:
        return "it is unknown how often the test images were evaluated"
    most = max(known)
    times = "once" if most == 1 else f"{most} times" if len(known) == 1 else f"up to {most} times"
    said = f"the test images were evaluated {times}"
    if None in reads:
        said += " in some runs, unknown how often in others"
    elif most == 1:
        said += ", at the end of each run" if len(reads) > 1 else ", at the end of the run"
    return said if most == 1 else f"{said}, for reasons that run.json does not record"


def dead_runs(group: Group) -> list[tuple[str, int, str]]:
    """Model, seed and warning of each run that looks dead."""
    return [(model.name, seed, words) for model in group.models for seed, words in model.warnings]
