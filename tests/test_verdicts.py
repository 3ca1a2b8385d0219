"""Verdicts: made-up studies whose answer is known, the wording, and how often one without a difference claims one."""

import re
from functools import cache

import numpy as np
import pytest
from scipy import stats

from modelflow.statistics import Difference
from modelflow.verdicts import compare, more_seeds

LATENT = (lambda rng: rng.normal(0, 2, 10**6) + rng.logistic(0, 1, 10**6))(np.random.default_rng(99))


@cache
def level_of(share):
    return np.quantile(LATENT, 1 - share)


def study(rng, shares, seeds=5, images=2000, seed_spread=0.003):
    """Whether each seed of each model has each image right; images differ in difficulty, which all models share."""
    difficulty_N = rng.normal(0, 2, images)
    found = {}
    for name, share in shares.items():
        level = level_of(share)
        spread_S = rng.normal(0, seed_spread * 8, seeds)
        noise_SN = rng.logistic(0, 1, (seeds, images))
        found[name] = difficulty_N + noise_SN + spread_S[:, None] > level
    return found


def test_a_clear_difference_is_called_better_in_points():
    (verdict,) = compare(study(np.random.default_rng(0), {"a": 0.80, "b": 0.90}))
    assert (verdict.first, verdict.second, verdict.kind) == ("b", "a", "better")
    low, high = map(float, re.fullmatch(r"b is better than a by ([\d.]+) to ([\d.]+) points", verdict.words).groups())
    assert (low, high) == pytest.approx((100 * verdict.interval.low, 100 * verdict.interval.high), abs=0.06)


def test_models_that_hardly_differ_are_equivalent_where_there_is_enough_to_see_it():
    rng = np.random.default_rng(1)
    right_N = rng.random(50_000) < 0.9
    runs = {name: np.stack([right_N ^ (rng.random(50_000) < 0.001) for _ in range(5)]) for name in "ab"}
    (verdict,) = compare(runs)
    assert verdict.kind == "equivalent"
    assert re.fullmatch(r"[ab] and [ab] are equivalent within 0.5 points", verdict.words)


def test_too_few_seeds_cannot_tell_and_say_how_many_would():
    (verdict,) = compare(study(np.random.default_rng(2), {"a": 0.85, "b": 0.852}, 2, 20_000, seed_spread=0.02))
    assert verdict.kind == "cannot tell"
    more = int(re.search(r"about (\d+) more seeds of each would be needed to see 0.5 points", verdict.words)[1])
    assert more == more_seeds(verdict.difference, 0.005) > 0


def test_too_few_images_say_that_no_number_of_seeds_helps():
    rng = np.random.default_rng(3)
    (verdict,) = compare({name: np.tile(rng.random(100) < 0.85, (5, 1)) for name in "ab"})
    assert "no number of seeds would show 0.5 points" in verdict.words


def test_every_pair_has_one_verdict_and_p_values_are_those_of_the_family():
    verdicts = compare(study(np.random.default_rng(4), {"a": 0.80, "b": 0.85, "c": 0.90}))
    assert {frozenset((v.first, v.second)) for v in verdicts} == {frozenset(p) for p in ("ab", "ac", "bc")}
    assert all(v.p_value >= v.difference.p_value() for v in verdicts)


@pytest.mark.parametrize("seed", range(40))
def test_no_verdict_is_stronger_than_its_interval(seed):
    rng = np.random.default_rng(seed)
    shares = dict(zip("abcd", 0.85 + rng.normal(0, 0.01, 4), strict=True))
    for verdict in compare(study(rng, shares, int(rng.integers(2, 6)), int(rng.integers(50, 3000)))):
        interval = verdict.interval
        assert ("is better than" in verdict.words) == (verdict.kind == "better")
        assert verdict.kind != "better" or interval.low > 0
        assert verdict.kind != "equivalent" or -0.005 < interval.low <= interval.high < 0.005
        assert not re.search(r"better than \w by -?0\.00? to", verdict.words)


def test_a_study_without_any_difference_seldom_claims_one():
    """500 studies of four equal models: a false claim anywhere in the family in at most 5 %, and what chance adds."""
    rng, claims = np.random.default_rng(5), 0
    for _ in range(500):
        verdicts = compare(study(rng, dict.fromkeys("abcd", 0.85), images=500))
        claims += any(verdict.kind == "better" for verdict in verdicts)
    assert claims / 500 <= 0.05 + 2 * (0.05 * 0.95 / 500) ** 0.5


def test_many_pairs_are_called_equivalent_on_stronger_grounds_than_one():
    """Each of these pairs alone is equivalent; among 45 some are not, and say why."""
    models = study(np.random.default_rng(7), dict.fromkeys("abcdefghij", 0.85), 10, 10_000, seed_spread=0.0001)
    for verdict in compare(models):
        (alone,) = compare({name: models[name] for name in (verdict.first, verdict.second)})
        if verdict.kind != alone.kind:
            assert (alone.kind, verdict.kind) == ("equivalent", "cannot tell")
            assert verdict.words.endswith(" points, which among so many pairs may be chance)")
            break
    else:
        raise AssertionError("no pair was")


@pytest.mark.parametrize(("of_seeds", "of_images", "freedom", "seeds"), [(2e-5, 1e-6, 9.0, 5), (4e-5, 4e-7, 2.0, 2)])
def test_as_many_more_seeds_as_are_asked_for_are_enough_and_no_fewer(of_seeds, of_images, freedom, seeds):
    def half(more):
        error = np.sqrt(of_seeds * seeds / (seeds + more) + of_images)
        return stats.t.ppf(0.975, freedom * (seeds + more - 1) / (seeds - 1)) * error

    more = more_seeds(Difference(0.0, of_seeds, of_images, freedom, seeds), 0.005)
    assert more > 1
    assert half(more) <= 0.005 < half(more - 1)
