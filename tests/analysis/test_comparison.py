"""Models and runs compared from the folders that they left: real runs on the digits."""

import json
import shutil

import numpy as np
import pytest

from modelflow.analysis.archive import read_content
from modelflow.analysis.comparison import Comparison, Entry, as_data, beside, compare_folders, compare_sides
from modelflow.analysis.intervals import Interval, bootstrap_difference, difference, mcnemar
from modelflow.analysis.leaderboard import leaderboard
from modelflow.analysis.verdicts import AFTER_A_LOOK
from modelflow.cli.terminal import comparison_tables
from modelflow.errors import UsageError
from modelflow.report.comparison import showing
from modelflow.results.layout import model_folder, read_predictions, read_run, write_run
from modelflow.results.protocol import Protocol
from modelflow.studies.study import run_study
from small import a_run, digits_study


@pytest.fixture(scope="module")
def study(trained):
    return trained(digits_study(epochs=3))


def correct(folder):
    logits_NK, y_N = read_predictions(folder)
    return logits_NK.argmax(1) == y_N


def test_models_are_compared_with_all_their_seeds(study):
    comparison = compare_folders([study / "narrow", study / "wide"])
    sides = {m: np.stack([correct(study / m), correct(study / m / "seeds" / "43")]) for m in ("narrow", "wide")}
    assert [(entry.name, entry.seeds) for entry in comparison.entries] == [("wide", 2), ("narrow", 2)]
    assert comparison.entries[0].accuracy == pytest.approx(sides["wide"].mean())
    (verdict,) = comparison.verdicts
    assert verdict.difference == difference(sides["wide"], sides["narrow"])
    assert compare_folders([study]) == comparison


def test_single_runs_are_compared_image_by_image(study):
    first, second = study / "wide" / "seeds" / "43", study / "narrow"
    comparison = compare_folders([first, second])
    (verdict,) = comparison.verdicts
    assert {verdict.first, verdict.second} == {"wide, seed 43", "narrow, seed 42"}
    a, b = correct(first), correct(second)
    assert verdict.p_value == mcnemar(a, b)
    assert abs(verdict.estimate) == pytest.approx(abs(a.mean() - b.mean()))
    ends = bootstrap_difference(a, b)
    ours, theirs = ([abs(end.low), abs(end.high)] for end in (verdict.interval, ends))
    assert sorted(ours) == pytest.approx(sorted(theirs))
    assert "this run of" in verdict.words


def test_runs_on_other_images_and_runs_given_twice_are_refused(study, tmp_path):
    run_study(digits_study(models=[digits_study().models[0]], seeds=[42], epochs=1), tmp_path / "other", jobs=1)
    copy = tmp_path / "other" / "narrow"
    with pytest.raises(UsageError, match="give at least two runs"):
        compare_folders([study / "wide"])
    again = study / "wide" / ".." / "narrow"
    with pytest.raises(UsageError, match="give at least two runs"):
        compare_folders([study / "narrow", again])
    with pytest.raises(UsageError, match="narrow is given twice"):
        compare_folders([study / "narrow", study / "wide", again])
    text = (copy / "run.json").read_text()
    checksum = next(iter(read_run(copy).data.checksums.values()))
    (copy / "run.json").write_text(text.replace(checksum, "0" * 64))
    with pytest.raises(UsageError, match="were tested on other images"):
        compare_folders([study / "wide", copy])
    shutil.rmtree(copy / "seeds", ignore_errors=True)


