"""Verdicts: made-up studies whose answer is known, the wording, and how often one without a difference claims one."""

import math
import re
from functools import cache
from itertools import islice

import numpy as np
import pytest
from scipy import stats

from modelflow.analysis.intervals import Difference, Side, difference
from modelflow.analysis.units import range_words
from modelflow.analysis.verdicts import (
    AFTER_A_LOOK,
    OF_ALL,
    OF_TRAINED,
    UNCERTAIN,
    compare,
    compare_runs,
    default_margin,
    fewest_seeds,
    margin_of,
    margin_words,
    more_seeds,
    trained_words,
)
from modelflow.errors import UsageError
from modelflow.evaluation.measure import metric_named

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


def test_an_open_verdict_says_about_how_many_more_seeds_would_detect_the_margin():
    (verdict,) = compare(study(np.random.default_rng(2), {"a": 0.85, "b": 0.852}, 5, 20_000, seed_spread=0.005))
    assert verdict.kind == "cannot tell"
    said = re.search(
        r"inconclusive \(-?[\d.]+ to [\d.]+ points\)\. Detecting 0.5 points takes a new study with about (\d+) seeds",
        verdict.words,
    )
    assert int(said[1]) - 5 == verdict.more == more_seeds(verdict.difference, 0.005) > 0
    assert f"seeds each (80 % power). {AFTER_A_LOOK}" in verdict.words


def test_a_verdict_that_is_told_or_never_will_be_has_no_number_of_seeds():
    rng = np.random.default_rng(3)
    (hopeless,) = compare({name: np.tile(rng.random(100) < 0.85, (5, 1)) for name in "ab"})
    (told,) = compare(study(np.random.default_rng(0), {"a": 0.80, "b": 0.90}))
    assert (hopeless.more, told.more) == (None, None)


def test_of_too_few_seeds_at_least_those_that_are_missing_are_asked_for():
    verdicts = compare(study(np.random.default_rng(4), {"a": 0.80, "b": 0.85, "c": 0.90}, seeds=2, images=20_000))
    assert {verdict.kind for verdict in verdicts} == {"cannot tell"}
    assert all(verdict.more is None or verdict.more >= 2 for verdict in verdicts)
    assert any(verdict.more == 2 for verdict in verdicts)


def test_too_few_images_say_that_no_number_of_seeds_helps():
    rng = np.random.default_rng(3)
    (verdict,) = compare({name: np.tile(rng.random(100) < 0.85, (5, 1)) for name in "ab"})
    assert verdict.words.endswith("No number of seeds shows 4 points on 100 test images")


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
        assert (UNCERTAIN in verdict.words) == (verdict.kind == "better" and interval.low <= 0)
        assert verdict.kind != "better" or verdict.pair_interval.low > 0
        assert not re.search(r"better than \w by -?0\.00? to", verdict.words)


def test_sentences_give_the_interval_that_holds_for_all_pairs_at_once():
    verdicts = compare(study(np.random.default_rng(4), {"a": 0.80, "b": 0.85, "c": 0.90, "d": 0.901}))
    assert {verdict.kind for verdict in verdicts} == {"better", "cannot tell"}
    for verdict in verdicts:
        found = verdict.difference
        for interval, confidence in ((verdict.simultaneous_interval, 1 - 0.05 / 6), (verdict.pair_interval, 0.95)):
            half = stats.t.ppf((1 + confidence) / 2, found.freedom) * found.error
            assert (interval.low, interval.high) == pytest.approx((found.estimate - half, found.estimate + half))
        low, high = map(float, re.search(r"(-?[\d.]+) to (-?[\d.]+) points", verdict.words).groups())
        assert (low, high) == pytest.approx(
            (100 * verdict.simultaneous_interval.low, 100 * verdict.simultaneous_interval.high), abs=0.1001
        )


