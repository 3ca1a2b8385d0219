"""A process that trains one of the networks of today by the ways of one library: `python modern_ways.py LIBRARY MODEL BATCH`.

It reads lines of JSON, `["train", WAY, IMAGES]`, and answers each with the seconds taken. First it says which ways it has.
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import product

import torch
from modern_networks import network
from torch import nn
from torch.nn import functional as F

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.data.datasets import load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.training.denormals import flushed_to_zero

LR, SEED = 1e-3, 42
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
Train = Callable[[int], None]


def compiled(name: str, batch: int, x: torch.Tensor, y: torch.Tensor) -> dict[str, Train]:
    """By the compiled step, on one thread."""
    model = GenericCNN(network(name), SEED)
    arch = Architecture(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), LR), verbose=False)
    arch.threads = lambda: 1
    torch.set_num_threads(1)

    def train(images: int) -> None:
        arch.set_loaders(Batches(x[:images], y[:images], batch, shuffle=True))
        arch.train(1)
        assert arch.engine == "compiled step"

    return {"1 thread": train}


def autograd(name: str, batch: int, x: torch.Tensor, y: torch.Tensor) -> dict[str, Train]:
    """By PyTorch as fast as it goes: fused Adam, denormals flushed; in both layouts, by one thread or two."""

    def way(threads: int, layout: torch.memory_format) -> Train:
        model = GenericCNN(network(name), SEED).to(memory_format=layout)
        optimizer, own = torch.optim.Adam(model.parameters(), LR, fused=True), x.contiguous(memory_format=layout)

        @flushed_to_zero()
        def train(images: int) -> None:
            torch.set_num_threads(threads)
            model.train()
            for chosen in torch.randperm(images).split(batch):
                loss = F.cross_entropy(model(own.index_select(0, chosen)), y.index_select(0, chosen))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        return train

    return {
        f"{threads} thread{'s' * (threads > 1)}, {layout}": way(threads, LAYOUTS[layout])
        for threads, layout in product((1, 2), LAYOUTS)
    }


def jitted(name: str, batch: int, x: torch.Tensor, y: torch.Tensor) -> dict[str, Train]:
    """By JAX, in both layouts; it takes the threads that it wants."""
    from modern_jax import LAYOUTS, scanned

    return {layout: scanned(name, batch, x, y, layout) for layout in LAYOUTS}


LIBRARIES = {"modelflow": compiled, "torch": autograd, "jax": jitted}


def main() -> None:
    library, model, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    data = load_dataset("fashion-mnist")
    ways = LIBRARIES[library](model, batch, data.train_x_NCHW.contiguous(), data.train_y_N)
    print(json.dumps(list(ways)), flush=True)
    for line in sys.stdin:
        way, images = json.loads(line)
        begin = time.perf_counter()
        ways[way](images)
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
