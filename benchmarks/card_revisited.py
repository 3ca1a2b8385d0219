"""Each claim of the original model card beside five seeds by both protocols, judged as a study's models are.

    python benchmarks/card_revisited.py keep card results-card                 condenses a results folder
    python benchmarks/card_revisited.py keep held-out results                  the same by the default protocol
    python benchmarks/card_revisited.py keep card-rate FOLDER                  generic_2 at the rate the card's search found
    python benchmarks/card_revisited.py                                        docs/card-revisited.md from what is kept

What is kept lies in benchmarks/results/revisited/, some 50 kB a folder. `held-out-rate` is the fourth that can be kept.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from statistics import fmean, stdev

import condensed
from condensed import Condensed
from doc_images import save_drawn
from revisited_figures import Bar, plot_differences, plot_models

from modelflow.analysis.verdicts import Verdict, compare
from modelflow.io.files import write_atomic
from modelflow.networks.resolve import CARD
from modelflow.results.layout import read_run, run_folders

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "revisited"
DOCUMENT = ROOT / "docs" / "card-revisited.md"
PROTOCOLS = ("card", "held-out")
JUDGED = {"for": "supported", "against": "contradicted", "inconclusive": "inconclusive"}
CARD_RECORDS = ROOT / "benchmarks" / "results" / "card"  # which card_repeated.py keeps
RATE, SEARCHED = "-rate", "generic_2 at 4.86e-3"
ORDER = sorted(CARD, key=lambda name: -CARD[name].accuracy)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Claim:
    """What the card says, the pairs that it is about, and whether the first of each is said to be better, or not to be."""

    said: str
    pairs: tuple[Pair, ...]
    better: bool = True
    note: str = ""


BEST = "generic_2"
CLAIMS = (
    Claim(
        "Increasing `n_feature` from 3 to 7 generally improved performance",
        (("cnn2_5", "cnn2_3"), ("cnn2_7", "cnn2_5"), ("cnn2_7", "cnn2_3")),
        note="Nothing else differs between the three, except the input of fc1, which grows too.",
    ),
    Claim(
        "`generic_2` was the best performer",
        tuple((BEST, other) for other in ORDER if other != BEST),
        note="It is the best. It has the fewest layers, but the third most parameters: shallow, not small.",
    ),
    Claim(
        "Deeper featurizers (`generic_1`) did not yield better results",
        (("generic_1", "generic_2"), ("generic_1", "generic_0")),
        better=False,
        note="generic_1 also has other channels and one more hidden layer. Depth alone was not varied.",
    ),
    Claim(
        "Vastly more complex classifiers (`generic_3`) did not yield better results",
        (("generic_3", "generic_2"), ("generic_3", "generic_0")),
        better=False,
        note="generic_3 and generic_0 differ only in the classifier. Only ten epochs at 3e-4 were trained.",
    ),
    Claim(
        "One convolutional block is sufficient",
        ((BEST, "generic_0"), (BEST, "cnn2_7"), (BEST, "generic_1")),
        note="It beats its rivals, but they differ in more than blocks: kernels, channels, hidden layers and features before "
        "the classifier. This does not show that more blocks cannot help.",
    ),
    Claim(
        "`generic_0` is the base model (`cnn2_5`) made by `GerenicCNN`: 85.27 % against 83.28 %, without comment",
        (("generic_0", "cnn2_5"),),
        note="Same layers and parameters. Only the dropout before the last layer of cnn2_5 differs.",
    ),
)
RATE_CLAIM = Claim(
    "The searched rate (4.86e-3) did not surpass the manual one (3e-4)",
    ((SEARCHED, BEST),),
    better=False,
    note="This pair is not among the 21 that Holm's method adjusts for. Same network, batch size and epochs. With six times "
    "the epochs and one cycle, rates up to 2e-3 do better (docs/recipes.md).",
)


@dataclass(frozen=True)
class Evidence:
    """What is kept of one protocol, with the verdict of each pair that a claim is about."""

    name: str
    runs: Condensed
    verdicts: dict[frozenset[str], Verdict]


def evidence(protocol: str, kept: Path = KEPT) -> Evidence | None:
    """The runs of a protocol and their verdicts; the searched rate is a family of its own. None when none are kept."""
    runs, searched = condensed.read(kept / protocol), condensed.read(kept / (protocol + RATE))
    if runs is None:
        return None
    correct, died = runs.correct_by_model(), runs.died_by_model()
    found = compare({name: correct[name] for name in ORDER}, died=died)
    if searched is not None:
        died[SEARCHED] = searched.died_by_model()[BEST]
        found += compare({BEST: correct[BEST], SEARCHED: searched.correct_by_model()[BEST]}, died=died)
    return Evidence(protocol, runs, {frozenset((one.first, one.second)): one for one in found})


def outcome(pair: Pair, better: bool, verdicts: Mapping[frozenset[str], Verdict]) -> str:
    """Whether a pair speaks "for" what is said of it, "against" it, or is inconclusive."""
    verdict = verdicts[frozenset(pair)]
    if verdict.kind == "cannot tell":
        return "inconclusive"
    first_is_better = verdict.kind == "better" and verdict.first == pair[0]
    return "for" if first_is_better == better else "against"


def difference_of(pair: Pair, verdicts: Mapping[frozenset[str], Verdict]) -> tuple[float, float, float]:
    """How much better the first of a pair is, and the ends of the simultaneous 95 % interval; in points."""
    verdict = verdicts[frozenset(pair)]
    low, high = verdict.interval.low, verdict.interval.high
    values = (verdict.difference.estimate, low, high)
    if verdict.first != pair[0]:
        values = (-values[0], -high, -low)
    return (100 * values[0], 100 * values[1], 100 * values[2])


def judged(claim: Claim, of: Evidence | None) -> str:
    """A claim by one protocol: supported, contradicted, inconclusive, or partly, and by how many of its pairs."""
    if of is None or any(frozenset(pair) not in of.verdicts for pair in claim.pairs):
        return "not trained yet"
    outcomes = [outcome(pair, claim.better, of.verdicts) for pair in claim.pairs]
    if len(outcomes) == 1:
        return JUDGED[outcomes[0]]
    if len(set(outcomes)) == 1:
        return f"{JUDGED[outcomes[0]]} ({len(outcomes)} of {len(outcomes)} pairs)"
    counts = {words: outcomes.count(name) for name, words in JUDGED.items() if name in outcomes}
    return f"partly ({', '.join(f'{count} {words}' for words, count in counts.items())})"


def span(difference: tuple[float, float, float] | None) -> str:
    """The interval of a `difference_of`, rounded outwards, as in every verdict; empty where there is none."""
    if difference is None:
        return ""
    _, low, high = difference
    return f"{floor(round(10 * low, 5)) / 10:+.1f} to {ceil(round(10 * high, 5)) / 10:+.1f}"


def spread(of: Evidence, model: str) -> str:
    """Mean and standard deviation over seeds, in per cent."""
    accuracies = [run.accuracy for run in of.runs.of(model)]
    return f"{100 * fmean(accuracies):.2f} ± {100 * stdev(accuracies):.2f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Markdown."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))


def claims_table(found: Sequence[Evidence | None]) -> str:
    """Each claim with what either protocol says of it, and the caveats below."""
    claims = (*CLAIMS, RATE_CLAIM)
    lines = [[str(i), claim.said, *(judged(claim, of) for of in found)] for i, claim in enumerate(claims, 1)]
    notes = "".join(f"{i}. {claim.note}\n" for i, claim in enumerate(claims, 1))
    return f"{table(['#', 'the card', *(f'protocol {name}' for name in PROTOCOLS)], lines, left=4)}\n{notes}"


def pairs_table(found: Sequence[Evidence | None]) -> str:
    """The interval of each pair that a claim is about, by either protocol."""
    pairs = bars((*CLAIMS, RATE_CLAIM), found)
    lines = [[pair.name, *(span(pair.by_protocol.get(name)) for name in PROTOCOLS)] for pair in pairs]
    return table(["first - second, points", *(f"protocol {name}" for name in PROTOCOLS)], lines)


def models_table(found: Sequence[Evidence | None]) -> str:
    """Each model as the card has it and as the seeds have it."""
    some = next(of for of in found if of is not None)
    f1 = macro_f1()
    lines = [
        [
            *(name, f"{100 * CARD[name].accuracy:.2f}", *("" if of is None else spread(of, name) for of in found)),
            *(f"{CARD[name].macro_f1:.4f}", f"{fmean(f1[name]):.4f} ± {stdev(f1[name]):.4f}"),
            *(f"{some.runs.of(name)[0].parameters:,}", f"{some.runs.of(name)[0].macs:,}"),
        ]
        for name in ORDER
    ]
    header = ["the card", *(f"protocol {name}" for name in PROTOCOLS), "the card, macro F1", "protocol card, macro F1"]
    return table(["model", *header, "parameters", "MACs"], lines)


def macro_f1() -> dict[str, list[float]]:
    """Of each model's runs by the protocol card."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in map(read_run, run_folders(CARD_RECORDS)):
        found[run.model_name].append(run.metrics.macro_f1)
    return found


