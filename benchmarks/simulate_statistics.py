"""How often the intervals and verdicts are right, in studies drawn from populations whose truth is known.

    python benchmarks/simulate_statistics.py [PART ...] [--studies 600]

Parts: coverage, sentences, family, freedom, equivalence, power, more_seeds, deaths, stopping, single, metrics (all of
them when none is named). Each asks the functions that a study uses, `intervals.difference` and `verdicts.compare`. Populations
are made up, or made of the real predictions kept in benchmarks/results/revisited. Writes
benchmarks/results/statistics.json and the tables in docs/statistics-simulated.md. One core, some 15 minutes; with `--studies 2000`
an hour.
"""

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import condensed
import numpy as np
from marked import between_marks
from populations import Array, Population, Probit, Stored, Unequal, died, stored_ranks
from scipy import special

from modelflow.analysis import intervals
from modelflow.analysis.intervals import Difference, answers, difference_of, holm, paired_difference, score_interval
from modelflow.analysis.verdicts import MARGIN, Verdict, compare, default_margin, fewest_seeds, more_seeds
from modelflow.evaluation.measure import metric_named
from modelflow.evaluation.scores.score import Metric
from modelflow.io.files import write_atomic
from modelflow.results import provenance

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "statistics.json"
PREDICTIONS = ROOT / "benchmarks" / "results" / "revisited" / "held-out"
DOCUMENT = ROOT / "docs" / "statistics-simulated.md"
BEGIN = "<!-- simulated: benchmarks/simulate_statistics.py writes this -->"
ACCURACY, SPREAD, UNEQUAL = 0.85, 0.006, (0.0035, 0.0103)  # of the card's models; the least and the greatest spread
CARD = (0.8139, 0.8406, 0.8556, 0.8531, 0.8326, 0.8772, 0.8398)  # the means of its seven models
AS_FOUND = (0.0066, 0.0035, 0.0061, 0.0045, 0.0059, 0.0041, 0.0103)
UNLIKE = (0.001, 0.015)
MODELS, MAX_ADDED, SEED = 7, 300, 20260
STUDIES = 600  # of each condition, where not said
ENOUGH = 500  # what fewer find is printed, not kept
FEW_IMAGES = 1000  # of families of many models
DIGITS = 355  # test images
METRICS = tuple(map(metric_named, ("balanced_accuracy", "macro_f1", "nll")))
APART = Unequal((0.0, 0.06), (0.03, 0.05), (1.2, 1.5))  # of two models: one better, and surer
PAIRED = ((300, 3), (300, 5), (300, 10), (1000, 3), (1000, 5), (1000, 10), (4000, 5))  # images and seeds

Row = dict[str, Any]
Study = dict[str, Array]


@dataclass(frozen=True)
class Setting:
    """How much is drawn."""

    studies: int = STUDIES
    images: int = 10_000

    def random(self, *of: object) -> np.random.Generator:
        """A generator of its own for each condition, whatever else is drawn."""
        return np.random.default_rng([SEED, zlib.crc32(repr(of).encode())])

    @cached_property
    def stored(self) -> tuple[Array, str]:
        """The ranks of the kept predictions, and what they are in words."""
        kept = condensed.read(PREDICTIONS)
        assert kept is not None
        return stored_ranks(kept)

    def populations(self, accuracies: Sequence[float], spreads: Sequence[float]) -> dict[str, Population]:
        """The made-up population and that of stored predictions."""
        both = tuple(accuracies), tuple(spreads)
        return {"made up": Probit(*both), "stored": Stored(self.stored[0], *both)}


def odd(accuracies: Sequence[float], spreads: Sequence[float]) -> dict[str, Population]:
    """Populations that no formula here was made for."""
    both = tuple(accuracies), tuple(spreads)
    return {"bimodal difficulty": Probit(*both, bimodal=True), "heavy tails": Probit(*both, heavy=True)}


def share(hits: float, trials: int) -> Row:
    """A share with its Monte-Carlo standard error; trials are independent studies. Of no study, 0."""
    at = hits / max(trials, 1)
    return {"share": at, "error": math.sqrt(at * (1 - at) / max(trials, 1)), "studies": trials}


def mean_share(shares: Sequence[float]) -> Row:
    """The mean of a share that each study gives, such as of its pairs, with its Monte-Carlo standard error."""
    return {
        "share": float(np.mean(shares)),
        "error": float(np.std(shares, ddof=1)) / math.sqrt(len(shares)),
        "studies": len(shares),
    }


Seeds = int | tuple[int, ...]