def test_where_holms_method_alone_tells_two_apart_the_amount_is_uncertain():
    """The smallest difference of several: its p-value is compared with 5 %, its interval with 5 % over the pairs."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        verdicts = compare(study(rng, {"a": 0.5, "b": 0.7, "c": 0.712}, seed_spread=0.001))
        sharper = [one for one in verdicts if one.kind == "better" and one.simultaneous_interval.low <= 0]
        if sharper:
            said = (
                r"c is better than b by an uncertain amount \(-[\d.]+ to [\d.]+ points, an interval more cautious than"
            )
            assert re.match(said, sharper[0].words)
            return
    raise AssertionError("no study has such a pair")


def test_runs_are_compared_by_intervals_for_all_pairs_too():
    rng = np.random.default_rng(0)
    shares = {"a": 0.5, "b": 0.8, "c": 0.82, "d": 0.9}
    verdicts = compare_runs({name: rng.random(2000) < share for name, share in shares.items()})
    for verdict in verdicts:
        alone, among_all = verdict.pair_interval, verdict.simultaneous_interval
        assert among_all.low < alone.low < alone.high < among_all.high
        said = f"{100 * math.floor(round(1000 * among_all.low, 6)) / 1000:.1f} to "
        assert said in verdict.words
    assert {verdict.kind for verdict in verdicts} == {"better", "cannot tell"}


def test_a_study_without_any_difference_seldom_claims_one():
    """500 studies of four equal models: a false claim anywhere in the family in at most 5 %, and what chance adds."""
    rng, claims = np.random.default_rng(5), 0
    for _ in range(500):
        verdicts = compare(study(rng, dict.fromkeys("abcd", 0.85), images=500))
        claims += any(verdict.kind == "better" for verdict in verdicts)
    assert claims / 500 <= 0.05 + 2 * (0.05 * 0.95 / 500) ** 0.5


def test_equivalence_takes_two_one_sided_tests_and_holms_method_alone():
    """At 5 % each: a pair's 95 % interval may reach beyond the margin. Of ten models the least p counts 45 times."""
    models = study(np.random.default_rng(7), dict.fromkeys("abcdefghij", 0.85), 10, 10_000, seed_spread=0.0001)
    verdicts = compare(models)
    equivalent = [verdict for verdict in verdicts if verdict.kind == "equivalent"]
    assert 0 < len(equivalent) < len(verdicts)
    least = min(verdicts, key=lambda one: one.difference.p_value_of_equivalence(0.005))
    assert least in equivalent
    assert 45 * least.difference.p_value_of_equivalence(0.005) < 0.05
    alone = [compare({name: models[name] for name in (v.first, v.second)})[0] for v in verdicts]
    beyond = [one for one in alone if one.kind == "equivalent" and one.pair_interval.high >= 0.005]
    assert beyond
    assert all(one.difference.p_value_of_equivalence(0.005) < 0.05 for one in beyond)
    assert any(one.kind == "equivalent" and v.kind == "cannot tell" for one, v in zip(alone, verdicts, strict=True))


def made_of(of_seeds=(1e-5, 1e-5), over_images=1e-6, seeds=(5, 5), images=10_000):
    return Difference(
        0.0, tuple(Side(n, part, 0.0) for n, part in zip(seeds, of_seeds, strict=True)), over_images, images
    )


@pytest.mark.parametrize("pairs", [1, 6, 21])
@pytest.mark.parametrize(
    "found", [made_of(), made_of((4e-5, 1e-5), 4e-7, (3, 4)), made_of((2e-6, 5e-5), 1e-7, (30, 4))]
)
def test_as_many_more_seeds_as_are_asked_for_have_the_power_and_no_fewer(found, pairs):
    more = more_seeds(found, 0.005, pairs)
    assert more > 1
    confidence = 1 - 0.05 / pairs
    assert found.power(0.005, confidence, more - 1) < 0.8 <= found.power(0.005, confidence, more)


def test_the_images_alone_may_leave_open_among_many_pairs_what_one_pair_would_show():
    found = made_of(over_images=2.5e-6)
    assert 0.005 / found.of_images**0.5 == pytest.approx(3.16, abs=0.01)
    assert more_seeds(found, 0.005, 1) is not None
    assert more_seeds(found, 0.005, 21) is None


def test_half_of_the_variance_over_images_goes_with_the_seeds():
    """Nothing raw is left over images: what few seeds leave open there, many do not. Once it was kept for all."""
    found = Difference(0.0, (Side(3, 1e-6, 9e-6), Side(3, 1e-6, 9e-6)), 1.8e-5, 10_000)
    assert found.of_images == pytest.approx(0.5 * 1.8e-5 - 2e-6)
    assert 1.96 * math.sqrt(found.of_images) > 0.005
    assert 0 < more_seeds(found, 0.005) < 40


def chosen(wanted, images=2000):
    """The first study of seven equal models of five seeds in which a verdict has such words, and that verdict."""
    for draw in range(100):
        verdicts = compare(study(np.random.default_rng(draw), dict.fromkeys("abcdefg", 0.85), images=images))
        for verdict in verdicts:
            if re.search(wanted, verdict.words):
                return verdicts, verdict
    raise AssertionError(f"no study says {wanted}")


