"""One reading of a results folder: leaderboard, comparison, report and card agree on what is pooled and compared."""

import shutil
from itertools import combinations

import pytest

from modelflow.analysis import reading
from modelflow.analysis.archive import read_content
from modelflow.analysis.comparison import compare_folders, notes
from modelflow.analysis.leaderboard import as_markdown, leaderboard
from modelflow.analysis.reading import LeftOut, read_folder
from modelflow.errors import DataError, UsageError
from modelflow.report.model_card import study_card
from modelflow.report.page import render
from modelflow.results.layout import write_run
from modelflow.results.records import DataRecord
from modelflow.studies.pages import write_pages
from modelflow.text import escaped
from small import a_run, digits_study, spec, spec_of_four, write_four

SEEDS = 2
PARTS = {  # what may be compared: models, by the folder that each lies in
    "digits, held out": {
        "narrow (narrow)": "narrow",
        "wide (wide)": "wide",
        "wide (bobs)": "bobs",
        "wide (longer)": "longer",
    },
    "digits, card": {"narrow (card_narrow)": "card_narrow", "wide (card_wide)": "card_wide"},
    "four": {"wide (four_wide)": "four_wide", "other": "four_other"},
}


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory):
    """Two data sets, two protocols, two networks under a name, other settings, and a copy, in one folder."""
    results = tmp_path_factory.mktemp("results")
    dataset = f"idx:{write_four(tmp_path_factory.mktemp('four'), 1)}"
    of_four = [{"name": name, "spec": spec_of_four(n)} for name, n in (("wide", 3), ("other", 2))]
    wide = [{"name": "wide", "spec": spec(8)}]
    studies = {
        "class": {},
        "bobs": {"models": [{"name": "wide", "spec": spec(6)}]},
        "longer": {"models": wide, "epochs": 2},
        "card": {"protocol": "card"},
        "four": {"dataset": dataset, "models": of_four},
    }
    for source, folder in {
        "class/narrow": "narrow",
        "class/wide": "wide",
        "bobs/wide": "bobs",
        "longer/wide": "longer",
        "card/narrow": "card_narrow",
        "card/wide": "card_wide",
        "four/wide": "four_wide",
        "four/other": "four_other",
    }.items():
        study, model = source.split("/")
        shutil.copytree(trained(digits_study(**{"epochs": 1} | studies[study])) / model, results / folder)
    shutil.copytree(results / "wide" / "seeds" / "43", results / "wide" / "seeds" / "99")
    return results


@pytest.fixture(scope="module")
def content(mixed):
    return read_content(mixed)


@pytest.fixture(scope="module")
def rows(mixed):
    return {row.model: row for row in leaderboard(mixed)}


def folders_of(mixed, part):
    return [mixed / folder for folder in PARTS[part].values()]


def test_models_and_their_runs_are_the_same_for_all(mixed, content, rows):
    names = {name for part in PARTS.values() for name in part}
    assert rows.keys() == {model.name for model in content.models} == names
    assert {row.seeds for row in rows.values()} == {len(model.seeds) for model in content.models} == {SEEDS}
    for model in content.models:
        assert rows[model.name].accuracy == pytest.approx(model.accuracy)
    card = study_card(content)
    assert all(f"| {escaped(name)} | {SEEDS} |" in card for name in names)
    for part in PARTS:
        entries = compare_folders(folders_of(mixed, part)).entries
        assert {entry.seeds for entry in entries} == {SEEDS}
        means = sorted(rows[name].accuracy for name in PARTS[part])
        assert sorted(entry.accuracy for entry in entries) == pytest.approx(means)


def test_what_is_compared_is_compared_by_all_and_nothing_else(mixed, content, rows):
    together = {frozenset(part) for part in PARTS.values()}
    assert {frozenset(model.name for model in group.models) for group in content.groups} == together
    by_row = {
        frozenset(name for name, one in rows.items() if (one.data, one.protocol_name) == (row.data, row.protocol_name))
        for row in rows.values()
    }
    assert by_row == together
    for first, second in combinations(PARTS, 2):
        for one in folders_of(mixed, first):
            for other in folders_of(mixed, second):
                with pytest.raises(UsageError, match=r"were (made by different protocols|tested on other images) \("):
                    compare_folders([one, other])
    with pytest.raises(UsageError, match="Compare runs of one"):
        compare_folders(mixed)
    assert "on 3 different combinations of data and protocol" in render(content)
    assert study_card(content).count("| model | seeds | accuracy |") == 3