def seeds_of(seeds: Seeds, models: int) -> list[int]:
    """How many of each model: the same of all, or these in turn."""
    each = (seeds,) if isinstance(seeds, int) else seeds
    return [each[i % len(each)] for i in range(models)]


def studies_of(population: Population, seeds: Seeds, setting: Setting, *of: object) -> Iterator[Study]:
    """Studies, each S x N by model; the models are called by their number."""
    rng, each = setting.random(repr(population_key(population)), seeds, *of), seeds_of(seeds, len(population.spreads))
    for _ in range(setting.studies):
        yield {str(model): runs for model, runs in enumerate(population.sample(rng, setting.images)(each))}


def population_key(population: Population) -> tuple[object, ...]:
    """What tells a population from another, without the stored predictions."""
    own = {name: value for name, value in vars(population).items() if name != "ranks_MRN"}
    return type(population).__name__, *own.values()


def labelled(seeds: Seeds) -> str:
    """How many seeds, as a column is headed."""
    return str(seeds) if isinstance(seeds, int) else " and ".join(map(str, seeds))


def coverage(setting: Setting) -> Iterator[Row]:
    """How often the 95 % interval of `intervals.difference` holds the true difference, and how wide it is."""
    accuracies = (ACCURACY, ACCURACY + 0.01)
    cases: list[tuple[str, str, Population]] = []
    for spread, spreads in (("equal", (SPREAD, SPREAD)), ("unequal", UNEQUAL)):
        found = setting.populations(accuracies, spreads) | odd(accuracies, spreads)
        cases += [(name, spread, population) for name, population in found.items()]
        cases.append(("made up, nothing shared", spread, Probit(accuracies, spreads, shared=0.0, own=0.91)))
    cases.append(("made up", "next to none", Probit(accuracies, (0.0005, 0.0005))))
    cases.append(("made up", "0.1 and 1.5", Probit(accuracies, UNLIKE)))
    for population_name, spread, population in cases:
        for seeds in (2, 3, 5, 10, (3, 30)):
            row = {"population": population_name, "spread": spread, "seeds": labelled(seeds)}
            yield row | _covered(population, seeds, setting)


def _covered(population: Population, seeds: Seeds, setting: Setting) -> Row:
    truth = population.accuracies[0] - population.accuracies[1]
    found = [
        intervals.difference(study["0"], study["1"]).interval()
        for study in studies_of(population, seeds, setting, "coverage")
    ]
    half = float(np.median([interval.high - interval.low for interval in found])) / 2
    return share(sum(truth in interval for interval in found), setting.studies) | {"median_half": half}


def sentences(setting: Setting) -> Iterator[Row]:
    """The card's seven means: how often at least one sentence "better by X to Y" does not hold the true difference.

    `alone` is how often, had the sentences the 95 % interval of each pair alone.
    """
    found = setting.populations(CARD, AS_FOUND) | odd(CARD, AS_FOUND)
    for name, population in found.items():
        for seeds in (5, (4, 30)) if name == "made up" else (5,):
            yield {"population": name, "spread": "as found", "seeds": labelled(seeds)} | _wrong_sentences(
                population, seeds, setting
            )


def _wrong_sentences(population: Population, seeds: Seeds, setting: Setting) -> Row:
    wrong = alone = 0
    for study in studies_of(population, seeds, setting, "sentences"):
        better = [verdict for verdict in compare(study) if verdict.kind == "better"]
        wrong += any(_truth(verdict, population) not in verdict.simultaneous_interval for verdict in better)
        alone += any(_truth(verdict, population) not in verdict.pair_interval for verdict in better)
    return share(wrong, setting.studies) | {"alone": alone / setting.studies}


def family(setting: Setting) -> Iterator[Row]:
    """Equal models: how often "better" is claimed of any pair, and how often it would be of each pair by itself.

    `few_too` is how often it would be if nothing were kept back from few seeds.
    """
    more = replace(setting, studies=4 * setting.studies)
    for name, spread, population, counts in _equal_models(setting):
        for seeds in counts:
            row = {"population": name, "spread": spread, "seeds": labelled(seeds)}
            yield row | _false_claims(population, seeds, more if len(population.spreads) == 2 else setting)
    yield from _larger_families(replace(setting, studies=min(setting.studies, ENOUGH), images=FEW_IMAGES))


