"""Whole runs by both engines, as `benchmarks/same_accuracy.py` stored them: of one kind, by another's arithmetic."""

import json
from pathlib import Path

import pytest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

STORED = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "same_accuracy.json").read_text())


@pytest.mark.parametrize("model", STORED["models"])
def test_ten_epochs_of_the_compiled_step_end_where_those_of_autograd_do(model):
    row = STORED["models"][model]
    ours, theirs = (DescrStatsW(row[engine]) for engine in ("compiled step", "autograd"))
    low, high = CompareMeans(ours, theirs).tconfint_diff(usevar="unequal")
    assert STORED["epochs"] == 10
    assert min(len(row["compiled step"]), len(row["autograd"])) >= 5
    assert (row["difference"]["low"], row["difference"]["high"]) == pytest.approx((low, high))
    assert low < 0 < high
    assert ours.tconfint_mean()[0] < theirs.mean < ours.tconfint_mean()[1]
