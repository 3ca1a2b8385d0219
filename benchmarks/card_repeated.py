"""The card repeated: seven models by its protocol, five seeds each, and by the best recipe, three seeds each.

python benchmarks/card_repeated.py keep CARD_RESULTS BEST_RESULTS    keeps each run.json in benchmarks/results
python benchmarks/card_repeated.py                                   writes the table of docs/explanation/card.md from what is kept
"""

import shutil
import statistics
import sys
from pathlib import Path

from marked import between_marks

from modelflow.analysis.intervals import prediction_interval
from modelflow.networks.resolve import CARD
from modelflow.results.layout import RUN, read_run, run_folders

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "explanation" / "card.md"
BEGIN = "<!-- the card repeated: benchmarks/card_repeated.py writes this -->"
HEADER = (
    "Model | Card | Its protocol, {card} seeds: mean ± sd | 95 % range, next seed | 95 % range, new test images | Card's run within? | "
    "`--recipe best`, {best} seeds: mean ± sd | gain over its protocol (points)"
)


def keep(recipe, results):  # type: ignore[no-untyped-def]
    """Keeps the records of a results folder, and nothing else of it, in the place of those kept before."""
    shutil.rmtree(KEPT / recipe, ignore_errors=True)
    for folder in run_folders(results):
        target = KEPT / recipe / folder.relative_to(results) / RUN
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / RUN, target)


def runs_of(recipe):  # type: ignore[no-untyped-def]
    """The kept runs of a recipe by model."""
    runs = [read_run(folder) for folder in run_folders(KEPT / recipe)]
    by_model = {name: [run for run in runs if run.model_name == name] for name in CARD}
    seeds = {tuple(sorted(run.seed for run in of_model)) for of_model in by_model.values()}
    protocols = {(run.settings["recipe"], run.protocol) for run in runs}
    if len(seeds) != 1 or len(protocols) != 1 or protocols.pop()[0] != recipe:
        sys.exit(f"{KEPT / recipe}: expected the seven models, each with the same seeds, trained by one protocol")
    return by_model


def table():  # type: ignore[no-untyped-def]
    """The table as Markdown."""
    card, best = runs_of("card"), runs_of("best")
    counts = {recipe: len(next(iter(runs.values()))) for recipe, runs in (("card", card), ("best", best))}
    header = HEADER.format(**counts).split(" | ")
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *(row(name, card[name], best[name]) for name in CARD)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def row(name, card, best):  # type: ignore[no-untyped-def]
    """One model: the card's accuracy, ours by its protocol with both intervals, and by the best recipe."""
    reported = CARD[name].accuracy
    ours, better = ([run.metrics.accuracy for run in runs] for runs in (card, best))
    another, elsewhere = prediction_interval(ours), prediction_interval(ours, card[0].metrics.images)
    within = "yes" if reported in another else "on other images" if reported in elsewhere else "no"
    gain = 100 * (statistics.fmean(better) - statistics.fmean(ours))
    intervals = (f"{100 * one.low:.2f} to {100 * one.high:.2f}" for one in (another, elsewhere))
    return [name, f"{100 * reported:.2f}", spread(ours), *intervals, within, spread(better), f"{gain:+.2f}"]


def spread(accuracies):  # type: ignore[no-untyped-def]
    """Mean and standard deviation in per cent."""
    return f"{100 * statistics.fmean(accuracies):.2f} ± {100 * statistics.stdev(accuracies):.2f}"


def written_into(text):  # type: ignore[no-untyped-def]
    """The page's text with the table between its marks."""
    return between_marks(text, BEGIN, table())


if __name__ == "__main__":
    if sys.argv[1:2] == ["keep"]:
        for recipe, results in zip(("card", "best"), sys.argv[2:], strict=True):
            keep(recipe, Path(results))
    PAGE.write_text(written_into(PAGE.read_text("utf-8")), "utf-8")
