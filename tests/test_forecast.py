"""How long a study still takes: against studies whose every run's duration is known."""

import heapq

import numpy as np
import pytest

from modelflow.forecast import Forecast, in_words


def simulated(seconds, jobs, work=None, every=0.5):
    """What a forecast says over a study whose runs take `seconds`, costliest first: (time, said, true) triples."""
    work = work or seconds
    forecast = Forecast(work, jobs, 0.0)
    queue = sorted(seconds, key=lambda title: -work[title])
    running, now, said = [], 0.0, []
    while queue or running:
        while queue and len(running) < jobs:
            title = queue.pop(0)
            heapq.heappush(running, (now + seconds[title], title, now))
            forecast.heard(title, 0.0, now)
        now += every
        for end, title, began in running:
            forecast.heard(title, min(1.0, (now - began) / (end - began)), now)
        said.append((now, forecast.seconds_left(now)))
        while running and running[0][0] <= now:
            forecast.ended(heapq.heappop(running)[1], now)
    return [(time, left, now - time) for time, left in said]


def test_one_run_goes_on_at_its_pace():
    for _, said, true in simulated({"a": 20.0}, jobs=1):
        assert said == pytest.approx(true, abs=0.6)


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_with_work_that_tells_the_seconds_the_time_left_is_right_throughout(jobs):
    rng = np.random.default_rng(jobs)
    seconds = {f"run {i}": float(s) for i, s in enumerate(rng.uniform(2, 40, 12))}
    for time, said, true in simulated(seconds, jobs):
        if time > 2:
            assert said == pytest.approx(true, rel=0.15, abs=2.5)


def test_a_wrong_idea_of_the_work_is_mended_as_runs_are_seen():
    seconds = {"large": 100.0} | {f"small {i}": 5.0 for i in range(8)}
    work = {title: 1000.0 if title == "large" else 20.0 for title in seconds}
    said = simulated(seconds, 2, work)
    assert all(left == pytest.approx(true, rel=0.2, abs=3) for time, left, true in said if time > 45)


def test_nothing_is_said_before_anything_is_known():
    forecast = Forecast({"a": 1.0, "b": 1.0}, 2, 0.0)
    assert forecast.seconds_left(1.0) is None
    assert in_words(None) == ""
    forecast.ended("a", 3.0)
    forecast.ended("b", 3.0)
    assert forecast.share == 1.0


def test_words_are_no_more_exact_than_the_forecast():
    assert [in_words(s) for s in (0.2, 43, 61, 3540, 5400)] == [
        "about 1 s left",
        "about 45 s left",
        "about 1 min left",
        "about 59 min left",
        "about 1.5 h left",
    ]


def test_what_an_earlier_session_did_does_not_count_for_the_pace():
    forecast = Forecast({"a": 1.0, "b": 1.0}, 1, 0.0)
    forecast.heard("a", 0.8, 0.0)
    forecast.heard("a", 0.82, 10.0)  # 500 s for the whole of it
    assert forecast.seconds_left(10.0) == pytest.approx(90 + 500)
