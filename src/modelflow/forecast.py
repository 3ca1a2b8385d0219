"""How long a study still takes: from what its runs took so far, laid out over the processes that train them. No torch.

forecast = Forecast({"a, seed 42": 3e9, "b, seed 42": 1e9}, jobs=2, now=0.0)
forecast.heard("a, seed 42", share=0.25, now=5.0)
forecast.seconds_left(now=5.0)
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

ENOUGH_SHARE = 0.01  # of a run, before its own pace counts


@dataclass
class _Pace:
    """A run that goes on from an earlier session begins at a share above zero."""

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
    what runs take beside their training is shared out evenly.
    """

    def __init__(self, work: Mapping[str, float], jobs: int, now: float) -> None:
        self._work = dict(work)
        self._jobs = max(1, jobs)
        self._start = now
        self._paces: dict[str, _Pace] = {}
        self._ended: set[str] = set()

    def heard(self, title: str, share: float, now: float) -> None:
        """That a share of a run's training is done."""
        pace = self._paces.setdefault(title, _Pace(now, share, share, now))
        pace.share, pace.last = share, now

    def ended(self, title: str, now: float) -> None:
        """That a run has ended, well or not."""
        self.heard(title, 1.0, now)
        self._ended.add(title)

    @property
    def share(self) -> float:
        """Of the whole work, how much is done."""
        done = sum(self._work[title] * pace.share for title, pace in self._paces.items())
        return done / sum(self._work.values())

    def seconds_left(self, now: float) -> float | None:
        """Until the last run ends; None while nothing is known."""
        pace = self._seconds_a_work()
        if pace is None:
            return None
        running = [title for title in self._paces if title not in self._ended]
        waiting = sorted((self._work[title] for title in self._work if title not in self._paces), reverse=True)
        left = [max(0.0, self._left_of(title, pace) - (now - self._paces[title].last)) for title in running]
        extra = self._beside_training(now)
        return _last_end(left, [work * pace + extra for work in waiting], self._jobs)

    def _left_of(self, title: str, seconds_a_work: float) -> float:
        pace = self._paces[title]
        if pace.done >= ENOUGH_SHARE and pace.seconds > 0:
            return pace.seconds * (1 - pace.share) / pace.done
        return self._work[title] * (1 - pace.share) * seconds_a_work

    def _seconds_a_work(self) -> float | None:
        seconds = sum(pace.seconds for pace in self._paces.values())
        done = sum(self._work[title] * pace.done for title, pace in self._paces.items())
        return seconds / done if seconds and done else None

    def _beside_training(self, now: float) -> float:
        """Seconds a run takes beside its training: starting, searching a rate, pictures."""
        if not self._ended:
            return 0.0
        busy = sum(pace.seconds for pace in self._paces.values())
        return max(0.0, (now - self._start) * min(self._jobs, len(self._paces)) - busy) / len(self._paces)


def _last_end(running: list[float], waiting: list[float], jobs: int) -> float:
    """When the last ends, if each that waits begins as soon as a process is free."""
    ends = running + [0.0] * (jobs - len(running))
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
