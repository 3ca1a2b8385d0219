"""Where everything lies for any network, and what is done in a step, in order. Integers only.

    packed    parameters as they lie flat, padded to whole vectors, then the running statistics; after them, in rows of
              the same length, the rule's averages
    block     what a block of `lanes` images needs: values, and their gradients, as maps of vectors over the images
    shared    the gradients of the parameters, what operations keep through a step, and what they use within a call

What a batch norm gives has a place for one block only, in `shared`, where all that reads it comes before the schedule
waits for the batch: it stays in a near cache. The backward pass applies the norm again. Several share such a place,
unless evaluation, which waits for nothing, reads one while it writes the other.

So has any other value or gradient that the calls of one phase alone are given; each of these has its own place. Without
batch norm a step is one phase, and all of them are.

An input's gradient lies where the output's does if its only reader is an operation that computes it value by value.
Offsets count floats.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, groupby

from modelflow.kernels.graph import Graph
from modelflow.kernels.maps import Border, Maps, maps_of
from modelflow.kernels.ops.operation import At, Call, Operation
from modelflow.networks.layers.tape import Values

LINE = 16  # floats of a cache line


@dataclass(frozen=True)
class Places:
    """The places of a network for vectors of `lanes` floats, and the sizes of the memories."""

    graph: Graph
    lanes: int
    registers: int
    values: dict[Values, tuple[Maps, At]]
    gradients: dict[Values, tuple[Maps, At]]
    kept: dict[Operation, At]
    small: int  # floats of the parameters, padded
    packed: int
    block: int
    shared: int
    grads: At
    order: At
    labels: At
    scratch: At
    again: dict[Values, Operation]  # what the backward pass computes again, and by which operation

    has_large = False  # no layer in which threads share

    @property
    def image(self) -> int:
        return self.graph.image.count

    @property
    def classes(self) -> int:
        return self.graph.logits.count

    @property
    def parameters(self) -> int:
        return self.graph.parameters

    @property
    def running(self) -> int:
        return self.graph.running

    @property
    def running_at(self) -> int:
        """Where the running statistics lie, behind the parameters."""
        return self.small

    def workspace(self, blocks: int) -> int:
        """Floats for batches of as many blocks."""
        return self.shared + blocks * self.block

    def forward(self, training: bool) -> list[Call]:
        steps = Steps(self, training)
        for operation in self.graph.operations if training else self.graph.evaluated:
            operation.forward(steps)
        return steps.calls

    def backward(self) -> list[Call]:
        steps, left = Steps(self, True), dict(self.again)
        for operation in reversed(self.graph.operations):
            begin = len(steps.calls)
            operation.backward(steps)
            for value in (operation.output, *operation.inputs):
                if value in left and _last_reader(steps.calls[begin:], self.values[value][1]) is not None:
                    steps.calls.insert(begin, self._last_call(left.pop(value)))
        return steps.calls

    def _last_call(self, operation: Operation) -> Call:
        """The one that gives its output."""
        steps = Steps(self, True)
        operation.forward(steps)
        return steps.calls[-1]


@dataclass
class Steps:
    """What operations say is to be done (see `ops.operation.Schedule`)."""

    places: Places
    training: bool
    calls: list[Call] = field(default_factory=list)
    written: set[Values] = field(default_factory=set)

    @property
    def lanes(self) -> int:
        return self.places.lanes

    @property
    def registers(self) -> int:
        return self.places.registers

    def parameter(self, at: int) -> At:
        return At("params", at)

    def gradients(self, at: int) -> At:
        return self.places.grads + at

    def running(self, at: int) -> At:
        return At("params", self.places.small + at)

    def value(self, value: Values) -> tuple[Maps, At]:
        return self.places.values[value]

    def gradient(self, value: Values) -> tuple[Maps, At]:
        return self.places.gradients[value]

    def adds(self, value: Values) -> bool | None:
        """Whether the gradient of a value has been written before; None for the image, which has none."""
        if value is self.places.graph.image:
            return None
        before = value in self.written
        self.written.add(value)
        return before

    def kept(self, operation: Operation) -> At:
        return self.places.kept[operation]

    def scratch(self) -> At:
        return self.places.scratch

    def per_block(self, write: Callable[..., None], *sizes: object, numbers: str = "", **at: At) -> None:
        self.calls.append(Call(write, sizes, tuple(at.items()), tuple(numbers.split()), whole=False))

    def once(self, write: Callable[..., None], *sizes: object, numbers: str = "", **at: At) -> None:
        self.calls.append(Call(write, sizes, tuple(at.items()), tuple(numbers.split()), whole=True))


def phases(calls: Iterable[Call]) -> list[tuple[bool, list[Call]]]:
    """Calls one after the other that go block by block, or wait for the whole batch."""
    return [(whole, list(group)) for whole, group in groupby(calls, lambda call: call.whole)]


def placed(graph: Graph, lanes: int, registers: int) -> Places:
    """The places of a network."""
    everywhere = _placed(graph, lanes, registers, {})
    return _passing_shared(_placed(graph, lanes, registers, _of_one_block(everywhere)))


def _passing_shared(places: Places) -> Places:
    """With one place for all blocks for what no phase leaves to another."""
    passing, block, shared = _passing(places), _Space(), _Space(places.shared)
    labels, moved = At("block", block.take(places.lanes)), dict[At, At]()
    for maps, at in [*places.values.values(), *places.gradients.values()]:
        if at.memory == "block" and at not in moved:
            space = shared if at in passing else block
            moved[at] = At("shared" if at in passing else "block", space.take(maps.size * places.lanes))
    values, gradients = (
        {value: (maps, moved.get(at, at)) for value, (maps, at) in of.items()}
        for of in (places.values, places.gradients)
    )
    return replace(places, values=values, gradients=gradients, labels=labels, block=block.used, shared=shared.used)


def _passing(places: Places) -> set[At]:
    """The places that calls of one phase alone are given; not the image's, which is there before."""
    given = defaultdict[At, set[int]](set)
    for number, (_, calls) in enumerate(phases([*places.forward(True), *places.backward()])):
        for _, at in chain.from_iterable(call.at for call in calls):
            given[at].add(number)
    _, image = places.values[places.graph.image]
    return {at for at, numbers in given.items() if len(numbers) == 1 and at != image}