def _equal_models(setting: Setting) -> Iterator[tuple[str, str, Population, tuple[Seeds, ...]]]:
    two, seven = (ACCURACY,) * 2, (ACCURACY,) * MODELS
    yield "made up, 2 models", "equal", Probit(two, (SPREAD, SPREAD)), (2, 3)
    yield "made up, 2 models", "0.1 and 1.5", Probit(two, UNLIKE), (2, 3, 5, (30, 2), (30, 3))
    yield "made up", "equal", Probit(seven, (SPREAD,) * MODELS), (3, 4, 10)
    for name, population in setting.populations(seven, AS_FOUND).items():
        yield name, "as found", population, (3, 4, 5, 10) if name == "stored" else (3, 4, 5, (30, 4))
    for name, population in odd(seven, AS_FOUND).items():
        yield name, "as found", population, (4, 5)
    yield "made up", "0.1 to 1.5", Probit(seven, tuple(np.linspace(*UNLIKE, MODELS).tolist())), (3, 4, 5, (30, 4))


def _larger_families(setting: Setting) -> Iterator[Row]:
    """Of as many models as so few seeds are taken for, and a hundred."""
    equal, as_found = ("equal", (SPREAD,)), ("as found", AS_FOUND)
    families = [(*family, spread) for family in ((20, 4), (20, 5), (40, 5)) for spread in (equal, as_found)]
    for models, seeds, (spread, spreads) in (*families, (100, 10, equal)):
        population = Probit((ACCURACY,) * models, (spreads * models)[:models])
        row = {"population": f"made up, {models} models", "spread": spread, "seeds": labelled(seeds)}
        yield row | _false_claims(population, seeds, setting)


def _false_claims(population: Population, seeds: Seeds, setting: Setting) -> Row:
    claims = without = few_too = 0
    for study in studies_of(population, seeds, setting, "family"):
        found = differences(study)
        p_values = [one.p_value() for one in found]
        may = [one.seeds >= fewest_seeds(len(found)) for one in found]
        claims += min(holm([p if enough else 1.0 for p, enough in zip(p_values, may, strict=True)])) < 0.05
        without += min(p_values) < 0.05
        few_too += min(holm(p_values)) < 0.05
    shares = {"without_holm": without / setting.studies, "few_too": few_too / setting.studies}
    return share(claims, setting.studies) | shares


def differences(study: Study) -> list[Difference]:
    """Of each pair of models."""
    return [difference_of(a, b) for a, b in combinations(map(answers, study.values()), 2)]


def freedom(setting: Setting) -> Iterator[Row]:
    """As `coverage` and `family`, had Satterthwaite's degrees of freedom been taken, which nothing else here does."""
    for spread, spreads in (("equal", (SPREAD, SPREAD)), ("unequal", UNEQUAL)):
        pair = Probit((ACCURACY, ACCURACY + 0.01), spreads)
        for seeds in (2, 3, 5):
            found = (intervals.difference(*study.values()) for study in studies_of(pair, seeds, setting, "coverage"))
            held = sum(_p_by_satterthwaite(one, -0.01) > 0.05 for one in found)
            row = {"what": "coverage of two models", "spread": spread, "seeds": labelled(seeds)}
            yield row | share(held, setting.studies)
    for spread, spreads in (("equal", (SPREAD,) * MODELS), ("as found", AS_FOUND)):
        population = Probit((ACCURACY,) * MODELS, spreads)
        for seeds in (3, 5):
            studies = studies_of(population, seeds, setting, "family")
            claims = sum(min(holm([_p_by_satterthwaite(one) for one in differences(s)])) < 0.05 for s in studies)
            row = {"what": "false claims of seven models", "spread": spread, "seeds": labelled(seeds)}
            yield row | share(claims, setting.studies)


def _p_by_satterthwaite(found: Difference, truth: float = 0.0) -> float:
    """Of the true difference, two-sided: below 5 % where the 95 % interval does not hold it."""
    ratio = found.error**2 / found.of_seeds if found.of_seeds else math.inf
    freedom = min(found.freedom * ratio, found.images - 1.0)
    return float(2 * special.stdtr(freedom, -abs(found.estimate - truth) / found.error))


def equivalence(setting: Setting) -> Iterator[Row]:
    """Models half a point (the margin) apart: how often a pair that far apart is called equivalent.

    `right` is the share of the pairs that are truly equal and called equivalent. Of seven models three lie half a point
    above four; of three, one above two.
    """
    for models, spreads in ((3, (0.001, 0.003, SPREAD)), (MODELS, (0.001, 0.003))):
        accuracies = [ACCURACY + MARGIN * (2 * model > models) for model in range(models)]
        for spread in spreads:
            found = setting.populations(accuracies, (spread,) * models)
            found |= odd(accuracies, (spread,) * models) if models < MODELS else {}
            for name, population in found.items():
                for seeds in (5, 10):
                    row = {"population": name, "models": models, "spread": spread, "seeds": labelled(seeds)}
                    yield row | _wrongly_equivalent(population, seeds, setting)


