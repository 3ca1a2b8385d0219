"""Chooses `--recipe best`: candidates trained on 55,000 training images, judged on the 5,000 held out; no test image.

    python benchmarks/choose_recipe.py [MODEL ...]      trains what results/recipes.csv does not hold yet, shows the table

The split is stratified and seeded; one seed a model and candidate, two runs side by side.
"""

import csv
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import torch
from sklearn.model_selection import train_test_split
from torch import nn

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.data.datasets import load_dataset
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import CARD, preset
from modelflow.training.optimizers import make_optimizer
from modelflow.training.schedules import OneCycle

KEPT = Path(__file__).parent / "results" / "recipes.csv"
HELD_OUT, SEED = 5000, 42
FIELDS = ("model", "epochs", "batch_size", "lr", "accuracy", "loss")
CANDIDATES = [(30, 64, 5e-3), (60, 64, 5e-3), (60, 64, 2e-3), (60, 32, 2e-3), (60, 32, 1e-3), (60, 16, 1e-3)]


@cache
def split():  # type: ignore[no-untyped-def]
    """Images and labels to train on, and those held out."""
    data = load_dataset("fashion-mnist")
    x, y = data.train_x_NCHW, data.train_y_N
    train, held_out = train_test_split(torch.arange(len(y)).numpy(), test_size=HELD_OUT, stratify=y, random_state=SEED)
    return x[train], y[train], x[held_out], y[held_out]


def judge(job):  # type: ignore[no-untyped-def]
    """Accuracy and loss on the images held out after training one model by one candidate."""
    name, epochs, batch_size, lr = job
    torch.set_num_threads(1)
    x, y, x_held, y_held = split()
    model = GenericCNN(preset(name), SEED)
    arch = Architecture(model, nn.CrossEntropyLoss(), make_optimizer("adam", model.parameters(), lr), verbose=False)
    arch.set_loaders(Batches(x, y, batch_size, shuffle=True), Batches(x_held, y_held, 1000))
    arch.schedule = OneCycle(epochs * len(arch.train_loader))
    arch.train(epochs, seed=SEED)
    accuracy = (torch.from_numpy(arch.predict(x_held)).argmax(1) == y_held).float().mean().item()
    return (*job, accuracy, arch.val_losses[-1])


def kept():  # type: ignore[no-untyped-def]
    """Rows by job, as they stand in the file."""
    if not KEPT.exists():
        return {}
    with KEPT.open() as file:
        rows = [(r["model"], int(r["epochs"]), int(r["batch_size"]), float(r["lr"]), r) for r in csv.DictReader(file)]
    return {row[:4]: row[4] for row in rows}


def fill_in(jobs):  # type: ignore[no-untyped-def]
    """Trains the jobs that are not kept and adds each to the file as it ends."""
    due = [job for job in jobs if job not in kept()]
    begun = KEPT.exists()
    KEPT.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(2) as pool, KEPT.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow(FIELDS)
        for row in pool.map(judge, due):
            writer.writerow(row)
            file.flush()
            print(f"{row[0]}, {row[1]} epochs, batch {row[2]}, lr {row[3]:g}: {row[4]:.2%}", flush=True)


def show():  # type: ignore[no-untyped-def]
    """A line a candidate: accuracy of each model on the images held out, and the mean over the models."""
    rows = kept()
    print("| epochs, batch, lr | " + " | ".join(CARD) + " | mean |\n|---|" + "---:|" * (len(CARD) + 1))
    for candidate in CANDIDATES:
        found = [rows.get((name, *candidate)) for name in CARD]
        values = [None if row is None else 100 * float(row["accuracy"]) for row in found]
        mean = "" if None in values else f"{sum(values) / len(values):.2f}"
        cells = ["" if value is None else f"{value:.2f}" for value in values]
        print(f"| {candidate[0]}, {candidate[1]}, {candidate[2]:g} | " + " | ".join([*cells, mean]) + " |")


if __name__ == "__main__":
    fill_in([(name, *candidate) for candidate in CANDIDATES for name in sys.argv[1:] or CARD])
    show()
