"""Whole runs by the compiled step and by autograd from the same initial weights: are the accuracies of one kind?

    python benchmarks/same_accuracy.py [--models generic_2 plain_bn] [--seeds 5] [--epochs 10] [--batch 16] [--lr 3e-4]

The card's protocol, two runs side by side, of the card's models or of benchmarks/modern_networks.py. Both see the images in the same order; dropout is drawn by other numbers, so that two
runs of one seed come apart. Writes same_accuracy.json: the accuracies, and the 95 % interval of the difference of the means.
"""

import argparse
import json
import multiprocessing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from modern_networks import LAYERS, network
from scipy import stats

from modelflow import Architecture, load_dataset
from modelflow.io.files import write_atomic
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import CARD, preset
from modelflow.results import provenance

RESULTS = Path(__file__).parent / "results" / "same_accuracy.json"
ENGINES = ("compiled step", "autograd")


def accuracy(run: tuple[str, str, int], epochs: int, batch: int, lr: float) -> float:
    """Of the 10,000 test images, after so many epochs."""
    model, engine, seed = run
    torch.set_num_threads(1)
    train_loader, test_loader = load_dataset("fashion-mnist").loaders(batch, seed)
    net = GenericCNN(network(model) if model in LAYERS else preset(model), seed)
    if engine == "autograd":
        net.register_forward_hook(lambda *_: None)  # which the compiled step would pass by
    arch = Architecture(net, torch.nn.CrossEntropyLoss(), torch.optim.Adam(net.parameters(), lr), False)
    arch.set_loaders(train_loader)
    arch.train(epochs, seed=seed)
    assert arch.engine.startswith(engine)
    logits_NK, y_N = arch.predictions(test_loader)
    return float((logits_NK.argmax(1) == y_N).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*CARD, *LAYERS], default=["generic_2", "cnn2_7"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    runs = [
        (model, engine, seed) for model in given.models for seed in range(42, 42 + given.seeds) for engine in ENGINES
    ]
    found: dict[str, dict[str, list[float]]] = {model: {engine: [] for engine in ENGINES} for model in given.models}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for (model, engine, seed), value in zip(
            runs, pool.imap(partial(accuracy, epochs=given.epochs, batch=given.batch, lr=given.lr), runs), strict=True
        ):
            print(f"{model}, seed {seed}, {engine}: {value:.2%}", flush=True)
            found[model][engine].append(value)
    rows = {model: by_engine | {"difference": _difference(by_engine)} for model, by_engine in found.items()}
    content = {
        "epochs": given.epochs,
        "batch": given.batch,
        "lr": given.lr,
        "models": rows,
        "versions": provenance.versions(),
    }
    content |= {"processor": provenance.processor(), "revision": provenance.git_revision()}
    write_atomic(given.out, json.dumps(content, indent=2) + "\n")


def _difference(by_engine: dict[str, list[float]]) -> dict[str, float]:
    """Compiled less autograd: the means' difference and its 95 % interval (Welch)."""
    ours, theirs = (np.array(by_engine[engine]) for engine in ENGINES)
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return {"mean": float(ours.mean() - theirs.mean()), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