def test_a_pair_that_stands_out_alone_says_how_many_seeds_would_do_among_all():
    verdicts, verdict = chosen("Detecting the .* points found")
    found, undecided = verdict.difference, sum(one.kind != "better" for one in verdicts)
    assert found.p_value() < 0.05 < verdict.p_value
    said = re.search(
        r"Detecting the ([\d.]+) points found takes a new study with about (\d+) seeds each", verdict.words
    )
    assert float(said[1]) == pytest.approx(100 * found.estimate, abs=0.051)
    more = int(said[2]) - int(found.seeds)
    assert more == more_seeds(found, found.estimate, undecided) > more_seeds(found, found.estimate, 1)


def test_of_models_with_different_numbers_of_seeds_each_shrinks_by_its_own():
    found = made_of((1e-5, 1e-6), 0.0, (4, 40))
    then = found.with_more(4)
    assert then.of_seeds == pytest.approx(1e-5 / 2 + 1e-6 * 40 / 44)
    assert then.seeds == 8


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
    assert all("2 seeds are too few for 3 pairs: it takes 4" in verdict.words for verdict in verdicts)
    (alone,) = compare({"a": models["a"], "c": models["c"]})
    assert (alone.kind, "2 seeds are too few for 1 pair: it takes 3" in alone.words) == ("cannot tell", True)
    four = compare({name: np.concatenate([side, side]) for name, side in models.items()})
    assert {verdict.kind for verdict in four} == {"better"}


def test_the_model_with_fewer_seeds_says_how_many_there_are():
    (verdict,) = compare({"a": coins(0.9, 30, 2000, 1), "b": coins(0.5, 2, 2000, 2)})
    assert verdict.kind == "cannot tell"
    assert "2 seeds are too few for 1 pair" in verdict.words
    (verdict,) = compare({"a": coins(0.9, 30, 2000, 1), "b": coins(0.5, 3, 2000, 2)})
    assert verdict.kind == "better"


def test_a_model_whose_predictions_are_lost_makes_no_other_pair_better():
    sides = {name: coins(p, 4, 5000, i) for i, (name, p) in enumerate((("a", 0.9), ("b", 0.88), ("c", 0.5)))}
    whole = {(v.first, v.second): v for v in compare(sides)}
    (left,) = compare({name: sides[name] for name in "ab"}, absent=1)
    assert left.p_value >= whole["a", "b"].p_value
    assert left.p_value == pytest.approx(min(1.0, 3 * left.difference.p_value()))
    (two_seeds,) = compare({name: sides[name][:2] for name in "ac"}, absent=1)
    assert "2 seeds are too few for 3 pairs" in two_seeds.words


def test_the_more_pairs_the_more_seeds_a_claim_takes():
    seven, eight = ({str(i): coins(0.5 + 0.05 * i, 4, 5000, i) for i in range(n)} for n in (7, 8))
    assert any(verdict.kind == "better" for verdict in compare(seven))
    assert {verdict.kind for verdict in compare(eight)} == {"cannot tell"}
    assert [fewest_seeds(pairs) for pairs in (0, 1, 2, 21, 22, 190, 191, 780, 781)] == [3, 3, 4, 4, 5, 5, 5, 5, 10]


def test_a_pair_of_two_seeds_takes_no_rank_from_the_others():
    """Its p-value counts as 1, however small: the others are adjusted as though it showed nothing."""
    four = {"a": coins(0.90, 4, 5000, 0), "b": coins(0.87, 4, 5000, 1)}
    both = compare(four | {"c": coins(0.5, 2, 5000, 2)})
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
    good, wild = coins(0.87, 5, 10_000, 1), coins(0.87, 5, 10_000, 2)
    wild[0] = coins(0.1, 1, 10_000, 3)
    (verdict,) = compare({"good": good, "wild": wild})
    assert "seeds differ so much that 1,000 each would not detect 0.5 points" in verdict.words
    few = compare({"a": coins(0.87, 3, 100, 4), "b": coins(0.87, 3, 100, 5)})[0]
    assert "No number of seeds shows 4 points on 100 test images" in few.words


# --- runs that died --------------------------------------------------------------------------------------------------


def two_models(a=0.87, b=0.85, seeds=5, dead=1):
    """Two models, of the first of which some runs died."""
    sides = {"a": coins(a, seeds, 10_000, 1), "b": coins(b, seeds, 10_000, 2)}
    sides["a"][:dead] = np.arange(10_000) % 10 == 0
    return sides, {"a": [i < dead for i in range(seeds)]}


