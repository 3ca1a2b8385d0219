"""An epoch on a CUDA device beside one on a CPU's core, for two of the card's models and three networks of today.

    python benchmarks/on_gpu.py --dataset fashion-mnist --epochs 2

Prints microseconds per training image: the least of so many epochs after one that is not counted. Takes some five minutes
with 20,000 images.
"""

import argparse
import tempfile
import time

import torch
from modern_networks import LAYERS, network

from modelflow import ModelFlow
from modelflow.data.datasets import Dataset, load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Description
from modelflow.networks.resolve import preset

CARD = ("generic_2", "generic_3")
BATCHES = (16, 64, 512)


def seconds(data: Dataset, spec: Description, batch: int, device: str, epochs: int) -> tuple[float, str]:
    """Of an epoch without validation, and what trained it."""
    train_loader, _ = data.loaders(batch, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        flow = ModelFlow(GenericCNN(spec, 3), train_loader, None, results_dir=folder, verbose=False, device=device)
        flow.train(1)
        taken = []
        for _ in range(epochs):
            start = time.perf_counter()
            flow.train(1)
            taken.append(time.perf_counter() - start)
    return min(taken), str(flow.arch.engine).partition(":")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(given.dataset)
    specs = {name: preset(name) for name in CARD} | {name: network(name) for name in LAYERS}
    for name, spec in specs.items():
        for batch in BATCHES:
            for device in ("cuda", "cpu") if batch < BATCHES[-1] else ("cuda",):
                taken, engine = seconds(data, spec, batch, device, given.epochs)
                each = 1e6 * taken / len(data.train_y_N)
                print(f"{name}, batch {batch}, {device}, {engine}: {each:.1f} microseconds an image", flush=True)


if __name__ == "__main__":
    main()
