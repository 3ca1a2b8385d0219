"""The data belong to what a run is: loaded anew when they change, refused where a run is of others."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from modelflow import ModelFlow, load_dataset, run_study
from modelflow.cli import run_command
from modelflow.data.batches import Batches
from modelflow.data.sources import checksums_of
from modelflow.errors import DataError, RunError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import parse_spec
from modelflow.results.layout import read_plan, read_run, write_plan
from modelflow.results.run_settings import LATER_SETTINGS
from modelflow.results.settings import read_study
from modelflow.studies.plan import asked, is_finished, plans, unfinished
from modelflow.studies.run import DATA_NOT_KNOWN, JOINED, check_data, dataset_of, make_flow, open_run, train_run
from modelflow.training.states import newest_state, save_state
from small import spec_of_four as spec
from small import write_four as write


def study(dataset, **changes):
    models = [{"name": "a", "spec": spec(2)}]
    return read_study({"dataset": dataset, "models": models, "epochs": 1, "batch_size": 8} | changes)


def planned(settings, where):
    return plans(settings, where, None, checksums_of(settings.dataset))


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "d", 1)


def test_a_data_set_is_loaded_once_and_anew_when_its_files_change(data):
    name = f"idx:{data}"
    first = dataset_of(name, None)
    assert dataset_of(name, None) is first
    write(data, 2)
    second = dataset_of(name, None)
    assert second.checksums == checksums_of(name) != first.checksums
    assert not np.array_equal(second.train_x_NCHW, first.train_x_NCHW)


def test_one_relative_name_is_another_data_set_in_another_folder(tmp_path, monkeypatch):
    sums = []
    for place, seed in (("one", 1), ("two", 2)):
        write(tmp_path / place / "data", seed)
        monkeypatch.chdir(tmp_path / place)
        run_study(study("idx:data"), "r", jobs=1)
        run = read_run("r/a")
        assert run.data.checksums == checksums_of("idx:data")
        assert run.data.folder == str(tmp_path / place / "data")
        sums.append(run.data.checksums)
    assert sums[0] != sums[1]


def test_a_folder_of_data_that_no_record_can_name_is_left_out_of_it(tmp_path, monkeypatch):
    place = tmp_path / "not utf-8 \udcff"
    write(place / "data", 1)
    monkeypatch.chdir(place)
    run_study(study("idx:data"), tmp_path / "r", jobs=1)
    assert read_run(tmp_path / "r/a").data.folder is None


def refused(capsys, *command):
    assert run_command([*map(str, command)]) == 2
    return " ".join(capsys.readouterr().err.split())


def test_a_finished_run_of_other_data_is_refused_by_run_and_train(data, tmp_path, capsys):
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"dataset": f"idx:{data}", "models": [{"name": "a", "spec": spec(2)}], "epochs": 1}))
    (tmp_path / "a.json").write_text(json.dumps(spec(2)))
    assert run_command(["run", str(file), "--results", str(tmp_path / "r")]) == 0
    before = (tmp_path / "r/a/run.json").read_bytes()
    write(data, 2)
    for command in (
        ("run", file, "--results", tmp_path / "r"),
        ("train", tmp_path / "a.json", "--dataset", f"idx:{data}", "--epochs", 1, "--results", tmp_path / "r"),
    ):
        said = refused(capsys, *command)
        for part in (
            "r/a holds a run on other data",
            "train-images-idx3-ubyte (SHA-256 stored ",
            "old files",
        ):
            assert part in said
        assert "--results" in said
        assert "--restart" in said
    assert (tmp_path / "r/a/run.json").read_bytes() == before
    write(data, 1)
    assert run_command(["run", str(file), "--results", str(tmp_path / "r")]) == 0


def half_way(settings, where):
    """A run broken off within its training, as a kill leaves it."""
    (plan,) = planned(settings, where)

    def kill(_event):
        if list((plan.folder / "training").glob("state-*.pth")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(plan, kill)
    return plan


@pytest.fixture
def states_at_once(monkeypatch):
    monkeypatch.setattr("modelflow.studies.autosave.SECONDS_BETWEEN_STATES", 0)
    monkeypatch.setattr("modelflow.studies.autosave.SHARE_OF_SAVING", 1e9)
    monkeypatch.setattr("modelflow.studies.run.SECONDS_BETWEEN_REPORTS", 0)
    monkeypatch.setattr("modelflow.training.compiled.MACS_A_CALL", 1.0)


@pytest.mark.usefixtures("states_at_once")
def test_a_training_half_way_does_not_go_on_with_other_data(data, tmp_path):
    settings = study(f"idx:{data}", epochs=50)
    half_way(settings, tmp_path / "r")
    write(data, 2)
    with pytest.raises(UsageError, match=r"r/a holds a run on other data.*train-images-idx3-ubyte"):
        unfinished(planned(settings, tmp_path / "r"))
    write(data, 1)
    run = train_run(*planned(settings, tmp_path / "r"))
    assert run.data.checksums == checksums_of(f"idx:{data}")
    assert run.notes == tuple(note for note in run.notes if note != DATA_NOT_KNOWN)


@pytest.mark.usefixtures("states_at_once")
def test_what_an_older_version_began_goes_on_with_a_note_and_knows_its_data_from_then_on(data, tmp_path):
    settings = study(f"idx:{data}", epochs=50)
    plan = half_way(settings, tmp_path / "r")
    unknown = {"checksums", *LATER_SETTINGS}
    write_plan(plan.folder, {name: value for name, value in asked(plan).items() if name not in unknown})
    state, path = newest_state(plan.folder / "training", 1 << 30, print)
    state["call"]["asked"] = {name: of for name, of in state["call"]["asked"].items() if name not in LATER_SETTINGS}
    path.unlink()
    save_state(plan.folder / "training", state)
    noted = []

    def kill_again(event):
        noted.append(event.note)
        if event.done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(plan, kill_again)
    assert DATA_NOT_KNOWN in noted
    assert read_plan(plan.folder)["checksums"] == checksums_of(f"idx:{data}")
    assert DATA_NOT_KNOWN in train_run(plan).notes


@pytest.mark.usefixtures("states_at_once")
def test_a_state_of_other_data_is_refused_in_python_too(data, tmp_path):
    def flow():
        train, val, test = load_dataset(f"idx:{data}").held_out_loaders(8)
        model = GenericCNN(parse_spec(spec(2)))
        return ModelFlow(model, train, val, "a", test_loader=test, results_dir=tmp_path, verbose=False)

    begun = flow()
    begun.arch.on_step = lambda *_: list((tmp_path / "a/training").glob("state-*")) and (_ for _ in ()).throw(RunError)
    with pytest.raises(RunError):
        begun.train(50)
    write(data, 2)
    with pytest.raises(DataError, match=r"was saved by a training on other files of idx:.*train-images-idx3-ubyte"):
        flow().resume()
    write(data, 1)
    assert "resuming a" in flow().resume()


def test_data_that_change_between_two_runs_of_a_study_are_noticed(data, tmp_path):
    def change(event):
        if event.title == "a, seed 43":
            write(data, 2)

    settings = study(f"idx:{data}", seeds=[42, 43, 44])
    with pytest.raises(RunError, match=r"a, seed 44: the files of idx:.* have changed since the study began"):
        run_study(settings, tmp_path / "r", jobs=1, on_event=change)
    assert not (tmp_path / "r/a/seeds/44/run.json").exists()
    assert read_run(tmp_path / "r/a/seeds/43").data.checksums == read_run(tmp_path / "r/a").data.checksums


def test_workers_notice_it_as_well(data, tmp_path):
    settings = study(f"idx:{data}", seeds=[42, 43])
    stale = {**checksums_of(f"idx:{data}"), "train-labels-idx1-ubyte": "0" * 64}
    due = plans(settings, tmp_path / "r", None, stale)
    from modelflow.studies.engines import local

    outcomes = [outcome for _, outcome in local.run_plans(due, lambda _event: None, jobs=2)]
    assert ["train-labels-idx1-ubyte" in str(outcome) for outcome in outcomes] == [True, True]
    with pytest.raises(DataError, match="have changed since the study began"):
        check_data(due)


def test_data_that_are_not_looked_at_are_not_compared(data, tmp_path):
    settings = study(f"idx:{data}")
    run_study(settings, tmp_path / "r", jobs=1)
    shutil.rmtree(data)
    assert is_finished(plans(settings, tmp_path / "r")[0])


def test_run_json_counts_test_images_that_are_training_images(data, tmp_path, capsys):
    for kind in ("images-idx3", "labels-idx1"):
        whole = (data / f"train-{kind}-ubyte").read_bytes()
        head, item = (16, 64) if "3" in kind else (8, 1)
        size = bytes([0, 0, 0, 40]) + whole[8:head]
        (data / f"t10k-{kind}-ubyte").write_bytes(whole[:4] + size + whole[head : head + 40 * item])
    (tmp_path / "s.json").write_text(
        json.dumps({"dataset": f"idx:{data}", "models": [{"name": "a", "spec": spec(2)}], "epochs": 1})
    )
    assert run_command(["run", str(tmp_path / "s.json"), "--results", str(tmp_path / "r")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "are also among its training images" in told
    run = read_run(tmp_path / "r/a")
    assert (run.data.test_in_training, run.data.test_in_training_other_label) == (40, 0)
    for page in ("r/report.html", "r/MODEL_CARD.md", "r/a/MODEL_CARD.md"):
        assert "40 test images of idx:" in (tmp_path / page).read_text(), page


def test_colours_that_an_older_version_normalised_by_one_mean_are_evaluated_so(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "rgb"
    folder.mkdir()
    images, labels = rng.integers(0, 256, (40, 3, 8, 8), np.uint8), np.arange(40, dtype=np.uint8) % 2
    for part in ("train", "t10k"):
        for kind, values in (("images", images), ("labels", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{part}-{kind}-idx-ubyte").write_bytes(head + values.tobytes())
    run_study(study(f"idx:{folder}", models=["c4 gap fc"]), tmp_path / "r", jobs=1)
    place = next(path.parent for path in (tmp_path / "r").glob("*/run.json"))
    fields = json.loads((place / "run.json").read_text())
    assert len(fields["data"]["mean"]) == len(fields["data"]["std"]) == 3
    np.testing.assert_allclose(open_run(place).data.mean, images.mean((0, 2, 3)) / 255)
    fields["data"] |= {"mean": 0.5, "std": 0.25}
    (place / "run.json").write_text(json.dumps(fields))
    flow = open_run(place)
    assert (flow.data.mean, flow.data.std) == (0.5, 0.25)
    x_NCHW = flow.test_loader.dataset.tensors[0].numpy()
    np.testing.assert_allclose(x_NCHW, (images / 255 - 0.5) / 0.25, atol=1e-6)


MODERN = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-3,
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "lr": 0.05,
}


def test_settings_reach_optimizer_and_loss_and_are_recorded(tmp_path, data):
    settings = study(f"idx:{data}", epochs=3, **MODERN)
    (plan,) = planned(settings, tmp_path / "r")
    flow = make_flow(plan)
    group = flow.optimizer.param_groups[0]
    assert {name: group[name] for name in ("momentum", "nesterov", "weight_decay")} == {
        name: MODERN[name] for name in ("momentum", "nesterov", "weight_decay")
    }
    y_N = torch.cat([y for _, y in flow.train_loader])
    balanced = compute_class_weight("balanced", classes=np.arange(4), y=y_N.numpy())
    assert flow.loss_fn.weight.numpy() == pytest.approx(balanced)
    assert flow.loss_fn.label_smoothing == 0.1
    run = train_run(plan)
    assert run.settings | {"optimizer.momentum": 0.9, "loss_fn.label_smoothing": 0.1} == run.settings
    assert is_finished(plan)
    with pytest.raises(UsageError, match=r"label_smoothing was 0\.1, now 0\.0"):
        is_finished(planned(study(f"idx:{data}", epochs=3, **MODERN | {"label_smoothing": 0.0}), tmp_path / "r")[0])
    assert open_run(plan.folder).evaluate() == run.metrics


def write_unequal(folder):
    """The data of `write`, of which the first class has four times the images of each other."""
    write(folder, 3)
    for part in ("train", "t10k"):
        path = folder / f"{part}-labels-idx1-ubyte"
        content = path.read_bytes()
        labels = np.frombuffer(content[8:], np.uint8)
        path.write_bytes(content[:8] + np.where(np.arange(len(labels)) % 7 < 4, 0, labels).astype(np.uint8).tobytes())
    return folder


def test_balanced_classes_train_as_a_plain_loop_of_pytorch_does(tmp_path, monkeypatch):
    """From the same weights, over the same batches, in float32: the same weights but for rounding."""
    orders, order = [], Batches.order
    monkeypatch.setattr(Batches, "order", lambda self: orders.append(order(self)) or orders[-1])
    models = [{"name": "a", "spec": spec(2) | {"p": 0.0}}]
    asked_for = {"models": models, "epochs": 2, "class_weights": "balanced", "lr": 1e-2, "protocol": "card"}
    (plan,) = planned(study(f"idx:{write_unequal(tmp_path / 'd')}", **asked_for), tmp_path / "r")
    ours, model = make_flow(plan), make_flow(plan).model
    x_NCHW, y_N = ours.train_loader.dataset.tensors
    weight_K = torch.tensor(compute_class_weight("balanced", classes=np.arange(4), y=y_N.numpy())).float()
    assert weight_K.max() > 2 * weight_K.min()
    orders.clear()
    ours.run(epochs=2)
    passes = [order_N for order_N in orders if len(order_N) == len(y_N)][:2]
    assert not torch.equal(*passes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for which_B in torch.cat([order_N.reshape(-1, 8) for order_N in passes]):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x_NCHW[which_B]), y_N[which_B], weight_K).backward()
        optimizer.step()
    for name, weights in ours.model.state_dict().items():
        assert torch.allclose(weights, model.state_dict()[name], atol=1e-5), name


def test_balanced_classes_are_asked_for_in_a_study_file_and_by_an_option(tmp_path, capsys):
    data = write_unequal(tmp_path / "d")
    fields = {"models": [{"name": "m", "spec": spec(2)}], "dataset": f"idx:{data}", "epochs": 1}
    for name, more, options in (
        ("file", {"class_weights": "balanced"}, []),
        ("option", {}, ["--class-weights", "balanced"]),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(fields | more))
        assert run_command(["run", str(tmp_path / f"{name}.json"), "--results", str(tmp_path / name), *options]) == 0
        assert "the classes are unequal" not in capsys.readouterr().err
    run_study(fields | {"class_weights": "balanced"}, tmp_path / "python", verbose=False)
    run_study(fields, tmp_path / "plain", verbose=False)
    weights = {
        name: (tmp_path / name / "m" / "model.safetensors").read_bytes() for name in ("file", "option", "python")
    }
    assert len(set(weights.values())) == 1
    assert (tmp_path / "plain" / "m" / "model.safetensors").read_bytes() not in weights.values()
    assert read_run(tmp_path / "file" / "m").settings["class_weights"] == "balanced"


def test_unequal_classes_are_told_with_the_weights_and_the_metric(tmp_path, capsys):
    data = write_unequal(tmp_path / "d")
    for command in (
        ["train", "generic_2", "--dataset", f"idx:{data}", "--epochs", "1", "--results", str(tmp_path / "r")],
        ["data", "show", f"idx:{data}", "--output", str(tmp_path / "d.png")],
    ):
        assert run_command(command) == 0
        said = capsys.readouterr()
        assert (
            "--class-weights balanced in training, --metric balanced_accuracy in the comparison" in said.out + said.err
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adam", "momentum": 0.9}, "momentum: adam has none"),
        ({"nesterov": True}, "nesterov: is for optimizer sgd with a momentum"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"ema": 1.0}, "ema = 1.0: expected less than 1"),
        ({"ema": 0.0}, "ema = 0.0: expected more than 0"),
        ({"class_weights": "inverse"}, "class_weights"),
        ({"shift": -1}, "shift = -1: expected at least 0"),
        ({"cutout": 1.5}, "cutout = 1.5: expected a whole number"),
        ({"flip": "yes"}, "flip = 'yes': expected true or false"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        study("digits", **changes)


def test_a_last_batch_of_one_is_joined_under_batch_norm_and_said(tmp_path, data):
    layers = [{"conv": 2, "kernel": 3, "norm": "batch"}, {"linear": "classes"}]
    models = [{"name": "bn", "spec": {"input": [1, 8, 8], "classes": 4, "layers": layers}}]
    settings = study(f"idx:{data}", models=models, validation_images=7, batch_size=8)  # 73 of 80 are trained on
    (plan,) = planned(settings, tmp_path / "r")
    flow = make_flow(plan)
    assert [len(y) for _, y in flow.train_loader] == [8] * 8 + [9]
    assert len(flow.train_loader) == 9
    assert JOINED in train_run(plan).notes
    (plain,) = planned(study(f"idx:{data}", validation_images=7), tmp_path / "plain")
    assert [len(y) for _, y in make_flow(plain).train_loader] == [8] * 9 + [1]
    assert check_data([plain]) == []


def test_that_a_last_batch_is_joined_is_said_once_a_study_with_the_models(tmp_path, data, capsys):
    models = [{"name": name, "spec": batch_norm(input=[1, 8, 8], classes=4)} for name in ("one", "other")]
    models = [*models, {"name": "plain", "spec": spec(2)}]
    settings = study(f"idx:{data}", models=models, seeds=[42, 43], validation_images=7)
    run_study(settings, tmp_path / "r", jobs=1)
    said = capsys.readouterr().err
    assert said.count(JOINED) == 1
    assert f"warning: {JOINED} (one, other)\n" in said
    assert check_data(plans(settings.model_copy(update={"batch_size": 9}), tmp_path / "r")) == [
        f"{JOINED} (one, other)"
    ]
    assert check_data(plans(settings.model_copy(update={"batch_size": 16}), tmp_path / "r")) == []


def batch_norm(**input_and_classes):
    layers = [{"conv": 2, "kernel": 3, "norm": "batch"}, {"dropout": 0.2}, {"linear": "classes"}]
    return {"layers": layers} | input_and_classes


@pytest.mark.usefixtures("states_at_once")
@pytest.mark.parametrize("protocol", ["held-out", "card"])
def test_an_averaged_run_gives_the_same_bytes_alone_in_a_study_and_after_a_kill(data, tmp_path, protocol):
    models = [{"name": "a", "spec": spec(2)}, {"name": "bn", "spec": batch_norm(input=[1, 8, 8], classes=4)}]
    settings = study(f"idx:{data}", epochs=3, ema=0.9, models=models, protocol=protocol)
    run_study(settings, tmp_path / "study", jobs=2)
    for model in settings.models:
        alone = settings.model_copy(update={"models": [model]})
        plan = half_way(alone, tmp_path / "killed")
        state, _ = newest_state(plan.folder / "training", 1 << 30, print)
        assert state["midway"] is not None
        assert state["ema"]["updates"] > 0
        run = train_run(plan)
        assert run.settings["ema"] == run.settings["averaging.ema"] == 0.9
        assert run.engine == "compiled step"
        for name in ("model.safetensors", "history.csv", "predictions.npz", "model_checkpoint.pth"):
            paths = [tmp_path / where / plan.model_name / name for where in ("killed", "study")]
            assert paths[0].read_bytes() == paths[1].read_bytes(), name
        assert open_run(plan.folder).evaluate() == run.metrics


@pytest.mark.usefixtures("states_at_once")
def test_an_augmented_run_gives_the_same_bytes_alone_in_a_study_and_after_a_kill(data, tmp_path):
    models = [{"name": "a", "spec": spec(2)}, {"name": "bn", "spec": batch_norm(input=[1, 8, 8], classes=4)}]
    settings = study(f"idx:{data}", epochs=3, shift=2, flip=True, cutout=3, models=models)
    run_study(settings, tmp_path / "study", jobs=2)
    for model in settings.models:
        plan = half_way(settings.model_copy(update={"models": [model]}), tmp_path / "killed")
        state, _ = newest_state(plan.folder / "training", 1 << 30, print)
        assert state["midway"] is not None
        run = train_run(plan)
        assert (run.settings["shift"], run.settings["augmentation.flip"], run.settings["cutout"]) == (2, True, 3)
        for name in ("model.safetensors", "history.csv", "predictions.npz", "model_checkpoint.pth"):
            paths = [tmp_path / where / plan.model_name / name for where in ("killed", "study")]
            assert paths[0].read_bytes() == paths[1].read_bytes(), name
        assert open_run(plan.folder).evaluate() == run.metrics
        without = settings.model_copy(update={"models": [model], "shift": 0, "flip": False, "cutout": 0})
        train_run(*planned(without, tmp_path / "without"))
        weights = [tmp_path / where / plan.model_name / "model.safetensors" for where in ("killed", "without")]
        assert weights[0].read_bytes() != weights[1].read_bytes()


def test_augmentation_that_the_images_are_too_small_for_is_refused_before_training(data, tmp_path):
    due = planned(study(f"idx:{data}", shift=8), tmp_path / "r")
    with pytest.raises(DataError, match=r"shift = 8: the images of idx:.* are 8x8\. Give at most 7\."):
        check_data(due)


def test_an_average_of_another_decay_is_another_run(data, tmp_path):
    settings = study(f"idx:{data}", ema=0.9)
    train_run(*planned(settings, tmp_path / "r"))
    for other, said in ((None, "left out"), (0.99, r"0\.99")):
        with pytest.raises(UsageError, match=rf"ema was 0\.9, now {said}\."):
            is_finished(planned(settings.model_copy(update={"ema": other}), tmp_path / "r")[0])