def ranking(of: Evidence) -> str:
    """How many of the card's 21 orders of two models are found again."""
    pairs = [(a, b) for i, a in enumerate(ORDER) for b in ORDER[i + 1 :]]
    outcomes = [outcome(pair, True, of.verdicts) for pair in pairs]
    wrong = [f"{a} above {b}" for (a, b), one in zip(pairs, outcomes, strict=True) if one == "against"]
    against = f" ({', '.join(wrong)})" if wrong else ""
    return (
        f"Protocol {of.name}, the {len(pairs)} orders of two models in the card's table: {outcomes.count('for')} hold, "
        f"{outcomes.count('against')} do not{against}, {outcomes.count('inconclusive')} are inconclusive."
    )


def still_falling(of: Evidence) -> str:
    """In how many runs the validation loss is lowest in the last epoch."""
    runs = [run for run in of.runs.runs if run.val_losses and None not in run.val_losses]
    last = [run for run in runs if min(run.val_losses, key=float) == run.val_losses[-1]]  # type: ignore[arg-type]
    return f"{len(last)} of {len(runs)} runs by protocol {of.name}"


def bars(claims: Sequence[Claim], found: Sequence[Evidence | None]) -> list[Bar]:
    """A bar for each pair that a claim is about, once, with the difference by each protocol."""
    pairs = dict.fromkeys(pair if claim.better else pair[::-1] for claim in claims for pair in claim.pairs)
    return [
        Bar(
            f"{a} - {b}",
            {
                of.name: difference_of((a, b), of.verdicts)
                for of in found
                if of is not None and frozenset((a, b)) in of.verdicts
            },
        )
        for a, b in pairs
    ]


