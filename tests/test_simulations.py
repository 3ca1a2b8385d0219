"""The simulations of the statistics in short: false claims and coverage lie where the tables say, with fixed seeds."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from marked import between_marks
from populations import Probit, Stored, stored_ranks
from scipy import stats
from simulate_statistics import (
    ACCURACY,
    BEGIN,
    DOCUMENT,
    KEPT,
    PARTS,
    SPREAD,
    TABLES,
    Setting,
    block,
    family_table,
    record,
    share,
    studies_of,
)

from modelflow import statistics, verdicts
from modelflow.verdicts import compare

SHORT = Setting(studies=300, images=2000)


def most(share_owed, studies):
    """The most of so many studies that a share allows, but for one time in a thousand."""
    return int(stats.binom.ppf(0.999, studies, share_owed))


def claims(studies):
    """How many studies have a pair that is called better."""
    return sum(any(verdict.kind == "better" for verdict in compare(study)) for study in studies)


@pytest.mark.parametrize("seeds", [3, 5])
def test_seven_equal_models_seldom_have_a_false_claim(seeds):
    population = Probit((ACCURACY,) * 7, (SPREAD,) * 7)
    assert claims(studies_of(population, seeds, SHORT, "test")) <= most(0.05, SHORT.studies)


def test_this_test_can_fail(monkeypatch):
    """Without Holm's method four studies of ten have a false claim."""
    monkeypatch.setattr(verdicts, "holm", lambda p_values: list(p_values))
    population, few = Probit((ACCURACY,) * 7, (SPREAD,) * 7), replace(SHORT, studies=100)
    assert claims(studies_of(population, 3, few, "test")) > most(0.05, few.studies)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    "spreads", [(SPREAD, SPREAD), (0.0035, 0.0103), (0.0005, 0.0005)], ids=["equal", "unequal", "next to none"]
)
def test_the_interval_of_a_difference_holds_the_truth(seeds, spreads):
    population = Probit((ACCURACY, ACCURACY + 0.01), spreads)
    held = sum(
        -0.01 in statistics.difference(study["0"], study["1"]).interval()
        for study in studies_of(population, seeds, SHORT, "test")
    )
    least, greatest = (stats.binom.ppf(end, SHORT.studies, owed) for end, owed in ((0.001, 0.93), (0.999, 0.97)))
    assert least <= held <= greatest


def test_a_pair_as_far_apart_as_the_margin_is_seldom_called_equivalent():
    population = Probit((ACCURACY,) * 4 + (ACCURACY + 0.005,) * 3, (0.001,) * 7)
    wrong = 0
    for study in studies_of(population, 5, replace(SHORT, images=10_000, studies=100), "test"):
        found = [verdict for verdict in compare(study) if (verdict.first < "4") != (verdict.second < "4")]
        assert len(found) == 12
        wrong += any(verdict.kind == "equivalent" for verdict in found)
    assert wrong <= most(0.05, 100)


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_made_up_population_is_as_accurate_as_it_says(seeds):
    population = Probit((0.7, 0.9), (0.05, 0.01))
    rng = np.random.default_rng(0)
    drawn = [[runs.mean() for runs in population.sample(rng, 100)(seeds)] for _ in range(4000)]
    error = 3 * np.std(drawn, axis=0) / math.sqrt(len(drawn))
    assert (np.abs(np.mean(drawn, axis=0) - population.accuracies) < error).all()


def test_seeds_spread_as_they_are_said_to():
    runs = Probit((0.85,), (0.02,)).sample(np.random.default_rng(1), 20_000)(2000)[0]
    chance = 0.85 * 0.15 / 20_000
    assert math.sqrt(runs.mean(1).var(ddof=1) - chance) == pytest.approx(0.02, rel=0.08)