def _wrongly_equivalent(population: Population, seeds: int, setting: Setting) -> Row:
    pairs, right = [], []
    for study in studies_of(population, seeds, setting, "equivalence"):
        verdicts = compare(study)
        apart = [_truth(verdict, population) != 0 for verdict in verdicts]
        called = [verdict.kind == "equivalent" for verdict in verdicts]
        pairs.append(fmean(one for one, far in zip(called, apart, strict=True) if far))
        right.append(fmean(one for one, far in zip(called, apart, strict=True) if not far))
    family_share = share(sum(one > 0 for one in pairs), setting.studies)
    return mean_share(pairs) | {"family": family_share, "right": mean_share(right)}


def _truth(verdict: Verdict, population: Population) -> float:
    return population.accuracies[int(verdict.first)] - population.accuracies[int(verdict.second)]


def power(setting: Setting) -> Iterator[Row]:
    """How often a true difference is found: of two models alone, and of one above six."""
    for models, points, counts in ((2, (0.005, 0.01, 0.02), (3, 5, 10)), (MODELS, (0.01, 0.02), (5, 10))):
        for difference in points:
            accuracies = (ACCURACY + difference, *(ACCURACY,) * (models - 1))
            for name, population in setting.populations(accuracies, (SPREAD,) * models).items():
                for seeds in counts:
                    row = {"population": name, "models": models, "difference": difference, "seeds": labelled(seeds)}
                    yield row | _found(population, seeds, setting)


def _found(population: Population, seeds: int, setting: Setting) -> Row:
    found, wrong = [], 0
    for study in studies_of(population, seeds, setting, "power"):
        real = [verdict for verdict in compare(study) if "0" in (verdict.first, verdict.second)]
        better = [verdict for verdict in real if verdict.kind == "better"]
        found.append(sum(verdict.first == "0" for verdict in better) / len(real))
        wrong += any(verdict.second == "0" for verdict in better)
    return mean_share(found) | {"wrong_way": wrong / setting.studies}


def more(setting: Setting) -> Iterator[Row]:
    """Two models that differ by a size: studies that ask for more seeds get all of them anew. Are they told apart?"""
    for spread, size in ((0.003, MARGIN), (SPREAD, 2 * MARGIN)):
        for name, population in setting.populations((ACCURACY, ACCURACY + size), (spread,) * 2).items():
            for seeds in (3, 5, 10):
                row = {"population": name, "spread": spread, "size": size, "seeds": seeds, "images": setting.images}
                yield row | _honest(population, seeds, setting)
    few, size = replace(setting, images=DIGITS), default_margin(DIGITS)
    for shared, own in ((0.87, 0.04), (0.95, 0.005)):
        population = Probit((0.95, 0.95 + size), (0.003, 0.003), shared, own)
        row = {"population": f"made up, {own:g} own", "spread": 0.003, "size": size, "seeds": 5, "images": DIGITS}
        yield row | _honest(population, 5, few)


def _honest(population: Population, seeds: int, setting: Setting) -> Row:
    rng = setting.random(population_key(population), seeds, "more")
    asked, told, size = [], [], population.accuracies[1] - population.accuracies[0]
    for _ in range(setting.studies):
        runs = population.sample(rng, setting.images)
        wanted = more_seeds(intervals.difference(*runs((seeds, seeds))), size)
        asked.append(math.inf if wanted is None else wanted)
        if wanted and wanted <= MAX_ADDED:
            told.append(intervals.difference(*runs((seeds + wanted,) * 2)).p_value() < 0.05)
    none_would = _none_would(population, setting.images, size)
    number = [one for one in asked if 0 < one < math.inf]
    return share(sum(told), len(told)) | {
        "asked": len(number) / setting.studies,
        "median_asked": float(np.median(number)) if number else 0.0,
        "followed": len(told) / setting.studies,
        "never": asked.count(math.inf) / setting.studies,
        "none_would": none_would,
    }


def _none_would(population: Population, images: int, size: float) -> bool:
    """Whether the images alone leave too much open for 80 % power: by their true variance, of a hundred seeds."""
    rng = np.random.default_rng(SEED)
    a, b = population.sample(rng, 50_000)((100, 100))
    found = intervals.difference(a, b)
    raw = max(0.0, found.over_images - sum(side.left for side in found.sides)) * found.images / images
    return float(special.ndtri(0.975) + special.ndtri(0.8)) * math.sqrt(raw) > size