def test_a_results_folder_may_be_called_seeds(study, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    shutil.copytree(study, tmp_path / "disk" / "results")
    (tmp_path / "seeds").symlink_to(tmp_path / "disk" / "results")  # as may lead to another results folder
    monkeypatch.chdir(tmp_path)
    assert compare_folders("seeds").verdicts == compare_folders([study]).verdicts
    both = compare_folders(["seeds/wide", "seeds/narrow"])
    assert [(entry.name, entry.seeds) for entry in both.entries] == [("wide", 2), ("narrow", 2)]
    assert both.margin == compare_folders([study]).margin
    assert beside(["seeds/wide", "seeds/narrow"]) == ((tmp_path / "disk" / "results").resolve(), 0)
    shutil.copytree(study / "wide", tmp_path / "seeds" / "wide_again")
    assert beside(["seeds/wide", "seeds/narrow"])[1] == 1
    single = compare_folders(["seeds/wide/seeds/43", "seeds/narrow"])
    assert {entry.name for entry in single.entries} == {"wide, seed 43", "narrow, seed 42"}
    assert {model.name for model in read_content("seeds").models} == {"wide", "narrow"}


def test_a_run_is_a_further_seed_by_its_record(tmp_path):
    folder = tmp_path / "seeds" / "42"
    assert model_folder(folder, a_run(model_name="m", seed=42)) == tmp_path
    for model in (a_run(model_name="42", seed=42), a_run(model_name="m", seed=43)):
        assert model_folder(folder, model) == folder
    assert model_folder(tmp_path / "43", a_run(model_name="m", seed=43)) == tmp_path / "43"


def words_of(comparison):
    return "\n".join(verdict.words for verdict in comparison.verdicts)


def test_one_model_by_two_settings_is_called_by_its_folders_and_its_settings_are_said(study, trained, tmp_path, capsys):
    shutil.copytree(trained(digits_study(epochs=1)), tmp_path / "short")
    comparison = compare_folders([study / "wide", study / "narrow", tmp_path / "short" / "wide"])
    names = {f"wide ({study.name}/wide)": "epochs 3", "wide (short/wide)": "epochs 1", "narrow": "epochs 3"}
    assert {entry.name: entry.settings for entry in comparison.entries} == names
    assert all(words_of(comparison).count(name) == 2 for name in names)
    sides = [np.stack([correct(top / "wide"), correct(top / "wide/seeds/43")]) for top in (study, tmp_path / "short")]
    ours = next(v for v in comparison.verdicts if not {v.first, v.second} & {"narrow"})
    assert abs(ours.difference.estimate) == pytest.approx(abs(sides[0].mean() - sides[1].mean()))
    comparison_tables(showing(comparison))
    shown = " ".join(capsys.readouterr().out.split())
    assert " Test accuracy · validated on held-out images (protocol held-out) " in shown
    assert "Trained with different settings: " in shown
    assert "wide (short/wide) (epochs 1)" in shown
    assert as_data(comparison)["entries"][0]["protocol"].startswith("held-out but dataset digits, training_images ")


def test_folders_are_called_by_as_much_of_their_path_as_tells_them_apart(study, tmp_path):
    first, second = (tmp_path / top / "results" / "wide" for top in ("a", "b"))
    for target in (first, second):
        shutil.copytree(study / "wide", target)
    names = {entry.name for entry in compare_folders([first, second, study / "narrow"]).entries}
    assert names == {"wide (a/results/wide)", "wide (b/results/wide)", "narrow"}
    runs = {entry.name for entry in compare_folders([first / "seeds" / "43", second / "seeds" / "43"]).entries}
    assert runs == {"wide, seed 43 (a/results/wide/seeds/43)", "wide, seed 43 (b/results/wide/seeds/43)"}


def by_card(folder):
    """The runs in a folder as if they had been made by the card's protocol."""
    for path in folder.rglob("run.json"):
        path.write_text(path.read_text().replace('"protocol": "held-out', '"protocol": "card'))


def test_seeds_of_one_model_by_different_protocols_are_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "mixed")
    by_card(copy / "narrow" / "seeds" / "43")
    with pytest.raises(UsageError, match=r"seeds/43 has another protocol \('card'\) than .*narrow \('held-out'\)"):
        compare_folders([copy / "narrow", copy / "wide"])
    assert compare_folders([copy / "narrow", copy / "wide" / "seeds" / "43"]).verdicts


def test_protocols_are_not_mixed(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "changed")
    by_card(copy / "narrow")
    said = r"wide and narrow were made by different protocols \(held-out, card\). Compare runs of one protocol"
    for given in ([copy], [copy / "narrow", copy / "wide"]):
        with pytest.raises(UsageError, match=said):
            compare_folders(given)
    rows = leaderboard(copy)
    assert {(row.model, row.protocol.split()[0]) for row in rows} == {("wide", "held-out"), ("narrow", "card")}


def test_a_model_of_one_run_is_left_out_beside_models_of_several(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "third")
    shutil.copytree(copy / "wide", copy / "single", ignore=shutil.ignore_patterns("seeds"))
    record = copy / "single" / "run.json"
    record.write_text(record.read_text().replace('"model_name": "wide"', '"model_name": "single"'))
    comparison = compare_folders([copy])
    assert comparison.left_out == ("single",)
    assert [{verdict.first, verdict.second} for verdict in comparison.verdicts] == [{"wide", "narrow"}]


def test_plain_data_has_the_interval_and_the_family(study):
    (verdict,), (plain,) = compare_folders([study]).verdicts, as_data(compare_folders([study]))["verdicts"]
    data = as_data(compare_folders([study]))
    for name in ("interval", "simultaneous_interval", "pair_interval"):
        assert plain[name] == {"low": getattr(verdict, name).low, "high": getattr(verdict, name).high}
    assert plain["difference"]["freedom"] == verdict.difference.freedom
    assert (data["pairs"], data["margin"], plain["pairs"]) == (1, 4 / 355, 1)
    assert json.loads(json.dumps(data)) == json.loads(json.dumps(data, allow_nan=False))