@pytest.fixture
def results(tmp_path, few_loaders):
    """Two real models with two seeds each, on 1,000 images of Fashion-MNIST."""
    import torch

    from modelflow import ModelFlow
    from modelflow.models.build import GenericCNN
    from modelflow.presets import preset

    for name in ("cnn2_3", "generic_2"):
        for seed in (42, 43):
            torch.manual_seed(seed)
            where = tmp_path if seed == 42 else tmp_path / name / "seeds"
            flow = ModelFlow(
                GenericCNN(preset(name), seed), *few_loaders, name, results_dir=where, seed=seed, verbose=False
            )
            flow.run(layers=[], epochs=1)
    for name in ("cnn2_3", "generic_2"):
        (tmp_path / name / "seeds" / name).rename(tmp_path / name / "seeds" / "43")
    return tmp_path


def test_the_population_of_stored_predictions_is_that_of_the_runs(results):
    ranks, source = stored_ranks(results)
    assert ranks.shape == (2, 2, 1000)
    assert source.startswith("2 models, 2 seeds each, protocol card")
    with np.load(results / "generic_2" / "predictions.npz") as archive:
        right = archive["logits"].argmax(1) == archive["labels"]
    assert ((ranks[1, 0] < right.mean()) == right).all()
    population = Stored(ranks, (0.6, 0.7), (0, 0))
    rng = np.random.default_rng(0)
    drawn = np.mean([[runs.mean() for runs in population.sample(rng, 200)(1)] for _ in range(2000)], axis=0)
    assert drawn == pytest.approx([0.6, 0.7], abs=0.004)


def test_each_part_gives_rows_that_its_table_shows(results):
    few = Setting(studies=4, images=200, ranks=np.tile(stored_ranks(results)[0], (4, 1, 1)))
    parts = {part: record(list(of(few)), few, "stored so", None) for part, of in PARTS.items()}
    text = block(json.loads(json.dumps(parts)))
    assert all(title in text for title, _ in TABLES.values())
    assert "stored, spread" in text
    assert "Stored predictions: stored so." in text


def test_stored_rows_of_before_are_kept_without_stored_predictions():
    row = {"population": "stored", "spread": "equal", "seeds": 3, "without_holm": 0.4, "few_too": 0.05} | share(1, 20)
    before = record([row], SHORT, "seven models", None)
    after = record([row | {"population": "made up"}], SHORT, None, before)
    assert [kept["population"] for kept in after["rows"]] == ["made up", "stored"]
    assert after["stored"] == "seven models"
    assert "| stored, spread equal | 5.0 ± 4.9 (40 without Holm) |" in family_table(after["rows"])


def test_two_models_of_one_seed_are_as_unrelated_as_the_document_says():
    accuracies = [
        [
            json.loads(path.read_text("utf-8"))["metrics"]["accuracy"]
            for path in (run, *sorted(run.parent.glob("seeds/*/*.json")))
        ]
        for run in sorted((KEPT.parent / "card").glob("*/run.json"))
    ]
    pairs = np.corrcoef(accuracies)[np.triu_indices(7, 1)]
    assert f"models' accuracies is {pairs.mean():.2f}" in " ".join(DOCUMENT.read_text("utf-8").split())


def test_the_tables_of_the_document_are_made_of_what_is_kept():
    text = DOCUMENT.read_text("utf-8")
    assert between_marks(text, BEGIN, block(json.loads(KEPT.read_text("utf-8")))) == text


def _covers(row):
    return 0.93 - 3 * row["error"] <= row["share"] <= 0.97 + 3 * row["error"]


def test_what_is_kept_meets_its_goals():
    parts = json.loads(Path(KEPT).read_text("utf-8"))
    assert all(row["studies"] >= 500 for part in parts.values() for row in part["rows"])
    for row in parts["coverage"]["rows"]:
        assert _covers(row), row
    for row in parts["family"]["rows"]:
        assert row["share"] <= 0.05 + 3 * row["error"], row
    for row in parts["equivalence"]["rows"]:
        assert row["share"] <= 0.05, row
        assert row["family"]["share"] <= 0.05 + 3 * row["family"]["error"], row