def deaths(setting: Setting) -> Iterator[Row]:
    """Two models, of one of which some seeds die: how often the wrong one is called better.

    Wrong by the runs that train, where they are told from the dead (`share`), and, had no run been told to be dead,
    wrong by the mean of all (`untold`).
    """
    for above, dying in ((0.0, 0.05), (0.0, 0.2), (0.02, 0.05)):
        for seeds in (5, 10):
            population = Probit((ACCURACY + above, ACCURACY), (SPREAD,) * 2, dying=(dying, 0.0))
            row = {"above": above, "dying": dying, "seeds": labelled(seeds)}
            yield row | _wrong_of_dying(population, dying, seeds, setting)


def _wrong_of_dying(population: Probit, dying: float, seeds: int, setting: Setting) -> Row:
    dead = 0.1
    of_all = (1 - dying) * population.accuracies[0] + dying * dead - population.accuracies[1]
    wrong = untold = found = 0
    for study in studies_of(population, seeds, setting, "deaths"):
        (told,) = compare(study, died={name: died(runs) for name, runs in study.items()})
        (all_runs,) = compare(study)
        found += told.kind == "better" and _truth(told, population) > 0
        wrong += told.kind == "better" and _truth(told, population) <= 0
        untold += all_runs.kind == "better" and (1 if all_runs.first == "0" else -1) * of_all < 0
    return share(wrong, setting.studies) | {"untold": untold / setting.studies, "found": found / setting.studies}


def stopping(setting: Setting) -> Iterator[Row]:
    """Equal models, one seed of each added after each look until one is called better: how often one is."""
    few = replace(setting, images=2000)
    for models, first in ((2, 3), (2, 5), (MODELS, 4)):
        for most in (10, 20):
            population = Probit((ACCURACY,) * models, (SPREAD,) * models)
            row = {"models": models, "first": first, "most": most}
            yield row | _claims_while_looking(population, first, most, few)


def _claims_while_looking(population: Population, first: int, most: int, setting: Setting) -> Row:
    at_once = claims = 0
    for study in studies_of(population, most, setting, "stopping"):
        looks = [_any_better({name: runs[:seeds] for name, runs in study.items()}) for seeds in range(first, most + 1)]
        at_once += looks[-1]
        claims += any(looks)
    return share(claims, setting.studies) | {"at_once": at_once / setting.studies}


def _any_better(study: Study) -> bool:
    return min(holm([one.p_value() for one in differences(study)])) < 0.05


def single(setting: Setting) -> Iterator[Row]:
    """Single runs: coverage of Wilson's interval and of the paired bootstrap, false claims of McNemar's test.

    The last row takes what McNemar's test says of two runs as if it were said of two models.
    """
    for images in (100, 1000, 10_000):
        for accuracy in (ACCURACY, 0.99):
            row = {"method": "wilson interval", "images": images, "accuracy": accuracy}
            yield row | _wilson_covered(accuracy, images, setting)
    for images in (1000, 10_000):
        apart, equal = Probit((0.86, ACCURACY), (0, 0)), Probit((ACCURACY, ACCURACY), (0, 0))
        yield {"method": "paired bootstrap", "images": images} | _bootstrap_covered(apart, images, setting)
        yield {"method": "McNemar's test", "images": images} | _mcnemar_claims(equal, images, setting)
    models = Probit((ACCURACY, ACCURACY), (SPREAD, SPREAD))
    row = {"method": "McNemar's test of one run each, said of the models", "images": setting.images}
    yield row | _mcnemar_claims(models, setting.images, setting)


def _pairs(population: Population, images: int, setting: Setting) -> Iterator[tuple[Array, Array]]:
    rng = setting.random(population.accuracies, population.spreads, images, "single")
    for _ in range(setting.studies):
        (a_N,), (b_N,) = population.sample(rng, images)((1, 1))
        yield a_N, b_N


def _wilson_covered(accuracy: float, images: int, setting: Setting) -> Row:
    right = setting.random(accuracy, images, "wilson").binomial(images, accuracy, setting.studies)
    return share(sum(accuracy in intervals.wilson_interval(int(one), images) for one in right), setting.studies)


def _bootstrap_covered(population: Population, images: int, setting: Setting) -> Row:
    truth, pairs = population.accuracies[0] - population.accuracies[1], _pairs(population, images, setting)
    return share(sum(truth in intervals.bootstrap_difference(*pair) for pair in pairs), setting.studies)


def _mcnemar_claims(population: Population, images: int, setting: Setting) -> Row:
    claims = sum(intervals.mcnemar(*pair) < 0.05 for pair in _pairs(population, images, setting))
    return share(claims, setting.studies)


