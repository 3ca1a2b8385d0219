"""Which runs a report shows: all of a usual study, of a vast one as many as a page can hold. No torch.

A million records are read one after the other; what is kept of them grows with the number of models alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelflow.errors import DataError
from modelflow.records import Run
from modelflow.results import model_runs, read_run, run_folders

MOST_MODELS = 30  # most accurate first, of the data and protocol with most runs first
MOST_RUNS = 400  # of all models together, least seeds first
MOST_REASONS = 50

Key = tuple[str, tuple[tuple[str, str], ...], str]
Name = tuple[Key, str]


def key_of(run: Run) -> Key:
    """Data and protocol: runs that share them may be compared."""
    return run.data.name, tuple(sorted(run.data.checksums.items())), run.protocol


@dataclass
class _Seen:
    """A model on some data by some protocol: how many runs, and in which folders of models they are."""

    runs: int = 0
    accuracy: float = 0.0
    places: set[Path] = field(default_factory=set)

    def add(self, run: Run, place: Path) -> None:
        self.runs += 1
        self.accuracy += (run.metrics.accuracy - self.accuracy) / self.runs
        self.places.add(place)


@dataclass(frozen=True)
class Selection:
    """The folders of the runs that are shown, model by model; what is left out, and why.

    `absent` counts the models of several runs that a page has no room for, by their data and protocol: those shown are
    the best of them, and are judged as such.
    """

    folders: list[Path]
    left_out: list[tuple[str, str]]
    absent: Counter[Key]


class _LeftOut:
    """Folders that are not shown, and why: the first ones, then how many more."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, str]] = []
        self.more = 0

    def add(self, where: str, why: str) -> None:
        if len(self.reasons) < MOST_REASONS:
            self.reasons.append((where, why))
        else:
            self.more += 1

    def all(self) -> list[tuple[str, str]]:
        further = [(f"{self.more:,} further folders", "for reasons such as these")] if self.more else []
        return self.reasons + further


def selected(results: Path) -> Selection:
    """What a report of this folder shows."""
    left_out = _LeftOut()
    seen: dict[Name, _Seen] = defaultdict(_Seen)
    for path, run in _readable(run_folders(results), results, left_out):
        seen[key_of(run), run.model_name].add(run, results / path.relative_to(results).parts[0])
    chosen = _first_shown(seen)
    folders = []
    for name in chosen:
        of_model, most = _of_model(name, seen[name].places, results, left_out), MOST_RUNS // len(chosen)
        folders += of_model[:most]
        if len(of_model) > most:
            left_out.add(name[1], f"of its {len(of_model):,} runs the {most} of least seed are shown")
    if len(chosen) < len(seen):
        why = f"a report shows {MOST_MODELS}, the most accurate first; the leaderboard has all"
        left_out.add(f"{len(seen) - len(chosen):,} further models", why)
    absent = Counter(name[0] for name in seen.keys() - set(chosen) if seen[name].runs > 1)
    return Selection(folders, left_out.all(), absent)


def _readable(folders: Iterable[Path], results: Path, left_out: _LeftOut) -> Iterator[tuple[Path, Run]]:
    for path in folders:
        try:
            yield path, read_run(path)
        except DataError as error:
            left_out.add(str(path.relative_to(results)), str(error))


def _first_shown(seen: dict[Name, _Seen]) -> list[Name]:
    runs: dict[Key, int] = defaultdict(int)
    for (key, _), model in seen.items():
        runs[key] += model.runs
    order = sorted(seen, key=lambda name: (-runs[name[0]], name[0], -seen[name].accuracy, name[1]))
    return order[:MOST_MODELS]


def _of_model(name: Name, places: Iterable[Path], results: Path, left_out: _LeftOut) -> list[Path]:
    """Its runs' folders, one a seed, the least seed first."""
    taken: dict[int, Path] = {}
    for place in sorted(places):
        for path, run in _readable(model_runs(place), results, _LeftOut()):
            if (key_of(run), run.model_name) != name:
                continue
            same = taken.setdefault(run.seed, path).relative_to(results)
            if same != path.relative_to(results):
                why = f"holds the same model and seed as {same}, which stands for both"
                left_out.add(str(path.relative_to(results)), why)
    return [taken[seed] for seed in sorted(taken)]
