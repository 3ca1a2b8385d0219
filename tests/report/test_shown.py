"""Leaderboards, comparisons, histories and pictures as they show themselves: real runs on the digits."""

import copy
import csv
import pickle
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import modelflow as mf
from modelflow.analysis.comparison import compare_folders
from modelflow.analysis.units import range_words
from modelflow.errors import DataError, UsageError
from modelflow.report.answer import headline
from modelflow.report.bars import best_of
from modelflow.report.comparison import compare
from modelflow.report.leaderboard import Leaderboard, leaderboard_of
from modelflow.results.layout import read_run
from modelflow.studies.loaded_results import load_results
from report_studies import HOSTILE, change, run_folders_of


def latex_rows(text):
    """The rows of each table, cell by cell, the head first."""
    bodies = re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.S)
    return [[re.split(r" & ", row) for row in re.findall(r"^    (.*) \\\\$", body, re.M)] for body in bodies]


def captions(text):
    return [line for line in text.splitlines() if line.startswith(r"  \caption{")]


# --- leaderboard -----------------------------------------------------------------------------------------------------


def test_a_leaderboard_is_a_list_of_rows_that_shows_itself(results):
    rows = leaderboard_of(results)
    assert isinstance(rows, list)
    assert [row.model for row in rows] == ["wide", "narrow"]
    assert rows.to_markdown() == (results / "leaderboard.md").read_text()
    html = rows._repr_html_()
    assert html.count("<tr>") == 3
    assert f"<td>{100 * rows[0].accuracy:.2f}% ±" in html
    assert [row.model for row in leaderboard_of(results, sort="parameters", only="n*")] == ["narrow"]
    assert "no such" not in repr(Leaderboard())