def metrics(setting: Setting) -> Iterator[Row]:
    """Other metrics than accuracy, on classes of unequal size: coverage and false claims as for accuracy."""
    few = replace(setting, studies=min(setting.studies, ENOUGH))
    truths = [_truths(APART, model) for model in (0, 1)]
    apart = {metric: truths[0][metric] - truths[1][metric] for metric in METRICS}
    for images, seeds in PAIRED:
        drawn = _scored(APART, images, seeds, few)
        yield from _rows_of_metrics("difference of two models", images, seeds, [_holds(one, apart) for one in drawn])
    for models, images, seeds in ((2, 300, 3), (2, 1000, 3), (2, 1000, 10), (MODELS, 1000, 4), (MODELS, 1000, 10)):
        equal = Unequal((0.0,) * models, (0.03,) * models, (1.2,) * models)
        drawn = _scored(equal, images, seeds, replace(few, studies=4 * few.studies) if models == 2 else few)
        yield from _rows_of_metrics(f"{models} equal models, any false claim", images, seeds, map(_any_claim, drawn))
    alike = Unequal((0.0, 0.0), (0.0, 0.0), (1.2, 1.2))
    level = _truths(replace(APART, spreads=(0.0, 0.0)), 0)
    for images in (300, 1000, 4000):
        drawn = _scored(alike, images, 1, few)
        yield from _rows_of_metrics("one run's own interval", images, 1, [_run_holds(one, level) for one in drawn])
    for images in (300, 1000, 4000):
        drawn = _scored(alike, images, 1, few)
        yield from _rows_of_metrics("two equal runs, false claim", images, 1, map(_run_claims, drawn))


Values = dict[Metric, tuple[list[Array], tuple[int, ...]]]  # of each model, seeds x images; images of each class


def _scored(population: Unequal, images: int, seeds: int, setting: Setting) -> Iterator[Values]:
    rng = setting.random(vars(population), images, seeds, "metrics")
    for _ in range(setting.studies):
        y_N, draw = population.sample(rng, images)
        runs = [[draw(model) for _ in range(seeds)] for model in range(len(population.above))]
        yield {
            metric: ([np.stack([metric.values(run, y_N) for run in of]) for of in runs], metric.groups(y_N))
            for metric in METRICS
        }


def _truths(population: Unequal, model: int, seeds: int = 500, images: int = 20_000) -> dict[Metric, float]:
    """The score of a model over many seeds, each on images of its own."""
    found: dict[Metric, list[float]] = {metric: [] for metric in METRICS}
    rng = np.random.default_rng(SEED)
    for _ in range(seeds):
        y_N, draw = population.sample(rng, images)
        logits_NK = draw(model)
        for metric, scores in found.items():
            scores.append(metric.of(logits_NK, y_N))
    return {metric: fmean(scores) for metric, scores in found.items()}


def _holds(values: Values, truth: dict[Metric, float]) -> dict[Metric, bool]:
    """Whether the interval of the difference of two models holds the true one."""
    return {
        metric: truth[metric] in difference_of(*(answers(one, groups, metric.unit.most) for one in models)).interval()
        for metric, (models, groups) in values.items()
    }


def _any_claim(values: Values) -> dict[Metric, bool]:
    found = {
        metric: compare({str(i): one for i, one in enumerate(models)}, metric=metric, groups=groups)
        for metric, (models, groups) in values.items()
    }
    return {metric: any(verdict.kind == "better" for verdict in verdicts) for metric, verdicts in found.items()}


def _run_holds(values: Values, truth: dict[Metric, float]) -> dict[Metric, bool]:
    found = {
        metric: score_interval(metric, [runs[0].mean()], runs[0].size, runs[0][0], groups)
        for metric, (runs, groups) in values.items()
    }
    return {metric: interval is not None and truth[metric] in interval for metric, interval in found.items()}


def _run_claims(values: Values) -> dict[Metric, bool]:
    return {
        metric: paired_difference(a[0], b[0], groups, metric.unit.most).p_value() < 0.05
        for metric, ((a, b), groups) in values.items()
    }


def _rows_of_metrics(what: str, images: int, seeds: int, found: Iterable[dict[Metric, bool]]) -> Iterator[Row]:
    studies = list(found)
    for metric in METRICS:
        row = {"what": what, "metric": metric.word, "images": images, "seeds": seeds}
        yield row | share(sum(one[metric] for one in studies), len(studies))


PARTS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "coverage": coverage,
    "sentences": sentences,
    "family": family,
    "freedom": freedom,
    "equivalence": equivalence,
    "power": power,
    "more_seeds": more,
    "deaths": deaths,
    "stopping": stopping,
    "single": single,
    "metrics": metrics,
}


