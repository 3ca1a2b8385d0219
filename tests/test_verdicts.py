"""Verdicts: made-up studies whose answer is known, the wording, and how often one without a difference claims one."""

import re
from functools import cache
from itertools import islice

import numpy as np
import pytest
from scipy import stats

from modelflow.statistics import Difference, difference
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


def coins(accuracy, seeds, images, draw):
    return np.random.default_rng(draw).random((seeds, images)) < accuracy


def agreeing(first_draw):
    """Two equal models of two seeds on 355 images, each of whose seeds happen to be equally accurate."""
    for draw in range(first_draw, first_draw + 100_000, 2):
        a, b = coins(0.9, 2, 355, draw), coins(0.9, 2, 355, draw + 1)
        if all(len(set(side.sum(1))) == 1 for side in (a, b)) and a.sum() != b.sum():
            yield a, b


def test_seeds_that_agree_by_chance_on_few_images_give_no_certainty():
    for a, b in islice(agreeing(0), 20):
        found = difference(a, b)
        paired = (a.mean(0) - b.mean(0)).var(ddof=1) / 355
        assert found.of_seeds == 0
        assert found.of_images == pytest.approx(paired)


def test_nothing_is_claimed_from_two_seeds_where_several_pairs_are_compared():
    models = {name: coins(p, 2, 5000, i) for i, (name, p) in enumerate((("a", 0.9), ("b", 0.7), ("c", 0.5)))}
    verdicts = compare(models)
    assert {verdict.kind for verdict in verdicts} == {"cannot tell"}
    assert all("two seeds are too few for 3 pairs" in verdict.words for verdict in verdicts)
    (alone,) = compare({"a": models["a"], "c": models["c"]})
    assert alone.kind == "better"
    three = compare({name: np.concatenate([side, side[:1]]) for name, side in models.items()})
    assert {verdict.kind for verdict in three} == {"better"}


@pytest.mark.parametrize("draw", range(20))
def test_the_words_are_never_narrower_than_the_interval(draw):
    (verdict,) = compare({"a": coins(0.88, 3, 3000, draw), "b": coins(0.87, 3, 3000, 100 + draw)})
    low, high = map(float, re.search(r"(-?[\d.]+) to (-?[\d.]+) points", verdict.words).groups())
    assert low <= 100 * verdict.interval.low + 1e-6
    assert high >= 100 * verdict.interval.high - 1e-6
    assert high - low <= 100 * (verdict.interval.high - verdict.interval.low) + 0.2001


def test_seeds_that_differ_wildly_are_not_blamed_on_the_images():
    good, dead = coins(0.87, 5, 10_000, 1), coins(0.87, 5, 10_000, 2)
    dead[0] = coins(0.1, 1, 10_000, 3)
    (verdict,) = compare({"good": good, "dead": dead})
    assert "its seeds differ so much that 1,000 more would not show 0.5 points" in verdict.words
    few = compare({"a": coins(0.87, 3, 100, 4), "b": coins(0.87, 3, 100, 5)})[0]
    assert "no number of seeds would show 0.5 points on as few test images" in few.words
