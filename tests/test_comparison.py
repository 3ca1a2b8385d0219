"""Models and runs compared from the folders that they left: real runs on the digits."""

import shutil

import numpy as np
import pytest

from modelflow.comparison import Comparison, Entry, as_data, beside, compare_folders
from modelflow.errors import UsageError
from modelflow.leaderboard import leaderboard
from modelflow.results import read_predictions, read_run
from modelflow.statistics import Interval, bootstrap_difference, difference, mcnemar
from modelflow.study import run_study
from modelflow.terminal import comparison_tables
from test_study import digits_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    where = tmp_path_factory.mktemp("compared")
    run_study(digits_study(epochs=3), where, jobs=2)
    return where


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
    with pytest.raises(UsageError, match="narrow is given twice; give each folder once"):
        compare_folders([study / "narrow", study / "wide", again])
    text = (copy / "run.json").read_text()
    checksum = next(iter(read_run(copy).data.checksums.values()))
    (copy / "run.json").write_text(text.replace(checksum, "0" * 64))
    with pytest.raises(UsageError, match="were tested on other images"):
        compare_folders([study / "wide", copy])
    shutil.rmtree(copy / "seeds", ignore_errors=True)


def words_of(comparison):
    return "\n".join(verdict.words for verdict in comparison.verdicts)


def test_one_model_by_two_settings_is_called_by_its_folders_and_protocols(study, tmp_path):
    run_study(digits_study(epochs=1), tmp_path / "short", jobs=1)
    comparison = compare_folders([study / "wide", study / "narrow", tmp_path / "short" / "wide"])
    longer, shorter = (read_run(where / "wide").protocol for where in (study, tmp_path / "short"))
    assert longer.startswith("held-out but")
    assert ("epochs 3" in longer, "epochs 1" in shorter) == (True, True)
    names = {f"{study.name}/wide ({longer})", f"short/wide ({shorter})", f"narrow ({longer})"}
    assert {entry.name for entry in comparison.entries} == names
    assert all(words_of(comparison).count(name) == 2 for name in names)
    sides = [np.stack([correct(top / "wide"), correct(top / "wide/seeds/43")]) for top in (study, tmp_path / "short")]
    ours = next(v for v in comparison.verdicts if not {v.first, v.second} & {f"narrow ({longer})"})
    assert abs(ours.difference.estimate) == pytest.approx(abs(sides[0].mean() - sides[1].mean()))


def test_folders_are_called_by_as_much_of_their_path_as_tells_them_apart(study, tmp_path):
    first, second = (tmp_path / top / "results" / "wide" for top in ("a", "b"))
    for target in (first, second):
        shutil.copytree(study / "wide", target)
    names = {entry.name for entry in compare_folders([first, second, study / "narrow"]).entries}
    assert names == {"a/results/wide", "b/results/wide", "narrow"}
    runs = {entry.name for entry in compare_folders([first / "seeds" / "43", second / "seeds" / "43"]).entries}
    assert runs == {"a/results/wide/seeds/43", "b/results/wide/seeds/43"}


def test_seeds_of_one_model_by_different_protocols_are_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "mixed")
    record = copy / "narrow" / "seeds" / "43" / "run.json"
    record.write_text(record.read_text().replace('"protocol": "held-out but', '"protocol": "held-out but lr 0.1,'))
    with pytest.raises(
        UsageError, match=r"seeds/43 was made by protocol held-out but lr 0\.1, .*narrow by held-out but"
    ):
        compare_folders([copy])
    assert compare_folders([copy / "narrow", copy / "wide" / "seeds" / "43"]).verdicts


def protocol_changed(study, tmp_path, protocol):
    copy = shutil.copytree(study, tmp_path / "changed")
    for path in (copy / "narrow").rglob("run.json"):
        path.write_text(path.read_text().replace('"protocol": "held-out but', f'"protocol": "{protocol} but'))
    return copy


def test_protocols_are_not_mixed(study, tmp_path):
    copy = protocol_changed(study, tmp_path, "card")
    with pytest.raises(UsageError, match=r"wide was made by protocol held-out, narrow by card; compare runs of one"):
        compare_folders([copy])
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
    data = as_data(compare_folders([study]))
    interval = compare_folders([study]).verdicts[0].interval
    assert data["verdicts"][0]["interval"] == {"low": interval.low, "high": interval.high}
    assert (data["pairs"], data["margin"]) == (1, 0.005)


def test_the_table_rounds_intervals_outwards_as_the_verdicts_do(capsys):
    entry = Entry("a", 3, 0.87, Interval(0.86449, 0.87551), "card")
    comparison_tables(Comparison((entry,), ()))
    assert "86.4 to 87.6" in capsys.readouterr().out


def test_models_beside_those_compared_are_counted_and_nothing_else(tmp_path):
    for place in ("a", "b", "c", "c.old-1", *(f"a/seeds/{seed}" for seed in (43, 44, 45))):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "run.json").touch()
    assert beside([tmp_path / "a", tmp_path / "b"]) == (tmp_path, 1)
    assert beside([tmp_path / name for name in "abc"])[1] == 0
    assert beside([tmp_path / "a" / "seeds" / seed for seed in ("43", "44")])[1] == 0
    assert beside([tmp_path])[1] == 0
