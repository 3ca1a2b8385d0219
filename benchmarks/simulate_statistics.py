"""How often the intervals and verdicts are right, in studies drawn from populations whose truth is known.

    python benchmarks/simulate_statistics.py [PART ...] [--results FOLDER] [--studies 2000]

Parts: coverage, family, freedom, equivalence, power, more_seeds, single (all of them when none is named). Each asks the functions
that a study uses, `statistics.difference` and `verdicts.compare`. With a results folder of several models and seeds
(`--results`), populations are made of its real predictions too; without, what was found with one before is kept. Writes
benchmarks/results/statistics.json and the tables in docs/statistics.md. One core, some 20 minutes.
"""

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from marked import between_marks
from populations import Array, Population, Probit, Stored, stored_ranks

from modelflow import provenance, statistics
from modelflow.files import write_whole
from modelflow.statistics import holm
from modelflow.verdicts import MARGIN, Verdict, compare, more_seeds

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "statistics.json"
DOCUMENT = ROOT / "docs" / "statistics.md"
BEGIN = "<!-- simulated: benchmarks/simulate_statistics.py writes this -->"
ACCURACY, SPREAD, UNEQUAL = 0.85, 0.006, (0.0035, 0.0103)  # of the card's models; the least and the greatest spread
AS_FOUND = (0.0066, 0.0035, 0.0061, 0.0045, 0.0059, 0.0041, 0.0103)
MODELS, MOST_ADDED, SEED = 7, 100, 20260
ENOUGH = 2000  # studies; what fewer find is printed, not kept

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """How much is drawn, and from which stored predictions besides the made-up ones (None: none)."""

    studies: int = 2000
    images: int = 10_000
    ranks: Array | None = None

    def random(self, *of: object) -> np.random.Generator:
        """A generator of its own for each condition, whatever else is drawn."""
        return np.random.default_rng([SEED, zlib.crc32(repr(of).encode())])

    def populations(self, accuracies: Sequence[float], spreads: Sequence[float]) -> dict[str, Population]:
        """The made-up population and, where there is one, that of stored predictions."""
        found: dict[str, Population] = {"made up": Probit(tuple(accuracies), tuple(spreads))}
        if self.ranks is not None:
            found["stored"] = Stored(self.ranks, tuple(accuracies), tuple(spreads))
        return found


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


def studies_of(population: Population, seeds: int, setting: Setting, *of: object) -> Iterator[dict[str, Array]]:
    """Studies, each S x N by model; the models are called by their number."""
    rng = setting.random(type(population).__name__, population.accuracies, population.spreads, seeds, *of)
    for _ in range(setting.studies):
        yield {str(model): runs for model, runs in enumerate(population.sample(rng, setting.images)(seeds))}


def coverage(setting: Setting) -> Iterator[Row]:
    """How often the 95 % interval of `statistics.difference` holds the true difference, and how wide it is."""
    accuracies = (ACCURACY, ACCURACY + 0.01)
    cases: list[tuple[str, str, Population]] = []
    for spread, spreads in (("equal", (SPREAD, SPREAD)), ("unequal", UNEQUAL)):
        cases += [(name, spread, population) for name, population in setting.populations(accuracies, spreads).items()]
        cases.append(("made up, nothing shared", spread, Probit(accuracies, spreads, shared=0.0, own=0.91)))
    cases.append(("made up", "next to none", Probit(accuracies, (0.0005, 0.0005))))
    for population_name, spread, population in cases:
        for seeds in (2, 3, 5, 10):
            yield {"population": population_name, "spread": spread, "seeds": seeds} | _covered(
                population, seeds, setting
            )


def _covered(population: Population, seeds: int, setting: Setting) -> Row:
    truth = population.accuracies[0] - population.accuracies[1]
    intervals = [
        statistics.difference(study["0"], study["1"]).interval()
        for study in studies_of(population, seeds, setting, "coverage")
    ]
    half = float(np.median([interval.high - interval.low for interval in intervals])) / 2
    return share(sum(truth in interval for interval in intervals), setting.studies) | {"median_half": half}


