"""How long a study still takes: from what its runs took so far, laid out over the processes that train them. No torch.

forecast = Forecast({"a, seed 42": 3e9, "b, seed 42": 1e9}, jobs=2, now=0.0)
forecast.heard("a, seed 42", share=0.25, now=5.0)
forecast.seconds_left(now=5.0)
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ENOUGH_SHARE = 0.01  # of a run, before its own pace counts
MAX_SILENCE = 60.0  # seconds; what is longer was a machine asleep, or a clock that jumped
MANY = 200  # runs that wait: how they come to lie beside each other no longer matters


@dataclass
class _Pace:
    """How fast a run is trained; one that goes on from an earlier session begins at a share above zero."""

    work: float
    began: float
    began_at: float
    share: float
    last: float

    @property
    def seconds(self) -> float:
        return self.last - self.began

    @property
    def done(self) -> float:
        """The share done since."""
        return self.share - self.began_at


class Forecast:
    """`work` is what each run costs beside the others, such as its multiply-accumulates; `now` is any clock's seconds.

    A run under way goes on at its own pace; one that waits takes as long for its work as those seen so far did, and
    what runs take beside their training, from when the first is heard of, is shared out evenly. A run of which no
    training was seen (kept, resumed at its end, failed at once) says nothing of the pace.
    """

    def __init__(self, work: Mapping[str, float], jobs: int, now: float) -> None:
        self._work = dict(work)
        self._jobs = max(1, jobs)
        self._seen, self._clock = now, 0.0
        self._started: float | None = None  # when the processes were
        self._waiting = dict(sorted(self._work.items(), key=lambda item: -item[1]))
        self._running: dict[str, _Pace] = {}
        self._ended, self._failed = 0, 0
        self._all_work = sum(self._work.values())
        self._ended_work = 0.0
        self._trained_work, self._trained_seconds = 0.0, 0.0  # of the runs that have ended

    def heard(self, title: str, share: float, now: float) -> None:
        """That a share of a run's training is done."""
        clock = self._tick(now)
        self._started = clock if self._started is None else self._started
        if self._waiting.pop(title, None) is None and title not in self._running:
            return  # it has ended
        pace = self._running.get(title)
        if pace is None or share < pace.share or share == pace.began_at:  # it begins, elsewhere anew, or not yet
            pace = self._running[title] = _Pace(self._work[title], clock, share, share, clock)
        pace.share, pace.last = share, clock

    def ended(self, title: str, now: float, failed: bool = False) -> None:
        """That a run has ended."""
        self._tick(now)
        self._waiting.pop(title, None)
        self._ended += 1
        self._failed += failed
        self._ended_work += self._work[title]
        if (pace := self._running.pop(title, None)) and pace.done > 0:
            self._trained_work += pace.work * pace.done
            self._trained_seconds += pace.seconds

    @property
    def share(self) -> float:
        """Of the whole work, how much is done."""
        done = self._ended_work + sum(pace.work * pace.share for pace in self._running.values())
        return done / self._all_work

    def seconds_left(self, now: float) -> float | None:
        """Until the last run ends; None while nothing is known."""
        clock = self._tick(now)
        work, seconds = self._trained(self._running.values())
        if not work or not seconds:
            return None
        pace, beside = seconds / work, self._beside_training(clock, seconds)
        left = [max(0.0, _left_of(one, pace) - (clock - one.last)) for one in self._running.values()]
        if len(self._waiting) > MANY:
            return (sum(left) + sum(self._waiting.values()) * pace + len(self._waiting) * beside) / self._jobs
        return _last_end(left, [work * pace + beside for work in self._waiting.values()], self._jobs)

    def _tick(self, now: float) -> float:
        """The seconds since the beginning, by a clock that neither goes back nor counts long silences."""
        self._clock += min(max(0.0, now - self._seen), MAX_SILENCE)
        self._seen = now
        return self._clock

    def _trained(self, running: Iterable[_Pace]) -> tuple[float, float]:
        """The work done so far, of the runs that were seen at it, and the seconds that it took."""
        seen = [pace for pace in running if pace.done > 0]
        work = self._trained_work + sum(pace.work * pace.done for pace in seen)
        return work, self._trained_seconds + sum(pace.seconds for pace in seen)

    def _beside_training(self, clock: float, trained_seconds: float) -> float:
        """Seconds a run takes beside its training: searching a rate, pictures. Processes start once, not for each."""
        if self._ended == self._failed:
            return 0.0
        begun = self._ended + len(self._running)
        lanes = min(self._jobs, begun)
        return max(0.0, (clock - (self._started or 0.0)) * lanes - trained_seconds) / (begun - self._failed)


def _left_of(pace: _Pace, seconds_a_work: float) -> float:
    if pace.done >= ENOUGH_SHARE and pace.seconds > 0:
        return pace.seconds * (1 - pace.share) / pace.done
    return pace.work * (1 - pace.share) * seconds_a_work


def _last_end(running: Sequence[float], waiting: Sequence[float], jobs: int) -> float:
    """When the last ends, if each that waits begins as soon as a process is free."""
    ends = [*running, *[0.0] * (jobs - len(running))]
    heapq.heapify(ends)
    for seconds in waiting:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return max(ends)


def in_words(seconds: float | None) -> str:
    """Such as "about 40 s left", no more exact than it can be."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"about {max(1, round(seconds / 5) * 5)} s left"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"
