"""Which runs a report shows: all of a usual study, of a vast one as many as a page can hold. No torch.

A million records are read one after the other; what is kept of them grows with the number of models alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modelflow.analysis.identity import Compared, Identity, identity_of, other_weights
from modelflow.errors import DataError
from modelflow.results.layout import model_runs, read_run, run_folders
from modelflow.results.records import Run

MAX_MODELS = 30  # most accurate first, of the data and protocol with most runs first
MAX_RUNS = 400  # of all models together, least seeds first
MAX_REASONS = 50


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
    absent: Counter[Compared]


class LeftOut:
    """Folders that are not shown, and why: the first ones, then how many more."""

    def __init__(self) -> None:
        self.reasons: list[tuple[str, str]] = []
        self.more = 0

    def add(self, where: str, why: str) -> None:
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append((where, why))
        else:
            self.more += 1

    def all(self) -> list[tuple[str, str]]:
        further = [(f"{self.more:,} further folders", "for reasons such as these")] if self.more else []
        return self.reasons + further


def selected(results: Path) -> Selection:
    """What a report of this folder shows."""
    left_out = LeftOut()
    seen: dict[Identity, _Seen] = defaultdict(_Seen)
    for path, run in readable(run_folders(results), results, left_out):
        seen[identity_of(run)].add(run, results / path.relative_to(results).parts[0])
    chosen = _first_shown(seen)
    folders = []
    for model in chosen:
        of_model, most = _of_model(model, seen[model].places, results, left_out), MAX_RUNS // len(chosen)
        folders += of_model[:most]
        if len(of_model) > most:
            left_out.add(model.name, f"of its {len(of_model):,} runs the {most} of least seed are shown")
    if len(chosen) < len(seen):
        why = f"a report shows {MAX_MODELS}, the most accurate first; the leaderboard has all"
        left_out.add(f"{len(seen) - len(chosen):,} further models", why)
    absent = Counter(model.compared for model in seen.keys() - set(chosen) if seen[model].runs > 1)
    return Selection(folders, left_out.all(), absent)


def readable(folders: Iterable[Path], results: Path, left_out: LeftOut) -> Iterator[tuple[Path, Run]]:
    """Those folders below `results` whose record can be read, with it; the others are left out."""
    for path in folders:
        try:
            yield path, read_run(path)
        except DataError as error:
            left_out.add(str(path.relative_to(results)), str(error))


def _first_shown(seen: dict[Identity, _Seen]) -> list[Identity]:
    runs: dict[Compared, int] = defaultdict(int)
    for identity, model in seen.items():
        runs[identity.compared] += model.runs
    order = sorted(seen, key=lambda one: (-runs[one.compared], one.compared, -seen[one].accuracy, one))
    return order[:MAX_MODELS]


def _of_model(model: Identity, places: Iterable[Path], results: Path, left_out: LeftOut) -> list[Path]:
    """Its runs' folders, one a seed, the least seed first."""
    taken: dict[int, tuple[Path, Run]] = {}
    for place in sorted(places):
        for path, run in readable(model_runs(place), results, LeftOut()):
            if identity_of(run) != model:
                continue
            same, first = taken.setdefault(run.seed, (path, run))
            if same != path:
                why = f"holds the same model and seed as {same.relative_to(results)}, which stands for both"
                left_out.add(str(path.relative_to(results)), why + other_weights(run, first))
    return [taken[seed][0] for seed in sorted(taken)]
