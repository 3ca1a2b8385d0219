"""The data of the charts against the runs, and their specifications against the schema of Vega-Lite."""

import json
from dataclasses import replace
from pathlib import Path

import altair
import numpy as np
import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match

from modelflow.report import charts
from modelflow.report.page import verdict_rows
from modelflow.results.records import Epoch
from report_studies import SEEDS, made_up

SHARES = {"a": 0.6, "b": 0.7, "c": 0.9}


@pytest.fixture(scope="module")
def group(content):
    return content.groups[0]


def test_accuracies_are_those_of_the_runs(group):
    dots = charts.seed_rows(group)
    expected = [(m.name, str(s.run.seed), 100 * s.figures.accuracy) for m in group.models for s in m.seeds]
    assert [(row["model"], row["seed"], row["accuracy"]) for row in dots] == [
        (name, seed, pytest.approx(accuracy)) for name, seed, accuracy in expected
    ]
    for row, model in zip(charts.accuracy_rows(group), group.models, strict=True):
        assert row["mean"] == pytest.approx(100 * model.accuracy)
        assert (row["low"], row["high"]) == pytest.approx(
            (100 * model.interval.low, 100 * model.interval.high), abs=1e-3
        )


@pytest.mark.parametrize("cost", charts.COSTS, ids=lambda cost: cost.key)
def test_the_front_holds_what_no_other_beats(content, cost):
    rng = np.random.default_rng(7)
    group = made_up(content, {name: rng.random((2, 200)) < rng.uniform(0.3, 0.9) for name in "abcdef"})
    models = tuple(
        replace(model, seeds=tuple(costing(seed, int(rng.integers(1, 9))) for seed in model.seeds))
        for model in group.models
    )
    rows = charts.cost_rows(replace(group, models=models), cost)
    for row in rows:
        beaten = any(
            (other["cost"] <= row["cost"] and other["mean"] > row["mean"])
            or (other["cost"] < row["cost"] and other["mean"] >= row["mean"])
            for other in rows
        )
        assert row["front"] == (not beaten)


def costing(seed, cost):
    run = seed.run.model_copy(
        update={
            "parameters": cost,
            "macs": cost,
            "seconds": {"training": cost / 10},
            "latency_ms": {"1": cost / 10},
            "bytes_on_disk": cost,
            "bytes_on_device": {"int8_flash": cost, "int8_ram": cost},
        }
    )
    return replace(seed, run=run)


def test_points_that_would_hide_each_other_are_set_apart_in_the_order_of_their_costs(content):
    accuracies = {"a": 0.8, "b": 0.8, "c": 0.8, "d": 0.4}
    group = made_up(content, {name: [np.arange(200) < 200 * share] for name, share in accuracies.items()})
    costs = {"a": 1000, "b": 1000, "c": 1001, "d": 1000}
    models = tuple(replace(m, seeds=tuple(costing(seed, costs[m.name]) for seed in m.seeds)) for m in group.models)
    rows = {row["model"]: row for row in charts.cost_rows(replace(group, models=models), charts.COSTS[0])}
    assert {name: row["cost"] for name, row in rows.items()} == costs
    assert rows["a"]["at"] == rows["d"]["at"] == 1000 < rows["b"]["at"] < rows["c"]["at"] < 1100


def test_of_points_of_one_cost_that_on_the_front_stays_where_its_line_turns(content):
    accuracies = {"a": 0.8, "b": 0.82}
    group = made_up(content, {name: [np.arange(200) < 200 * share] for name, share in accuracies.items()})
    models = tuple(replace(m, seeds=tuple(costing(seed, 1000) for seed in m.seeds)) for m in group.models)
    rows = {row["model"]: row for row in charts.cost_rows(replace(group, models=models), charts.COSTS[0])}
    assert (rows["a"]["front"], rows["b"]["front"]) == (False, True)
    assert rows["b"]["at"] == 1000 < rows["a"]["at"]


def test_a_cost_that_no_run_knows_is_not_offered(group):
    without = [
        replace(model, seeds=tuple(replace(s, run=s.run.model_copy(update={"macs": None})) for s in model.seeds))
        for model in group.models
    ]
    keys = [cost.key for cost in charts.costs_of(replace(group, models=tuple(without)))]
    assert keys == ["parameters", "seconds", "latency", "disk", "flash", "ram"]


def test_learning_curves_are_the_histories(group):
    rows = charts.curve_rows(group)
    assert len(rows) == 2 * len(SEEDS) * 2
    first = group.models[0].seeds[0]
    assert [row["training"] for row in rows[:2]] == pytest.approx([e.loss for e in first.history], rel=1e-3)
    assert [row["validation"] for row in rows[:2]] == pytest.approx([e.val_loss for e in first.history], rel=1e-3)


