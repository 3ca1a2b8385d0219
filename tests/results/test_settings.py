"""Settings and study files: defaults, the file of the design, where specs are looked up, options over the file."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from modelflow.errors import ShapeError, SpecError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.networks.resolve import CARD, preset
from modelflow.results.settings import RunSettings, StudySettings, read_study, validated, whole

LEAST = {"in_channels": 1, "num_classes": 10}
STUDY = """dataset: fashion-mnist            # or digits, or idx:FOLDER
models: [generic_2, my_net.json, {name: wide, spec: {in_channels: 1, num_classes: 10, cov_features: [8, 8]}}]
epochs: 10
seeds: [42]                       # and whatever the commands take: lr, batch_size, optimizer, recipe, ...
"""


@pytest.fixture
def study_file(tmp_path):
    def write(text, name="study.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    (tmp_path / "my_net.json").write_text(json.dumps({**LEAST, "p": 0.1}))
    return write


def refusal(path, kind=UsageError, **options):
    with pytest.raises(kind) as caught:
        read_study(path, **options)
    return str(caught.value)


def test_the_default_is_the_study_of_the_card_with_images_held_out():
    study = read_study(None)
    assert (study.dataset, study.epochs, study.batch_size) == ("fashion-mnist", 10, 16)
    assert (study.protocol, study.validation_images) == ("held-out", None)
    assert (study.lr, study.optimizer, study.seeds, study.find_best_lr) == (3e-4, "adam", [42], False)
    assert study.max_parameters == 200_000_000
    assert study.specs() == {name: preset(name) for name in CARD}


def test_a_study_made_in_python_gets_its_specs_when_it_is_made_whole():
    study = whole(StudySettings(models=["cnn2_3", "c8 fc"]))
    assert study.specs() == read_study(["cnn2_3", "c8 fc"]).specs()
    assert whole(study) == study
    assert (study.runs, study.decided_by.word) == (2, "accuracy")


LEFT_OUT = {"layers": [{"conv": 4, "padding": "same"}, {"linear": "classes"}]}


def test_what_a_network_leaves_out_is_that_of_the_data_set(study_file, tmp_path):
    (tmp_path / "left_out.json").write_text(json.dumps(LEFT_OUT))
    models = [
        "left_out.json",
        {"name": "here", "spec": LEFT_OUT},
        {"name": "three", "spec": {**LEFT_OUT, "classes": 12}},
    ]
    path = study_file(json.dumps({"dataset": "digits", "models": models}))
    specs = read_study(path).specs()
    assert {spec.input for spec in specs.values()} == {(1, 8, 8)}
    assert [spec.classes for spec in specs.values()] == [10, 10, 12]
    assert read_study(path, dataset="fashion-mnist").specs()["here"].input == (1, 28, 28)


def test_presets_fit_other_data_where_the_arithmetic_allows():
    specs = read_study(["generic_2", "generic_0"], dataset="fashion-mnist").specs()
    assert specs == {name: preset(name) for name in specs}
    fitted = read_study(["generic_2"], dataset="digits").specs()["generic_2"]
    assert fitted == Spec(**{**preset("generic_2").model_dump(), "input_size": 8})
    said = refusal(["generic_2", "cnn2_5"], ShapeError, dataset="digits")
    assert said.startswith("cnn2_5 for images of 1x8x8: pool2: max_pool_sizes[1] = 2: its input 5x1x1 is smaller")


def write_idx(folder, shape, classes):
    folder.mkdir()
    for part in ("train", "t10k"):
        images = np.arange(np.prod((classes, *shape)), dtype=np.uint8).reshape(classes, *shape)
        for role, values in (("images", images), ("labels", np.arange(classes, dtype=np.uint8))):
            head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
            (folder / f"{part}-{role}-idx{values.ndim}-ubyte").write_bytes(head + values.tobytes())
    return f"idx:{folder}"


def test_the_shape_of_ones_own_images_is_read_from_their_files(tmp_path):
    wide = write_idx(tmp_path / "wide", (3, 10, 20), 12)
    spec = read_study([LEFT_OUT], dataset=wide).specs()["model_1"]
    assert (spec.input, spec.classes, spec.layers[-1].features) == ((3, 10, 20), 12, 12)
    said = refusal(["generic_2"], ShapeError, dataset=wide)
    assert said.startswith("generic_2: the card's form of a spec takes square images only, but those of idx:")
    assert said.endswith("are 10x20. Give the same as a list of layers: '+valid-bn c4k5 m2 fc20drop0.3 fc'.")
    assert next(iter(read_study(["+valid-bn c4k5 m2 fc20drop0.3 fc"], dataset=wide).specs().values())).input == (
        3,
        10,
        20,
    )
    square = write_idx(tmp_path / "square", (3, 16, 16), 12)
    fitted = read_study(["generic_2"], dataset=square).specs()["generic_2"]
    assert (fitted.input_shape, fitted.num_classes) == ((3, 16, 16), 12)
    few = write_idx(tmp_path / "few", (28, 28), 3)
    assert read_study(["generic_2"], dataset=few).specs()["generic_2"] == preset("generic_2")


def test_a_study_with_its_specs_within_needs_no_data():
    spec = preset("generic_2").model_dump(mode="json")
    study = read_study({"models": [{"name": "net", "spec": spec}], "dataset": "idx:gone"})
    assert study.specs() == {"net": preset("generic_2")}


def test_the_margin_is_of_the_study_and_not_of_its_runs(study_file):
    assert read_study(None).margin is None
    assert read_study(study_file("margin: 1")).margin == 1
    assert read_study(study_file("margin: 1"), margin=2.5).margin == 2.5
    assert "margin" not in read_study(None, margin=2.5).run_settings().model_dump()
    for wrong in ("0", "-1", "100", ".nan", ".inf", "'1'", "true"):
        assert "margin" in refusal(study_file(f"margin: {wrong}"))


def test_the_study_file_of_the_design(study_file):
    study = read_study(study_file(STUDY))
    wide = Spec(**LEAST, cov_features=[8, 8])
    assert study.specs() == {"generic_2": preset("generic_2"), "my_net": Spec(**LEAST, p=0.1), "wide": wide}
    assert (study.dataset, study.epochs, study.seeds) == ("fashion-mnist", 10, [42])


def test_a_study_may_be_json_too(study_file):
    path = study_file('// mine\n{"models": ["my_net.json"], "lr": 1e-3}', "study.json")
    assert (list(read_study(path).specs()), read_study(path).lr) == (["my_net"], 1e-3)


def test_specs_are_looked_up_beside_the_study_first_and_then_where_the_command_is_given(
    study_file, tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    (here / "my_net.json").write_text(json.dumps({**LEAST, "p": 0.9}))
    (here / "other.json").write_text(json.dumps({**LEAST, "p": 0.8}))
    monkeypatch.chdir(here)
    specs = read_study(study_file("models: [my_net.json, other.json]")).specs()
    assert {name: spec.p for name, spec in specs.items()} == {"my_net": 0.1, "other": 0.8}


def test_spec_files_are_read_once_so_that_a_change_during_a_study_changes_nothing(study_file, tmp_path):
    study = read_study(study_file("models: [my_net.json]"))
    (tmp_path / "my_net.json").unlink()
    assert study.specs() == {"my_net": Spec(**LEAST, p=0.1)}


def test_options_override_the_file_and_none_does_not(study_file):
    path = study_file("epochs: 3\nlr: 3e-4\nseeds: [1, 2]\nbatch_size: 32\n")
    study = read_study(path, epochs=5, lr=None, seeds=[7], batch_size=None, optimizer="sgd")
    assert (study.epochs, study.lr, study.seeds, study.batch_size) == (5, 3e-4, [7], 32)
    assert study.optimizer == "sgd"
    assert study.run_settings() == RunSettings(epochs=5, batch_size=32, optimizer="sgd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown key 'epoch'. Did you mean 'epochs'?"),
        ("seed: 3", "unknown key 'seed'. Did you mean 'seeds'?"),
        ("data_dir: x", "unknown key 'data_dir'. Known keys: dataset, protocol, validation_images, recipe"),
        ("- generic_2", "['generic_2']: expected settings such as `epochs: 10`"),
        ("generic_2", "'generic_2': expected settings"),
        ("epochs: 0", "epochs = 0: expected at least 1"),
        ("epochs: 1.5", "epochs = 1.5: expected a whole number"),
        ("epochs: '3'", "epochs = '3': expected a whole number. Write 3"),
        ("epochs:", "epochs = None: expected a whole number. Give a value, or leave the key out"),
        ("epochs: 1000000000000", "epochs = 1000000000000: expected at most 100000"),
        ("batch_size: 0", "batch_size = 0: expected at least 1"),
        ("batch_size: true", "batch_size = True: expected a whole number"),
        ("lr: 0", "lr = 0: expected more than 0"),
        ("lr: -1.0", "lr = -1.0: expected more than 0"),
        ("lr: .nan", "lr = nan: expected"),
        ("lr: .inf", "lr = inf: expected at most 1000"),
        ("lr: fast", "lr = 'fast': expected a number"),
        ("optimizer: adan", "expected 'adam', 'adamw', 'sgd' or 'rmsprop'. Did you mean 'adam'?"),
        ("protocol: other", "protocol = 'other': expected 'held-out' or 'card'"),
        ("find_best_lr: 1", "find_best_lr = 1: expected true or false"),
        ("dataset: 3", "dataset = 3: expected a text"),
        ("max_parameters: 0", "max_parameters = 0: expected at least 1"),
        ("seeds: three", "seeds = 'three': expected a number of seeds from 1 to 10,000, or a list such as [1, 2, 3]"),
        ("seeds: 0", "seeds = 0: expected a number of seeds from 1 to 10,000, or a list"),
        ("seeds: true", "seeds = True: expected a number of seeds"),
        ("seeds: []", "seeds = []: expected a list of at least 1"),
        ("seeds: [-1]", "seeds[0] = -1: expected at least 0"),
        ("seeds: [1, 4294967296]", "seeds[1] = 4294967296: expected less than 4294967296"),
        ("seeds: [1, 2, 1]", "seeds: 1 appears twice. Remove one"),
        ("models: 3", "models = 3: expected a list"),
        ("models: []", "models = []: expected a list of at least 1"),
        ("models: [generic_2, generic_2]", "models: the name 'generic_2' appears twice. Rename one of them"),
        ("models: [3]", "models: 3: expected a preset's name"),
        ("models: [generic_9]", "MODEL 'generic_9': no such preset"),
    ],
)
def test_bad_studies_are_refused_with_field_value_expected_and_mend(study_file, text, message):
    assert message in refusal(study_file(text))


def test_a_refusal_names_the_file_or_the_options(study_file):
    path = study_file("lr: 0")
    assert refusal(path).startswith(f"{path}: lr = 0")
    assert refusal(path, epochs=3).startswith(f"{path} and options: lr = 0")
    assert refusal(None, epochs=0).startswith("options: epochs = 0")


def test_a_spec_that_cannot_be_built_is_refused_by_its_name(study_file):
    path = study_file("models: [{name: deep, spec: {in_channels: 1, num_classes: 10, amnt_cov_layers: 4}}]")
    assert refusal(path, ShapeError).startswith("deep: conv_layers.3: cov_kernel_sizes[3] = 3: its input 16x1x1")
    path = study_file("models: [generic_3]\nmax_parameters: 2955013")
    assert refusal(path, ShapeError).startswith("generic_3: 2,955,014 parameters, expected at most 2,955,013")
    assert refusal(study_file("models: [none.json]"), SpecError).startswith("none.json: no such file")


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        validated(StudySettings, {}, "test").epochs = 3


def test_a_number_of_seeds_is_that_many_from_42_on(study_file):
    assert read_study(study_file("seeds: 3")).seeds == [42, 43, 44]


def test_a_recipe_fills_in_what_is_left_out(study_file):
    best = read_study(None, recipe="best")
    assert (best.epochs, best.batch_size, best.schedule) == (60, 64, "one-cycle")
    assert best.models == read_study(None).models
    path = study_file("recipe: best\nepochs: 3\n")
    assert (read_study(path).epochs, read_study(path).batch_size) == (3, 64)
    assert read_study(path, batch_size=16).batch_size == 16
    assert RunSettings.model_validate(best.run_settings().model_dump()) == best.run_settings()


@pytest.mark.parametrize("recipe", ["fastest", ["best"], None, 3])
def test_an_unknown_recipe_is_refused(study_file, recipe):
    assert "recipe" in refusal(study_file(f"recipe: {json.dumps(recipe)}"))


def test_the_card_holds_nothing_out():
    with pytest.raises(UsageError, match="validation_images: protocol card holds nothing out"):
        validated(RunSettings, {"protocol": "card", "validation_images": 100}, "options")


def test_settings_and_lists_of_models_are_studies_without_a_file(study_file):
    entry = {"name": "a", "spec": LEAST}
    asked = {"models": [entry, "generic_2"], "epochs": np.int64(3), "lr": np.float32(0.5), "seeds": np.array([1, 2])}
    study = read_study(asked)
    assert study == read_study(
        study_file(json.dumps({"models": [entry, "generic_2"], "epochs": 3, "lr": 0.5, "seeds": [1, 2]}))
    )
    assert read_study(["generic_2", entry]) == read_study({"models": ["generic_2", entry]})
    assert read_study(["generic_2"], epochs=3).epochs == 3
    assert refusal({"modles": []}) == "settings: unknown key 'modles'. Did you mean 'models'?"
    with pytest.raises(SpecError, match=r"models: entry 1: num_classes is missing. Add it"):
        read_study({"in_channels": 1})
    assert refusal(5).startswith("study: 5: expected settings such as")


def test_models_are_taken_as_people_write_them(study_file):
    one, other = Spec(**LEAST), Spec(**LEAST, p=0.1)
    for alone in (LEAST, one, GenericCNN(one), {"models": one}, {"models": LEAST}, {"models": [one]}):
        assert read_study(alone).specs() == {"model_1": one}
    assert list(read_study([one, other, "generic_2"]).specs()) == ["model_1", "model_2", "generic_2"]
    for models in ({"a": one, "b": LEAST | {"p": 0.1}}, [{"name": "a", "spec": one}, {"name": "b", "spec": other}]):
        assert read_study({"models": models}).specs() == {"a": one, "b": other}
    for study in ("generic_2", Path("generic_2"), {"models": "generic_2"}, study_file("models: generic_2")):
        assert list(read_study(study).specs()) == ["generic_2"]
    assert read_study({"models": {"name": "a", "spec": "generic_2"}}).specs() == {"a": preset("generic_2")}
    assert read_study(study_file("models: {a: {in_channels: 1, num_classes: 10}}")).specs() == {"a": one}


def test_numbers_and_paths_of_any_kind_are_settings():
    assert read_study({"seeds": range(3)}).seeds == read_study({"seeds": np.arange(3)}).seeds == [0, 1, 2]
    assert read_study({"models": [LEAST], "dataset": Path("idx:a/b")}).dataset == "idx:a/b"
    assert refusal({"seeds": range(10**9)}).startswith("settings: seeds")


def test_a_folder_of_images_is_looked_up_beside_the_study_file_too(tmp_path, monkeypatch):
    study, here = tmp_path / "study", tmp_path / "here"
    for folder in (study / "images", here):
        folder.mkdir(parents=True)
    (study / "s.yaml").write_text("models: [my_net.json]\ndataset: 'idx:images'\n")
    (study / "my_net.json").write_text(json.dumps(LEAST))
    monkeypatch.chdir(here)
    assert read_study(study / "s.yaml").dataset == f"idx:{study / 'images'}"
    (here / "images").mkdir()
    assert read_study(study / "s.yaml").dataset == "idx:images"
    assert read_study({"models": [LEAST], "dataset": "idx:nowhere"}).dataset == "idx:nowhere"


def test_a_recipes_weight_decay_is_for_its_own_optimizer():
    assert read_study(None, recipe="modern").weight_decay == 0.05
    assert read_study(None, recipe="modern", optimizer="sgd").weight_decay is None
    assert read_study(None, recipe="modern", optimizer="sgd", weight_decay=5e-4).weight_decay == 5e-4
    assert read_study({"recipe": "modern", "weight_decay": None}).weight_decay == 0.05
