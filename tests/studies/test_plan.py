"""What was asked for in a folder: studies one after the other, none forgotten."""

import csv
import json

import pytest

from modelflow import run_study
from modelflow.analysis.archive import read_content
from modelflow.analysis.leaderboard import leaderboard
from modelflow.cli import run_command
from modelflow.errors import SpecError
from modelflow.networks.resolve import check_name
from modelflow.results.asked import read_asked, together
from modelflow.results.joining import joined, write_asked
from modelflow.results.settings import read_study
from small import digits_study, spec


def of(name, channels=3, **changes):
    return digits_study(models=[{"name": name, "spec": spec(channels)}], **{"epochs": 1, "seeds": [42]} | changes)


def models(study):
    return [model["name"] for model in study.models]


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A folder into which two studies were run, the second one with other epochs and seeds."""
    where = tmp_path_factory.mktemp("twice") / "r"
    run_study(of("a"), where, jobs=1)
    run_study(of("b", epochs=2, seeds=[42, 43]), where, jobs=1)
    return where


def test_another_study_keeps_the_models_of_the_first_one(twice):
    written = json.loads((twice / "study.json").read_text())
    assert [model["name"] for model in written["models"]] == ["a", "b"]
    assert models(read_asked(twice).study) == models(read_study(twice / "study.json")) == ["a", "b"]
    rows = list(csv.DictReader((twice / "leaderboard.csv").open()))
    assert {row["model"] for row in rows} == {row.model for row in leaderboard(twice)} == {"a", "b"}
    assert all(f"| {name} " in (twice / "leaderboard.md").read_text() for name in "ab")
    assert {model.name for model in read_content(twice).models} == {"a", "b"}


def test_what_is_missing_is_told_by_the_seeds_that_each_model_was_asked_for_with(twice):
    assert read_asked(twice).missing() == ""
    assert [(models(one), one.seeds, one.epochs) for one in read_asked(twice).studies] == [
        (["a"], [42], 1),
        (["b"], [42, 43], 2),
    ]


def test_the_report_leaves_no_stale_table(twice):
    for name in ("leaderboard.md", "leaderboard.csv", "pareto.png"):
        (twice / name).write_text("stale")
    assert run_command(["report", str(twice)]) == 0
    for name in ("leaderboard.md", "leaderboard.csv", "pareto.png"):
        assert (twice / name).read_bytes() != b"stale"
    assert "| b " in (twice / "leaderboard.md").read_text()


def test_studies_alike_become_one_and_a_model_asked_for_again_is_asked_for_as_last(tmp_path):
    write_asked(of("a"), tmp_path)
    write_asked(of("b"), tmp_path)
    assert not (tmp_path / "studies.json").exists()
    assert [models(one) for one in read_asked(tmp_path).studies] == [["a", "b"]]
    write_asked(of("c", epochs=2), tmp_path)
    assert [models(one) for one in read_asked(tmp_path).studies] == [["a", "b"], ["c"]]
    write_asked(of("a", epochs=2), tmp_path)
    assert [models(one) for one in read_asked(tmp_path).studies] == [["b"], ["c", "a"]]
    assert read_asked(tmp_path).missing().startswith("3 of the 3 runs")
    write_asked(of("b", epochs=2, seeds=[42]), tmp_path)
    assert not (tmp_path / "studies.json").exists()
    assert [models(one) for one in read_asked(tmp_path).studies] == [["c", "a", "b"]]


def test_a_model_asked_for_again_with_fewer_seeds_is_asked_for_with_those():
    studies = joined([of("a", seeds=[42, 43, 44])], of("a", seeds=[42]))
    assert [(models(one), one.seeds) for one in studies] == [(["a"], [42])]


def test_a_study_file_of_another_hand_counts_more_than_what_was_kept(tmp_path):
    write_asked(of("a"), tmp_path)
    write_asked(of("b", epochs=2), tmp_path)
    fields = json.loads((tmp_path / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(fields | {"seeds": [42, 43]}))
    (study,) = read_asked(tmp_path).studies
    assert (models(study), study.seeds) == (["a", "b"], [42, 43])


@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", '[{"models": [{"name": "a", "spec": 1}]}]', '{"a": 1}'])
def test_a_damaged_file_of_studies_is_no_more_than_study_json_alone(tmp_path, content):
    write_asked(of("a"), tmp_path)
    write_asked(of("b", epochs=2), tmp_path)
    (tmp_path / "studies.json").write_text(content)
    assert [models(one) for one in read_asked(tmp_path).studies] == [["a", "b"]]
    assert together(read_asked(tmp_path).studies).epochs == 2


def test_no_model_is_called_like_the_file_of_studies():
    with pytest.raises(SpecError, match=r"studies\.json"):
        check_name("studies.json")


def test_a_damaged_run_that_nobody_asked_for_does_not_fail_a_study_and_is_named(tmp_path):
    run_study(of("a"), tmp_path, jobs=1)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text("{")
    run_study(of("b"), tmp_path, jobs=1)
    table = (tmp_path / "leaderboard.md").read_text()
    assert "| a " in table
    assert "Left out, old: " in table
