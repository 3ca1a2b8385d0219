"""Which run of a study begins when: first results early, and the end no later than longest first gives. No torch.

order(["large", "small", "large", "small"], {"large": 10.0, "small": 1.0}, lanes=2)         # [1, 3, 0, 2]
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from modelflow.networks.code import Code
from modelflow.networks.trace import trace
from modelflow.studies.plan import Plan

LONG = 2  # times as long as all shorter models together
MACS_A_PARAMETER = 18  # an update of a parameter takes as long as so many multiply-adds: benchmarks/results/promises.md


def costs(due: Sequence[Plan]) -> dict[str, float]:
    """What an image of its training costs a model of a study beside the others, in multiply-accumulates.

    A model that only code says is taken to cost as much as the largest of the others.
    """
    found = {name: _cost(plan) for name, plan in {plan.model_name: plan for plan in due}.items()}
    largest = max((cost for cost in found.values() if cost is not None), default=1.0)
    return {name: largest if cost is None else cost for name, cost in found.items()}


def _cost(plan: Plan) -> float | None:
    if isinstance(plan.spec, Code):
        return None
    traced = trace(plan.spec, plan.settings.max_parameters)
    return traced.macs + MACS_A_PARAMETER * traced.parameters / plan.settings.batch_size


def in_order(due: Sequence[Plan], lanes: int) -> list[Plan]:
    """The plans in the order in which they are to begin, each as soon as one of the lanes is free."""
    return [due[i] for i in order([plan.model_name for plan in due], costs(due), lanes)]


def order(models: Sequence[str], costs: Mapping[str, float], lanes: int) -> list[int]:
    """The order in which runs begin, as positions in `models`, which names the model of each.

    The lanes get their runs longest first, each run by the lane that has least (Graham's LPT rule), so that the last
    ends as early as it would then: the order within a lane does not move its end. Each lane trains its runs shortest
    first, but within a block (`_blocks`) each model's first run before all further seeds.

    So at no moment is every lane at a run that is longer than one that waits, but for this: a first run goes ahead of
    further seeds of shorter models, unless it is long. It is `LONG` if it takes more than twice as long as one run of
    each shorter model together; then it begins when its lane has no shorter ones left.
    """
    shares, free, begins = _shares(models, costs, lanes), [0.0] * lanes, []

    def begin(model: str, lane: int) -> None:
        begins.append((free[lane], costs[model], model))
        free[lane] += costs[model]

    for block in _blocks(shares, costs):
        for model in block:
            lane = min(shares[model], key=lambda lane: (free[lane], lane))
            shares[model][lane] -= 1
            begin(model, lane)
        for model in block:
            for lane in shares[model].elements():
                begin(model, lane)
    waiting: dict[str, deque[int]] = {model: deque() for model in shares}
    for position, model in enumerate(models):
        waiting[model].append(position)
    return [waiting[model].popleft() for _, _, model in sorted(begins)]


def _shares(models: Sequence[str], costs: Mapping[str, float], lanes: int) -> dict[str, Counter[int]]:
    """Of each model how many runs each lane trains."""
    shares: dict[str, Counter[int]] = {model: Counter() for model in models}
    loads = [(0.0, lane) for lane in range(lanes)]
    for model in sorted(models, key=lambda model: -costs[model]):
        load, lane = heappop(loads)
        shares[model][lane] += 1
        heappush(loads, (load + costs[model], lane))
    return shares


def _blocks(models: Iterable[str], costs: Mapping[str, float]) -> list[list[str]]:
    """The models, shortest first: one that is long beside all before it together begins a new block."""
    blocks: list[list[str]] = []
    before = 0.0
    for model in sorted(models, key=costs.__getitem__):
        if costs[model] > LONG * before or not blocks:
            blocks.append([])
        blocks[-1].append(model)
        before += costs[model]
    return blocks
