"""How long a study still takes: against studies whose every run's duration is known."""

import heapq

import numpy as np
import pytest

from modelflow.studies.forecast import Forecast, in_words


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


def test_runs_first_heard_of_when_finished_say_nothing_of_the_pace():
    forecast, now = Forecast({f"m{i}": 1000.0 for i in range(3000)}, 1, 0.0), 0.0
    for i in range(600):
        if i == 0:
            forecast.heard("m0", 0.0, now)
        forecast.heard(f"m{i}", 1.0, now + 0.2)
        now += 1.7
        forecast.ended(f"m{i}", now)
    assert forecast.seconds_left(now) == pytest.approx(2400 * 1.7, rel=0.2)


def one_after_the_other(forecast, titles, now, seconds=10.0):
    """Runs that begin, are trained for so long, and end a second later."""
    for title in titles:
        forecast.heard(title, 0.0, now)
        forecast.heard(title, 0.5, now + seconds / 2)
        forecast.heard(title, 1.0, now + seconds)
        now += seconds + 1
        forecast.ended(title, now)
    return now


def test_runs_that_fail_at_once_do_not_make_the_others_shorter():
    forecast = Forecast({f"m{i}": 5.0 for i in range(100)}, 1, 0.0)
    now = one_after_the_other(forecast, ["m0", "m1"], 0.0)
    for i in range(2, 90):
        forecast.heard(f"m{i}", 0.0, now)
        now += 0.01
        forecast.ended(f"m{i}", now, failed=True)
    assert forecast.seconds_left(now) == pytest.approx(10 * 11, rel=0.1)


def test_a_run_that_failed_half_way_counts_for_what_was_seen_of_it():
    forecast = Forecast({"a": 1.0, "b": 1.0}, 1, 0.0)
    forecast.heard("a", 0.0, 0.0)
    forecast.heard("a", 0.2, 4.0)
    forecast.ended("a", 4.1, failed=True)
    assert forecast.seconds_left(4.1) == pytest.approx(20)
    assert forecast.share == 0.5


def test_runs_kept_or_resumed_at_their_end_do_not_slow_the_others():
    forecast = Forecast({f"m{i}": 5.0 for i in range(60)}, 1, 0.0)
    now = one_after_the_other(forecast, ["m0", "m1"], 0.0)
    for i in range(2, 50):
        forecast.heard(f"m{i}", 1.0, now)  # its pictures alone are missing
        now += 1
        forecast.ended(f"m{i}", now)
    assert forecast.seconds_left(now) == pytest.approx(10 * 11, rel=0.1)


def test_a_run_that_begins_anew_elsewhere_is_seen_anew():
    forecast = Forecast({"a": 1.0}, 1, 0.0)
    forecast.heard("a", 0.0, 0.0)
    forecast.heard("a", 0.9, 9.0)
    forecast.heard("a", 0.0, 100.0)
    forecast.heard("a", 0.1, 101.0)
    assert forecast.seconds_left(101.0) == pytest.approx(9)


def test_what_comes_before_the_training_is_not_of_its_pace():
    forecast = Forecast({"a": 1.0}, 1, 0.0)
    forecast.heard("a", 0.0, 0.0)  # compiling
    forecast.heard("a", 0.0, 30.0)  # its training begins
    forecast.heard("a", 0.1, 31.0)
    assert forecast.seconds_left(31.0) == pytest.approx(9)


@pytest.mark.parametrize("jump", [8 * 3600.0, -8 * 3600.0])
def test_a_machine_asleep_or_a_clock_that_jumps_does_little_harm(jump):
    forecast = Forecast({f"m{i}": 5.0 for i in range(20)}, 1, 0.0)
    now = one_after_the_other(forecast, ["m0", "m1", "m2"], 0.0)
    forecast.heard("m3", 0.0, now)
    forecast.heard("m3", 0.5, now + 5)
    now = one_after_the_other(forecast, ["m4", "m5", "m6", "m7", "m8", "m9"], now + 5 + jump)
    assert forecast.seconds_left(now) < 2 * 11 * 11


def test_what_is_heard_after_a_run_has_ended_counts_for_nothing():
    forecast = Forecast({"a": 1.0, "b": 1.0}, 1, 0.0)
    now = one_after_the_other(forecast, ["a"], 0.0)
    forecast.heard("a", 0.5, now)
    assert forecast.share == 0.5
    assert forecast.seconds_left(now) == pytest.approx(11)


def test_of_many_runs_the_forecast_is_the_same_and_quick():
    few, many = (Forecast({f"m{i}": 5.0 for i in range(n + 2)}, 2, 0.0) for n in (200, 100_000))
    left = []
    for forecast in (few, many):
        forecast.heard("m0", 0.0, 0.0)
        for share in range(1, 51):
            forecast.heard("m0", share / 100, share / 10)
            said = forecast.seconds_left(share / 10)
        left.append(said)
    assert left[0] == pytest.approx(200 * 10 / 2 + 5, rel=0.01)
    assert left[1] == pytest.approx(100_000 * 10 / 2, rel=0.01)


def test_the_start_of_the_processes_counts_once_not_for_each_run():
    forecast = Forecast({f"m{i}": 1.0 for i in range(11)}, 1, 0.0)
    now = one_after_the_other(forecast, ["m0"], 30.0, seconds=1.0)
    assert forecast.seconds_left(now) == pytest.approx(10 * 2, rel=0.05)