def document(found: Sequence[Evidence | None]) -> str:
    """docs/card-revisited.md."""
    known = [of for of in found if of is not None]
    seeds = len(known[0].runs.of(BEST))
    largest, base = (known[0].runs.of(name)[0].parameters for name in ("generic_3", "generic_0"))
    return TEXT.format(
        seeds=seeds,
        claims=claims_table(found),
        pairs=pairs_table(found),
        models=models_table(found),
        ranking="\n".join(f"- {ranking(of)}" for of in known),
        falling=", ".join(still_falling(of) for of in known),
        times=f"{largest / base:.0f}",
        spreads=", ".join(f"{_least_and_most(of)} points by protocol {of.name}" for of in known),
    )


def _least_and_most(of: Evidence) -> str:
    spreads = [stdev(run.accuracy for run in of.runs.of(name)) for name in ORDER]
    return f"{100 * min(spreads):.2f} to {100 * max(spreads):.2f}"


TEXT = """# The card's claims, revisited

With {seeds} seeds per model, none of the card's seven claims about accuracy is contradicted. Two hold only in part.
Its claims about simplicity, seeds and the learning rate do not hold or are not shown ([below](#what-no-pair-can-show)).

The card draws its conclusions from one run per model. Its test images also served as validation. The table repeats each claim
with {seeds} seeds per model, by two protocols:

- `card`: the card's own.
- `held-out`, the default: 5,000 held-out training images for validation, the test images read once.

"Supported" and "contradicted" are verdicts over seeds and images, by Holm's method over all pairs of the seven models
([statistics.md](statistics.md)). A claim that something is *not* better is supported if it is worse, or equivalent within half a point.

The numbers refer to the caveats below the table.

{claims}
## The pairs

Intervals are in points of accuracy. They hold for all 21 pairs of a protocol at once (95 %) and are rounded outwards. Holm's method is
sharper than the interval. If it separates a pair but the interval includes 0, the size of the difference is inconclusive.

{pairs}
![Differences with their intervals](images/card_revisited_claims.png#gh-light-mode-only)
![Differences with their intervals](images/card_revisited_claims_dark.png#gh-dark-mode-only)

## The models

{models}
Accuracy in per cent of the 10,000 test images, and macro F1. Mean ± standard deviation over seeds.

![Accuracy per seed](images/card_revisited_models.png#gh-light-mode-only)
![Accuracy per seed](images/card_revisited_models_dark.png#gh-dark-mode-only)

{ranking}
- The card captions a picture of `generic_2` "Accuracy: 87.46%". Its table gives an accuracy of 87.61 % and a macro F1 of 0.8746. The
  caption confuses the two.

## What no pair can show

- **"The simplest model."** `generic_2` has the fewest layers. Of the seven, it has the third most parameters and the fourth most
  multiply-accumulates. It is shallow, not small.
- **"Adding more complexity significantly increased the number of parameters."** This is true of `generic_3` ({times} times
  `generic_0`). `generic_1` has a quarter more than `generic_2`.
- **"A fixed random seed (42) ensures deterministic weight initialization … consistent across runs."** It did not: the
  weights were drawn before the seed was set. The seed alone spreads accuracy: {spreads}.
  These are standard deviations over seeds, lowest to highest of the seven models. Between closer models, a rank from one run is chance.
- **Ten epochs.** The validation loss was lowest in the last epoch: {falling}. Most networks were still
  learning. The claims hold for this length of training. `--recipe best` trains six times as long: [recipes.md](recipes.md).
- **"The original manually-tuned LR was already close to an optimal value."** This is not shown. Ten epochs at a
  constant rate tried two rates: the card's and a sixteen times higher one, which is worse. Of the cycles over 30 and 60 epochs,
  the best reach 1e-3 to 3e-3. A constant 3e-4 for as long is untested ([recipes.md](recipes.md)).
- **"A more robust and reproducible methodology."** From seed to seed, the steepest point varies a hundredfold
  ([lr_finder.md](lr_finder.md)).

`python benchmarks/card_revisited.py` writes this page from `benchmarks/results/revisited/`.
"""


def keep(name: str, results: str) -> None:
    """Condenses a results folder."""
    if name.removesuffix(RATE) not in PROTOCOLS:
        sys.exit(f"{name}: expected one of {', '.join(p + end for p in PROTOCOLS for end in ('', RATE))}")
    condensed.condense(Path(results), KEPT / name)


def main() -> None:
    if sys.argv[1:2] == ["keep"]:
        keep(*sys.argv[2:])
    found = [evidence(protocol) for protocol in PROTOCOLS]
    by_name = {of.name: of.runs for of in found if of is not None}
    write_atomic(DOCUMENT, document(found))
    save_drawn("card_revisited_claims", lambda: plot_differences(bars((*CLAIMS, RATE_CLAIM), found)))
    accuracies = {name: {m: [run.accuracy for run in runs.of(m)] for m in ORDER} for name, runs in by_name.items()}
    reported = {name: CARD[name].accuracy for name in ORDER}
    save_drawn("card_revisited_models", lambda: plot_models(accuracies, reported))


if __name__ == "__main__":
    main()
