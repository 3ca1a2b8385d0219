"""What the tests of the report share: the study's models, changes to its files, groups with answers made up."""

import csv
import json
from dataclasses import replace

import numpy as np

from modelflow.analysis.archive import group_of
from modelflow.io.files import sha256
from modelflow.results.layout import predictions_npz

SEEDS = [42, 43]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a name " * 40,
    "\u202eevil\u202c שלום",
    "\u200b\u3164",
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }}",
    '" onmouseover="alert(3)',
    "a,b\nc",
    "&amp;",
    "javascript:alert(4)",
]


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


MODELS = [{"name": "narrow", "spec": spec(2)}, {"name": "wide", "spec": spec(8)}]


def run_folders_of(results, model):
    return [results / model, *sorted((results / model / "seeds").iterdir())]


def change(folder, **changes):
    """Other fields in a run's run.json; a dict is merged into the one that is there."""
    path = folder / "run.json"
    fields = json.loads(path.read_text())
    for name, value in changes.items():
        fields[name] = fields[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(fields))


def made_by(folder, protocol):
    """The run as if it had been made by this protocol."""
    change(folder, protocol=protocol, settings={"protocol": protocol})


def rename_classes(folder, names):
    path = folder / "confusion_matrix.csv"
    rows = list(csv.reader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([rows[0][0], *names])
        writer.writerows([name, *row[1:]] for name, row in zip(names, rows[1:], strict=True))


def answering(seed, correct_N, number=None):
    """The run as it would be with these answers: right ones its labels, wrong ones the class after."""
    labels_N = np.resize(seed.labels_N, len(correct_N))
    predicted_N = np.where(correct_N, labels_N, (labels_N + 1) % 10)
    logits_NK = (5.0 * np.eye(10, dtype=np.float32))[predicted_N]
    run = seed.run if number is None else seed.run.model_copy(update={"seed": number})
    figures = seed.figures.model_copy(update={"accuracy": float(correct_N.mean())})
    return replace(seed, run=run, figures=figures, logits_NK=logits_NK, labels_N=labels_N)


def made_up(content, correct_by_model, absent=0):
    """A group of models whose runs (S) have right what is said (S x N), best of `absent` more."""
    base = content.groups[0].models[0].seeds[0]
    seeds = []
    for name, correct_SN in correct_by_model.items():
        for i, correct_N in enumerate(np.asarray(correct_SN, bool)):
            seed = answering(base, correct_N, 42 + i)
            seeds.append(replace(seed, run=seed.run.model_copy(update={"model_name": name})))
    return group_of(0, seeds, {name: i for i, name in enumerate(correct_by_model)}, absent)


def write_predictions(folder, logits_NK, labels_N):
    """Other predictions, which run.json takes for its own."""
    content = predictions_npz(logits_NK, labels_N)
    (folder / "predictions.npz").write_bytes(content)
    change(folder, files={"predictions.npz": sha256(content)})