def test_long_curves_are_thinned_and_keep_their_ends(group):
    history = tuple(Epoch(epoch=i, loss=1 / i, val_loss=None) for i in range(1, 1001))
    model = replace(group.models[0], seeds=(replace(group.models[0].seeds[0], history=history),))
    rows = charts.curve_rows(replace(group, models=(model,)))
    assert len(rows) <= charts.MAX_EPOCHS + 1
    assert (rows[0]["epoch"], rows[-1]["epoch"]) == (1, 1000)
    assert {row["validation"] for row in rows} == {None}
    assert list(charts.mean_losses(replace(group, models=(model,)), "training")) == [row["epoch"] for row in rows]
    assert charts.mean_losses(replace(group, models=(model,)), "validation") == {}
    assert charts.thinned(replace(group, models=(model,)))
    assert not charts.thinned(group)


def test_a_single_epoch_is_drawn_as_points(group):
    one = [replace(m, seeds=tuple(replace(s, history=s.history[:1]) for s in m.seeds)) for m in group.models]
    means = [charts.curves_chart(g, "training").spec["layer"][1] for g in (replace(group, models=tuple(one)), group)]
    assert [layer["mark"]["point"] for layer in means] == [True, False]
    assert [layer["encoding"]["x"]["axis"].get("values") for layer in means] == [[1], [1, 2]]


def test_the_axis_of_many_epochs_marks_no_more_than_fit(group):
    longer = tuple(Epoch(epoch=i, loss=float(i), val_loss=None) for i in range(1, 14))
    many = [replace(m, seeds=tuple(replace(s, history=longer) for s in m.seeds)) for m in group.models]
    x = charts.curves_chart(replace(group, models=tuple(many)), "training").spec["layer"][1]["encoding"]["x"]
    assert "values" not in x["axis"]


def test_mean_losses_are_of_the_runs_that_have_the_epoch(group):
    longer = tuple(Epoch(epoch=i, loss=float(i), val_loss=None) for i in range(1, 4))
    first, second = group.models[0].seeds
    model = replace(group.models[0], seeds=(replace(first, history=longer), replace(second, history=longer[1:2])))
    means = charts.mean_losses(replace(group, models=(model,)), "training")
    assert means == {1: {model.name: 1}, 2: {model.name: 2}, 3: {model.name: 3}}


def test_bins_without_images_are_not_drawn(group):
    model = group.models[0]
    rows = charts.bin_rows(model)
    assert [row["images"] for row in rows] == [one.images for one in model.bins if one.images]


def test_bins_of_few_predictions_are_faded(group):
    model = group.models[0]
    rows = charts.bin_rows(model)
    assert {row["few"] for row in rows} == {True, False}
    assert all(row["few"] == (row["images"] < charts.FEW) for row in rows)
    bars, _, points = charts.bins_chart(model).spec["layer"]
    for layer in (bars, points):
        opacity = layer["encoding"]["opacity"]
        assert opacity["condition"]["test"] == "datum.few"
        assert opacity["condition"]["value"] < opacity["value"] / 2


def test_models_have_colours_and_marks_of_their_own(content):
    group = made_up(content, {f"m{i}": [[True] * 10] for i in range(50)})
    assert len({(charts.colour(model), charts.shape(model)) for model in group.models}) == 50


def test_intervals_of_verdicts_lie_within_their_axis(content):
    rng = np.random.default_rng(5)
    group = made_up(content, {name: rng.random((4, 300)) < share for name, share in SHARES.items()})
    rows, axis = verdict_rows(group)
    assert len(rows) == 3
    assert [row.about_best for row in rows] == [True, True, False]
    for row in rows:
        assert 0 <= row.low < row.middle < row.high <= 100
        assert (row.verdict.pair_interval.low > 0) == (row.low > axis.zero)
    assert axis.least < axis.zero < axis.most
    assert 2 <= len(axis.marks) <= 7


@pytest.fixture(scope="module")
def schema():
    path = Path(altair.__file__).parent / "vegalite" / "v6" / "schema" / "vega-lite-schema.json"
    return Draft7Validator(json.loads(path.read_text("utf-8")))


def test_the_charts_are_those_of_each_kind(group):
    assert set(charts.charts_of(group)) == {
        *("g0-accuracy", *(f"g0-cost-{cost.key}" for cost in charts.COSTS)),
        *("g0-training", "g0-validation", "g0-bins-0", "g0-bins-1"),
    }


@pytest.mark.parametrize("name", ["accuracy", "cost-parameters", "training", "bins-0"])
def test_specifications_fit_the_schema(group, schema, name):
    chart = charts.charts_of(group)[f"g0-{name}"]
    wrong = best_match(schema.iter_errors(chart.spec))
    assert wrong is None, wrong
    assert chart.label.endswith(".")


def test_a_wrong_specification_is_noticed(group, schema):
    spec = charts.charts_of(group)["g0-accuracy"].spec
    assert not schema.is_valid(spec | {"height": "tall"})
