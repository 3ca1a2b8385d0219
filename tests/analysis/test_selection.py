"""Of a vast study a report shows as many models and runs as a page can hold, and says what it leaves out."""

import shutil

import pytest

from modelflow.analysis import reading, selection
from modelflow.analysis.archive import read_content
from modelflow.analysis.reading import LeftOut, read_folder
from modelflow.results.layout import write_run
from report_studies import change
from small import a_run


@pytest.fixture
def vast(tmp_path):
    """Five models of three seeds, the later ones more accurate."""
    for i in range(5):
        for seed in (42, 43, 44):
            folder = tmp_path / f"m{i}" / ("" if seed == 42 else f"seeds/{seed}")
            run = a_run(model_name=f"m{i}", seed=seed)
            accuracy = 0.5 + 0.1 * i
            write_run(folder, run.model_copy(update={"metrics": run.metrics.model_copy(update={"accuracy": accuracy})}))
    return tmp_path


def shown(results):
    found = selection.selected(read_folder(results, LeftOut()))
    return [str(folder.relative_to(results)) for folder, _ in found.runs], dict(found.left_out)


def test_a_usual_study_is_shown_whole(vast):
    folders, left_out = shown(vast)
    assert folders[:4] == ["m4", "m4/seeds/43", "m4/seeds/44", "m3"]
    assert (len(folders), left_out) == (15, {})


def test_the_most_accurate_models_and_the_least_seeds_are_shown_of_more(vast, monkeypatch):
    monkeypatch.setattr(selection, "MAX_MODELS", 3)
    monkeypatch.setattr(selection, "MAX_RUNS", 6)
    folders, left_out = shown(vast)
    assert folders == ["m4", "m4/seeds/43", "m3", "m3/seeds/43", "m2", "m2/seeds/43"]
    assert left_out["2 further models"] == "the report shows the 3 most accurate, the leaderboard all"
    assert left_out["m4"] == "shows the 2 of its 3 runs with the lowest seeds"
    content = read_content(vast)
    assert [model.name for model in content.models] == ["m4", "m3", "m2"]
    assert ("2 further models", left_out["2 further models"]) in content.left_out


def test_models_that_a_page_has_no_room_for_stay_in_the_family_of_those_it_shows(tmp_path, monkeypatch):
    for i in range(8):
        for seed in (42, 43, 44):
            write_run(
                tmp_path / f"m{i}" / ("" if seed == 42 else f"seeds/{seed}"), a_run(model_name=f"m{i}", seed=seed)
            )
    alone = a_run(model_name="alone")
    write_run(
        tmp_path / "alone", alone.model_copy(update={"metrics": alone.metrics.model_copy(update={"accuracy": 0.1})})
    )
    monkeypatch.setattr(selection, "MAX_MODELS", 7)
    (group,) = read_content(tmp_path).groups
    assert len(group.models) == 7
    assert group.family == 28


def test_damaged_records_are_counted_where_there_are_many(vast, monkeypatch):
    monkeypatch.setattr(reading, "MAX_REASONS", 2)
    for i in range(4):
        change(vast / f"m{i}", seed="x")
    folders, left_out = shown(vast)
    assert len(folders) == 11
    assert list(left_out) == ["m0", "m1", "2 further folders"]


def test_a_model_that_lies_in_two_folders_is_one_and_a_copy_of_a_run_stands_for_nothing(vast):
    shutil.copytree(vast / "m4", vast / "copy")
    change(vast / "copy" / "seeds" / "43", seed=50)
    folders, left_out = shown(vast)
    assert folders[:4] == ["copy", "m4/seeds/43", "copy/seeds/44", "copy/seeds/43"]
    assert left_out["m4"] == "same model and seed as copy, which counts for both"
