"""Studies decided by another metric than accuracy: kept, followed by every command, of older results too."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from sklearn.metrics import balanced_accuracy_score, f1_score

import modelflow as mf
from modelflow import run_study
from modelflow.analysis.archive import read_content
from modelflow.analysis.comparison import as_data, compare_folders
from modelflow.analysis.leaderboard import leaderboard
from modelflow.analysis.verdicts import compare
from modelflow.cli import run_command
from modelflow.errors import UsageError
from modelflow.evaluation.measure import metric_named
from modelflow.report.answer import headline
from modelflow.report.charts import charts_of
from modelflow.report.how import _decided_words
from modelflow.results.asked import read_asked
from modelflow.results.layout import read_predictions, read_run, run_folders
from modelflow.studies.pages import write_pages
from small import digits_study

COLUMNS = {"accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "macro_f1": "macro_f1", "nll": "loss"}
OTHERS = [word for word in COLUMNS if word != "accuracy"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two models of three seeds, decided by the negative log-likelihood."""
    where = tmp_path_factory.mktemp("by_nll") / "results"
    rows = run_study(digits_study(metric="nll", margin=0.05, seeds=3), where, jobs=1, verbose=False)
    return where, rows


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "results")


def kept(where):
    return json.loads((where / "study.json").read_text())


def printed(capsys, *arguments, code=0):
    capsys.readouterr()
    assert run_command([str(one) for one in arguments]) == code
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


def test_runs_and_their_progress_are_told_by_it(copied, capsys):
    run_study(digits_study(metric="nll", margin=0.05, seeds=4, models=digits_study().models[:1]), copied, jobs=1)
    told = capsys.readouterr().err
    runs = mf.load_results(copied).runs
    new = next(run for run in runs if run.record.seed == 45)
    loss = f"{new.record.metrics.loss:.4f}"
    assert f"narrow, seed 45: NLL {loss}, accuracy " in told
    assert runs.to_markdown().splitlines()[2].startswith("| Model | Seed | NLL | Accuracy | Loss |")
    assert f"| narrow | 45 | {loss} |" in runs.to_markdown()
    assert repr(new).startswith(f"narrow, seed 45: NLL {loss} (95 % interval ")


def values_of(where, model, metric):
    folders = [where / model, *sorted((where / model / "seeds").iterdir())]
    return np.stack([metric.values(*read_predictions(folder)) for folder in folders])


def test_the_study_keeps_its_metric_and_all_pages_follow_it(finished):
    where, rows = finished
    assert (kept(where)["metric"], kept(where)["margin"]) == ("nll", 0.05)
    assert [row.model for row in rows] == ["wide", "narrow"]
    assert [row.score for row in rows] == [row.loss for row in rows]
    assert rows[0].more["loss_low"] < rows[0].loss < rows[0].more["loss_high"]
    nll = metric_named("nll")
    (verdict,) = compare({name: values_of(where, name, nll) for name in ("wide", "narrow")}, 0.05, metric=nll)
    assert verdict.kind == "better"
    (group,) = read_content(where).groups
    assert [one.words for one in group.verdicts] == [verdict.words]
    assert headline(group) == f"By NLL, {verdict.words}."
    page, card = ((where / name).read_text("utf-8") for name in ("report.html", "MODEL_CARD.md"))
    for said in ("By NLL, wide is better", "NLL of every run", "What does a better NLL cost?", "0.05 nats either way"):
        assert said in page
    assert "test NLL (nats)" in page
    assert verdict.words in card
    assert "Lowest mean NLL: wide, with a NLL of " in card
    assert "| model | seeds | NLL | 95 % interval |" in card
    run_card = (where / "wide" / "MODEL_CARD.md").read_text("utf-8")
    assert f"NLL, which decides | {read_run(where / 'wide').metrics.loss:.4f} (" in run_card
    assert (
        (where / "leaderboard.md").read_text("utf-8").startswith("Test NLL, mean ± half its 95 % interval over seeds")
    )


