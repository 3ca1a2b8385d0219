"""What may be pooled and what is called how: by leaderboard, report, comparison and cards alike."""

import json
import shutil

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modelflow import ModelFlow
from modelflow.analysis.archive import read_content
from modelflow.analysis.comparison import as_data, compare_folders
from modelflow.analysis.identity import identity_of, network_of
from modelflow.analysis.leaderboard import leaderboard
from modelflow.cli import run_command
from modelflow.errors import UsageError
from modelflow.networks.build import module_sha256
from modelflow.networks.resolve import preset
from modelflow.report.answer import repeated_images
from modelflow.report.how import data_words, repeat_command
from modelflow.report.model_card import study_card
from modelflow.report.page import render
from modelflow.results.layout import read_run, write_run
from modelflow.results.records import DataRecord, other_data
from modelflow.studies.pages import write_pages
from small import a_run, digits_study, spec


@pytest.fixture(scope="module")
def bobs(trained):
    """Another network that is called like one of the class's."""
    return trained(digits_study(epochs=1, models=[{"name": "wide", "spec": spec(6)}]))


@pytest.fixture(scope="module")
def school(trained):
    """A study of two models and two seeds."""
    return trained(digits_study(epochs=1))


@pytest.fixture
def results(school, bobs, tmp_path):
    """The folder of a class: its study, and what Bob has handed in."""
    shutil.copytree(school, tmp_path / "class")
    shutil.copytree(bobs / "wide", tmp_path / "class" / "bobs_wide")
    return tmp_path / "class"


NAMES = {"narrow", "wide (wide)", "wide (bobs_wide)"}


def test_two_networks_of_one_name_are_two_models_everywhere(results):
    rows = {row.model: row for row in leaderboard(results)}
    models = {model.name: model for model in read_content(results).models}
    entries = {entry.name: entry for entry in compare_folders([results]).entries}
    assert rows.keys() == models.keys() == entries.keys() == NAMES
    assert {row.seeds for row in rows.values()} == {entry.seeds for entry in entries.values()} == {2}
    sizes = {name: row.parameters for name, row in rows.items()}
    assert sizes["wide (wide)"] != sizes["wide (bobs_wide)"]
    for name, row in rows.items():
        assert row.accuracy == pytest.approx(models[name].accuracy)
        assert row.accuracy == pytest.approx(entries[name].accuracy)
    card = study_card(read_content(results))
    assert all(name in card for name in NAMES)


def of_card(fields):
    fields["protocol"] = fields["settings"]["protocol"] = "card"


def of_other_files(fields):
    fields["data"]["checksums"] = dict.fromkeys(fields["data"]["checksums"], "0" * 64)


def of_other_data(fields):
    of_other_files(fields)
    fields["data"]["name"] = "letters"


def of_another_rate(fields):
    fields["settings"]["lr"] = 0.1


def of_another_network(fields):
    fields["spec"]["fc_sizes"] = [21]


@pytest.mark.parametrize("change", [of_card, of_other_files, of_other_data, of_another_rate, of_another_network])
def test_models_of_one_name_have_names_that_differ_everywhere(school, tmp_path, change):
    results = shutil.copytree(school, tmp_path / "class")
    shutil.copytree(results / "wide", results / "handed_in")
    for record in (results / "handed_in").rglob("run.json"):
        fields = json.loads(record.read_text())
        change(fields)
        record.write_text(json.dumps(fields))
    names = {"narrow", "wide (wide)", "wide (handed_in)"}
    assert {row.model for row in leaderboard(results)} == names
    content = write_pages(results)
    assert {model.name for model in content.models} == names
    lines = (results / "leaderboard.csv").read_text().splitlines()[1:]
    assert {line.partition(",")[0] for line in lines} == names
    table = (results / "leaderboard.md").read_text().replace("\\", "")
    assert all(f"| {name}" in table for name in names)
    page = (results / "report.html").read_text()
    assert all(name in page for name in names)
    if change in (of_another_rate, of_another_network):
        assert {entry.name for entry in compare_folders(results).entries} == names
    else:
        with pytest.raises(UsageError, match=r"wide \(handed_in\) .*(different protocols|other images)"):
            compare_folders(results)


def test_the_command_says_which_network_it_does_not_repeat(results):
    command, caution = repeat_command(read_content(results))
    assert "study.json" in command
    assert "study.json describes another wide than some of these runs used." in caution


