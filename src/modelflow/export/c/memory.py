"""Where each value of a program lies in one piece of memory, so that those alive at once do not overlap. No torch.

Greedy by size: Pisarchyk and Lee (2020), "Efficient Memory Management for Deep Neural Net Inference", section 5.2,
https://arxiv.org/abs/2001.03288
"""

from dataclasses import dataclass

from modelflow.networks.layers.tape import Values
from modelflow.networks.program.lowering import Program
from modelflow.networks.program.operations import IN_PLACE, Operation


@dataclass(frozen=True)
class Memory:
    """The place of each value, counted in values, and how many there are in all."""

    places: dict[Values, int]
    size: int

    def place(self, value: Values) -> int:
        """Where a value begins; one within another begins there too."""
        return self.places[value.owner]


@dataclass
class _Block:
    """Memory that values take one after the other, from operation `first` to `last`."""

    size: int
    first: int
    last: int
    place: int = 0

    def meets(self, other: "_Block") -> bool:
        """Whether both are alive at once."""
        return self.first <= other.last and other.first <= self.last


def planned(program: Program) -> Memory:
    """A place for each value. An operation value by value gives its output where an input of that size dies."""
    last = _last_reads(program)
    blocks = {program.input.owner: _Block(program.input.count, -1, last[program.input.owner])}
    for i, operation in enumerate(program.operations):
        given = operation.output
        replaced = _replaced(operation, i, last)
        blocks[given] = blocks[replaced] if replaced else _Block(given.count, i, i)
        blocks[given].last = last.get(given, i)
    unique = list({id(block): block for block in blocks.values()}.values())
    _place(unique)
    size = max(block.place + block.size for block in unique)
    return Memory({value: block.place for value, block in blocks.items()}, size)


def _last_reads(program: Program) -> dict[Values, int]:
    """The operation that reads each value last; the output is read after all."""
    last = {value.owner: i for i, operation in enumerate(program.operations) for value in operation.inputs}
    return last | {program.output.owner: len(program.operations)}


def _replaced(operation: Operation, i: int, last: dict[Values, int]) -> Values | None:
    """The input whose memory the output takes over."""
    if not isinstance(operation, IN_PLACE):
        return None
    owners = [value.owner for value in operation.inputs if value.count == operation.output.count]
    return next((owner for owner in owners if last[owner] == i), None)


def _place(blocks: list[_Block]) -> None:
    """Gives each block a place, the largest first, each as low as those placed before it leave room."""
    placed: list[_Block] = []
    for block in sorted(blocks, key=lambda block: -block.size):
        for other in sorted((other for other in placed if block.meets(other)), key=lambda other: other.place):
            if other.place < block.place + block.size and block.place < other.place + other.size:
                block.place = other.place + other.size
        placed.append(block)
