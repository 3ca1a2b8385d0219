"""Presets, and how a MODEL argument or an entry of a study's models becomes a name and a spec."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelflow.errors import SpecError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.data_shape import DataShape
from modelflow.networks.description import Spec, parse_spec, read_spec
from modelflow.networks.resolve import CARD, check_name, is_model, is_preset, named_spec, preset, resolve, trace
from modelflow.networks.trace import trace as trace_of_spec
from modelflow.results import layout
from modelflow.results.settings import read_study

LEAST = {"in_channels": 1, "num_classes": 10}


def write(path, **fields):
    path.write_text(json.dumps(LEAST | fields))
    return path


def test_the_presets_are_the_seven_of_the_card_in_its_order():
    assert list(CARD) == ["cnn2_3", "cnn2_5", "cnn2_7", "generic_0", "generic_1", "generic_2", "generic_3"]
    assert {name: preset(name).family for name in CARD if preset(name).family == "cnn2"} == dict.fromkeys(
        ("cnn2_3", "cnn2_5", "cnn2_7"), "cnn2"
    )
    assert preset("generic_0").cov_features == preset("cnn2_5").cov_features == (5, 5)
    assert preset("generic_3").fc_sizes == tuple(int(1024 + i * (25 - 1024) / (9 - 1)) for i in range(9))


def test_the_fields_of_a_record_are_a_presets_where_all_are_the_same():
    fields = preset("generic_2").model_dump(mode="json")
    assert is_preset("generic_2", fields)
    assert not is_preset("generic_2", fields | {"p": 0.1})
    assert not is_preset("generic_1", fields)
    assert not is_preset("mine", fields)


def test_the_card_reports_these_figures():
    assert [card.accuracy for card in CARD.values()] == [0.8041, 0.8328, 0.8496, 0.8527, 0.8245, 0.8761, 0.8409]
    assert [card.macro_f1 for card in CARD.values()] == [0.7998, 0.8296, 0.8475, 0.8505, 0.8228, 0.8746, 0.8354]


def test_a_model_is_a_preset_or_a_file_named_by_its_stem(tmp_path, monkeypatch):
    assert resolve("cnn2_3") == ("cnn2_3", preset("cnn2_3"))
    path = write(tmp_path / "my_net.v2.JSON", p=0.1)
    assert resolve(str(path)) == ("my_net.v2", Spec(**LEAST, p=0.1))
    monkeypatch.chdir(tmp_path)
    assert resolve("my_net.v2.JSON")[0] == "my_net.v2"


def test_a_spec_beside_the_study_goes_before_one_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "net.json", p=0.1)
    assert resolve("net.json", tmp_path / "study")[1].p == 0.1
    write(tmp_path / "study" / "net.json", p=0.2)
    assert resolve("net.json", tmp_path / "study")[1].p == 0.2
    assert resolve("./net.json")[1].p == 0.1


def test_an_unknown_name_is_refused_with_the_closest_and_all_presets():
    with pytest.raises(UsageError) as caught:
        resolve("generic2")
    told = "MODEL 'generic2': no such preset. Did you mean 'generic_2'? Presets: cnn2_3, cnn2_5"
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith(
        "generic_3. Or give a short form such as 'c16 gap fc', or the path of a file that ends in .json, .yaml, .yml."
    )


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "<img onerror>", "a\n", "é", "x" * 101, None, 3, ["a"]],
)
def test_names_that_cannot_name_a_folder_are_refused(name):
    with pytest.raises(SpecError, match=r"^model name .*: expected up to 100 letters, "):
        check_name(name)


def own_files():
    """The names of all files that a study writes into its folder, as `results.layout` has them."""
    of_a_study = ("STUDY", "STUDIES", "SAMPLES", "PARETO", "REPORT", "MODEL_CARD", "LEADERBOARD_CSV", "LEADERBOARD_MD")
    return [getattr(layout, name) for name in of_a_study]


@pytest.mark.parametrize("name", [*own_files(), *map(str.upper, own_files()), "a.old-1", "A.OLD-12"])
def test_the_names_of_a_studys_own_files_are_taken(name):
    with pytest.raises(SpecError, match=r"reserved for a study's files"):
        check_name(name)


@pytest.mark.parametrize("name", ["CON", "nul", "aux.json", "Com1", "lpt9.v2", "prn.", "net.", "a.."])
def test_names_that_windows_can_make_no_folder_of_are_refused(name):
    with pytest.raises(SpecError, match=r"Windows can make no folder of that name"):
        check_name(name)


@pytest.mark.parametrize("name", ["icon", "console", "com10x", "nul_", "auxiliary.v2", "study.json.v2", "report"])
def test_names_that_only_look_like_those_are_taken(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["a", "generic_2", "my-net+1.v2", "0", "x" * 100])
def test_names_that_can_are_taken(name):
    assert check_name(name) == name


def test_the_entries_of_a_study():
    assert named_spec("generic_2") == ("generic_2", preset("generic_2"))
    assert named_spec({"name": "wide", "spec": LEAST}) == ("wide", Spec(**LEAST))
    assert named_spec({"name": "wide", "spec": Spec(**LEAST)}) == ("wide", Spec(**LEAST))
    with pytest.raises(SpecError, match=r"^models: wide: unknown key 'q'"):
        named_spec({"name": "wide", "spec": LEAST | {"q": 1}})
    assert named_spec({"name": "a", "spec": "generic_2"}) == ("a", preset("generic_2"))
    for entry in (3, None, ["generic_2"], {"name": "x"}, {"name": "x", "spec": LEAST, "seed": 1}):
        with pytest.raises(UsageError, match=r"^models: .*: expected a preset's name, the path "):
            named_spec(entry)


def test_what_a_list_of_layers_leaves_out_is_as_of_fashion_mnist_where_no_data_are_named(tmp_path):
    fields = {"layers": [{"linear": "classes"}]}
    (tmp_path / "net.json").write_text(json.dumps(fields))
    whole = parse_spec(fields | {"input": [1, 28, 28], "classes": 10})
    for given in (fields, tmp_path / "net.json"):
        assert read_spec(given) == GenericCNN(given).spec == whole
        assert trace(given).input_shape == (1, 28, 28)
    digits = DataShape("digits", 1, (8, 8), 4)
    assert read_spec(fields, lambda: digits) == parse_spec(fields | {"input": [1, 8, 8], "classes": 4})
    with pytest.raises(SpecError, match="input = None: expected channels, height and width"):
        read_spec(fields | {"input": None})


def test_a_spec_without_a_name_is_called_as_its_preset_or_by_its_place():
    from modelflow import CNN2

    for entry in (LEAST, Spec(**LEAST), GenericCNN(Spec(**LEAST))):
        assert named_spec(entry, place=3) == ("model_3", Spec(**LEAST))
    assert named_spec(preset("generic_2"), place=3) == ("generic_2", preset("generic_2"))
    assert named_spec(CNN2(7)) == ("cnn2_7", preset("cnn2_7"))
    with pytest.raises(SpecError, match=r"^models: entry 2: num_classes is missing"):
        named_spec({"in_channels": 1}, place=2)


def test_a_trace_is_of_whatever_says_an_architecture(tmp_path):
    from modelflow import CNN2

    path, expected = write(tmp_path / "my_net.json"), trace_of_spec(Spec(**LEAST))
    for given in (
        LEAST,
        LEAST | {"in_channels": np.int64(1)},
        Spec(**LEAST),
        path,
        str(path),
        GenericCNN(Spec(**LEAST)),
    ):
        assert trace(given) == expected
    assert trace("generic_2") == trace_of_spec(preset("generic_2"))
    assert trace(CNN2(5)) == trace_of_spec(preset("cnn2_5"))
    assert named_spec(Path(path)) == named_spec(str(path))


@pytest.mark.parametrize("given", [5, None, ["generic_2"], object()])
def test_a_trace_of_anything_else_is_refused(given):
    with pytest.raises(UsageError, match=r"trace: .*: expected a spec, its fields, a preset's name"):
        trace(given)
    with pytest.raises(UsageError, match="no such preset"):
        trace("generic_9")
    with pytest.raises(SpecError, match="num_classes is missing"):
        trace({"in_channels": 1})
    with pytest.raises(UsageError, match="max_parameters = '5': must be a whole number"):
        trace("generic_2", "5")


def test_a_file_that_is_there_is_no_short_form_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_model("c8 fc")
    (tmp_path / "c8 fc").write_text("models: [generic_2]")
    assert not is_model("c8 fc")
    assert list(read_study("c8 fc").specs()) == ["generic_2"]