def test_the_intervals_of_many_pairs_are_told_apart_in_plain_data(study):
    whole = compare_folders([study / "wide", study / "narrow"])
    assert whole.verdicts[0].pairs == 1
    sides = {name: np.random.default_rng(i).random((4, 500)) < 0.5 + 0.1 * i for i, name in enumerate("abcd")}
    runs = [read_run(study / "wide")] * 4
    for plain in as_data(compare_sides({name: (runs, correct_SN) for name, correct_SN in sides.items()}))["verdicts"]:
        outer, inner = plain["simultaneous_interval"], plain["pair_interval"]
        assert outer["low"] < inner["low"] < inner["high"] < outer["high"]
        assert plain["interval"] == outer


def test_runs_that_died_are_told_from_those_that_train(study, tmp_path, capsys):
    copy = shutil.copytree(study, tmp_path / "died")
    record = copy / "wide" / "seeds" / "43" / "run.json"
    record.write_text(
        record.read_text().replace('"warnings": []', '"warnings": ["97% of the images are called \'3\'; lr"]')
    )
    comparison = compare_folders([copy])
    (verdict,) = comparison.verdicts
    assert [(entry.name, entry.died) for entry in comparison.entries] == [("wide", 1), ("narrow", 0)]
    assert (
        f"1 seed is too few for 1 pair: it takes 3. {AFTER_A_LOOK}. wide: 1 of 2 runs died (up to 98 %" in verdict.words
    )
    assert "of all runs. 1 seed" in verdict.words
    assert verdict.difference == compare_folders([study]).verdicts[0].difference
    assert as_data(comparison)["verdicts"][0]["of_all_runs"]["estimate"] == verdict.of_all_runs.estimate
    comparison_tables(showing(comparison))
    shown = capsys.readouterr().out
    assert "2, 1 died" in shown
    few = "Verdicts are of the runs that train, but of all runs where fewer than two of a model do. 1 of 4 runs died."
    assert few in " ".join(shown.split())
    comparison_tables(showing(compare_folders([study])))
    few = "No run died (0 of 4). 2 runs of each model cannot rule out rare failures."
    assert few in " ".join(capsys.readouterr().out.split())


def test_the_margin_is_the_studys_unless_another_is_given(study, tmp_path, capsys):
    kept = json.loads((study / "study.json").read_text())["margin"]
    assert compare_folders([study]).margin == pytest.approx(4 / 355) == kept / 100
    assert compare_folders([study / "wide", study / "narrow"], 3.0).margin == 0.03
    comparison_tables(showing(compare_folders([study])))
    assert "Margin: 1.13 points (4 of 355 test images)." in capsys.readouterr().out
    with pytest.raises(
        UsageError, match=r"margin 0\.5: expected points of accuracy, .* at least 4 of the 355 test images"
    ):
        compare_folders([study], 0.5)
    copy = shutil.copytree(study, tmp_path / "before")
    fields = json.loads((copy / "study.json").read_text())
    (copy / "study.json").write_text(json.dumps({name: value for name, value in fields.items() if name != "margin"}))
    assert compare_folders([copy]).margin == 0.005
    (copy / "study.json").unlink()
    assert compare_folders([copy]).margin == 4 / 355


def test_the_table_rounds_intervals_outwards_as_the_verdicts_do(capsys):
    entry = Entry("a", 3, 0.87, Interval(0.86449, 0.87551), Protocol("card"))
    comparison_tables(showing(Comparison((entry,), ())))
    assert "86.4 to 87.6" in capsys.readouterr().out


def test_models_beside_those_compared_are_counted_and_nothing_else(tmp_path):
    for place in ("a", "b", "c", "c.old-1", *(f"a/seeds/{seed}" for seed in (43, 44, 45))):
        seed = int(place.removeprefix("a/seeds/")) if "/" in place else 42
        write_run(tmp_path / place, a_run(model_name=place[0], seed=seed))
    assert beside([tmp_path / "a", tmp_path / "b"]) == (tmp_path, 1)
    assert beside([tmp_path / name for name in "abc"])[1] == 0
    assert beside([tmp_path / "a" / "seeds" / seed for seed in ("43", "44")])[1] == 0
    assert beside([tmp_path])[1] == 0


def test_a_model_whose_first_seed_is_not_finished_is_compared_by_the_others(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "broken_off")
    (copy / "wide" / "run.json").unlink()
    assert {entry.name: entry.seeds for entry in compare_folders(copy).entries} == {"wide": 1, "narrow": 2}