def measured(part: str, setting: Setting) -> list[Row]:
    """The rows of a part, each said as it is found."""
    rows = []
    for row in PARTS[part](setting):
        said = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("share", "error", "studies"))
        print(f"{datetime.now(UTC):%H:%M:%S} {part}: {100 * row['share']:.2f} %: {said}", flush=True)
        rows.append(row)
    return rows


def record(rows: list[Row], setting: Setting) -> Row:
    """A part as it is kept."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": provenance.git_revision(),
        "processor": provenance.processor(),
        "versions": {name: version for name, version in provenance.versions().items() if name in ("python", "numpy")},
        "images": setting.images,
        "stored": setting.stored[1],
        "rows": rows,
    }


def per_cent(row: Row) -> str:
    """A share and its Monte-Carlo standard error."""
    return f"{100 * row['share']:.1f} ± {100 * row['error']:.1f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown: the first column to the left, the others to the right."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, ["---", *["---:"] * (len(header) - 1)], *lines))


def by_seeds(rows: list[Row], name: Callable[[Row], str], cell: Callable[[Row], str], first: str) -> str:
    """A table with a line for each name and a column for each number of seeds."""
    seeds = sorted({row["seeds"] for row in rows}, key=lambda text: (len(text), text))
    cells = {(name(row), row["seeds"]): cell(row) for row in rows}
    names = list(dict.fromkeys(map(name, rows)))
    lines = [[one, *(cells.get((one, column), "") for column in seeds)] for one in names]
    return table([first, *(f"{column} seeds" for column in seeds)], lines)


def _population(row: Row) -> str:
    spread: str | float = row["spread"]
    return f"{row['population']}, spread {spread if isinstance(spread, str) else f'{100 * spread:g}'}"


def coverage_table(rows: list[Row]) -> str:
    """Coverage and the median half-width of the interval."""
    return by_seeds(
        rows, _population, lambda row: f"{per_cent(row)} (± {100 * row['median_half']:.2f})", "population, spread"
    )


def sentences_table(rows: list[Row]) -> str:
    """Wrong sentences by the interval that stands in them, and by that of the pair alone."""
    lines = [[_population(row), row["seeds"], per_cent(row), f"{100 * row['alone']:.0f}"] for row in rows]
    return table(["population, spread", "seeds", "simultaneous", "this pair alone"], lines)


def family_table(rows: list[Row]) -> str:
    """False claims by Holm's method and without it."""
    return by_seeds(rows, _population, lambda row: per_cent(row) + _kept_back(row), "population, spread")


def _kept_back(row: Row) -> str:
    """What would be claimed without the rule of few seeds, where that kept anything back."""
    kept_back = f"by Holm alone {100 * row['few_too']:.1f}, " if row["few_too"] > row["share"] else ""
    return f" ({kept_back}{100 * row['without_holm']:.0f} without Holm)"


def freedom_table(rows: list[Row]) -> str:
    """What another choice of the degrees of freedom would do."""
    return by_seeds(rows, lambda row: f"{row['what']}, spread {row['spread']}", per_cent, "figure")


def equivalence_table(rows: list[Row]) -> str:
    """Wrong claims of equivalence of a pair and of a family, and right ones."""
    lines = [
        [
            *(_population(row), str(row["models"]), row["seeds"], per_cent(row)),
            *(per_cent(row["family"]), per_cent(row["right"])),
        ]
        for row in rows
    ]
    header = ["population, spread", "models", "seeds", "a pair, wrongly", "any pair, wrongly", "equal pairs, rightly"]
    return table(header, lines)


def power_table(rows: list[Row]) -> str:
    """True differences found."""
    return by_seeds(
        rows,
        lambda row: f"{100 * row['difference']:g} points, {row['models']} models, {row['population']}",
        per_cent,
        "true difference",
    )


def more_table(rows: list[Row]) -> str:
    """What asking for more seeds leads to."""
    lines = [
        [
            f"{_population(row)}, to see {100 * row['size']:.3g}",
            *(f"{row['images']:,}", str(row["seeds"]), f"{100 * row['asked']:.0f}"),
            *(f"{row['median_asked']:g}", f"{100 * row['never']:.0f}", "none" if row["none_would"] else "some"),
            per_cent(row) if row["studies"] else "",
        ]
        for row in rows
    ]
    header = ["population, spread", "images", "seeds", "a number", "median", "no number", "in truth", "then told apart"]
    return table(header, lines)


