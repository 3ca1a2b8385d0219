"""What a step of a network cannot be faster than on one core of this machine, and what it takes.

    python benchmarks/floor.py [--models plain resnet_like] [--batch 128]

- A convolution takes at least its operations at the core's peak, and the maps that it goes through once at the speed of
  the second cache. A dense layer takes its operations.
- A batch norm needs the sums of the whole batch twice: of its input before anything is normalised, and of its gradient
  before anything goes further back. So its input, which the convolution before it writes and the one behind it reads, is
  read twice more: beside the gradient for its sums, and with it again once these are known. The maps of the whole batch
  come from the cache that holds the step. Each value takes ten operations: three for the sums, one to be scaled; in the
  backward pass three for the sums, three to be spread.
- A squeeze needs its maps' means before it weighs them, so it reads them once more, and twice in the backward pass. A
  block's maps come from the second cache.

Nothing else is counted: no activation, no pool, no residual, no map between two operations that could be made as it is
read. The roofs are measured (benchmarks/roofline.py), and so is the step, each of its calls as it makes it.
"""

import argparse

from modern_networks import LAYERS, STYLES
from profile_layers import Step, in_step, peak
from roofline import IN_SECOND_CACHE, bandwidth

from modelflow.kernels.ops.norm import Norm
from modelflow.kernels.ops.weigh import Weigh
from modelflow.results import provenance

NORM_OPERATIONS, NORM_READINGS, SQUEEZE_READINGS = 10, 2, 3


def least(step: Step, batch: int, operations: float, second_cache: float, speed: float) -> tuple[float, float]:
    """Seconds an image: of convolutions and dense layers, and of what stands between them. The step's maps come at `speed`."""
    products = sum(max(row.flops / operations, row.bytes / second_cache) for row in step.rows) / batch
    normed, squeezed = (_values(step, kind) for kind in (Norm, Weigh))
    norms = max(NORM_OPERATIONS * normed / (operations / 2), NORM_READINGS * 4 * normed / speed)
    return products, norms + SQUEEZE_READINGS * 4 * squeezed / second_cache


def _values(step: Step, kind: type) -> int:
    """That operations of a kind give, for an image."""
    return sum(operation.output.count for operation in step.places.graph.operations if isinstance(operation, kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*LAYERS, *STYLES], default=list(STYLES))
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    operations, second_cache = peak() * 1e9, bandwidth(IN_SECOND_CACHE)
    print(provenance.processor(), f"{operations / 1e9:.0f} GFLOP/s, second cache {second_cache / 1e9:.0f} GB/s")
    for name in given.models:
        step = in_step(name, given.batch)
        speed = bandwidth(step.workspace // 512 * 512)
        products, between = (seconds * 1e6 for seconds in least(step, given.batch, operations, second_cache, speed))
        found, at_least = step.seconds * 1e6, products + between
        print(
            f"{name:20s} at least {at_least:5.1f} us an image ({products:.1f} + {between:.1f}), "
            f"takes {found:5.1f}: {found / at_least:.2f} times, its {step.workspace / 2**20:.0f} MiB "
            f"at {speed / 1e9:.0f} GB/s"
        )


if __name__ == "__main__":
    main()
