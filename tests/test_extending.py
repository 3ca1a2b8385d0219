"""The examples of docs/extending.md: each file, put into a copy of the package, does what the page says."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from modelflow.results.layout import read_predictions

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n# src/(\S+)\n(.*?)^```$", PAGE, re.S | re.M)
CARD = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_kernel_sizes": [3], "cov_features": [4], "p": 0.0}
NETWORK = {"input": [1, 8, 8], "classes": 2, "layers": [{"pad": 2}, {"conv": 4, "activation": "relu"}, {"linear": 2}]}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A folder with a copy of the package that has the page's files too, and a network and a study that use them."""
    place = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "src" / "modelflow", place / "modelflow", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in EXAMPLES:
        (place / path).write_text(text, "utf-8")
    (place / "padded.json").write_text(json.dumps(NETWORK))
    (place / "card.json").write_text(json.dumps(CARD))
    study = {"models": ["padded.json"], "dataset": "stripes", "epochs": 3, "lr": 1e-2, "seeds": 2}
    (place / "study.json").write_text(json.dumps(study))
    return place


def modelflow(place, *arguments, source=None):
    """What a command prints in a folder, by the package that lies there, or by that in `source`."""
    command = [sys.executable, "-m", "modelflow", *arguments]
    paths = os.environ | {"PYTHONPATH": str(source or place), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=place, env=paths, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_an_example_of_each():
    assert [path for path, _ in EXAMPLES] == [
        "modelflow/networks/layers/pad.py",
        "modelflow/data/origins/stripes.py",
        "modelflow/kernels/rules/rmsprop.py",
        "modelflow/evaluation/scores/reciprocal_rank.py",
        "modelflow/results/artifacts/confidence.py",
        "modelflow/export/targets/torchscript.py",
        "modelflow/studies/engines/here.py",
    ]


def test_the_new_kinds_are_named_where_one_looks_for_them(extended):
    assert "stripes" in modelflow(extended, "data", "list")
    assert "|reciprocal_rank]" in re.sub(r"\s+", "", modelflow(extended, "compare", "--help"))
    assert "[here|local|ray]" in re.sub(r"\s+", "", modelflow(extended, "run", "--help"))
    traced = modelflow(extended, "trace", "padded.json")
    assert "pad 2" in traced
    assert "1x12x12" in traced


def test_they_train_a_study_together(extended):
    said = modelflow(extended, "run", "study.json", "--engine", "here", "--results", "r")
    assert "padded" in said
    run = json.loads((extended / "r" / "padded" / "run.json").read_text())
    logits_NK, y_N = read_predictions(extended / "r" / "padded")
    expected = label_ranking_average_precision_score(np.eye(2)[y_N], logits_NK)
    assert run["metrics"]["more"]["reciprocal_rank"] == pytest.approx(expected)
    assert run["metrics"]["accuracy"] > 0.9
    assert run["engine"] == "autograd: layers.0: pad 2 is not compiled"
    rows = list(csv.DictReader((extended / "r" / "leaderboard.csv").read_text().splitlines()))
    assert 0.9 < float(rows[0]["reciprocal_rank"]) <= 1
    table = modelflow(extended, "leaderboard", "r", "--sort", "reciprocal_rank", "--where", "reciprocal_rank > 0.5")
    assert "reciprocal_rank" in table
    table = modelflow(extended, "leaderboard", "r", "--metric", "reciprocal_rank")
    assert "Test reciprocal rank, mean ± half its 95 % interval over seeds" in " ".join(table.split())
    lines = (extended / "r" / "padded" / "confidence.csv").read_text().splitlines()
    assert len(lines) == 1 + 100
    assert "each test image's predicted class" in (extended / "r" / "padded" / "MODEL_CARD.md").read_text("utf-8")
    assert "stripes is made from a seed" in (extended / "r" / "report.html").read_text("utf-8")


def test_a_new_export_is_run_before_it_is_put_in_place(extended):
    modelflow(extended, "train", "generic_2", "--dataset", "digits", "--epochs", "1", "--results", "taken")
    said = modelflow(extended, "export", "taken/generic_2", "--to", "torchscript", "--output", "out")
    assert "largest difference" in said
    assert "torch.jit.load" in (extended / "out" / "README.md").read_text("utf-8")
    assert (extended / "out" / "model.ts").is_file()


def test_a_rule_trains_compiled_what_autograd_trains_without_it(extended):
    losses = []
    for source, results, engine in ((extended, "rule", "compiled"), (ROOT / "src", "none", "autograd")):
        asked = ("card.json", "--dataset", "digits", "--optimizer", "rmsprop", "--lr", "1e-4", "--epochs", "2")
        modelflow(extended, "train", *asked, "--results", results, source=source)
        folder = extended / results / "card"
        assert json.loads((folder / "run.json").read_text())["engine"].startswith(engine)
        rows = csv.DictReader((folder / "history.csv").read_text().splitlines())
        losses.append([float(row[name]) for row in rows for name in ("loss", "val_loss")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