def test_a_copy_of_a_run_is_no_further_seed_anywhere_and_is_named(school, tmp_path, capsys):
    results = shutil.copytree(school, tmp_path / "class")
    before = {row.model: row for row in leaderboard(results)}
    entries = compare_folders([results]).entries
    shutil.copytree(results / "wide", results / "again")
    shutil.copytree(results / "narrow", results / "narrow" / "seeds" / "99", ignore=lambda *_: ["seeds"])
    after = {row.model: row for row in leaderboard(results)}
    assert {name: (row.seeds, row.accuracy_low, row.accuracy_high) for name, row in after.items()} == {
        name: (row.seeds, row.accuracy_low, row.accuracy_high) for name, row in before.items()
    }
    assert str(results / "narrow/seeds/99") in after["narrow"].left_out
    assert str(results / "wide") in after["wide"].left_out
    comparison = compare_folders([results])
    assert comparison.entries == entries
    assert any("narrow/seeds/99: same model and seed as" in copy for copy in as_data(comparison)["copies"])
    write_pages(results)
    assert "narrow/seeds/99 (seed 42)" in (results / "leaderboard.md").read_text().replace("\\", "")
    assert run_command(["leaderboard", str(results)]) == run_command(["compare", str(results)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "narrow/seeds/99 (seed 42)" in out
    assert "narrow/seeds/99: same model" in out
    assert run_command(["leaderboard", str(results), "--json"]) == 0
    assert "narrow/seeds/99" in capsys.readouterr().out


def test_a_second_training_of_a_seed_is_left_out_and_its_weights_are_said_to_differ(school, tmp_path):
    results = shutil.copytree(school, tmp_path / "class")
    other = shutil.copytree(results / "wide", results / "wide" / "seeds" / "99", ignore=lambda *_: ["seeds"])
    fields = json.loads((other / "run.json").read_text())
    fields["files"]["model.safetensors"] = "0" * 64
    (other / "run.json").write_text(json.dumps(fields))
    (reason,) = (why for where, why in read_content(results).left_out if where == "wide/seeds/99")
    assert "same model and seed as wide" in reason
    assert "its weights are others" in reason
    assert "its weights are others" in compare_folders([results]).copies[0]


def test_runs_in_one_folder_that_are_no_seeds_of_one_model_are_refused_by_compare(school, bobs, tmp_path):
    results = shutil.copytree(school, tmp_path / "class")
    shutil.rmtree(results / "wide" / "seeds" / "43")
    shutil.copytree(bobs / "wide" / "seeds" / "43", results / "wide" / "seeds" / "43")
    with pytest.raises(UsageError, match=r"seeds/43 has another cov_features .*its own folder"):
        compare_folders([results / "wide", results / "narrow"])
    names = {"narrow", "wide (wide)", "wide (wide/seeds/43)"}
    assert {row.model for row in leaderboard(results)} == names
    assert {entry.name for entry in compare_folders(results).entries} == names


SETTINGS = {"batch_size": 16, "lr": 3e-4, "optimizer": "adam"}
IN_MEMORY = {"training images": "1", "training labels": "2"}
OTHERWISE = {
    "lr": {"settings": SETTINGS | {"lr": 0.1}},
    "batch size": {"settings": SETTINGS | {"batch_size": 64}},
    "optimizer": {"settings": SETTINGS | {"optimizer": "sgd"}},
    "schedule": {"settings": SETTINGS | {"schedule": "one-cycle"}},
    "loss": {"settings": SETTINGS | {"loss_fn": "MSELoss"}},
    "epochs": {"epochs": 11},
    "protocol": {"protocol": "held-out"},
    "spec": {"spec": {"in_channels": 1}},
    "class of a module": {"model_class": "Net"},
    "parameters of a module": {"parameters": 1},
    "what a module prints": {"module_sha256": "0" * 64},
    "checksums": {"data": DataRecord(name="x", training_images=1, validation_images=1, checksums={"a": "1"})},
    "images": {"data": DataRecord(name="x", training_images=2, validation_images=1)},
    "images in memory": {"data": DataRecord(name="x", training_images=1, validation_images=1, checksums=IN_MEMORY)},
    "an option of the optimizer": {"settings": SETTINGS | {"optimizer.weight_decay": 5.0}},
    "an option of the loss": {"settings": SETTINGS | {"loss_fn.weight": [1.0, 2.0]}},
    "an average of the weights": {"settings": SETTINGS | {"averaging.ema": 0.999}},
    "augmentation": {"settings": SETTINGS | {"augmentation.flip": True}},
}
ALIKE = {
    "seed": {"seed": 43},
    "what an older record leaves out": {"settings": SETTINGS | {"schedule": "constant", "find_best_lr": False}},
    "a rate found": {"lr": 0.01},
    "machine": {"processor": "another", "engine": "autograd", "versions": {}},
    "limit": {"settings": SETTINGS | {"max_parameters": 7, "recipe": "best"}},
}
BASE = {"settings": SETTINGS, "data": DataRecord(name="x", training_images=1, validation_images=1)}


@pytest.mark.parametrize("changes", OTHERWISE.values(), ids=OTHERWISE)
def test_what_makes_a_run_another_keeps_it_in_a_row_of_its_own(tmp_path, changes):
    write_run(tmp_path / "a", a_run(**BASE))
    write_run(tmp_path / "b", a_run(**BASE | changes, seed=43))
    rows = leaderboard(tmp_path)
    assert [row.seeds for row in rows] == [1, 1]
    assert len({(row.model, row.data, row.protocol) for row in rows}) == 2


@pytest.mark.parametrize("changes", ALIKE.values(), ids=ALIKE)
def test_what_makes_no_run_another_is_pooled(changes):
    assert identity_of(a_run(**BASE | changes)) == identity_of(a_run(**BASE))


def test_options_are_alike_as_numbers_and_in_any_order():
    given = {"optimizer.betas": [0.5, 1], "optimizer.weight_decay": 5}
    written = {"optimizer.weight_decay": 5.0, "optimizer.betas": [0.5, 1.0]}
    first, second = (identity_of(a_run(**BASE | {"settings": SETTINGS | one})) for one in (given, written))
    assert first == second != identity_of(a_run(**BASE | {"settings": SETTINGS | written | {"optimizer.eps": 1}}))


def test_what_is_known_of_data_decides_whether_they_differ():
    known = {"training images": "1", "test images": "2"}
    assert other_data(known, {}) == other_data({}, known) == other_data(known, {"test images": "2"}) == []
    assert other_data(known, known | {"test images": "3"}) == ["test images"]
    assert other_data({"a": "1"}, {}) == other_data({"a": "1"}, known) == ["a"]


def images(seed, n=64):
    """Images and labels of three classes; the labels are the same for each seed."""
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed)), torch.arange(n) % 3


