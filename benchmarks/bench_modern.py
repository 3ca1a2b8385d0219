"""The compiled step beside tuned PyTorch on three networks of today, in interleaved rounds, one thread each.

    python benchmarks/bench_modern.py [--rounds 7] [--images 3200] [--models plain_bn] [--batches 16]

Times are of the process's CPU, so that other processes on the machine weigh less. Tuned PyTorch is the faster of both
memory layouts, each with fused Adam and denormals flushed. Before anything is measured, each trains for an epoch.
"""

import argparse
import statistics
import time

import torch
from modern_networks import LAYERS, network
from torch.nn import functional as F

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.data.datasets import load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.training.denormals import flushed_to_zero

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def ours(name, x, y, batch):
    """A call that trains an epoch by the compiled step."""
    model = GenericCNN(network(name))
    arch = Architecture(
        model, torch.nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3), verbose=False
    )
    arch.set_loaders(Batches(x, y, batch, shuffle=True))

    def train():
        arch.train(1)
        assert arch.engine == "compiled step"

    return train


def theirs(name, x, y, batch, layout):
    """A call that trains an epoch by autograd."""
    model, x = GenericCNN(network(name)).to(memory_format=layout), x.to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    @flushed_to_zero()
    def train():
        model.train()
        for chosen in torch.randperm(len(x)).split(batch):
            loss = F.cross_entropy(model(x.index_select(0, chosen)), y.index_select(0, chosen))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def seconds(train):
    start = time.process_time()
    train()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--models", nargs="+", default=list(LAYERS))
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64])
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("fashion-mnist")
    x, y = data.train_x_NCHW[: given.images].contiguous(), data.train_y_N[: given.images]
    for name in given.models:
        for batch in given.batches:
            mine, others = ours(name, x, y, batch), [theirs(name, x, y, batch, way) for way in LAYOUTS.values()]
            for train in (mine, *others):
                train()
            rounds = [(seconds(mine), *map(seconds, others)) for _ in range(given.rounds)]
            ratios = sorted(min(others) / mine for mine, *others in rounds)
            micro = [1e6 * statistics.median(column) / given.images for column in zip(*rounds, strict=True)]
            print(
                f"{name:10s} batch {batch:3d}: {micro[0]:7.1f} us an image, PyTorch "
                f"{', '.join(f'{layout} {time:.1f}' for layout, time in zip(LAYOUTS, micro[1:], strict=True))}: "
                f"{statistics.median(ratios):.2f}x [{ratios[0]:.2f}, {ratios[-1]:.2f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