def test_verdicts_are_of_the_runs_that_train_with_the_difference_of_all_beside():
    sides, died = two_models()
    (verdict,) = compare(sides, died=died)
    (alone,) = compare({"a": sides["a"][1:], "b": sides["b"]})
    (of_all,) = compare(sides)
    assert (verdict.first, verdict.kind, of_all.first, of_all.kind) == ("a", "better", "b", "cannot tell")
    assert verdict.difference == alone.difference
    assert verdict.of_all_runs == difference(sides["a"], sides["b"])
    assert verdict.words.startswith(f"{alone.words}, of the runs that train. ")
    assert "a: 1 of 5 runs died (up to 66 % of runs would)" in verdict.words
    assert re.search(r"Of all runs: -1[\d.]+ points \(-[\d.]+ to [\d.]+\)$", verdict.words)


def test_where_no_run_died_nothing_is_said_of_it_and_nothing_changes():
    sides, _ = two_models(dead=0)
    assert compare(sides, died={"a": [False] * 5}) == compare(sides)
    assert compare(sides)[0].of_all_runs is None


@pytest.mark.parametrize("dead", [3, 4, 5])
def test_models_of_which_too_few_runs_train_are_inconclusive(dead):
    sides, died = two_models(b=0.2, dead=dead)
    (verdict,) = compare(sides, died=died)
    assert (verdict.kind, verdict.p_value) == ("cannot tell", 1.0)
    seeds = {3: "2 seeds are", 4: "1 seed is", 5: "0 seeds are"}[dead]
    assert f"{seeds} too few for 1 pair: it takes 3. {AFTER_A_LOOK}. a: {dead} of 5 runs died" in verdict.words
    (enough,) = compare(two_models(b=0.2, dead=2)[0], died=two_models(dead=2)[1])
    assert enough.kind == "better"


@pytest.mark.parametrize(("dead", "which"), [(3, OF_TRAINED), (4, OF_ALL), (5, OF_ALL)])
def test_the_words_say_of_which_runs_the_figure_is(dead, which):
    sides, died = two_models(b=0.6, dead=dead)
    dead_of_b = {"b": [True] + [False] * 4}  # four of it train, and are in no figure where one of a does
    (verdict,) = compare(sides, died=died | dead_of_b)
    judged = difference(*(sides[m] for m in (verdict.first, verdict.second)))
    if which == OF_TRAINED:
        judged = difference(sides["a"][dead:], sides["b"][1:])
    assert verdict.difference == judged
    assert verdict.runs == which
    span = range_words(judged.simultaneous_interval(1))
    assert f"inconclusive ({span} points), {which}. " in verdict.words
    assert ("Of all runs: " in verdict.words) == (which == OF_TRAINED)
    of_dead = [dead, 1]
    assert (f"but {OF_ALL} where fewer than two" in trained_words(of_dead, [5, 5])) == (which == OF_ALL)


def test_without_a_death_it_is_said_that_few_runs_cannot_rule_them_out():
    assert trained_words([0, 0], [5, 3]) == (
        "Verdicts are of the runs that train. No run died (0 of 8). 3 to 5 runs of each model cannot rule out rare "
        "failures."
    )
    assert stats.binom.cdf(0, 3, 0.64) < 0.05 < stats.binom.cdf(0, 3, 0.63)
    assert trained_words([1, 0], [5, 3]) == "Verdicts are of the runs that train. 1 of 8 runs died."


# --- the margin ------------------------------------------------------------------------------------------------------


def test_the_margin_is_half_a_point_or_four_images():
    assert [default_margin(images) for images in (10_000, 800, 355)] == [0.005, 0.005, 4 / 355]
    assert (margin_of(None, 355), margin_of(2, 355), margin_of(100 * 4 / 355, 355)) == (4 / 355, 0.02, 4 / 355)
    assert margin_words(4 / 355, 355) == "1.13 points (4 of 355 test images)"
    assert (margin_words(0.005, 10_000), margin_words(0.02, 355)) == ("0.5 points", "2 points")


@pytest.mark.parametrize("points", [0.5, 1.12, 0, -1, 100, float("nan"), float("inf")])
def test_a_margin_below_four_images_is_refused(points):
    with pytest.raises(UsageError, match=r"worth at least 4 of the 355 test images. Give 1\.13 or more"):
        margin_of(points, 355)