def _of_one_block(places: Places) -> dict[Values, Operation]:
    """The outputs of batch norms that need a place for one block only, with what computes them."""
    norms = {norm.output: norm for norm in places.graph.norms if norm.output is not places.graph.logits}
    forward = places.forward(True)
    return {
        value: norm
        for value, norm in norms.items()
        if _is_read_at_once(forward, places.values[value][1], forward.index(places._last_call(norm)))
        and _is_read_at_once_backward(places, value)
    }


def _is_read_at_once(calls: list[Call], at: At, begin: int) -> bool:
    """Whether nothing waits for the batch from a call on to the last that reads a place."""
    last = _last_reader(calls, at)
    return last is None or not any(call.whole for call in calls[begin : last + 1])


def _is_read_at_once_backward(places: Places, value: Values) -> bool:
    """The same of the backward pass, from the calls of the first operation on that reads it."""
    steps, at = Steps(places, True), places.values[value][1]
    begin: int | None = None
    for operation in reversed(places.graph.operations):
        before = len(steps.calls)
        operation.backward(steps)
        if begin is None and _last_reader(steps.calls, at) is not None:
            begin = before
    return begin is None or _is_read_at_once(steps.calls, at, begin)


def _last_reader(calls: list[Call], place: At) -> int | None:
    """The last call that is given a place; None where no one is."""
    return next((i for i in reversed(range(len(calls))) if any(at == place for _, at in calls[i].at)), None)


