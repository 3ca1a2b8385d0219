"""The leaderboard: order, means over seeds, the card's figures where they belong, CSV and Markdown."""

import csv
import io
import re

import pytest

from modelflow import run_study
from modelflow.analysis.archive import read_content
from modelflow.analysis.intervals import mean_interval, wilson_interval
from modelflow.analysis.leaderboard import as_csv, as_markdown, filter_and_sort, leaderboard, rows_of, table_of
from modelflow.errors import DataError, UsageError
from modelflow.evaluation.record import Metrics
from modelflow.networks.resolve import resolve
from modelflow.results.layout import folders_asked, write_run
from modelflow.results.records import DataRecord
from small import a_run, digits_study, spec


def metrics(accuracy):
    return Metrics(accuracy=accuracy, macro_f1=accuracy / 2, loss=1 - accuracy, images=10_000)


@pytest.fixture
def study(tmp_path):
    """generic_2 with two seeds, cnn2_3 with one that died, and a model of one's own."""

    def finish(name, seed, accuracy, **changes):
        folder = folders_asked(tmp_path, name, [42, 43])[seed - 42]
        write_run(folder, a_run(model_name=name, seed=seed, metrics=metrics(accuracy), **changes))

    finish("cnn2_3", 42, 0.1, warnings=("one class", "no better than guessing"), parameters=4_424)
    finish("generic_2", 42, 0.86, seconds={"training": 30.0})
    finish("generic_2", 43, 0.88, seconds={"training": 40.0})
    finish("wide", 42, 0.9, macs=None)
    return tmp_path


def test_models_stand_best_first_with_means_over_their_seeds(study):
    wide, generic_2, dead = leaderboard(study)
    assert [row.model for row in (wide, generic_2, dead)] == ["wide", "generic_2", "cnn2_3"]
    assert (generic_2.seeds, generic_2.accuracy, generic_2.macro_f1) == (2, pytest.approx(0.87), pytest.approx(0.435))
    assert (generic_2.loss, generic_2.seconds) == (pytest.approx(0.13), 35.0)
    assert (dead.warnings, generic_2.warnings) == (1, 0)
    assert (wide.group, wide.card_accuracy, wide.macs) == ("own", None, None)


def test_models_of_the_same_score_stand_by_name_in_whichever_order_they_were_trained(study):
    write_run(study / "cnn2_3", a_run(model_name="cnn2_3", metrics=metrics(0.9)))
    for order in (("cnn2_3", "wide"), ("wide", "cnn2_3")):
        assert [row.model for row in rows_of(study / name for name in order)] == ["cnn2_3", "wide"]


def test_the_figures_of_the_card_stand_beside_its_models_on_its_data_only(study):
    rows = {row.model: row for row in leaderboard(study)}
    assert (rows["generic_2"].card_accuracy, rows["generic_2"].card_macro_f1) == (0.8761, 0.8746)
    assert rows["generic_2"].group == "Custom (Simpler)"
    digits = DataRecord(name="digits", training_images=1442, validation_images=355)
    write_run(study / "cnn2_3", a_run(model_name="cnn2_3", data=digits))
    assert {row.model: row.card_accuracy for row in leaderboard(study)}["cnn2_3"] is None


def test_csv_has_every_field_unrounded(study):
    lines = list(csv.DictReader(io.StringIO(as_csv(leaderboard(study)))))
    assert [line["model"] for line in lines] == ["wide", "generic_2", "cnn2_3"]
    assert float(lines[1]["accuracy"]) == leaderboard(study)[1].accuracy
    assert (lines[0]["macs"], lines[0]["card_accuracy"], lines[1]["card_accuracy"]) == ("", "", "0.8761")


def test_markdown_has_the_columns_of_the_card_and_marks_dead_runs(study):
    heading, _, *lines = as_markdown(leaderboard(study)).splitlines()
    assert heading.startswith(
        "Test accuracy, mean ± half its 95 % interval over seeds · also validated on the test images"
    )
    assert lines[0] == "| Model | Group | Seeds | Accuracy | Macro F1 | Parameters | Card acc | Card F1 |"
    assert lines[1] == "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[3] == "| generic_2 | Custom (Simpler) | 2 | 87.00% ±12.71 | 0.4350 | 11,854 | 87.61% | 0.8746 |"
    assert lines[4].startswith("| cnn2_3 † | n_feature Variation (Narrower) | 1 | 10.00% |")
    assert lines[5:] == ["", "† a run looks dead: see the warnings in its run.json"]
    assert "†" not in as_markdown(leaderboard(study)[:2])


def test_pipes_in_markdown_are_escaped(study):
    row = leaderboard(study)[0]
    line = as_markdown([type(row)(**vars(row) | {"network": "a|b"})]).splitlines()[4]
    assert r"| a\|b |" in line


def test_a_folder_without_finished_runs_is_refused(tmp_path):
    for where in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r": no finished run in it. Give a results folder"):
            leaderboard(where)


