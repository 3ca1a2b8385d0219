"""The drawn filters beside the weights of the run."""

import re

import numpy as np
import pytest

from modelflow.figures.style import TIMES
from modelflow.report.filters import LEVELS, filters_of
from modelflow.results.weights import ROOM, read_weights


def levels_in(svg, height, width):
    """What the paths paint: for each unit of the drawing its sign times its level."""
    drawn = np.zeros((height, width))
    for sign, opacity, lines in re.findall(r'class="(above|below)" stroke-opacity="([\d.]+)" d="([^"]*)"', svg):
        for x, y, long in re.findall(r"M(\d+) (\d+)h(\d+)", lines):
            drawn[int(y), int(x) : int(x) + int(long)] = float(opacity) * (1 if sign == "above" else -1)
    return drawn


@pytest.mark.parametrize("model", ["narrow", "wide"])
def test_squares_are_the_weights(results, content, model):
    run = next(one for one in content.runs if one.model_name == model)
    (layer,) = filters_of(results / model, run)
    weights = read_weights(results / model, run, 4 * run.parameters + ROOM)["conv_layers.0.weight"]
    assert layer.name == "conv_layers.0"
    assert f"{len(weights)} filters {TIMES} 1 input channel of 3{TIMES}3 weights" in layer.note
    drawn = levels_in(layer.svg, 3, 4 * len(weights) - 1)
    limit = np.abs(weights).max()
    for i, filter_HW in enumerate(weights[:, 0]):
        assert np.abs(drawn[:, 4 * i : 4 * i + 3] - filter_HW / limit).max() <= 0.5 / LEVELS + 1e-3
    assert f"±{limit:.3g}" in layer.note


def test_what_cannot_be_read_has_no_filters(copied, content):
    run = next(one for one in content.runs if one.model_name == "wide")
    (copied / "wide" / "model.safetensors").write_bytes(b"<script>")
    assert filters_of(copied / "wide", run) == ()