def _placed(graph: Graph, lanes: int, registers: int, again: dict[Values, Operation]) -> Places:
    block, shared = _Space(), _Space()
    labels = At("block", block.take(lanes))
    maps_of_values = _value_maps(graph)
    values = {
        v: (maps, At("block", block.take(maps.size * lanes))) for v, maps in maps_of_values.items() if v not in again
    }
    values |= _values_of_one_block(graph, again, maps_of_values, shared, lanes)
    owners, gradients = _gradient_owners(graph), _gradient_places(graph, block, lanes)
    places = {value: gradients[owner] for value, owner in owners.items()}
    small = _up(graph.parameters, lanes)
    grads = At("shared", shared.take(small + lanes))  # what lies behind a row of weights is added zeros
    keeping = dict.fromkeys([*graph.operations, *graph.evaluated])
    kept = {operation: At("shared", shared.take(operation.kept(lanes))) for operation in keeping}
    scratch = max((operation.scratch(lanes, registers) for operation in graph.operations), default=0)
    return Places(
        graph,
        lanes,
        registers,
        values,
        places,
        kept,
        small,
        packed=_up(small + graph.running, max(lanes, LINE)),
        grads=grads,
        order=At("shared", shared.take(4 * lanes)),  # lanes indices of 64 bits
        labels=labels,
        scratch=At("shared", shared.take(scratch)),
        block=block.used,
        shared=shared.used,
        again=again,
    )


def _value_maps(graph: Graph) -> dict[Values, Maps]:
    """Of each value its maps, with the border that its readers need."""
    maps = {value: maps_of(value.shape) for value in [graph.image, *(o.output for o in graph.operations)]}
    for operation in graph.operations:
        first = operation.inputs[0]
        maps[first] = maps[first].bordered(operation.reach())
    return maps


def _values_of_one_block(
    graph: Graph, again: Container[Values], maps: dict[Values, Maps], shared: "_Space", lanes: int
) -> dict[Values, tuple[Maps, At]]:
    """Places for what `again` names; one that evaluation has read for the last time is free for the next of its maps.

    In training no two are needed at once: a batch waits before each norm.
    """
    last = {value: operation for operation in graph.evaluated for value in operation.inputs}
    free, places = defaultdict[Maps, list[At]](list), dict[Values, tuple[Maps, At]]()
    for operation in graph.evaluated:
        value = operation.output
        if value in again:
            of = maps[value]
            places[value] = of, free[of].pop() if free[of] else At("shared", shared.take(of.size * lanes))
        for read in dict.fromkeys(operation.inputs):
            if read in places and last[read] is operation:
                free[places[read][0]].append(places[read][1])
    return places


def _gradient_owners(graph: Graph) -> dict[Values, Values]:
    """Of each value the one where its gradient lies: its own, or that of what is computed of it value by value."""
    readers, owners = graph.readers(), {graph.logits: graph.logits}
    for operation in reversed(graph.operations):
        for value in operation.inputs:
            owners.setdefault(value, value)
        first = operation.inputs[0]
        if operation.gradient_in_place and readers[first] == 1:
            owners[first] = owners[operation.output]
    return {value: owner for value, owner in owners.items() if value is not graph.image}


def _gradient_maps(graph: Graph) -> dict[Values, Maps]:
    """Of each place for gradients its maps, with the border that all values need whose gradients lie there."""
    owners, maps = _gradient_owners(graph), dict[Values, Maps]()
    borders = {operation.output: operation.gradient_reach() for operation in graph.operations}
    for value, owner in owners.items():
        before = maps.get(owner, maps_of(owner.shape))
        maps[owner] = before.bordered(borders.get(value, Border()))
    return maps


def _gradient_places(graph: Graph, block: "_Space", lanes: int) -> dict[Values, tuple[Maps, At]]:
    """Places for gradients; one that has been used up makes room for the next of the same maps and border."""
    owners, maps = _gradient_owners(graph), _gradient_maps(graph)
    left, free = Counter(owners[operation.output] for operation in graph.operations), defaultdict[Maps, list[At]](list)
    places: dict[Values, tuple[Maps, At]] = {}
    for operation in reversed(graph.operations):
        for value in (operation.output, *operation.inputs):
            owner = owners.get(value)
            if owner is not None and owner not in places:
                of = maps[owner]
                places[owner] = of, free[of].pop() if free[of] else At("block", block.take(of.size * lanes))
        done = owners[operation.output]
        left[done] -= 1
        if not left[done]:
            free[maps[done]].append(places[done][1])
    return places


class _Space:
    """Offsets handed out one after the other, each at the beginning of a cache line."""

    def __init__(self, used: int = 0) -> None:
        self.used = used

    def take(self, count: int) -> int:
        offset, self.used = self.used, self.used + _up(count, LINE)
        return offset


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