def test_the_charts_are_in_nats(finished):
    (group,) = read_content(finished[0]).groups
    spec = json.dumps(charts_of(group)["g0-accuracy"].spec)
    assert '"title": "mean, nats"' in spec
    means = [row["mean"] for row in charts_of(group)["g0-accuracy"].spec["layer"][0]["data"]["values"]]
    assert means == [round(model.score, 4) for model in group.models]
    front = charts_of(group)["g0-cost-parameters"].label
    assert front.endswith("Pareto front: narrow and wide.")


def test_commands_follow_the_metric_without_being_told(capsys, finished):
    where, _ = finished
    compared = printed(capsys, "compare", where)
    assert "Test NLL" in compared
    assert "wide is better than narrow by 0." in compared
    assert "Margin: 0.05 nats." in compared
    assert printed(capsys, "leaderboard", where).startswith("Test NLL, mean ± half its 95 % interval over seeds")
    data = as_data(compare_folders(where))
    assert (data["metric"], data["margin"]) == ("nll", 0.05)
    assert [entry["loss"] for entry in data["entries"]] == sorted(entry["loss"] for entry in data["entries"])
    single = printed(capsys, "compare", where / "wide" / "seeds" / "43", where / "narrow")
    assert "this run of wide, seed 43 is better than this run of narrow, seed 42 by 0." in single


@pytest.mark.parametrize("word", OTHERS)
def test_each_metric_orders_and_tells_its_interval(finished, word):
    where, _ = finished
    column, metric = COLUMNS[word], metric_named(word)
    best, last = leaderboard(where, word)
    assert metric.merit(best.score) > metric.merit(last.score)
    scores = [metric.of(*read_predictions(folder)) for folder in run_folders(where) if "wide" in folder.parts]
    assert (best.model, best.score) == ("wide", pytest.approx(np.mean(scores)))
    half = best.more[f"{column}_high"] - best.score
    assert half == pytest.approx(4.30265 * np.std(scores, ddof=1) / np.sqrt(3), rel=1e-4)
    (group,) = read_content(where, word).groups
    assert group.models[0].score == pytest.approx(best.score)
    assert group.margin == {"nll": 0.05}.get(word, 4 / 355)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_runs_record_scores_that_are_scikit_learns(finished):
    for folder in run_folders(finished[0]):
        (logits_NK, y_N), metrics = read_predictions(folder), read_run(folder).metrics
        predicted_N = logits_NK.argmax(1)
        assert metrics.more == {"balanced_accuracy": pytest.approx(balanced_accuracy_score(y_N, predicted_N))}
        assert metrics.macro_f1 == pytest.approx(f1_score(y_N, predicted_N, average="macro", zero_division=0))


def test_another_metric_may_be_looked_at_and_is_said_to_be_one(capsys, copied):
    note = "study.json keeps NLL, and this is by balanced accuracy. A metric chosen after seeing results is"
    for command in ("compare", "leaderboard", "report"):
        assert note in printed(capsys, command, copied, "--metric", "balanced_accuracy")
        assert note not in printed(capsys, command, copied, "--metric", "nll")
    write_pages(copied, metric="balanced_accuracy")
    page = (copied / "report.html").read_text("utf-8")
    assert note in page
    assert "By balanced accuracy, wide is better" in page
    assert note in (copied / "MODEL_CARD.md").read_text("utf-8")
    assert kept(copied)["metric"] == "nll"


def test_the_metric_is_not_changed_after_its_runs_were_seen(copied):
    with pytest.raises(UsageError, match=r"metric accuracy: .*study.json keeps nll, .* compare .* --metric accuracy"):
        run_study(digits_study(metric="accuracy", seeds=3), copied, jobs=1)
    run_study(digits_study(seeds=3), copied, jobs=1, verbose=False)
    assert (kept(copied)["metric"], kept(copied)["margin"]) == ("nll", 0.05)
    for run in copied.rglob("run.json"):
        run.unlink()
    run_study(digits_study(metric="macro_f1", seeds=[42], epochs=1), copied, jobs=1, verbose=False)
    assert kept(copied)["metric"] == "macro_f1"