def family(setting: Setting) -> Iterator[Row]:
    """Equal models: how often "better" is claimed of any pair, and how often it would be of each pair by itself.

    `few_too` is how often it would be if nothing were kept back from few seeds.
    """
    for spread, spreads in (("equal", (SPREAD,) * MODELS), ("as found", AS_FOUND)):
        for name, population in setting.populations((ACCURACY,) * MODELS, spreads).items():
            for seeds in (2, 3, 5, 10):
                yield {"population": name, "spread": spread, "seeds": seeds} | _false_claims(population, seeds, setting)

    yield from _larger_families(replace(setting, studies=max(2, setting.studies // 4)))


def _larger_families(setting: Setting) -> Iterator[Row]:
    """Of as many models as so few seeds are taken for, and a hundred."""
    equal, as_found = ("equal", (SPREAD,)), ("as found", AS_FOUND)
    families = [(*family, spread) for family in ((20, 3), (20, 4), (40, 5)) for spread in (equal, as_found)]
    for models, seeds, (spread, spreads) in (*families, (100, 10, equal)):
        population = Probit((ACCURACY,) * models, (spreads * models)[:models])
        row = {"population": f"made up, {models} models", "spread": spread, "seeds": seeds}
        yield row | _false_claims(population, seeds, setting)


def freedom(setting: Setting) -> Iterator[Row]:
    """As `coverage` and `family`, had Satterthwaite's degrees of freedom been taken, which nothing else here does."""
    for spread, spreads in (("equal", (SPREAD, SPREAD)), ("unequal", UNEQUAL)):
        pair = Probit((ACCURACY, ACCURACY + 0.01), spreads)
        for seeds in (2, 3, 5):
            found = (statistics.difference(*study.values()) for study in studies_of(pair, seeds, setting, "coverage"))
            held = sum(-0.01 in _by_satterthwaite(one, setting.images).interval() for one in found)
            yield {"what": "coverage of two models", "spread": spread, "seeds": seeds} | share(held, setting.studies)
    for spread, spreads in (("equal", (SPREAD,) * MODELS), ("as found", AS_FOUND)):
        population = Probit((ACCURACY,) * MODELS, spreads)
        for seeds in (2, 3, 5):
            claims = sum(
                min(holm([_by_satterthwaite(v.difference, setting.images).p_value() for v in compare(study)])) < 0.05
                for study in studies_of(population, seeds, setting, "family")
            )
            row = {"what": "false claims of seven models", "spread": spread, "seeds": seeds}
            yield row | share(claims, setting.studies)


def _by_satterthwaite(found: statistics.Difference, images: int) -> statistics.Difference:
    ratio = found.error**2 / found.of_seeds if found.of_seeds else math.inf
    return replace(found, freedom=min(found.freedom * ratio, images - 1.0))


def _false_claims(population: Population, seeds: int, setting: Setting) -> Row:
    claims = without = few_too = 0
    for study in studies_of(population, seeds, setting, "family"):
        verdicts = compare(study)
        claims += any(verdict.kind == "better" for verdict in verdicts)
        p_values = [verdict.difference.p_value() for verdict in verdicts]
        without += min(p_values) < 0.05
        few_too += min(holm(p_values)) < 0.05
    shares = {"without_holm": without / setting.studies, "few_too": few_too / setting.studies}
    return share(claims, setting.studies) | shares


def equivalence(setting: Setting) -> Iterator[Row]:
    """Three models half a point (the margin) above four: how often a pair that far apart is called equivalent.

    `right` is the share of the pairs that are truly equal and called equivalent.
    """
    accuracies = (ACCURACY,) * 4 + (ACCURACY + MARGIN,) * 3
    for spread in (0.001, 0.003, SPREAD):
        for name, population in setting.populations(accuracies, (spread,) * MODELS).items():
            for seeds in (3, 5, 10):
                found = _wrongly_equivalent(population, seeds, setting)
                yield {"population": name, "spread": spread, "seeds": seeds} | found


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
    """How often a true difference is found: of two models alone, and (a quarter of the studies) of one above six."""
    for models, asked in ((2, setting), (MODELS, replace(setting, studies=max(2, setting.studies // 4)))):
        for points in (0.005, 0.01, 0.02):
            accuracies = (ACCURACY + points, *(ACCURACY,) * (models - 1))
            for name, population in setting.populations(accuracies, (SPREAD,) * models).items():
                for seeds in (3, 5, 10):
                    row = {"population": name, "models": models, "difference": points, "seeds": seeds}
                    yield row | _found(population, seeds, asked)


def _found(population: Population, seeds: int, setting: Setting) -> Row:
    found, wrong = [], 0
    for study in studies_of(population, seeds, setting, "power"):
        real = [verdict for verdict in compare(study) if "0" in (verdict.first, verdict.second)]
        better = [verdict for verdict in real if verdict.kind == "better"]
        found.append(sum(verdict.first == "0" for verdict in better) / len(real))
        wrong += any(verdict.second == "0" for verdict in better)
    return mean_share(found) | {"wrong_way": wrong / setting.studies}


def more(setting: Setting) -> Iterator[Row]:
    """Studies that ask for more seeds get as many: how often half the interval is then at most the margin."""
    for spread in (0.003, SPREAD):
        for name, population in setting.populations((ACCURACY, ACCURACY), (spread, spread)).items():
            for seeds in (2, 3, 5):
                yield {"population": name, "spread": spread, "seeds": seeds} | _honest(population, seeds, setting)


def _honest(population: Population, seeds: int, setting: Setting) -> Row:
    rng = setting.random(type(population).__name__, population.spreads, seeds, "more")
    asked, enough = [], []
    for _ in range(setting.studies):
        runs = population.sample(rng, setting.images)
        first = runs(seeds)
        wanted = more_seeds(statistics.difference(*first), MARGIN)
        if wanted != 0:
            asked.append(math.inf if wanted is None else wanted)
        if wanted and wanted <= MOST_ADDED:
            enough.append(_half_after(first, runs(wanted)) <= MARGIN)
    return share(sum(enough), len(enough)) | {
        "asked": len(asked) / setting.studies,
        "median_asked": float(np.median(asked)) if asked else 0.0,
        "not_followed": (len(asked) - len(enough)) / setting.studies,
    }


def _half_after(first: list[Array], added: list[Array]) -> float:
    a, b = (np.concatenate(pair) for pair in zip(first, added, strict=True))
    interval = statistics.difference(a, b).interval()
    return (interval.high - interval.low) / 2


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
        (a_N,), (b_N,) = population.sample(rng, images)(1)
        yield a_N, b_N


def _wilson_covered(accuracy: float, images: int, setting: Setting) -> Row:
    right = setting.random(accuracy, images, "wilson").binomial(images, accuracy, setting.studies)
    return share(sum(accuracy in statistics.wilson_interval(int(one), images) for one in right), setting.studies)


def _bootstrap_covered(population: Population, images: int, setting: Setting) -> Row:
    truth, pairs = population.accuracies[0] - population.accuracies[1], _pairs(population, images, setting)
    held = (truth in statistics.bootstrap_difference(*pair, seed=seed) for seed, pair in enumerate(pairs))
    return share(sum(held), setting.studies)


def _mcnemar_claims(population: Population, images: int, setting: Setting) -> Row:
    claims = sum(statistics.mcnemar(*pair) < 0.05 for pair in _pairs(population, images, setting))
    return share(claims, setting.studies)


PARTS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "coverage": coverage,
    "family": family,
    "freedom": freedom,
    "equivalence": equivalence,
    "power": power,
    "more_seeds": more,
    "single": single,
}


def measured(part: str, setting: Setting) -> list[Row]:
    """The rows of a part, each said as it is found."""
    rows = []
    for row in PARTS[part](setting):
        said = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("share", "error", "studies"))
        print(f"{datetime.now(UTC):%H:%M:%S} {part}: {100 * row['share']:.2f} %: {said}", flush=True)
        rows.append(row)
    return rows


def record(rows: list[Row], setting: Setting, source: str | None, before: Row | None) -> Row:
    """A part as it is kept; without stored predictions, with what was found with some before."""
    kept = [] if before is None or source else [row for row in before["rows"] if row.get("population") == "stored"]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": provenance.git_revision(),
        "processor": provenance.processor(),
        "versions": {name: version for name, version in provenance.versions().items() if name in ("python", "numpy")},
        "images": setting.images,
        "stored": source or (before["stored"] if before and kept else None),
        "rows": rows + kept,
    }


def per_cent(row: Row) -> str:
    """A share and its Monte-Carlo standard error."""
    return f"{100 * row['share']:.1f} ± {100 * row['error']:.1f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown: the first column to the left, the others to the right."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, ["---", *["---:"] * (len(header) - 1)], *lines))


def by_seeds(rows: list[Row], name: Callable[[Row], str], cell: Callable[[Row], str], first: str) -> str:
    """A table with a line for each name and a column for each number of seeds."""
    seeds = sorted({row["seeds"] for row in rows})
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


def family_table(rows: list[Row]) -> str:
    """False claims by Holm's method and without it."""
    return by_seeds(
        rows,
        _population,
        lambda row: per_cent(row) + _kept_back(row),
        "population, spread",
    )


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
            *(_population(row), str(row["seeds"]), per_cent(row)),
            *(per_cent(row["family"]), per_cent(row["right"])),
        ]
        for row in rows
    ]
    return table(
        ["population, spread", "seeds", "a pair, wrongly", "any of the 12 pairs, wrongly", "equal pairs, rightly"],
        lines,
    )


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
            *(_population(row), str(row["seeds"]), f"{100 * row['asked']:.0f} %", f"{row['median_asked']:g}"),
            *(f"{100 * row['not_followed']:.0f} %", per_cent(row)),
        ]
        for row in rows
    ]
    header = ["population, spread", "seeds", "ask for more", "for, median", "for over 100 or never", "then enough"]
    return table(header, lines)


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