def test_models_are_equivalent_within_the_margin_that_is_asked_for():
    right_N = np.random.default_rng(1).random(2000) < 0.9
    rng = np.random.default_rng(2)
    runs = {name: np.stack([right_N ^ (rng.random(2000) < 0.01) for _ in range(5)]) for name in "ab"}
    (strict,), (wide,) = compare(runs, 0.0025), compare(runs, 0.02)
    assert (strict.kind, wide.kind) == ("cannot tell", "equivalent")
    assert wide.words.endswith("are equivalent within 2 points")
    assert "0.25 points" in strict.words


def losses(rng, means, seeds=5, images=2000, spread=0.02):
    """The loss of each image by each seed of each model; images differ in difficulty, which all models share."""
    hard_N = rng.exponential(1.0, images)
    return {
        name: mean * hard_N * rng.gamma(4, 0.25, (seeds, images)) + rng.normal(0, spread, (seeds, 1))
        for name, mean in means.items()
    }


def test_by_a_loss_the_lower_one_is_better_in_nats():
    models = losses(np.random.default_rng(1), {"high": 0.5, "low": 0.4})
    (verdict,) = compare(models, metric=metric_named("nll"))
    assert (verdict.first, verdict.second, verdict.kind) == ("low", "high", "better")
    assert verdict.difference.estimate == pytest.approx(models["high"].mean() - models["low"].mean())
    assert re.fullmatch(r"low is better than high by 0\.0\d\d to 0\.1\d\d nats", verdict.words)
    accuracy = compare({name: -values_SN for name, values_SN in models.items()})[0]
    assert verdict.p_value == accuracy.p_value
    assert (accuracy.first, accuracy.difference.interval().high) == ("low", verdict.difference.interval().high)


def test_differences_of_a_loss_may_be_above_1():
    (verdict,) = compare(losses(np.random.default_rng(2), {"a": 4.0, "b": 1.0}), metric=metric_named("nll"))
    assert verdict.pair_interval.high > 2
    assert "by 2." in verdict.words


def test_losses_within_the_margin_are_equivalent_and_open_ones_say_what_is_needed():
    models = losses(np.random.default_rng(3), {"a": 0.4, "b": 0.4}, seeds=10, images=5000, spread=0.001)
    (same,), (unclear,) = (compare(models, margin, metric=metric_named("nll")) for margin in (0.02, 0.0002))
    assert same.words == "b and a are equivalent within 0.02 nats"
    assert unclear.kind == "cannot tell"
    assert re.search(r"inconclusive \(-0\.0\d+ to 0\.0\d+ nats\)\. .*0\.0002 nats", unclear.words)


def test_runs_that_died_are_told_in_nats():
    models = losses(np.random.default_rng(4), {"a": 0.4, "b": 0.5})
    models["a"][0] = 2.3
    died = {"a": [True] + [False] * 4, "b": [False] * 5}
    (verdict,) = compare(models, died=died, metric=metric_named("nll"))
    assert verdict.first == "a"
    assert re.search(
        r"nats, of the runs that train\. a: 1 of 5 runs died .* Of all runs: -0\.\d{3} nats \(", verdict.words
    )


def test_single_runs_by_a_loss_are_compared_by_the_paired_t_test():
    runs = {name: of[0] for name, of in losses(np.random.default_rng(5), {"a": 0.4, "b": 0.5}, seeds=2).items()}
    (verdict,) = compare_runs(runs, metric_named("nll"))
    assert (verdict.first, verdict.kind) == ("a", "better")
    assert verdict.p_value == pytest.approx(stats.ttest_rel(runs["a"], runs["b"]).pvalue)
    assert verdict.words.startswith("this run of a is better than this run of b by 0.1")
    assert verdict.words.endswith("nats. Other seeds may differ")
    same = compare_runs({"a": runs["a"], "b": runs["a"]}, metric_named("nll"))[0]
    assert (same.kind, same.p_value, same.estimate) == ("cannot tell", 1.0, 0.0)


def test_the_margin_of_a_loss_is_in_nats_whatever_the_images():
    nll = metric_named("nll")
    assert (default_margin(355, nll), margin_of(None, 355, nll), margin_of(0.05, 355, nll)) == (0.01, 0.01, 0.05)
    assert margin_words(0.01, 355, nll.unit) == "0.01 nats"
    for given in (0, -1, math.nan, math.inf):
        with pytest.raises(UsageError, match=r"expected nats of NLL, above 0\. Give such as 0\.01"):
            margin_of(given, 355, nll)
    balanced = metric_named("balanced_accuracy")
    assert (default_margin(10_000, balanced), default_margin(355, balanced)) == (0.005, 4 / 355)
    with pytest.raises(UsageError, match=r"expected points of balanced accuracy, .* at least 4 of the 355 test images"):
        margin_of(0.5, 355, balanced)
