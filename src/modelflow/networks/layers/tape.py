"""A forward pass as integers: which values each operation reads and gives, and how many of them live at once. No torch.

tape, x = Tape(), Values((1, 28, 28))
y = Conv(features=16).run(tape, x)
tape.peak(y)  ->  the most values that are alive during one operation
"""

import math
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Values:
    """What an operation gives. `within` are the values whose memory it shares, as a flattened map does."""

    shape: tuple[int, ...]
    within: "Values | None" = None

    @property
    def owner(self) -> "Values":
        """Whose memory it is."""
        return self if self.within is None else self.within.owner

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass
class Tape:
    """Operations in the order in which they run."""

    operations: list[tuple[tuple[Values, ...], Values]] = field(default_factory=list)

    def add(self, shape: tuple[int, ...], *inputs: Values) -> Values:
        """An operation that reads `inputs` and gives new values of `shape`."""
        given = Values(shape)
        self.operations.append((tuple(value.owner for value in inputs), given))
        return given

    def peaks(self, last: Values) -> list[int]:
        """For each operation, how many values are alive while it runs, its inputs and what it gives among them.

        A value is alive from when it is made until it is last read, `last` to the end.
        """
        left = Counter(value for inputs, _ in self.operations for value in set(inputs)) + Counter([last.owner])
        made = {given for _, given in self.operations}
        alive, peaks = sum(value.count for value in left if value not in made), []
        for inputs, given in self.operations:
            alive += given.count
            peaks.append(alive)
            for value in {*inputs, given}:
                left[value] -= value in inputs
                alive -= 0 if left[value] else value.count
        return peaks
