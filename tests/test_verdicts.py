"""Verdicts: made-up studies whose answer is known, the wording, and how often one without a difference claims one."""

import re
from functools import cache
from itertools import islice

import numpy as np
import pytest
from scipy import stats

from modelflow.statistics import Difference, difference, holm
from modelflow.verdicts import compare, fewest_seeds, more_seeds

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
    more = int(re.search(r"at least (\d+) more seeds of each would be needed to see 0.5 points", verdict.words)[1])
    assert more == more_seeds(verdict.difference, 0.005) > 0


def test_an_open_verdict_keeps_how_many_more_seeds_its_words_ask_for():
    (verdict,) = compare(study(np.random.default_rng(2), {"a": 0.85, "b": 0.852}, 2, 20_000, seed_spread=0.02))
    assert f"at least {verdict.more} more seeds of each" in verdict.words
    rng = np.random.default_rng(3)
    (hopeless,) = compare({name: np.tile(rng.random(100) < 0.85, (5, 1)) for name in "ab"})
    (told,) = compare(study(np.random.default_rng(0), {"a": 0.80, "b": 0.90}))
    assert (hopeless.more, told.more) == (None, None)


def test_of_two_seeds_among_several_pairs_at_least_a_third_is_asked_for():
    verdicts = compare(study(np.random.default_rng(4), {"a": 0.80, "b": 0.85, "c": 0.90}, seeds=2, images=20_000))
    assert {verdict.kind for verdict in verdicts} == {"cannot tell"}
    assert all(verdict.more is None or verdict.more >= 1 for verdict in verdicts)
    assert any(verdict.more == 1 for verdict in verdicts)


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
            assert verdict.words.endswith(" points, which among 45 pairs may be chance)")
            break
    else:
        raise AssertionError("no pair was")


def p_value_after(more, found, size):
    """Of an estimate of `size`, were there as many more seeds and the spread the same."""
    seeds = found.seeds + more
    error = np.sqrt(found.of_seeds * found.seeds / seeds + found.of_images)
    return 2 * stats.t.sf(size / error, found.freedom * (seeds - 1) / (found.seeds - 1))


@pytest.mark.parametrize("pairs", [1, 6, 21])
@pytest.mark.parametrize(("of_seeds", "of_images", "freedom", "seeds"), [(2e-5, 1e-6, 9.0, 5), (4e-5, 4e-7, 2.0, 2)])
def test_as_many_more_seeds_as_are_asked_for_are_enough_and_no_fewer(of_seeds, of_images, freedom, seeds, pairs):
    found = Difference(0.0, of_seeds, of_images, freedom, seeds)
    more = more_seeds(found, 0.005, pairs)
    assert more > 1
    assert p_value_after(more, found, 0.005) <= 0.05 / pairs < p_value_after(more - 1, found, 0.005)


def test_the_images_alone_may_leave_open_among_many_pairs_what_one_pair_would_show():
    found = Difference(0.0, 1e-6, 4e-6, 9.0, 5)
    assert 0.005 / found.of_images**0.5 == pytest.approx(2.5)
    assert more_seeds(found, 0.005, 1) is not None
    assert more_seeds(found, 0.005, 21) is None


def chosen(wanted, images=2000):
    """The first study of seven equal models of five seeds in which a verdict has such words, and that verdict."""
    for draw in range(100):
        verdicts = compare(study(np.random.default_rng(draw), dict.fromkeys("abcdefg", 0.85), images=images))
        for verdict in verdicts:
            if re.search(wanted, verdict.words):
                return verdicts, verdict
    raise AssertionError(f"no study says {wanted}")


def test_a_pair_that_stands_out_alone_says_how_many_seeds_would_do_among_all():
    verdicts, verdict = chosen("to see the .* points found")
    found, undecided = verdict.difference, sum(one.kind != "better" for one in verdicts)
    assert found.p_value() < 0.05 < verdict.p_value
    said = re.search(r"at least (\d+) more seeds? of each .* to see the ([\d.]+) points found", verdict.words)
    assert float(said[2]) == pytest.approx(100 * found.estimate, abs=0.051)
    more = int(said[1])
    assert p_value_after(more, found, found.estimate) <= 0.05 / undecided
    assert p_value_after(more - 1, found, found.estimate) > 0.05 / undecided


def test_among_many_pairs_more_seeds_are_asked_for_than_for_one():
    verdicts, verdict = chosen("at least .* to see 0.5 points")
    assert f"at least {more_seeds(verdict.difference, 0.005, len(verdicts))} more" in verdict.words
    assert more_seeds(verdict.difference, 0.005, len(verdicts)) > more_seeds(verdict.difference, 0.005)


