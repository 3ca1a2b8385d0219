"""Several threads through one program: each runs all of `train`, shares in the large layers, and waits for the others.

    alone(k)       what is written within is done by the first thread only
    part(k, n)     where this thread's part of a loop of n begins and ends; all parts together are the loop
    wait           a barrier: no thread goes on before all have come (a counter and a round; it spins, then yields)

No sum is divided between threads, so that the bytes do not depend on how many there are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from modelflow.kernels.emit import I32, I64, Code, Num
from modelflow.kernels.machine import triple

BARRIER = 16  # integers: the counter and the round, each on a cache line of its own
ROUND = 8
SPINS = 4096  # some microseconds; then another process may have the core


@contextmanager
def alone(k: Code) -> Iterator[None]:
    """Argument: thread."""
    with k.when(k.thread.equals(0)):
        yield


def part(k: Code, count: int) -> tuple[Num, Num]:
    """Arguments: thread, threads."""
    return k.thread * count // k.threads, (k.thread + 1) * count // k.threads


def wait(k: Code) -> None:
    """Arguments: threads, barrier."""
    counter, rounds = k.array(k.barrier, I64), k.array(k.barrier, I64).at(ROUND)
    with k.when(k.threads > 1):
        now = rounds.atomic()
        with k.when((counter.add_atomic(1) + 1).equals(k.threads)):
            counter.set_atomic(k.integer(0))
            rounds.set_atomic(now + 1)
        _spin(k, now)


def _spin(k: Code, now: Num) -> None:
    """Until the round is no longer `now`."""
    rounds, tries = k.array(k.barrier, I64).at(ROUND), k.var(k.integer(0))
    give_way = k.external("SwitchToThread" if "windows" in triple() else "sched_yield", I32)
    with k.repeat() as leave:
        leave(rounds.atomic().differs(now))
        tries.set(tries.get() + 1)
        with k.when(tries.get() > SPINS):
            k.builder.call(give_way, [])
