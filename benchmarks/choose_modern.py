"""Chooses `--recipe modern`: candidates trained on 55,000 training images, judged on the 5,000 held out; no test image.

    python benchmarks/choose_modern.py --seeds 2 --jobs 4        adds to results/recipes_modern.csv, shows the table

Three networks with batch norm (modern_networks.py). On a CUDA device the step is captured as a graph: a training of fifteen
epochs takes some ten seconds there, and half an hour on a CPU's core. The last, smaller batch of an epoch is left out.
"""

import argparse
import csv
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from modern_networks import LAYERS, network
from torch import Tensor, nn

from modelflow.data.datasets import load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.training.schedules import KINDS

KEPT = Path(__file__).parent / "results" / "recipes_modern.csv"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MAKERS = {
    "adam": lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd, fused=True, capturable=DEVICE == "cuda"),
    "sgd": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9, nesterov=True, fused=True),
}


class Candidate(NamedTuple):
    """A way to train; `adam` is AdamW, `sgd` has momentum 0.9, Nesterov's."""

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    schedule: str
    label_smoothing: float = 0.0


CANDIDATES = [
    Candidate(15, 64, "adam", 1e-3, 0.0, "constant"),
    Candidate(15, 64, "adam", 3e-3, 0.01, "one-cycle"),
    Candidate(15, 64, "adam", 1e-2, 0.01, "one-cycle"),
    Candidate(15, 64, "adam", 1e-2, 0.05, "one-cycle"),
    Candidate(15, 64, "adam", 3e-3, 0.05, "cosine"),
    Candidate(15, 64, "adam", 1e-2, 0.05, "cosine"),
    Candidate(15, 64, "sgd", 0.05, 5e-4, "cosine"),
    Candidate(15, 64, "sgd", 0.2, 5e-4, "one-cycle"),
    Candidate(15, 64, "adam", 1e-2, 0.05, "one-cycle", 0.1),
    Candidate(15, 128, "adam", 1e-2, 0.05, "one-cycle"),
    Candidate(15, 32, "adam", 5e-3, 0.05, "one-cycle"),
    Candidate(30, 64, "adam", 1e-2, 0.05, "one-cycle"),
]


@cache
def split(dataset: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels to train on, and those held out."""
    loaders = load_dataset(dataset).held_out_loaders(64)[:2]
    parts = [
        values if loader.index_N is None else values[loader.index_N]
        for loader in loaders
        for values in loader.dataset.tensors
    ]
    return tuple(part.to(DEVICE) for part in parts)  # type: ignore[return-value]


def step_of(
    model: nn.Module, loss_fn: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> Callable[[], None]:
    """What makes one update with the images that `x` and `y` hold then; on CUDA a captured graph."""

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        loss_fn(model(x), y).backward()
        optimizer.step()

    if DEVICE == "cpu":
        return step
    state = [value.clone() for value in model.state_dict().values()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    with torch.no_grad():  # as before the warm-up
        for value, before in zip(model.state_dict().values(), state, strict=True):
            value.copy_(before)
        for of_parameter in optimizer.state.values():
            for value in of_parameter.values():
                value.zero_()
    return graph.replay


def judge(dataset: str, name: str, seed: int, candidate: Candidate) -> float:
    """The accuracy on the images held out, after training one network by one candidate."""
    torch.set_num_threads(1)
    x, y, x_held, y_held = split(dataset)
    size = candidate.batch_size
    model = GenericCNN(network(name), seed).to(DEVICE).train()
    lr = torch.tensor(candidate.lr, device=DEVICE)
    optimizer = MAKERS[candidate.optimizer](model.parameters(), lr, candidate.weight_decay)
    batch, labels = x[:size].clone(), y[:size].clone()
    step = step_of(model, nn.CrossEntropyLoss(label_smoothing=candidate.label_smoothing), optimizer, batch, labels)
    steps = candidate.epochs * (len(y) // size)
    kind = KINDS[candidate.schedule]
    rates = candidate.lr * (np.ones(steps) if kind is None else kind(steps, 0)(np.arange(steps)))
    for rate, chosen in zip(rates, batches(len(y), size, candidate.epochs, seed), strict=True):
        lr.fill_(float(rate))
        torch.index_select(x, 0, chosen, out=batch)
        torch.index_select(y, 0, chosen, out=labels)
        step()
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x_held.split(1000)])
    return (logits.argmax(1) == y_held).float().mean().item()


def batches(images: int, size: int, epochs: int, seed: int) -> Iterator[Tensor]:
    """The images of each step."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(images, generator=generator).to(DEVICE)
        yield from order[: images // size * size].split(size)


def kept() -> dict[tuple[str, int, Candidate], float]:
    """The accuracies that stand in the file."""
    if not KEPT.exists():
        return {}
    with KEPT.open() as file:
        return {
            (
                row["model"],
                int(row["seed"]),
                Candidate(
                    int(row["epochs"]),
                    int(row["batch_size"]),
                    row["optimizer"],
                    *(float(row[name]) for name in ("lr", "weight_decay")),
                    row["schedule"],
                    float(row["label_smoothing"]),
                ),
            ): float(row["accuracy"])
            for row in csv.DictReader(file)
        }


def fill_in(dataset: str, seeds: int, jobs: int) -> None:
    """Trains what is not kept, and adds each row as it ends."""
    known = kept()
    due = [
        (name, seed, candidate)
        for seed in range(1, seeds + 1)
        for candidate in CANDIDATES
        for name in LAYERS
        if (name, seed, candidate) not in known
    ]
    begun = KEPT.exists()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool, KEPT.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow(("model", "seed", *Candidate._fields, "accuracy"))
        futures = {pool.submit(judge, dataset, *job): job for job in due}
        for future in as_completed(futures):
            name, seed, candidate = futures[future]
            writer.writerow((name, seed, *candidate, f"{future.result():.4f}"))
            file.flush()
            print(name, seed, *candidate, f"{future.result():.2%}", flush=True)


def show() -> None:
    """A line a candidate: the mean over the seeds, of each network and of all."""
    rows = kept()
    head = ("Epochs", "Batch size", "Optimizer", "Learning rate", "Weight decay", "Schedule", "Smoothing")
    print("| " + " | ".join([*head, *LAYERS, "Mean"]) + " |\n|" + "---|" * (len(head) + len(LAYERS) + 1))
    for candidate in CANDIDATES:
        means = []
        for name in LAYERS:
            values = [accuracy for (one, _, way), accuracy in rows.items() if (one, way) == (name, candidate)]
            means.append(100 * statistics.mean(values) if values else float("nan"))
        cells = [f"{mean:.2f}" for mean in [*means, statistics.mean(means)]]
        print("| " + " | ".join([*map(str, candidate), *cells]) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    fill_in(given.dataset, given.seeds, given.jobs)
    show()
