"""Which runs a report shows: all of a usual study, of a vast one as many as a page can hold. No torch."""

import statistics
from collections import Counter
from dataclasses import dataclass

from modelflow.analysis.identity import Compared, Identity
from modelflow.analysis.reading import Found, Reading

MAX_MODELS = 30  # best first, of the data and protocol with most runs first
MAX_RUNS = 400  # of all models together, least seeds first


@dataclass(frozen=True)
class Selection:
    """The runs that are shown, model by model, each with its folder; what is left out, and why.

    `absent` counts the models of several runs that a page has no room for, by their data and protocol: those shown are
    the best of them, and are judged as such.
    """

    runs: list[Found]
    left_out: list[tuple[str, str]]
    absent: Counter[Compared]


def selected(reading: Reading) -> Selection:
    """What a report of this folder shows."""
    left_out, chosen, runs = reading.left_out.copy(), _first_shown(reading), list[Found]()
    for model in chosen:
        (of_model, copies), most = reading.runs_of(model), MAX_RUNS // len(chosen)
        for where, why in copies:
            left_out.add(where, why)
        runs += of_model[:most]
        if len(of_model) > most:
            left_out.add(model.name, f"shows the {most} of its {len(of_model):,} runs with the lowest seeds")
    if len(chosen) < len(reading.models):
        why = f"the report shows the {MAX_MODELS} {reading.metric.best}, the leaderboard all"
        left_out.add(f"{len(reading.models) - len(chosen):,} further models", why)
    several = {model for model, tally in reading.models.items() if len(tally.seeds) > 1}
    return Selection(runs, left_out.all(), Counter(model.compared for model in several - set(chosen)))


def _first_shown(reading: Reading) -> list[Identity]:
    models, runs = reading.models, Counter[Compared]()
    for identity, tally in models.items():
        runs[identity.compared] += len(tally.seeds)

    def place(one: Identity) -> tuple[object, ...]:
        data = models[one].one.data.name
        merit = reading.metric.merit(statistics.fmean(models[one].scores(reading.metric)))
        return -runs[one.compared], data, one.compared, -merit, one

    return sorted(models, key=place)[:MAX_MODELS]