def test_verdicts_are_the_same(mixed, content):
    card = study_card(content)
    for group in content.groups:
        part = next(part for part in PARTS if group.models[0].name in PARTS[part])
        compared = compare_folders(folders_of(mixed, part), 100 * group.margin).verdicts
        ours, theirs = (
            sorted((abs(one.difference.estimate), one.p_value, one.kind) for one in verdicts)
            for verdicts in (compared, group.verdicts)
        )
        assert [kind for *_, kind in ours] == [kind for *_, kind in theirs]
        assert [part[:2] for part in ours] == [pytest.approx(part[:2]) for part in theirs]
        assert all(escaped(verdict.words) in card for verdict in group.verdicts)


def test_other_settings_are_said_in_the_same_words(mixed, content, rows):
    told = {name: row.settings for name, row in rows.items() if row.settings}
    assert told == {"narrow (narrow)": "epochs 1", "wide (wide)": "epochs 1"} | {
        "wide (bobs)": "epochs 1",
        "wide (longer)": "epochs 2",
    }
    first, *_ = notes(compare_folders([mixed / "wide", mixed / "longer"]))
    said = "Trained with different settings: wide (longer) (epochs 2), wide (wide) (epochs 1). "
    assert first == f"{said}A difference may come from these."
    assert all(name in content.groups[0].unlike for name in told)
    assert content.groups[0].unlike in render(content)
    assert escaped(content.groups[0].unlike) in study_card(content)
    table = as_markdown(list(rows.values()))
    assert "| Model | Network | Data | Protocol | Settings | Seeds |" in table
    assert "training\\_images" not in table


def test_one_study_has_neither_column(mixed):
    rows = [row for row in leaderboard(mixed) if row.model in PARTS["digits, card"]]
    assert "| Model | Network | Seeds |" in as_markdown(rows)
    assert as_markdown(rows).splitlines()[0].endswith("choose nothing by them (protocol card)")


def test_a_copy_is_left_out_by_all_for_the_same_reason(mixed, content, rows):
    assert rows["wide (wide)"].left_out == f"{mixed}/wide/seeds/99 (seed 43)"
    (where, why), *others = content.left_out
    assert (where, others) == ("wide/seeds/99", [])
    assert why == "same model and seed as wide/seeds/43, which counts for both"
    (copy,) = compare_folders(folders_of(mixed, "digits, held out")).copies
    assert copy.replace(f"{mixed}/", "") == f"{where}: {why}"
    assert escaped(f"Left out, {where}: {why}") in study_card(content)


def test_the_same_files_are_the_same_data_whatever_they_are_called(tmp_path):
    files = {"train-images-idx3-ubyte": "1", "t10k-images-idx3-ubyte": "2"}
    for seed, name in ((42, "idx:a"), (43, "idx:b")):
        data = DataRecord(name=name, training_images=1, validation_images=1, checksums=files)
        write_run(tmp_path / name[-1], a_run(model_name="m", seed=seed, data=data))
    assert [row.seeds for row in leaderboard(tmp_path)] == [2]
    assert [len(model.seeds) for model in read_content(tmp_path).models] == [2]


def test_a_record_that_cannot_be_read_is_refused_or_left_out(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name, a_run(model_name=name))
    (tmp_path / "b" / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"b/run\.json: Invalid JSON"):
        read_folder(tmp_path)
    found = read_folder(tmp_path, LeftOut())
    assert [model.name for model in found.models] == ["a"]
    assert [where for where, _ in found.left_out.all()] == ["b"]


def test_of_many_copies_some_are_named_and_the_others_counted(tmp_path):
    for i in range(reading.MAX_COPIES + 3):
        write_run(tmp_path / f"m{i}", a_run(model_name="m"))
    (tally,) = read_folder(tmp_path).models.values()
    assert tally.copies.startswith(f"{tmp_path}/m1 (seed 42), ")
    assert tally.copies.endswith(f"{tmp_path}/m5 (seed 42) and 2 more")


def test_each_record_is_read_once_for_the_tables_and_once_more_to_be_shown(tmp_path, monkeypatch):
    for seed in (42, 43):
        write_run(tmp_path / "m" / ("" if seed == 42 else f"seeds/{seed}"), a_run(model_name="m", seed=seed))
    read = []
    monkeypatch.setattr(reading, "read_run", lambda folder, of=reading.read_run: read.append(folder) or of(folder))
    write_pages(tmp_path)
    assert len(read) == 4