def test_a_leaderboards_frame_is_the_csv_unrounded(results):
    pytest.importorskip("pandas")
    frame = leaderboard_of(results).to_frame()
    with (results / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(frame.columns) == list(rows[0])
    assert list(frame["accuracy"]) == [float(row["accuracy"]) for row in rows]
    assert list(frame["model"]) == [row["model"] for row in rows]


def test_a_leaderboard_in_latex_has_n_intervals_and_the_method(results):
    rows = leaderboard_of(results)
    text = rows.to_latex()
    ((head, *lines),) = latex_rows(text)
    assert head == ["Model", "Seeds", r"Accuracy (\%)", r"95 \% interval", "Macro F1", "Parameters"]
    accuracies = [read_run(folder).metrics.accuracy for folder in run_folders_of(results, "wide")]
    assert lines[0][:3] == ["wide", "2", f"{100 * np.mean(accuracies):.2f}"]
    (caption,) = captions(text)
    for part in ("355 test images of digits", "Student's t", "protocol card", "do not test whether two models differ"):
        assert part in caption
    one = Leaderboard([replace(rows[0], seeds=1)]).to_latex()
    assert "single run is over images like these (Wilson)" in captions(one)[0]
    assert "Student" not in one
    mixed = Leaderboard([rows[0], replace(rows[1], data="a_b", protocol_name="held-out", settings="lr 1")]).to_latex()
    assert latex_rows(mixed)[0][2][1:4] == [r"a\_b (355)", "held-out", "lr 1"]


def test_what_is_missing_of_a_study_is_said_with_its_leaderboard(copied):
    for path in (copied / "narrow" / "seeds" / "43").iterdir():
        path.unlink()
    rows = leaderboard_of(copied)
    assert "narrow (seed 43)" in rows.missing
    for text in (rows.to_latex(), rows.to_markdown(), unescape(rows._repr_html_())):
        assert "narrow (seed 43)" in text


# --- comparison ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three models with three seeds each."""
    where = tmp_path_factory.mktemp("three") / "results"
    spec = {"in_channels": 1, "num_classes": 10, "input_size": 8, "fc_sizes": [20]}
    models = {name: spec | {"cov_features": [n]} for name, n in (("a_narrow", 1), ("b_middle", 3), ("c_wide", 8))}
    study = {"dataset": "digits", "models": models, "epochs": 2, "seeds": 3, "lr": 3e-3}
    mf.run_study(study, where, jobs=1, verbose=False)
    return where


def test_a_comparison_begins_as_the_report_does_and_has_the_best_pair_first(three):
    from modelflow.analysis.archive import read_content

    found, group = compare(three), read_content(three).groups[0]
    assert found.headline == headline(group)
    assert " over three seeds. The seeds are too few to say that any difference is real." in found.headline
    best = found.entries[0].name
    assert best == best_of(found.verdicts)
    about = [best in (verdict.first, verdict.second) for verdict in found.verdicts]
    assert about == [True, True, False]
    first, second = found.verdicts[:2]
    assert first.difference.estimate <= second.difference.estimate
    assert set(found.verdicts) == set(compare_folders(three).verdicts)
    assert found.to_markdown().startswith(found.headline)
    html = unescape(found._repr_html_())
    at = [html.index(verdict.words.replace("-", "\u2212").split(":")[0].split(" by ")[0]) for verdict in found.verdicts]
    assert html.index(found.headline) < at[0] < at[1] < at[2]
    assert html.count('class="bar" role="img"') == 3


def test_a_comparisons_frame_has_a_row_a_verdict(three):
    pytest.importorskip("pandas")
    found = compare(three)
    frame = found.to_frame()
    assert list(frame["p_value"]) == [verdict.p_value for verdict in found.verdicts]
    assert list(frame["low"]) == [verdict.interval.low for verdict in found.verdicts]
    assert set(frame["verdict"]) <= {"better", "equivalent", "inconclusive"}
    assert list(frame["difference"]) == [verdict.difference.estimate for verdict in found.verdicts]


def test_a_comparison_in_latex_has_n_intervals_and_the_method(three):
    found = compare(three)
    accuracies, verdicts = latex_rows(found.to_latex())
    assert {line[-1] for line in verdicts[1:]} == {"not tested"}  # three seeds each are too few for three pairs
    assert [line[0] for line in accuracies[1:]] == [entry.name.replace("_", r"\_") for entry in found.entries]
    assert verdicts[0] == ["First", "Second", "Verdict", "Difference", r"95 \% interval", "p"]
    for line, verdict in zip(verdicts[1:], found.verdicts, strict=True):
        assert line[3] == f"{100 * verdict.difference.estimate:.2f}"
        assert line[4].replace("$-$", "-") == range_words(verdict.interval)
    first, second = captions(found.to_latex())
    assert "3 models on the 355 test images of digits" in first
    for part in ("3 seeds of each", "all 3 pairs (Bonferroni)", "Holm's method", "1.13 points", "runs that train"):
        assert part in second


def test_single_runs_are_compared_with_their_own_method(three):
    found = compare([three / "a_narrow" / "seeds" / "43", three / "c_wide"])
    assert found.headline == f"{found.verdicts[0].words}."
    _, caption = captions(found.to_latex())
    for part in ("2 runs", "one run of each", "McNemar", "bootstrap"):
        assert part in caption
    assert "Bonferroni" not in caption
    assert "this run of" in found._repr_html_()
    several = compare([three / "a_narrow" / "seeds" / "43", three / "c_wide", three / "b_middle"])
    assert several.headline == "One run of each cannot tell which of the three is the most accurate."
    best = several.entries[0].name
    assert best == best_of(several.verdicts)
    assert all(best in (verdict.first, verdict.second) for verdict in several.verdicts[:2])


def test_a_pair_out_of_a_study_is_said_to_be_one(three):
    found = compare([three / "a_narrow", three / "c_wide"])
    assert found.beside.startswith("1 more model in ")
    assert found.beside in unescape(found._repr_html_())
    assert compare(three).beside == ""
    with pytest.raises(UsageError, match="at least two runs"):
        mf.compare([three / "a_narrow"])


# --- runs, histories, pictures ---------------------------------------------------------------------------------------


def test_a_run_shows_its_figures_and_its_curves(results):
    run = mf.load_run(results / "wide")
    html = run._repr_html_()
    assert html.count("data:image/png;base64,") == 1
    assert f"accuracy {100 * run.record.metrics.accuracy:.2f} % (95 % interval " in html
    assert [epoch.epoch for epoch in run.history] == [1, 2]
    head, line = latex_rows(run.to_latex())[0]
    assert head[0] == "Model"
    assert line[:2] == ["wide", "1"]
    assert "Test accuracy of wide on the 355 test images of digits" in captions(run.to_latex())[0]
    with (results / "wide" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    history = [line.split(" & ") for line in re.findall(r"^    (\d.*) \\\\$", run.history.to_latex(), re.M)]
    assert history == [[r["epoch"], f"{float(r['loss']):.4f}", f"{float(r['val_loss']):.4f}"] for r in rows]


def test_a_history_is_a_tuple_that_can_be_copied(results):
    history = mf.load_run(results / "wide").history
    for other in (copy.copy(history), pickle.loads(pickle.dumps(history))):
        assert other == tuple(history)
        assert (other.title, other.protocol) == (history.title, history.protocol)


def test_what_history_csv_may_hold_is_drawn_or_left_out(copied):
    path = copied / "wide" / "history.csv"
    path.write_text("epoch,loss,val_loss,protocol\n999999999999,1,1,card\n-3,1,1,card\n2,0.5,0.6,card\n")
    assert mf.load_run(copied / "wide")._repr_html_().count("data:image/png") == 1
    path.write_text("")
    assert mf.load_run(copied / "wide")._repr_html_().count("data:image/png") == 0


def test_the_pictures_of_a_run_are_found_by_name_and_checked(copied):
    run = mf.load_run(copied / "wide")
    assert {"losses", "confusion_matrix", "intermediate_outputs"} <= set(run.figures)
    content, size = run.figures["losses"]._repr_png_()
    assert content == (copied / "wide" / "losses.png").read_bytes()
    assert 500 < size["width"] < 700
    assert run.figures._repr_html_().count("data:image/png") == len(run.figures)
    (copied / "wide" / "losses.png").write_text("<script>alert(1)</script>" * 9)
    with pytest.raises(DataError, match=r"losses\.png: is no PNG\. Evaluate the run again"):
        _ = run.figures


# --- a whole folder --------------------------------------------------------------------------------------------------


def test_a_results_folder_gives_its_runs_its_models_and_its_report(copied):
    found = load_results(copied)
    assert [(run.record.model_name, run.record.seed) for run in found.runs] == [
        *(("narrow", seed) for seed in (42, 43)),
        *(("wide", seed) for seed in (42, 43)),
    ]
    assert found.leaderboard() == leaderboard_of(copied)
    assert found.compare() == compare(copied)
    html = unescape(found._repr_html_())
    assert found.compare().headline in html
    assert html.index(found.compare().headline) < html.index("<table>")
    (copied / "report.html").unlink()
    report = found.report()
    assert Path(report).read_text() == (copied / "report.html").read_text()
    assert found.compare().headline in unescape(report._repr_html_())
    with pytest.raises(DataError, match="no finished run in it"):
        mf.load_results(copied / "nowhere")


def test_the_frame_of_runs_has_a_row_each(results):
    pytest.importorskip("pandas")
    frame = load_results(results).runs.to_frame()
    assert list(frame["seed"]) == [42, 43, 42, 43]
    assert list(frame["accuracy"]) == [read_run(folder).metrics.accuracy for folder in frame["folder"]]


def test_hostile_records_are_shown_and_obeyed_nowhere(copied):
    for model in ("narrow", "wide"):
        for folder in run_folders_of(copied, model):
            change(folder, data={"name": HOSTILE[0]}, warnings=[f"96 % of the images are called {HOSTILE[4]}"])
    found = load_results(copied)
    shown = (found, found.leaderboard(), found.compare(), found.runs, found.runs[0], found.runs[0].history)
    for face in shown:
        html = face._repr_html_()
        assert not set(re.findall(r"<(script|img src=x)", html))
        assert HOSTILE[0] not in html
        assert HOSTILE[0] not in face.to_markdown()
        assert HOSTILE[0] not in face.to_latex()
