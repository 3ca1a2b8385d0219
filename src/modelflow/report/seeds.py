"""How many seeds a claim takes: whether these are too few, and how many a new study needs. No torch.

too_few_seeds(group)      ->  "Two seeds of each model are too few for a family of 3 pairs. …"
"""

import math
from collections.abc import Sequence

from modelflow.analysis.archive import Group, Model
from modelflow.analysis.units import amount_words
from modelflow.analysis.verdicts import MIN_SEEDS, Verdict, fewest_seeds, seeds_from_the_start, size_asked
from modelflow.report.answer import DECIDE_BEFORE, Standing, compared, standing
from modelflow.report.words import in_words, listed
from modelflow.text import counted

MAX_ADVISED = 20  # seeds of a new study, by the spread of few


def too_few_seeds(group: Group) -> str:
    """A notice where models have too few seeds for so many pairs, which Holm's method then does not keep."""
    few, needed = _few(group), fewest_seeds(group.family)
    if not few:
        return ""
    seeds = listed([in_words(n) for n in sorted({len(model.seeds) - model.died for model in few})])
    whose = "each model" if len(few) == len(compared(group)) else listed([model.name for model in few])
    which = " that train" if any(model.died for model in few) else ""
    return (
        f"{seeds.capitalize()} seeds of {whose}{which} are too few for a family of {counted(group.family, 'pair')}. "
        f"Nothing is claimed from them. From {in_words(needed)} on, the chance of even one false “better” is 5 % or "
        f"less, as simulated. {DECIDE_BEFORE}"
    )


def seeds_that_could_tell(group: Group) -> str:
    """After a headline that leaves it open: about how many seeds, by the verdicts, would tell."""
    found = standing(group)
    if found is None or not (seeds := _telling(found)):
        return ""
    told = [verdict for verdict in found.open if verdict.more]
    names = listed([found.other(verdict) for verdict in told])
    return (
        f"About {seeds:,} seeds of each would tell {found.best} from {names}, if they differ by "
        f"{_sizes(told, group)} (80 % power, by the spread of these runs)."
    )


def _sizes(told: Sequence[Verdict], group: Group) -> str:
    """The differences that the seeds are counted for: the margin, as much as was found, or either."""
    are_found = {size_asked(verdict.difference, group.margin) != group.margin for verdict in told}
    sizes = {False: amount_words(group.margin, group.metric.unit), True: "as much as was found"}
    return listed([sizes[one] for one in sorted(are_found)], "or")


def _telling(found: Standing) -> int:
    """About how many seeds of each would tell the best from those it is open against; 0 where that is not known."""
    return max((verdict.difference.seeds + verdict.more for verdict in found.open if verdict.more), default=0)


def seeds_of_a_new_study(group: Group) -> int:
    """How many seeds of each model to train anew where seeds are what is missing; 0 elsewhere, or for very many."""
    found = standing(group)
    telling = _telling(found) if found else 0
    usual = seeds_from_the_start(_pairs(group)) if group.most_seeds == 1 < len(group.models) or _few(group) else 0
    return max(usual, telling if telling <= MAX_ADVISED else 0)


def what_to_do(group: Group) -> str:
    """To start a new study with so many seeds, without its end, behind which a command may stand; empty for none."""
    found, number = standing(group), seeds_of_a_new_study(group)
    if not number:
        return ""
    large = ", enough for large differences" if found and _telling(found) > number else ""
    return f"Start a new study with {in_words(number)} other seeds of each model{large}"


def _pairs(group: Group) -> int:
    """Of the models as they would be compared, had each seeds enough."""
    return max(group.family, math.comb(len(group.models), 2))


def _few(group: Group) -> list[Model]:
    """The models compared of which too few runs train for a claim among so many pairs."""
    needed = fewest_seeds(group.family)
    return [model for model in compared(group) if len(model.seeds) - model.died < needed]


def enough_seeds() -> str:
    """From how many seeds of each something is claimed, by the number of models."""
    *bounded, (_, beyond) = MIN_SEEDS
    models = [(1 + math.isqrt(1 + 8 * int(pairs))) // 2 for pairs, _ in bounded]
    said = [f"{in_words(seeds)} for up to {in_words(n)}" for n, (_, seeds) in zip(models, bounded, strict=True)]
    return f"{', '.join(said)} models, {in_words(beyond)} beyond"
