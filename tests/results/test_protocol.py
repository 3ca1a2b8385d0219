"""The protocol of a run as a record: what it is derived from, and that it is what run.json says."""

from pathlib import Path

import pytest

from modelflow.results.layout import read_run, run_folders
from modelflow.results.protocol import Protocol, protocol_of, split_kind
from modelflow.results.records import DataRecord
from modelflow.studies.study import run_study
from small import a_run, digits_study

KEPT = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("kept", ["card", "best"])
def test_a_record_of_any_age_has_the_protocol_that_it_says(kept):
    runs = [read_run(folder) for folder in run_folders(KEPT / kept)]
    assert runs
    assert [str(protocol_of(run)) for run in runs] == [run.protocol for run in runs]


@pytest.mark.parametrize("name", ["held-out", "card"])
def test_a_run_says_what_its_fields_do(tmp_path, name):
    models = digits_study().models[:1]
    run_study(digits_study(protocol=name, models=models, epochs=1, seeds=[42]), tmp_path, jobs=1)
    run = read_run(tmp_path / "narrow")
    found = protocol_of(run)
    assert str(found) == run.protocol
    assert (found.name, found.kind) == (name, name)
    images = str(run.data.training_images)
    others = {"dataset": "digits", "training_images": images, "epochs": "1", "lr": "0.003"}
    assert dict(found.differences) == others
    assert found.differing == f"dataset digits, training_images {images}, epochs 1, lr 0.003"


def test_settings_say_what_the_record_says_otherwise():
    assert protocol_of(a_run(protocol="held-out", settings={"protocol": "card"})).kind == "card"
    assert protocol_of(a_run(protocol="card", settings={"protocol": "mine"})).kind == "card"
    assert protocol_of(a_run(protocol="card but epochs 3", epochs=10)) == Protocol("card")
    assert protocol_of(a_run(epochs=3, settings={"optimizer.weight_decay": 5.0})) == Protocol(
        "card", (("epochs", "3"), ("optimizer.weight_decay", "5.0"))
    )


@pytest.mark.parametrize("said", ["mine", "", "cards", "held-out, nearly"])
def test_a_protocol_that_is_none_of_ours_has_its_own_name_and_nothing_more(said):
    found = protocol_of(a_run(protocol=said, epochs=3))
    assert (found.name, found.kind, str(found), found.differences) == (said, "not known", said, ())


def test_the_kind_is_of_the_name_alone():
    assert [split_kind(name) for name in ("card", "held-out", "card but epochs 3", "")] == [
        "card",
        "held-out",
        "not known",
        "not known",
    ]


def test_55_000_images_are_usual_where_5_000_are_held_out():
    for name, images in (("card", 60_000), ("held-out", 55_000)):
        data = DataRecord(name="fashion-mnist", training_images=images, validation_images=None)
        assert protocol_of(a_run(protocol=name, data=data)).differences == ()
        other = data.model_copy(update={"training_images": 115_000 - images})
        assert dict(protocol_of(a_run(protocol=name, data=other)).differences) == {
            "training_images": str(115_000 - images)
        }
