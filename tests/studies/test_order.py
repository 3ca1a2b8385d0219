"""Which run begins when: simulated on lanes, against longest first and the durations of the card's study."""

import heapq
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelflow.results.settings import read_study
from modelflow.studies.order import costs, in_order, order
from modelflow.studies.plan import plans

CARD = costs(plans(read_study(None), Path("results")))


def laid_out(models, durations, lanes):
    """When each begins and ends, if it begins as soon as a lane is free."""
    free, spans = [0.0] * lanes, []
    for model in models:
        begin = heapq.heappop(free)
        spans.append((begin, begin + durations[model], model))
        heapq.heappush(free, begin + durations[model])
    return spans


def ordered(models, durations, lanes):
    found = order(models, durations, lanes)
    assert sorted(found) == list(range(len(models)))
    return laid_out([models[i] for i in found], durations, lanes)


def end(spans):
    return max(end for _, end, _ in spans)


def longest_first(models, durations, lanes):
    return laid_out(sorted(models, key=durations.get, reverse=True), durations, lanes)


def first_ends(spans):
    """When each model's first run ends."""
    ends = {}
    for _, end, model in sorted(spans, key=lambda span: span[1]):
        ends.setdefault(model, end)
    return ends


def shorter_together(model, durations):
    """How long one run of each shorter model takes, one after the other."""
    return sum(duration for duration in durations.values() if duration < durations[model])


def check_nothing_short_waits_for_long_runs(spans, durations, lanes):
    """At no moment is every lane at a run longer than one that waits, but where a first run may go ahead of it."""
    first_begin = {}
    for begin, _, model in sorted(spans):
        first_begin.setdefault(model, begin)
    for moment in {begin for begin, _, _ in spans}:
        at_work = [(model, begin) for begin, end, model in spans if begin <= moment < end]
        waiting = [durations[model] for begin, _, model in spans if begin > moment]
        if len(at_work) == lanes and waiting and min(durations[model] for model, _ in at_work) > min(waiting):
            assert any(
                begin == first_begin[model] and durations[model] <= 2 * shorter_together(model, durations)
                for model, begin in at_work
            )


def check_first_runs_begin_early(spans, durations, seeds):
    """After at most half its own length for each seed, and one run of each model that is no longer."""
    begins = {}
    for begin, _, model in sorted(spans):
        begins.setdefault(model, begin)
    for model, begin in begins.items():
        no_longer = sum(duration for duration in durations.values() if duration <= durations[model])
        assert begin <= seeds * durations[model] / 2 + no_longer - durations[model]


def test_what_generic_3_costs_is_told_by_its_parameters_too():
    assert CARD["generic_3"] > 10 * max(cost for name, cost in CARD.items() if name != "generic_3")
    assert min(CARD, key=CARD.get) == "cnn2_3"


@pytest.mark.parametrize("lanes", range(1, 9))
@pytest.mark.parametrize("seeds", range(1, 11))
def test_the_cards_study_shows_results_early_and_ends_no_later(lanes, seeds):
    models = [name for name in CARD for _ in range(seeds)]
    spans = ordered(models, CARD, lanes)
    assert end(spans) <= (1 + 1e-9) * end(longest_first(models, CARD, lanes))
    firsts, small = first_ends(spans), sum(CARD.values()) - CARD["generic_3"]
    assert min(firsts.values()) == min(CARD.values())
    assert max(firsts[name] for name in CARD if name != "generic_3") <= small + 1e-6
    assert firsts["generic_3"] <= math.ceil(seeds / lanes) * small + CARD["generic_3"] + 1e-6
    check_first_runs_begin_early(spans, CARD, seeds)


@pytest.mark.parametrize("lanes", range(1, 9))
@pytest.mark.parametrize("seeds", range(1, 11))
def test_long_runs_do_not_take_every_lane_while_short_ones_wait(lanes, seeds):
    spans = ordered([name for name in CARD for _ in range(seeds)], CARD, lanes)
    for moment in (begin for begin, _, _ in spans):
        at_work = [model for begin, end, model in spans if begin <= moment < end]
        waiting = {model for begin, _, model in spans if begin > moment}
        if len(at_work) == lanes and set(at_work) == {"generic_3"}:
            assert waiting <= {"generic_3"}
    check_nothing_short_waits_for_long_runs(spans, CARD, lanes)


@given(
    durations=st.lists(st.one_of(st.integers(1, 30), st.integers(1, 10**6)), min_size=1, max_size=12),
    seeds=st.data(),
    lanes=st.integers(1, 9),
)
def test_any_study_ends_when_longest_first_would_and_begins_with_the_shortest(durations, seeds, lanes):
    durations = {f"m{i}": float(duration) for i, duration in enumerate(durations)}
    of_each = seeds.draw(st.one_of(st.integers(1, 10), st.lists(st.integers(1, 6), min_size=12, max_size=12)))
    counts = [of_each] * len(durations) if isinstance(of_each, int) else of_each
    models = [name for name, count in zip(durations, counts, strict=False) for _ in range(count)]
    spans = ordered(models, durations, lanes)
    assert end(spans) <= end(longest_first(models, durations, lanes))
    assert min(end for _, end, _ in spans) == min(durations.values())
    check_nothing_short_waits_for_long_runs(spans, durations, lanes)
    check_first_runs_begin_early(spans, durations, max(counts))


def test_two_models_alike_take_turns_and_a_long_one_waits():
    assert order(["a", "a", "b", "b"], {"a": 1.0, "b": 2.0}, 1) == [0, 2, 1, 3]
    assert order(["a", "a", "b", "b"], {"a": 1.0, "b": 2.1}, 1) == [0, 1, 2, 3]


def test_seeds_of_a_model_begin_in_their_order():
    study = read_study(["cnn2_3", "generic_3"], seeds=[44, 42, 43])
    titles = [plan.title for plan in in_order(plans(study, Path("results")), 1)]
    assert titles == [f"{name}, seed {seed}" for name in ("cnn2_3", "generic_3") for seed in (44, 42, 43)]


def test_a_vast_study_is_ordered_at_once():
    durations = {f"m{i}": 1.0 + i for i in range(1000)}
    models = [name for name in durations for _ in range(30)]
    assert len(order(models, durations, 64)) == len(models)