def test_one_more_seed_is_called_a_seed():
    _, verdict = chosen(r"at least 1 more \w+ of each", images=20_000)
    assert "at least 1 more seed of each would be needed to see" in verdict.words


def test_of_models_with_different_numbers_of_seeds_the_fewer_count():
    """The other's spread then shrinks too fast: what is asked for is at most what both need."""
    a, b = study(np.random.default_rng(8), {"a": 0.85, "b": 0.85}, 12, 20_000, seed_spread=0.01).values()
    found = difference(a[:4], b)
    assert found.seeds == 4
    of_a, of_b = (side.mean(1).var(ddof=1) for side in (a[:4], b))

    def enough(more):
        error = np.sqrt(of_a / (4 + more) + of_b / (12 + more) + found.of_images)
        return stats.t.ppf(0.975, found.freedom * (3 + more) / 3) * error <= 0.005

    needed = next(more for more in range(1000) if enough(more))
    assert 0 < more_seeds(found, 0.005) <= needed


def test_seeds_asked_for_among_seven_models_find_the_difference_about_half_of_the_time():
    """A pair whose true difference is the margin, of seeds whose spread is as found, beside pairs that tell nothing."""
    found = Difference(0.0, 1e-5, 1e-6, 10.0, 5)
    seeds = 5 + more_seeds(found, 0.005, 21)
    error = np.sqrt(found.of_seeds * 5 / seeds + found.of_images)
    estimates = np.random.default_rng(9).normal(0.005, error, 4000)
    p_values = 2 * stats.t.sf(np.abs(estimates) / error, found.freedom * (seeds - 1) / 4)
    assert np.mean([holm([p, *[1.0] * 20])[0] < 0.05 for p in p_values]) == pytest.approx(0.5, abs=0.06)


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
        assert found.of_images >= paired / 2


def test_nothing_is_claimed_from_two_seeds_where_several_pairs_are_compared():
    models = {name: coins(p, 2, 5000, i) for i, (name, p) in enumerate((("a", 0.9), ("b", 0.7), ("c", 0.5)))}
    verdicts = compare(models)
    assert {verdict.kind for verdict in verdicts} == {"cannot tell"}
    assert all("2 seeds are too few for 3 pairs" in verdict.words for verdict in verdicts)
    (alone,) = compare({"a": models["a"], "c": models["c"]})
    assert alone.kind == "better"
    three = compare({name: np.concatenate([side, side[:1]]) for name, side in models.items()})
    assert {verdict.kind for verdict in three} == {"better"}


def test_a_model_whose_predictions_are_lost_makes_no_other_pair_better():
    sides = {name: coins(p, 3, 5000, i) for i, (name, p) in enumerate((("a", 0.9), ("b", 0.88), ("c", 0.5)))}
    whole = {(v.first, v.second): v for v in compare(sides)}
    (left,) = compare({name: sides[name] for name in "ab"}, absent=1)
    assert left.p_value >= whole["a", "b"].p_value
    assert left.p_value == pytest.approx(min(1.0, 3 * left.difference.p_value()))
    (two_seeds,) = compare({name: sides[name][:2] for name in "ac"}, absent=1)
    assert "2 seeds are too few for 3 pairs" in two_seeds.words


def test_the_more_pairs_the_more_seeds_a_claim_takes():
    seven, eight = ({str(i): coins(0.5 + 0.05 * i, 3, 5000, i) for i in range(n)} for n in (7, 8))
    assert any(verdict.kind == "better" for verdict in compare(seven))
    assert {verdict.kind for verdict in compare(eight)} == {"cannot tell"}
    assert [fewest_seeds(pairs) for pairs in (0, 1, 2, 21, 22, 190, 191, 780, 781)] == [2, 2, 3, 3, 4, 4, 5, 5, 10]


def test_a_pair_of_two_seeds_takes_no_rank_from_the_others():
    """Its p-value counts as 1, however small: the others are adjusted as though it showed nothing."""
    three = {"a": coins(0.90, 3, 5000, 0), "b": coins(0.87, 3, 5000, 1)}
    both = compare(three | {"c": coins(0.5, 2, 5000, 2)})
    by_pair = {(v.first, v.second): v for v in both}
    assert by_pair["a", "b"].p_value == pytest.approx(3 * by_pair["a", "b"].difference.p_value())
    assert {v.p_value for pair, v in by_pair.items() if "c" in pair} == {1.0}


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