def test_the_metric_of_a_study_file_and_of_the_command(capsys, tmp_path):
    fields = digits_study(seeds=[42], epochs=1).model_dump(mode="json", exclude_none=True) | {"metric": "macro_f1"}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(fields))
    said = printed(capsys, "run", file, "--results", tmp_path / "file", "--jobs", 1)
    assert "One run of each model cannot tell which of the two is the best by macro F1." in said
    assert kept(tmp_path / "file")["metric"] == "macro_f1"
    printed(capsys, "run", file, "--metric", "nll", "--results", tmp_path / "option", "--jobs", 1)
    assert (kept(tmp_path / "option")["metric"], kept(tmp_path / "option")["margin"]) == ("nll", 0.01)
    row = next(csv.DictReader((tmp_path / "option" / "leaderboard.csv").read_text().splitlines()))
    assert float(row["loss_low"]) < float(row["loss"]) < float(row["loss_high"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "RESULTS", "--metric", "f1"], "'f1' is not one of 'accuracy', 'balanced_accuracy', 'nll'"),
        (["compare", "RESULTS", "--metric", "nll", "--margin", "0"], "margin 0: expected nats of NLL, above 0"),
        (["run", "STUDY", "--results", "NEW"], "metric = 'nil': expected 'accuracy' or 'balanced_accuracy' or 'nll'"),
    ],
)
def test_no_metric_and_no_margin_of_it_are_refused(capsys, finished, tmp_path, arguments, message):
    (tmp_path / "study.yaml").write_text("metric: nil\ndataset: digits\n")
    paths = {"RESULTS": finished[0], "STUDY": tmp_path / "study.yaml", "NEW": tmp_path / "new"}
    assert message in printed(capsys, *(paths.get(one, one) for one in arguments), code=2)
    assert not (tmp_path / "new").exists()


def test_a_study_of_a_metric_that_is_none_here_is_not_shown_by_another(capsys, copied):
    (copied / "study.json").write_text(json.dumps(kept(copied) | {"metric": "kappa"}))
    for command in ("compare", "leaderboard", "report"):
        assert "study.json: metric 'kappa': expected one of accuracy" in printed(capsys, command, copied, code=2)


def of_before(where):
    """As if written before there were metrics to choose from."""
    (where / "study.json").write_text(
        json.dumps({k: v for k, v in kept(where).items() if k not in ("metric", "margin")})
    )
    for folder in run_folders(where):
        fields = json.loads((folder / "run.json").read_text())
        del fields["metrics"]["more"], fields["validation"]["more"]
        (folder / "run.json").write_text(json.dumps(fields))


def test_results_of_before_are_by_accuracy_and_by_any_metric_that_is_asked_for(capsys, copied):
    recorded = {row.model: row.score for row in leaderboard(copied, "balanced_accuracy")}
    of_before(copied)
    assert "Test accuracy" in printed(capsys, "compare", copied)
    assert "balanced_accuracy" not in printed(capsys, "leaderboard", copied, "--csv")
    found = {row.model: row.score for row in leaderboard(copied, "balanced_accuracy")}
    assert found == pytest.approx(recorded)
    (copied / "narrow" / "predictions.npz").write_bytes(b"damaged")
    content = read_content(copied, "balanced_accuracy")
    assert [(where, "predictions.npz" in why) for where, why in content.left_out] == [("narrow", True)]
    assert [len(model.seeds) for model in content.models] == [3, 2]


def test_the_command_that_repeats_it_names_the_metric(finished):
    content, study = read_content(finished[0]), read_asked(finished[0]).study
    assert _decided_words(study, content) == ["--metric", "nll", "--margin", "0.05"]
    assert _decided_words(study.model_copy(update={"margin": 0.01}), content) == ["--metric", "nll"]
    assert _decided_words(study.model_copy(update={"metric": "accuracy", "margin": None}), content) == []
