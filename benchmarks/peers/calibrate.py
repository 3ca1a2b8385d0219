"""What the machine gives just now, as one JSON line: sgemm in GFLOP/s, and copying in GB/s (read and written)."""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

SIZE, REPEATS = 1024, 15
COPIED_BYTES = 256 * 2**20


def quickest(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def sgemm() -> float:
    a, b, out = (np.random.default_rng(i).random((SIZE, SIZE), np.float32) for i in range(3))
    return 2 * SIZE**3 / quickest(lambda: np.matmul(a, b, out=out)) / 1e9


def copying() -> float:
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    return 2 * COPIED_BYTES / quickest(lambda: np.copyto(target, source)) / 1e9


if __name__ == "__main__":
    measured = {"sgemm": sgemm, "copy": copying}
    print(json.dumps(measured[sys.argv[1]]()))
