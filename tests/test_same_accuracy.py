"""Whole runs by both engines, as `benchmarks/same_accuracy.py` stored them: of one kind, by another's arithmetic."""

import json
from pathlib import Path

import pytest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
STORED = {
    epochs: json.loads((RESULTS / name).read_text("utf-8"))
    for name, epochs in (("same_accuracy.json", 10), ("same_accuracy_modern.json", 2))
}
ROWS = [(epochs, model) for epochs, stored in STORED.items() for model in stored["models"]]


@pytest.mark.parametrize(("epochs", "model"), ROWS)
def test_runs_of_the_compiled_step_end_where_those_of_autograd_do(epochs, model):
    row = STORED[epochs]["models"][model]
    ours, theirs = (DescrStatsW(row[engine]) for engine in ("compiled step", "autograd"))
    low, high = CompareMeans(ours, theirs).tconfint_diff(usevar="unequal")
    assert STORED[epochs]["epochs"] == epochs
    assert min(len(row["compiled step"]), len(row["autograd"])) >= 5
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx((low, high))
    assert low < 0 < high
    assert ours.tconfint_mean()[0] < theirs.mean < ours.tconfint_mean()[1]
