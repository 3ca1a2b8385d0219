"""What a step of a network cannot be faster than on one core of this machine, and what it takes.

    python benchmarks/floor.py [--models plain resnet_like] [--batch 128]

A convolution takes at least its operations at the core's peak, and the maps that it goes through once at the speed of the
second cache; nothing else is counted. The roofs are measured (benchmarks/roofline.py), and so is the step: every call
alone, its data warm.
"""

import argparse

from modern_networks import LAYERS, STYLES
from profile_layers import measured, peak
from roofline import IN_SECOND_CACHE, bandwidth

from modelflow.results import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*LAYERS, *STYLES], default=list(STYLES))
    parser.add_argument("--batch", type=int, default=128)
    given = parser.parse_args()
    operations, bytes_moved = peak() * 1e9, bandwidth(IN_SECOND_CACHE)
    print(provenance.processor(), f"{operations / 1e9:.0f} GFLOP/s, second cache {bytes_moved / 1e9:.0f} GB/s")
    for name in given.models:
        rows = measured(name, given.batch)
        least = sum(max(row.flops / operations, row.bytes / bytes_moved) for row in rows) / given.batch * 1e6
        found = sum(row.seconds for row in rows) / given.batch * 1e6
        print(f"{name:20s} at least {least:5.1f} us an image, takes {found:5.1f}: {found / least:.2f} times")


if __name__ == "__main__":
    main()