def deaths_table(rows: list[Row]) -> str:
    """Wrong claims about a model of which seeds die."""
    lines = [
        [
            f"{100 * row['above']:g} points above, {100 * row['dying']:g} % die",
            *(row["seeds"], per_cent(row), f"{100 * row['found']:.0f}", f"{100 * row['untold']:.0f}"),
        ]
        for row in rows
    ]
    header = ["the model of which seeds die", "seeds", "of the runs that train, wrongly", "rightly"]
    return table([*header, "all runs taken alike, wrongly"], lines)


def stopping_table(rows: list[Row]) -> str:
    """False claims where seeds are added until something is claimed."""
    lines = [
        [f"{row['models']}", f"{row['first']} to {row['most']}", f"{100 * row['at_once']:.1f}", per_cent(row)]
        for row in rows
    ]
    said = "In per cent of studies. A plan made before keeps 5.\n\n"
    return said + table(["models", "seeds", "one look, at the end", "a look after each"], lines)


def single_table(rows: list[Row]) -> str:
    """Coverage and false claims of the methods for single runs."""
    lines = [
        [
            row["method"] + (f", accuracy {100 * row['accuracy']:g}" if "accuracy" in row else ""),
            f"{row['images']:,}",
            per_cent(row),
        ]
        for row in rows
    ]
    return table(["method", "images", "found"], lines)


def metrics_table(rows: list[Row]) -> str:
    """Coverage and false claims by other metrics, a column each."""
    cells = {(row["what"], row["images"], row["seeds"], row["metric"]): per_cent(row) for row in rows}
    lines = [
        [what, f"{images:,}", str(seeds), *(cells[what, images, seeds, metric.word] for metric in METRICS)]
        for what, images, seeds in dict.fromkeys(key[:3] for key in cells)
    ]
    return table(["figure", "images", "seeds", *(metric.title for metric in METRICS)], lines)


TABLES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "coverage": (
        "Coverage of the 95 % interval of a difference, % (median half-width, points). Goal: 93 to 97",
        coverage_table,
    ),
    "sentences": (
        "Studies of the card's seven means with a wrong “better by X to Y”, %. Goal: at most 5",
        sentences_table,
    ),
    "family": (
        "Studies of equal models (seven unless stated) with any false claim, %. Goal: at most 5",
        family_table,
    ),
    "freedom": (
        "The same figures by Satterthwaite's degrees of freedom, which are not used, in per cent",
        freedom_table,
    ),
    "equivalence": (
        "Pairs at the margin, half a point apart, called equivalent, %. Goal: at most 5",
        equivalence_table,
    ),
    "power": ("True differences that are found, in per cent", power_table),
    "more_seeds": (
        "New studies of two models with the seeds that a verdict asks for, %. Goal: 80",
        more_table,
    ),
    "deaths": (
        "Two models, one with dying seeds: the wrong one called better, %. Goal: at most 5",
        deaths_table,
    ),
    "stopping": ("Equal models, seeds added until one is called better", stopping_table),
    "single": (
        "Single runs on the same images: coverage (goal 93 to 97) or false claims (goal at most 5)",
        single_table,
    ),
    "metrics": (
        "Other metrics, ten classes of unequal size: coverage (goal 93 to 97) or false claims (goal at most 5), %",
        metrics_table,
    ),
}


def block(parts: dict[str, Row]) -> str:
    """All tables as Markdown, each under what it shows and what it comes from."""
    texts = []
    for part, (title, made) in TABLES.items():
        if part in parts:
            texts.append(f"## {title}\n\n{made(parts[part]['rows'])}\n{_source(parts[part])}\n")
    return "\n".join(texts)


def _source(kept: Row) -> str:
    studies = sorted({row["studies"] for row in kept["rows"]}, reverse=True)
    of_stored = any(row.get("population") == "stored" for row in kept["rows"])
    stored = f" Stored predictions: {kept['stored']}." if of_stored else ""
    return f"Up to {studies[0]:,} studies per figure, ± one standard error.{stored}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; left out: all")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"PART {unknown[0]}: expected one of {', '.join(PARTS)}")
    return options


def main() -> None:
    options = arguments()
    setting = Setting(options.studies, options.images)
    parts = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for part in options.parts or PARTS:
        parts[part] = record(measured(part, setting), setting)
        if options.studies >= ENOUGH:
            write_atomic(KEPT, json.dumps(parts, indent=1) + "\n")
    if options.studies >= ENOUGH:
        write_atomic(DOCUMENT, between_marks(DOCUMENT.read_text("utf-8"), BEGIN, block(parts)))


if __name__ == "__main__":
    main()