def loader(x, y, shuffle=False):
    return DataLoader(TensorDataset(x, y), 16, shuffle)


def trained_in_python(where, seed, data=None, test=None, **options):
    """A run of a small module in the folder of that seed, made from loaders of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, **options.pop("adam", {}))
    given = loader(*(data or images(1)), shuffle=True), loader(*(test or images(2)))
    flow = ModelFlow(model, *given, "m", optimizer=optimizer, results_dir=where, seed=seed, verbose=False, **options)
    if seed != 1:
        flow.results_dir = where / "m" / "seeds" / str(seed)
    flow.run(epochs=1)
    return read_run(flow.results_dir)


def rows_of(where):
    return sorted(row.seeds for row in leaderboard(where))


IN_PYTHON = {
    "training images": {"data": images(3)},
    "training labels": {"data": (images(1)[0], images(1)[1].flip(0))},
    "validation images": {"test": images(3)},
    "weight decay": {"adam": {"weight_decay": 5.0}},
    "betas": {"adam": {"betas": (0.5, 0.9)}},
    "label smoothing": {"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.5)},
    "class weights": {"loss_fn": nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 5.0]))},
    "average of the weights": {"ema": 0.9},
    "augmentation": {"shift": 1},
}


@pytest.mark.parametrize("other", IN_PYTHON.values(), ids=IN_PYTHON)
def test_runs_made_in_python_are_pooled_by_their_data_and_options_too(tmp_path, other):
    trained_in_python(tmp_path, 1)
    trained_in_python(tmp_path, 2)
    assert rows_of(tmp_path) == [2]
    trained_in_python(tmp_path, 3, **other)
    assert rows_of(tmp_path) == [1, 2]
    assert sorted(len(model.seeds) for model in read_content(tmp_path).models) == [1, 2]
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    with pytest.raises(UsageError, match=r"seeds/3 has another"):
        compare_folders([tmp_path / "m", tmp_path / "n"])


def test_a_record_of_usual_options_is_as_before(tmp_path):
    run = trained_in_python(tmp_path, 1)
    assert run.settings.keys() == {"batch_size", "lr", "optimizer", "schedule", "loss_fn"}
    assert run.protocol == "card but dataset TensorDataset, training_images 64, epochs 1, lr 0.001"
    other = trained_in_python(tmp_path, 2, adam={"weight_decay": 5.0})
    assert other.settings == run.settings | {"optimizer.weight_decay": 5.0}
    assert other.protocol == f"{run.protocol}, optimizer.weight_decay 5.0"


def without_checksums(folder):
    """The record as it was before any were taken of loaders."""
    run = read_run(folder)
    bare = {"checksums": {}, "test_in_training": None, "test_in_training_other_label": None}
    write_run(folder, run.model_copy(update={"data": run.data.model_copy(update=bare)}))


def test_older_runs_in_python_pool_and_are_compared_among_themselves(tmp_path):
    places = [tmp_path / "m", *(tmp_path / "m" / "seeds" / str(seed) for seed in (2, 3, 4))]
    for seed in (1, 2, 3, 4):
        trained_in_python(tmp_path, seed)
    for place in places[:2]:
        without_checksums(place)
    assert rows_of(tmp_path) == [2, 2]
    assert compare_folders([places[0], places[1]]).verdicts
    said = (
        r"were made on images of which only one has checksums \(TensorDataset, TensorDataset\). Train the other again"
    )
    with pytest.raises(UsageError, match=said):
        compare_folders([places[2], places[1]])


@pytest.mark.parametrize(
    ("other", "said"),
    [({"data": images(3)}, "were trained on other images"), ({"test": images(3)}, "were tested on other images")],
)
def test_models_made_in_python_of_other_images_with_the_same_labels_are_not_compared(tmp_path, other, said):
    trained_in_python(tmp_path / "a", 1)
    trained_in_python(tmp_path / "b", 1)
    assert compare_folders([tmp_path / "a/m", tmp_path / "b/m"]).verdicts
    trained_in_python(tmp_path / "c", 1, **other)
    with pytest.raises(UsageError, match=said):
        compare_folders([tmp_path / "a/m", tmp_path / "c/m"])


def test_test_images_among_the_training_images_of_loaders_are_counted_and_told(tmp_path, capsys):
    x, y = images(1)
    test = torch.cat([x[:5], images(2)[0][:5]]), torch.cat([y[:4], (y[4:5] + 1) % 3, y[:5]])
    run = trained_in_python(tmp_path, 1, test=test)
    assert (run.data.test_in_training, run.data.test_in_training_other_label) == (5, 1)
    assert trained_in_python(tmp_path / "b", 1).data.test_in_training == 0
    told = "5 test images of TensorDataset are also among its training images"
    assert told in repeated_images([run.data])[0]
    assert told in render(read_content(tmp_path))
    capsys.readouterr()
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    ModelFlow(model, loader(x, y), loader(*test), "m", results_dir=tmp_path / "c").train(1)
    assert f"m: warning: {told}" in capsys.readouterr().out


def test_a_report_of_loaders_says_what_its_checksums_are_of(tmp_path):
    run = trained_in_python(tmp_path, 1)
    assert data_words(run).endswith("The SHA-256 of its 4 parts are below.")
    page, card = render(read_content(tmp_path)), study_card(read_content(tmp_path))
    for name, digest in run.data.checksums.items():
        assert name in page
        assert name in card
        assert digest in page
        assert digest in card


def test_stored_weights_evaluated_on_other_images_are_recorded_as_that(tmp_path):
    before = trained_in_python(tmp_path, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    given = loader(*images(7)), loader(*images(8, 32))
    stored = tmp_path / "m" / "model_checkpoint.pth"
    ModelFlow(model, *given, "m", stored, results_dir=tmp_path, seed=1, verbose=False).run(skip_train=True)
    after = read_run(tmp_path / "m")
    assert after.metrics.images == after.data.validation_images == 32
    assert after.data.training_images == 64
    sums = after.data.checksums
    assert {name: sums[name] == digest for name, digest in before.data.checksums.items()} == {
        "training images": True,
        "training labels": True,
        "validation images": False,
        "validation labels": False,
    }
    assert after.data.test_in_training is None  # the images that it was trained on are not here


def test_a_model_of_the_cards_name_that_is_not_its_network_has_none_of_its_figures(tmp_path):
    own = preset("generic_2").model_dump(mode="json")
    write_run(tmp_path / "a", a_run(spec=own))
    write_run(tmp_path / "b", a_run(spec=own | {"p": 0.5}))
    assert {row.model: row.card_accuracy is None for row in leaderboard(tmp_path)} == {
        "generic_2 (a)": False,
        "generic_2 (b)": True,
    }


def test_modules_of_one_class_and_size_are_told_apart_by_what_they_print():
    def module(activation):
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 2), activation)

    assert module_sha256(module(nn.ReLU())) == module_sha256(module(nn.ReLU()))
    assert module_sha256(module(nn.ReLU())) != module_sha256(module(nn.Tanh()))
    swapped = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 4))
    assert module_sha256(swapped) != module_sha256(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)))


def test_a_folder_may_be_given_as_a_text(school):
    place = str(school)
    assert compare_folders([place]) == compare_folders(place) == compare_folders([school])
    assert compare_folders([f"{place}/wide", f"{place}/narrow"]).verdicts
    assert network_of(read_run(f"{place}/wide")) == network_of(read_content(place).models[0].first)
    assert {row.model for row in leaderboard(place)} == {"wide", "narrow"}