def test_one_damaged_run_is_named_rather_than_left_out(study):
    (study / "wide" / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"wide/run\.json: Invalid JSON"):
        leaderboard(study)


def test_rows_are_sorted_best_first_by_any_column_and_filtered(study):
    rows = leaderboard(study)
    names = [row.model for row in filter_and_sort(rows, "parameters")]
    assert names[0] == "cnn2_3"
    assert [row.model for row in filter_and_sort(rows, "macs")][-1] == "wide"  # which has no such figure
    assert [row.model for row in filter_and_sort(rows, "macro_f1")] == ["wide", "generic_2", "cnn2_3"]
    assert [row.model for row in filter_and_sort(rows, only="cnn2_*")] == ["cnn2_3"]
    assert [row.model for row in filter_and_sort(rows, where=["accuracy >= 0.5", "seconds<36"])] == [
        "wide",
        "generic_2",
    ]
    assert filter_and_sort(rows, where=["macs < 0"]) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"by": "speed"}, "--sort speed: expected one of model, group, seeds"),
        ({"where": ["speed < 3"]}, "--where speed: expected one of model"),
        ({"where": ["accuracy 3"]}, "--where 'accuracy 3': expected a condition such as 'parameters < 10000'"),
        ({"where": ["accuracy < 1e"]}, "--where 'accuracy < 1e': expected a condition such as"),
    ],
)
def test_what_cannot_be_sorted_or_filtered_by_is_refused(study, asked, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        filter_and_sort(leaderboard(study), **asked)


def test_the_intervals_are_those_of_statistics(study):
    wide, generic_2, _ = leaderboard(study)
    expected = mean_interval([0.86, 0.88])
    assert (generic_2.accuracy_low, generic_2.accuracy_high) == (expected.low, expected.high)
    expected = wilson_interval(9000, 10_000)
    assert (wide.accuracy_low, wide.accuracy_high) == (expected.low, expected.high)


@pytest.mark.parametrize(
    ("other", "named"), [("held-out but epochs 3", "held-out"), ("mine", "mine"), ("", "not known")]
)
def test_rows_of_different_protocols_name_theirs(study, other, named):
    write_run(study / "wide", a_run(model_name="wide", metrics=metrics(0.9), protocol=other))
    shown = table_of(leaderboard(study))
    assert shown.header[: shown.left] == ("Model", "Group", "Protocol")
    found = {line[0].split()[0]: line[2] for line in shown.lines}
    assert found == {"generic_2": "card", "cnn2_3": "card", "wide": named}
    header, rule, *lines = as_markdown(leaderboard(study)).splitlines()[2:]
    assert (header.split(" | ")[2], rule.split(" | ")[2:4]) == ("Protocol", ["---", "---:"])
    assert lines[0].split(" | ")[2] == named


def test_rows_of_one_protocol_name_the_settings_that_they_do_not_share(study):
    write_run(study / "generic_2" / "seeds" / "43", a_run(model_name="generic_2", seed=43, epochs=3))
    shown = table_of(leaderboard(study))
    assert shown.header[: shown.left] == ("Model", "Group", "Settings")
    settings = {line[0]: line[2] for line in shown.lines if line[0].startswith("generic_2")}
    assert settings == {"generic_2 (generic_2)": "epochs 10", "generic_2 (generic_2/seeds/43)": "epochs 3"}


def test_the_figure_that_rows_are_sorted_by_is_shown(study):
    rows = leaderboard(study)
    usual = table_of(rows).header
    for field, cells in (
        ("loss", ["0.1000", "0.1300", "0.9000"]),
        ("seconds", ["30.0000", "35.0000", "30.0000"]),
        ("accuracy_least", ["90.00%", "86.00%", "10.00%"]),
        ("warnings", ["0", "0", "1"]),
        ("brier", ["", "", ""]),
    ):
        shown = table_of(rows, field)
        assert shown.header == (*usual[:-2], field, *usual[-2:])
        assert [line[-3] for line in shown.lines] == cells
    assert all(table_of(rows, name).header == usual for name in ("accuracy", "model", "parameters", "card_macro_f1"))


def test_a_network_that_is_not_the_cards_is_named_by_its_short_form(tmp_path):
    study = digits_study(models=["c4 m2 fc", {"name": "narrow", "spec": spec(3)}], seeds=[42], epochs=1)
    run_study(study, tmp_path, jobs=1, verbose=False)
    rows = {row.model: row for row in leaderboard(tmp_path)}
    assert rows["c4-m2-fc"].network == "c4 m2 fc"
    assert "| c4-m2-fc | c4 m2 fc | 1 |" in as_markdown(list(rows.values()))
    assert read_content(tmp_path).groups[0].models[0].network in {row.network for row in rows.values()}
    for row in rows.values():
        assert resolve(row.network)[1].logits == 10