TABLES: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "coverage": (
        "Coverage of the 95 % interval of a difference, in per cent (half its width, median, in points); goal 93 to 97",
        coverage_table,
    ),
    "family": (
        "Studies of equal models (seven, where not said) with a false claim anywhere, in per cent; goal at most 5",
        family_table,
    ),
    "freedom": (
        "The same figures by Satterthwaite's degrees of freedom, which are not used, in per cent",
        freedom_table,
    ),
    "equivalence": (
        "Pairs half a point apart, which is the margin, called equivalent, in per cent; goal at most 5 a pair",
        equivalence_table,
    ),
    "power": ("True differences that are found, in per cent", power_table),
    "more_seeds": (
        'Two models, asked for "at least k more seeds" and given them: half the interval at most half a point',
        more_table,
    ),
    "single": (
        "Single runs on the same images: coverage (goal 93 to 97) or false claims (goal at most 5)",
        single_table,
    ),
}


def block(parts: dict[str, Row]) -> str:
    """All tables as Markdown, each under what it shows and what it comes from."""
    texts = []
    for part, (title, made) in TABLES.items():
        if part in parts:
            texts.append(f"### {title}\n\n{made(parts[part]['rows'])}\n{_source(parts[part])}\n")
    return "\n".join(texts)


def _source(kept: Row) -> str:
    studies = sorted({row["studies"] for row in kept["rows"]}, reverse=True)
    of_stored = any(row.get("population") == "stored" for row in kept["rows"])
    stored = f" Stored predictions: {kept['stored']}." if of_stored else ""
    return f"Up to {studies[0]:,} studies a figure, {kept['images']:,} images, ± one standard error.{stored}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; left out: all")
    parser.add_argument("--results", type=Path, help="a results folder of several models with several seeds each")
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"PART {unknown[0]}: expected one of {', '.join(PARTS)}")
    return options


def main() -> None:
    options = arguments()
    ranks, source = stored_ranks(options.results) if options.results else (None, None)
    setting = Setting(options.studies, options.images, ranks)
    parts = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for part in options.parts or PARTS:
        parts[part] = record(measured(part, setting), setting, source, parts.get(part))
        if options.studies >= ENOUGH:
            write_whole(KEPT, json.dumps(parts, indent=1) + "\n")
    if options.studies >= ENOUGH:
        write_whole(DOCUMENT, between_marks(DOCUMENT.read_text("utf-8"), BEGIN, block(parts)))


if __name__ == "__main__":
    main()
