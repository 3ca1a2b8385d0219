"""Whole runs by the compiled step and by autograd from the same initial weights: are the accuracies of one kind?

    python benchmarks/same_accuracy.py [--models generic_2 cnn2_7] [--seeds 5] [--epochs 10]

The card's protocol, two runs side by side. Both see the images in the same order; dropout is drawn by other numbers, so that two
runs of one seed come apart. Writes same_accuracy.json: the accuracies, and the 95 % interval of the difference of the means.
"""

import argparse
import json
import multiprocessing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from modelflow import Architecture, load_dataset
from modelflow.io.files import write_atomic
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import CARD, preset
from modelflow.results import provenance

RESULTS = Path(__file__).parent / "results" / "same_accuracy.json"
ENGINES = ("compiled step", "autograd")


def accuracy(run: tuple[str, str, int], epochs: int) -> float:
    """Of the 10,000 test images, after so many epochs at the card's settings."""
    model, engine, seed = run
    torch.set_num_threads(1)
    train_loader, test_loader = load_dataset("fashion-mnist").loaders(16, seed)
    network = GenericCNN(preset(model), seed)
    if engine == "autograd":
        network.register_forward_hook(lambda *_: None)  # which the compiled step would pass by
    arch = Architecture(network, torch.nn.CrossEntropyLoss(), torch.optim.Adam(network.parameters(), 3e-4), False)
    arch.set_loaders(train_loader)
    arch.train(epochs, seed=seed)
    assert arch.engine.startswith(engine)
    logits_NK, y_N = arch.predictions(test_loader)
    return float((logits_NK.argmax(1) == y_N).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CARD, default=["generic_2", "cnn2_7"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    runs = [
        (model, engine, seed) for model in given.models for seed in range(42, 42 + given.seeds) for engine in ENGINES
    ]
    found: dict[str, dict[str, list[float]]] = {model: {engine: [] for engine in ENGINES} for model in given.models}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for (model, engine, seed), value in zip(
            runs, pool.imap(partial(accuracy, epochs=given.epochs), runs), strict=True
        ):
            print(f"{model}, seed {seed}, {engine}: {value:.2%}", flush=True)
            found[model][engine].append(value)
    rows = {model: by_engine | {"difference": _difference(by_engine)} for model, by_engine in found.items()}
    content = {"epochs": given.epochs, "batch": 16, "models": rows, "versions": provenance.versions()}
    content |= {"processor": provenance.processor(), "revision": provenance.git_revision()}
    write_atomic(RESULTS, json.dumps(content, indent=2) + "\n")


def _difference(by_engine: dict[str, list[float]]) -> dict[str, float]:
    """Compiled less autograd: the means' difference and its 95 % interval (Welch)."""
    ours, theirs = (np.array(by_engine[engine]) for engine in ENGINES)
    low, high = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.95)
    return {"mean": float(ours.mean() - theirs.mean()), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
