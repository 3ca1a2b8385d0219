"""`ModelFlow` as the card's notebooks use it: what a run leaves, trains on from, and says of dead runs."""

import csv
import json
import re
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import classification_report, confusion_matrix, log_loss, top_k_accuracy_score
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

from modelflow import CNN2, GerenicCNN, ModelFlow
from modelflow.analysis.identity import identity_of
from modelflow.data.batches import Batches
from modelflow.errors import DataError, RunError, SpecError, UsageError
from modelflow.export.c.device import needed
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.results import provenance
from modelflow.results.layout import read_predictions, read_run
from modelflow.training.callback import Callback
from modelflow.training.states import newest_state, save_state

FILES = {
    *("spec.json", "run.json", "history.csv", "predictions.npz", "architecture.svg", "losses.png"),
    *("confusion_matrix.png", "confusion_matrix.csv", "classification_report.csv"),
    *("model_checkpoint.pth", "model.safetensors", "filters_conv_layers.0.png", "intermediate_outputs.png"),
}


def generic_2(seed=42):
    return GerenicCNN(
        in_channels=1,
        num_classes=10,
        amnt_cov_layers=1,
        cov_kernel_sizes=[5],
        cov_features=[4],
        max_pool_sizes=[2],
        fc_sizes=[20],
        verbose=False,
        seed=seed,
    )


@pytest.fixture
def flow_of(few_loaders, tmp_path):
    """Makes flows over the same 2,000 images, each in a folder of its own name."""

    def make(name="model_instance", model=None, **options):
        options = {"results_dir": tmp_path / "results", "verbose": False} | options
        return ModelFlow(generic_2() if model is None else model, *few_loaders, name, **options)

    return make


def content(flow, *names):
    return [(flow.results_dir / name).read_bytes() for name in names]


def test_a_batch_size_that_is_no_plain_number_is_recorded_as_one_or_not_at_all(fashion, tmp_path):
    for size, recorded in ((np.int64(16), 16), ([8, 16], None)):
        train_loader, val_loader = fashion.loaders(16)
        train_loader.batch_size = size
        flow = ModelFlow(GenericCNN(preset("cnn2_3")), train_loader, val_loader, results_dir=tmp_path, verbose=False)
        assert flow.settings["batch_size"] == recorded
        assert type(flow.settings["batch_size"]) in (int, type(None))


def test_a_notebook_written_for_the_card_leaves_its_files(fashion, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = TensorDataset(fashion.train_x_NCHW[:2000], fashion.train_y_N[:2000])
    val = TensorDataset(fashion.test_x_NCHW[:500], fashion.test_y_N[:500])
    train_loader, val_loader = DataLoader(train, batch_size=16, shuffle=True), DataLoader(val, batch_size=16)
    model = GerenicCNN(
        1, 10, amnt_cov_layers=1, cov_kernel_sizes=[5], cov_features=[4], max_pool_sizes=[2], fc_sizes=[20]
    )
    mflow = ModelFlow(
        model=model, train_loader=train_loader, val_loader=val_loader, model_name="test_new_model", find_best_lr=True
    )
    mflow.run(layers=["conv_layers.0"], epochs=2)
    left = {path.name for path in (tmp_path / "results" / "test_new_model").iterdir()}
    assert left == FILES | {"lr_finder.png", "lr_finder.csv"}
    assert len(mflow.arch.losses) == len(mflow.arch.val_losses) == mflow.arch.total_epochs == 2
    assert "conv0 output size (after max pool): 12x12" in capsys.readouterr().out


def test_cnn2_leaves_the_pictures_of_its_two_layers(flow_of):
    flow = flow_of("cnn2_3", CNN2(3))
    flow.run(epochs=1)
    assert {path.name for path in flow.results_dir.glob("filters_*")} == {"filters_conv1.png", "filters_conv2.png"}


def test_a_compiled_model_is_trained_to_all_its_files(flow_of):
    flow = flow_of("compiled", torch.compile(generic_2(), backend="eager"))
    flow.run(layers=["conv_layers.0"], epochs=1)
    left = {path.name for path in flow.results_dir.iterdir()}
    assert left == FILES - {"spec.json"}  # a module of torch's around the network
    assert read_run(flow.results_dir).macs == generic_2().trace.macs
    assert ModelFlow.go_on is ModelFlow.resume
    assert flow.arch.go_on_from == flow.arch.resume_from


def test_tables_equal_scikit_learns(flow_of):
    flow = flow_of()
    metrics = flow.run(epochs=2)
    stored = np.load(flow.results_dir / "predictions.npz")
    y, predicted = stored["labels"], stored["logits"].argmax(1)
    with warnings.catch_warnings(action="ignore"):
        expected = classification_report(y, predicted, output_dict=True, zero_division=0)
    with (flow.results_dir / "classification_report.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert metrics.accuracy == pytest.approx(expected["accuracy"])
    for name, scores in expected.items():
        if name != "accuracy":
            assert {key: float(rows[name][key]) for key in scores} == pytest.approx(scores)
    with (flow.results_dir / "confusion_matrix.csv").open() as file:
        counts = np.array([row[1:] for row in list(csv.reader(file))[1:]], dtype=int)
    assert np.array_equal(counts, confusion_matrix(y, predicted))


def test_same_seed_same_bytes_and_another_seed_other_bytes(flow_of):
    names = ("model.safetensors", "history.csv", "predictions.npz")
    runs = [flow_of("a"), flow_of("b"), flow_of("c", generic_2(43), seed=43)]
    for flow in runs:
        torch.rand(3)  # what else draws from the global generator does not matter
        flow.run(epochs=2)
    first, again, other = (content(flow, *names) for flow in runs)
    assert first == again
    assert all(ours != theirs for ours, theirs in zip(first, other, strict=True))


def test_the_search_and_the_validation_size_leave_weights_and_order_alone(flow_of, fashion, few_loaders, tmp_path):
    plain, searched = flow_of("plain"), flow_of("searched")
    searched.find_best_lr(set_lr=False)
    fewer = DataLoader(TensorDataset(fashion.test_x_NCHW[:30], fashion.test_y_N[:30]), batch_size=7)
    other_size = ModelFlow(generic_2(), few_loaders[0], fewer, "fewer", results_dir=tmp_path, verbose=False)
    for flow in (plain, searched, other_size):
        flow.train(1)
    assert plain.arch.losses == searched.arch.losses == other_size.arch.losses
    states = [flow.model.state_dict() for flow in (plain, searched, other_size)]
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in state)


def test_called_again_it_trains_on_as_if_never_interrupted(flow_of):
    in_parts, at_once = flow_of("parts"), flow_of("once")
    in_parts.run(epochs=1)
    in_parts.run(epochs=2)
    at_once.run(epochs=3)
    assert in_parts.arch.total_epochs == 3
    assert content(in_parts, "model.safetensors", "history.csv") == content(at_once, "model.safetensors", "history.csv")


def test_a_stored_model_evaluates_to_the_same_figures_and_trains_on(flow_of):
    flow = flow_of("first")
    metrics = flow.run(epochs=1)
    stored = flow_of("stored", generic_2(7), load_checkpoint_path=flow.results_dir / "model_checkpoint.pth")
    assert stored.run(skip_train=True) == metrics
    assert stored.arch.losses == flow.arch.losses
    flow.train(1)
    stored.train(1)
    assert stored.arch.losses == flow.arch.losses


def test_the_weights_file_holds_the_model(flow_of):
    flow = flow_of()
    flow.run(epochs=1)
    state = load_file(flow.results_dir / "model.safetensors")
    assert all(torch.equal(state[name], value) for name, value in flow.model.state_dict().items())
    checkpoint = torch.load(flow.results_dir / "model_checkpoint.pth", weights_only=True)
    assert list(checkpoint) == ["epoch", "model_state_dict", "optimizer_state_dict", "loss", "val_loss"]


def test_run_json_says_how_to_repeat_the_run(flow_of):
    flow = flow_of()
    metrics = flow.run(epochs=1)
    run = json.loads((flow.results_dir / "run.json").read_text())
    assert run["spec"]["cov_kernel_sizes"] == [5]
    assert (run["seed"], run["epochs"], run["lr"], run["threads"]) == (42, 1, 3e-4, 1)
    assert run["metrics"]["accuracy"] == metrics.accuracy
    assert run["versions"]["torch"] == torch.__version__
    asked = {"batch_size": 16, "lr": 3e-4, "optimizer": "adam", "schedule": "constant"}
    assert run["settings"] == asked | {"loss_fn": "CrossEntropyLoss"}
    assert run["protocol"] == "card but dataset TensorDataset, training_images 2000, epochs 1"
    assert run["data"]["training_images"] == 2000


def test_any_module_from_images_to_logits_is_taken(flow_of):
    flow = flow_of("linear", nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    assert flow.run(epochs=1).accuracy > 0.5
    assert not (flow.results_dir / "spec.json").exists()


def test_a_run_that_has_died_is_called_so_everywhere(flow_of, capsys):
    flow = flow_of("dead", verbose=True)
    flow.train(1)
    with torch.no_grad():  # weights after a step that was far too long: every unit below zero for good
        flow.model.conv_layers[0].bias.fill_(-1e6)
        flow.model.fc_layers[-1].bias[7] = 5.0
    flow.run(skip_train=True)
    run = json.loads((flow.results_dir / "run.json").read_text())
    assert any("100% of the images are called '7'" in warning for warning in run["warnings"])
    assert any("no better than guessing" in warning for warning in run["warnings"])
    assert any("conv_layers.0: 4 of 4 units never fire" in warning for warning in run["warnings"])
    assert run["dead_units"]["conv_layers.0"] == [4, 4]
    told = capsys.readouterr().out
    assert "learning rate" in told
    assert re.search(r"dead: accuracy \d+\.\d\d% \(protocol card\), macro F1", told)


def test_a_model_that_was_not_trained_is_called_so(flow_of):
    flow = flow_of()
    flow.run(skip_train=True)
    assert json.loads((flow.results_dir / "run.json").read_text())["warnings"] == [
        "the model was not trained: train it, or give load_checkpoint_path"
    ]


def test_evaluating_again_keeps_what_is_known_of_the_training(flow_of):
    flow = flow_of("same")
    flow.run(epochs=1)
    before = json.loads((flow.results_dir / "run.json").read_text())
    flow_of("same", load_checkpoint_path=flow.results_dir / "model_checkpoint.pth").run(skip_train=True)
    after = json.loads((flow.results_dir / "run.json").read_text())
    assert all(after[name] == before[name] for name in before if name not in ("seconds", "files"))
    assert after["seconds"]["training"] == before["seconds"]["training"]


def test_our_loaders_leave_their_data_set_in_the_record(fashion, tmp_path):
    flow = ModelFlow(generic_2(), *fashion.loaders(), "known", results_dir=tmp_path, verbose=False)
    assert flow.data.checksums == fashion.checksums
    assert (flow.data.name, flow.data.mean, flow.class_names) == ("fashion-mnist", fashion.mean, fashion.class_names)


def test_a_healthy_run_has_no_warnings(flow_of):
    flow = flow_of()
    flow.run(epochs=3)
    assert json.loads((flow.results_dir / "run.json").read_text())["warnings"] == []


def test_names_and_layers_that_do_not_exist_are_refused_before_training(flow_of):
    with pytest.raises(SpecError, match=r"model name '\.\./x'"):
        flow_of("../x")
    flow = flow_of()
    with pytest.raises(UsageError, match=r"layer 'conv9'.* Name one of .*conv_layers.0"):
        flow.run(["conv9"], epochs=1)
    assert flow.arch.total_epochs == 0
    with pytest.raises(DataError, match="no such file"):
        flow_of(load_checkpoint_path="nowhere.pth")


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("of_spec", [False, True])
@pytest.mark.parametrize("train", ["run", "train"])
@pytest.mark.parametrize(("count", "said"), [(12, "has 12 entries"), (1, "has 1 entry"), (0, "has 0 entries")])
def test_another_number_of_class_names_than_logits_is_refused_before_training(
    flow_of, later, of_spec, train, count, said
):
    names = [str(k) for k in range(count)]
    model = generic_2() if of_spec else nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    flow = flow_of(model=model, **({} if later else {"class_names": names}))
    if later:
        flow.class_names = names
    with pytest.raises(UsageError, match=f"class_names {said}, the model gives 10 logits. Give one name per logit"):
        getattr(flow, train)(epochs=1)
    assert (flow.arch.total_epochs, flow.arch.losses) == (0, [])
    assert not flow.results_dir.exists()


def test_logits_without_a_class_name_of_the_data_set_are_called_by_their_number(few_loaders, tmp_path):
    few_loaders[0].dataset.classes = ["shirt", "trousers"]
    flow = ModelFlow(generic_2(), *few_loaders, results_dir=tmp_path, verbose=False)
    flow.run(epochs=1)
    names = (flow.results_dir / "confusion_matrix.csv").read_text().splitlines()[0]
    assert names == "true class (protocol card),shirt,trousers,2,3,4,5,6,7,8,9"


def test_class_names_may_be_a_mapping_at_both_doors(flow_of):
    index = {chr(ord("a") + k): k for k in reversed(range(10))}
    flow = flow_of()
    flow.class_names = index
    assert flow.class_names == flow.arch.class_names == flow_of(class_names=index).class_names == tuple("abcdefghij")
    flow.run(epochs=1)
    header = (flow.results_dir / "confusion_matrix.csv").read_text().splitlines()[0]
    assert header == "true class (protocol card),a,b,c,d,e,f,g,h,i,j"
    with pytest.raises(UsageError, match="class_names = 'abc'"):
        flow.class_names = "abc"
    with pytest.raises(UsageError, match="class_names = 'abc'"):
        flow.arch.class_names = "abc"
    assert flow.class_names == tuple("abcdefghij")
    flow.class_names = None
    assert (flow.class_names, flow.arch.class_names) == ((), None)


def test_class_names_that_were_not_given_are_those_of_the_loaders_as_they_are(flow_of):
    flow = flow_of()
    named = TensorDataset(*flow.train_loader.dataset.tensors)
    named.classes = list("abcdefghij")
    flow.train_loader = DataLoader(named, 16)
    assert flow.class_names == flow.arch.class_names == tuple("abcdefghij")
    flow.class_names = list("qrstuvwxyz")
    flow.train_loader = DataLoader(named, 16)
    assert flow.class_names == tuple("qrstuvwxyz")


SET_LATER = {
    "a rate as a text": ("lr", "1e-3", r"lr = '1e-3': must be a number. Write 0\.001"),
    "a rate of 0": ("lr", 0, "lr = 0: must be a finite number greater than 0"),
    "a seed as a text": ("seed", "7", "seed = '7': must be a whole number"),
    "a seed below 0": ("seed", -1, "seed = -1: must be 0 or more"),
    "no folder": ("results_dir", None, "results_dir = None"),
    "a loss by name": ("loss_fn", "cross_entropy", "loss_fn = 'cross_entropy'"),
    "no such device": ("device", "gpu", "device 'gpu': expected cpu"),
    "no such optimizer": ("optimizer", "adma", "optimizer 'adma'"),
    "no such schedule": ("schedule", "linear", "schedule"),
    "no such name": ("model_name", "../x", "model name '../x'"),
}


@pytest.mark.parametrize(("name", "value", "said"), SET_LATER.values(), ids=SET_LATER)
def test_what_is_set_later_is_checked_as_at_the_first_door(flow_of, name, value, said):
    flow = flow_of()
    before = getattr(flow, name)
    with pytest.raises((UsageError, SpecError), match=said):
        setattr(flow, name, value)
    assert getattr(flow, name) == before
    with pytest.raises((UsageError, SpecError), match=said):
        ModelFlow(generic_2(), flow.train_loader, flow.val_loader, **{name: value})


def test_what_is_set_later_becomes_pythons_own(flow_of):
    flow = flow_of(lr=0.25)
    flow.seed, flow.lr = np.int64(7), np.float32(0.5)
    assert (type(flow.seed), type(flow.lr), flow.settings["lr"]) == (int, float, 0.5)
    flow.optimizer = torch.optim.SGD
    assert (type(flow.optimizer), flow.lr) == (torch.optim.SGD, 0.5)
    for door in (flow, flow.arch):
        door.loss_fn = nn.MultiMarginLoss
        assert isinstance(flow.arch.loss_fn, nn.MultiMarginLoss)
    with pytest.raises(UsageError, match="expected a loss"):
        flow.arch.loss_fn = "cross_entropy"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_the_results_folder_is_told_at_once(flow_of, tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is a file, expected a folder"):
        flow_of(results_dir=tmp_path / place)


@pytest.mark.parametrize("call", ["run", "train", "evaluate", "find_best_lr"])
def test_a_folder_that_cannot_be_made_is_told_before_training(flow_of, call):
    flow = flow_of(results_dir="/proc/r")
    steps = []
    flow.arch.on_step = lambda *_: steps.append(1)
    before = [p.clone() for p in flow.model.parameters()]
    with pytest.raises(UsageError, match=r"results_dir .*/proc/r: cannot be created: .*Give another folder"):
        getattr(flow, call)(**({"epochs": 3} if call in ("run", "train") else {}))
    assert (flow.arch.total_epochs, steps, flow.arch.lr_search) == (0, [], None)
    assert all(map(torch.equal, before, flow.model.parameters()))


def test_a_file_in_the_place_of_a_models_folder_is_told_before_training(flow_of, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "model_instance").touch()
    for options in ({}, {"skip_train": True}):
        with pytest.raises(UsageError, match=r"results_dir .*model_instance: cannot be created"):
            flow_of().run(**options)


def test_layers_that_run_twice_and_tied_weights_do_not_stop_a_run(flow_of):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(784, 10)
            self.tied = nn.Linear(784, 10)
            self.tied.weight = self.fc.weight

        def forward(self, x):
            x = self.conv(self.conv(x)).flatten(1)
            return self.fc(x) + self.tied(x)

    flow = flow_of("twice", Twice())
    flow.run(epochs=1)
    assert (flow.results_dir / "filters_conv.png").is_file()
    assert not (flow.results_dir / "intermediate_outputs.png").exists()
    with pytest.raises(UsageError, match="layer 'conv': does not run exactly once"):
        flow.run(["conv"])


def test_training_on_takes_the_mark_of_a_finished_run_away(flow_of):
    flow = flow_of()
    flow.run(epochs=1)
    flow.train(1)
    assert not (flow.results_dir / "run.json").exists()


def test_a_shuffled_validation_loader_and_a_stream_are_taken(fashion, tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(fashion.train_x_NCHW[:200], fashion.train_y_N[:200], strict=True))

    val = TensorDataset(fashion.test_x_NCHW[:100], fashion.test_y_N[:100])
    predictions = []
    for name in ("a", "b"):
        loaders = DataLoader(Stream(), batch_size=20), DataLoader(val, batch_size=4, shuffle=True)
        flow = ModelFlow(generic_2(), *loaders, name, results_dir=tmp_path, verbose=False)
        torch.rand(1)
        before = torch.get_rng_state()
        flow.run(epochs=1)
        assert torch.equal(torch.get_rng_state(), before)
        predictions += content(flow, "predictions.npz")
    assert predictions[0] == predictions[1]


def test_ten_images_are_shown_also_where_batches_are_smaller(fashion, tmp_path):
    val = TensorDataset(fashion.test_x_NCHW[:30], fashion.test_y_N[:30])
    loaders = fashion.loaders()[0], DataLoader(val, batch_size=4)
    flow = ModelFlow(generic_2(), *loaders, "small", results_dir=tmp_path, verbose=False)
    flow.show_insides([], ["conv_layers.0"])
    assert flow.arch.visualization["conv_layers.0"].shape == (10, 4, 24, 24)


def test_a_search_that_suggests_nothing_leaves_its_curve(flow_of):
    flow = flow_of(lr=1e-9)
    with pytest.raises(RunError, match="the loss does not fall clearly"):
        flow.find_best_lr(end_lr=1e-8)
    assert (flow.results_dir / "lr_finder.png").is_file()
    assert len((flow.results_dir / "lr_finder.csv").read_text().splitlines()) == 101


class PulledPlugError(Exception):
    """What ends a training in these tests."""


def break_off(flow, epoch, step, of):
    """The flow's training of so many epochs, ended right after this step."""

    def on_step(at_epoch, at_step, _loss):
        if (at_epoch, at_step) >= (epoch, step):
            raise PulledPlugError

    flow.arch.on_step = on_step
    with pytest.raises(PulledPlugError):
        flow.train(of)


def save_often(monkeypatch):
    """A state at every pause of the training."""
    monkeypatch.setattr("modelflow.studies.autosave.SECONDS_BETWEEN_STATES", 0)
    monkeypatch.setattr("modelflow.studies.autosave.SHARE_OF_SAVING", 1e9)
    monkeypatch.setattr("modelflow.training.compiled.MACS_A_CALL", 1e7)


def with_batch_norm():
    layers = [
        {"conv": 4, "kernel": 5, "stride": 2, "norm": "batch"},
        {"residual": [{"conv": 4, "kernel": 3, "padding": "same", "norm": "batch"}]},
        {"dropout": 0.3},
        {"linear": "classes"},
    ]
    return GenericCNN({"input": [1, 28, 28], "classes": 10, "defaults": {"activation": "relu"}, "layers": layers}, 3)


def as_layers():
    return GenericCNN(preset("generic_2").short_form)


ONE_CYCLE, AVERAGED = {"schedule": "one-cycle"}, {"ema": 0.99}
AUGMENTED = {"shift": 2, "flip": True, "cutout": 8}
BREAKS = [
    *((as_layers, *at, {}) for at in ((1, 60), (3, 125))),
    *((generic_2, *at, how) for at in ((1, 1), (1, 60), (2, 30), (3, 125)) for how in ({}, ONE_CYCLE)),
    *((with_batch_norm, *at) for at in ((1, 1, {}), (2, 30, ONE_CYCLE), (3, 125, {}))),
    *((with_batch_norm, *at, AVERAGED) for at in ((1, 1), (2, 30), (3, 125))),
    (generic_2, 2, 30, AVERAGED | ONE_CYCLE),
    *((generic_2, *at, AUGMENTED) for at in ((2, 30), (3, 125))),
    (with_batch_norm, 1, 60, AUGMENTED | AVERAGED | ONE_CYCLE),
]


@pytest.mark.parametrize(("model", "epoch", "step", "how"), BREAKS)
def test_a_training_broken_off_goes_on_to_the_same_bytes(flow_of, monkeypatch, model, epoch, step, how):
    save_often(monkeypatch)
    whole = flow_of("whole", model(), **how)
    whole.run(epochs=3)
    broken = flow_of("broken", model(), **how)
    break_off(broken, epoch, step, of=3)
    torch.rand(7)
    fixed = flow_of("broken", model(), **how)
    told = fixed.resume()
    assert told.startswith("resuming a") or (epoch, step) == (1, 1)
    fixed.run(epochs=3)
    names = ("model.safetensors", "history.csv", "predictions.npz", "model_checkpoint.pth")
    assert content(fixed, *names) == content(whole, *names)
    assert not (fixed.results_dir / "training").exists()


def test_within_an_epoch_training_changes_from_the_compiled_step_to_autograd(flow_of, monkeypatch):
    def flow(name):
        """Without dropout, and with an `eps` that lets no rounding decide a step."""
        model = GenericCNN(preset("generic_2").model_copy(update={"p": 0.0}), seed=42)
        return flow_of(name, model, optimizer=torch.optim.Adam(model.parameters(), 3e-4, eps=1e-3))

    save_often(monkeypatch)
    whole = flow("whole")
    whole.train(2)
    broken = flow("broken")
    break_off(broken, 2, 60, of=2)
    fixed = flow("broken")
    fixed.model.conv_layers[0].register_forward_hook(lambda *_: None)
    step = int(fixed.resume().partition("step ")[2].partition(" of")[0])
    assert 0 < step < 125
    fixed.train(2)
    assert fixed.arch.engine.startswith("autograd")
    for ours, theirs in zip(fixed.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_state_of_autograd_that_the_compiled_step_goes_on_from_says_so(flow_of, monkeypatch):
    """As of a network of layers that an older version trained by autograd."""
    save_often(monkeypatch)
    broken = flow_of("broken", as_layers())
    broken.model.layers[0].register_forward_hook(lambda *_: None)
    break_off(broken, 2, 60, of=2)
    fixed = flow_of("broken", as_layers())
    told = fixed.resume()
    assert "may differ from those of an uninterrupted run: trained by autograd before, compiled step since" in told
    assert told in fixed.notes
    fixed.train(2)
    assert fixed.arch.engine == "compiled step"
    again = flow_of("again", as_layers())
    break_off(again, 1, 60, of=2)
    assert "bytes may differ" not in flow_of("again", as_layers()).resume()


def test_a_damaged_state_is_set_aside_and_the_one_before_is_used(flow_of, monkeypatch):
    save_often(monkeypatch)
    whole = flow_of("whole")
    whole.run(epochs=2)
    flow = flow_of("broken")
    break_off(flow, 2, 100, of=2)
    before, newest = sorted((flow.results_dir / "training").glob("state-*.pth"))
    content_before = newest.read_bytes()
    newest.write_bytes(content_before[:1000] + bytes([content_before[1000] ^ 1]) + content_before[1001:])
    fixed = flow_of("broken")
    fixed.resume()
    assert any("is damaged" in note for note in fixed.notes)
    assert before.exists()
    fixed.run(epochs=2)
    assert content(fixed, "model.safetensors") == content(whole, "model.safetensors")


def test_what_is_gone_on_with_under_other_versions_says_so(flow_of, monkeypatch):
    save_often(monkeypatch)
    flow = flow_of()
    break_off(flow, 1, 100, of=1)
    was = provenance.versions()["numpy"]
    same = flow_of()
    assert "bytes may differ" not in same.resume()
    assert not any("bytes may differ" in note for note in same.notes)
    monkeypatch.setattr(provenance, "versions", lambda: {"numpy": "9.9"})
    other = flow_of()
    told = other.resume()
    assert "bytes may differ from those of an uninterrupted run: " in told
    assert f"python {sys.version.split()[0]} before, None since" in told
    assert f"numpy {was} before, 9.9 since" in told
    assert told in other.notes


def test_states_are_saved_so_seldom_that_they_take_a_hundredth_of_the_time(flow_of, monkeypatch):
    monkeypatch.setattr("modelflow.studies.autosave.SECONDS_BETWEEN_STATES", 0)
    flow = flow_of()
    flow._training.autosave._took = 3600.0
    break_off(flow, 2, 125, of=2)
    assert not (flow.results_dir / "training").exists()


class OfFewSteps:
    """A loader of which nobody knows the data."""

    batch_size = 16

    def __len__(self):
        return 10


def test_a_state_of_other_data_or_another_model_is_refused(flow_of, monkeypatch, fashion):
    save_often(monkeypatch)
    flow = flow_of()
    break_off(flow, 1, 100, of=1)
    few = flow_of()
    few.arch.train_loader = Batches(fashion.train_x_NCHW[:160], fashion.train_y_N[:160], 16)
    with pytest.raises(DataError, match=r"other images or labels of TensorDataset: training images \(SHA-256 stored"):
        few.resume()
    few.arch.train_loader = OfFewSteps()
    with pytest.raises(DataError, match="is beyond an epoch of 10 steps"):
        few.resume()
    other = GerenicCNN(1, 10, amnt_cov_layers=1, verbose=False)
    with pytest.raises(DataError, match="Build the model with the spec"):
        flow_of(model=other).resume()


def with_adam(flow_of, loss_fn=None, **options):
    model = generic_2()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, **options)
    return flow_of(model=model, optimizer=optimizer, loss_fn=loss_fn)


BROKEN_OFF = {
    "an option more": ({}, {"weight_decay": 5.0}, r"optimizer\.weight_decay None, this one has 5\.0"),
    "an option less": ({"weight_decay": 5.0}, {}, r"optimizer\.weight_decay 5\.0, this one has None"),
    "another loss": ({}, {"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.5)}, r"loss_fn\.label_smoothing None"),
}


@pytest.mark.parametrize(("first", "second", "said"), BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_a_state_of_other_options_is_refused_and_one_of_an_older_version_goes_on(
    flow_of, monkeypatch, first, second, said
):
    save_often(monkeypatch)
    flow = with_adam(flow_of, **first)
    break_off(flow, 1, 100, of=1)
    with pytest.raises(DataError, match=said):
        with_adam(flow_of, **second).resume()
    assert "resuming after epoch 0" in with_adam(flow_of, **first).resume()
    (flow.results_dir / "training").rename(flow.results_dir / "kept")
    state, _ = newest_state(flow.results_dir / "kept", 1 << 30, print)
    del state["call"]["options"]
    save_state(flow.results_dir / "training", state)
    assert "resuming after epoch 0" in with_adam(flow_of, **second).resume()


def test_a_training_whose_tensors_have_changed_does_not_go_on(flow_of, fashion, monkeypatch):
    save_often(monkeypatch)
    flow = flow_of()
    break_off(flow, 1, 100, of=1)
    again = flow_of()
    x_NCHW = again.train_loader.dataset.tensors[0].clone()
    again.train_loader.dataset = TensorDataset(x_NCHW, again.train_loader.dataset.tensors[1])
    assert "resuming after epoch 0" in flow_of().resume()
    x_NCHW[1999, 0, 27, 27] += 1
    with pytest.raises(DataError, match=r"training images \(SHA-256 stored .*Give loaders of the same"):
        again.resume()
    x_NCHW[1999, 0, 27, 27] -= 1
    again.test_loader = Batches(fashion.test_x_NCHW[:100], fashion.test_y_N[:100], 50)
    assert "resuming after epoch 0" in again.resume()


class Interrupted(Batches):
    """Images whose validation is broken off, from when that is asked for."""

    now = False

    def __iter__(self):
        if self.now:
            raise KeyboardInterrupt
        return super().__iter__()


class AtLastStep(Callback):
    """Asks for that."""

    def __init__(self, loader):
        self.loader = loader

    def on_step(self, _epoch, step, _loss):
        self.loader.now = step == 125


def test_a_training_broken_off_in_its_validation_goes_on_at_the_end_of_that_epoch(flow_of, monkeypatch):
    save_often(monkeypatch)
    whole = flow_of("whole")
    whole.run(epochs=2)
    broken = flow_of("broken")
    own = broken.val_loader.dataset.tensors
    broken.arch.val_loader = Interrupted(*own, broken.val_loader.batch_size)
    broken.arch.callbacks.append(AtLastStep(broken.arch.val_loader))
    with pytest.raises(KeyboardInterrupt):
        broken.run(epochs=2)
    fixed = flow_of("broken")
    assert fixed.resume() == "resuming at the end of epoch 1"
    fixed.run(epochs=2)
    names = ("model.safetensors", "history.csv", "predictions.npz", "model_checkpoint.pth")
    assert content(fixed, *names) == content(whole, *names)


def test_a_call_that_cannot_train_leaves_the_finished_run(flow_of):
    flow = flow_of(schedule="one-cycle")
    flow.run(epochs=1)
    with pytest.raises(UsageError, match="n_epochs = -1"):
        flow.train(-1)
    flow.arch.train_loader = iter(())
    with pytest.raises(UsageError, match="no length"):
        flow.train(1)
    assert (flow.results_dir / "run.json").is_file()


def test_what_was_asked_trains_on_whatever_is_stored(flow_of):
    flow_of().run(epochs=1)
    flow = flow_of(schedule="one-cycle", load_checkpoint_path=flow_of().results_dir / "model_checkpoint.pth")
    flow.run(epochs=0, skip_train=True)
    assert json.loads((flow.results_dir / "run.json").read_text())["settings"]["schedule"] == "constant"
    flow.run(epochs=1)
    assert json.loads((flow.results_dir / "run.json").read_text())["settings"]["schedule"] == "one-cycle"


@pytest.fixture
def held_out_flow(fashion, tmp_path):
    """Makes flows with validation and test images of their own."""

    def make(name, test_images=500):
        parts = (slice(0, 2000), slice(2000, 2500))
        loaders = [Batches(fashion.train_x_NCHW[part], fashion.train_y_N[part], 16) for part in parts]
        test = Batches(fashion.test_x_NCHW[:test_images], fashion.test_y_N[:test_images], 100)
        options = {"test_loader": test, "results_dir": tmp_path / "results", "verbose": False}
        return ModelFlow(generic_2(), *loaders, name, **options)

    return make


def test_test_images_of_their_own_are_read_once_and_only_reported_on(held_out_flow, fashion):
    flow = held_out_flow("held_out")
    metrics = flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert (run.test_reads, run.metrics, run.metrics.images, run.data.test_images) == (1, metrics, 500, 500)
    logits_NK = flow.arch.predict(fashion.train_x_NCHW[2000:2500])
    assert run.validation.accuracy == (logits_NK.argmax(1) == fashion.train_y_N[2000:2500].numpy()).mean()
    assert run.protocol.startswith("held-out but dataset TensorDataset, training_images 2000")
    flow.evaluate()
    assert read_run(flow.results_dir).test_reads == 2


def test_what_is_trained_does_not_depend_on_the_test_images(held_out_flow):
    flows = [held_out_flow("many", 500), held_out_flow("few", 100)]
    for flow in flows:
        flow.run(epochs=1)
    assert content(flows[0], "model.safetensors", "history.csv") == content(
        flows[1], "model.safetensors", "history.csv"
    )
    assert content(flows[0], "predictions.npz") != content(flows[1], "predictions.npz")


def test_without_test_images_of_their_own_nothing_is_called_held_out(flow_of):
    flow = flow_of()
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert (run.validation, run.test_reads, run.data.test_images) == (None, None, None)


def test_every_figure_of_an_evaluation_against_scikit_learn(flow_of):
    flow = flow_of()
    metrics = flow.run(epochs=1)
    logits_NK, y_N = read_predictions(flow.results_dir)
    p_NK = torch.softmax(torch.from_numpy(logits_NK).double(), 1).numpy()
    assert metrics.loss == pytest.approx(log_loss(y_N, p_NK, labels=range(10)))
    assert metrics.brier == pytest.approx(((p_NK - np.eye(10)[y_N]) ** 2).sum(1).mean())
    assert metrics.top2_accuracy == pytest.approx(top_k_accuracy_score(y_N, logits_NK, k=2, labels=range(10)))
    assert 0 < metrics.calibration_error < 1


def test_the_cost_of_using_a_model_is_recorded(flow_of):
    flow = flow_of()
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert 0 < run.latency_ms["1"] < run.latency_ms["64"] < 1000
    assert run.bytes_on_disk == (flow.results_dir / "model.safetensors").stat().st_size
    for int8, name in ((False, ""), (True, "int8_")):
        memories = needed(flow.model.spec, int8)
        assert (run.bytes_on_device[f"{name}flash"], run.bytes_on_device[f"{name}ram"]) == (
            memories.flash,
            memories.ram,
        )


def test_no_latency_is_taken_while_hooks_would_take_note(flow_of):
    flow = flow_of()
    flow.train(1)
    flow.arch.attach_hooks(["conv_layers.0"])
    flow.evaluate()
    assert read_run(flow.results_dir).latency_ms == {}


def test_a_new_training_takes_the_states_of_an_older_one_away(flow_of, monkeypatch):
    save_often(monkeypatch)
    for lr, epoch in ((1e-2, 3), (3e-4, 1)):
        flow = flow_of(lr=lr)
        break_off(flow, epoch, 100, of=3)
    states = sorted((flow.results_dir / "training").glob("state-*.pth"))
    assert states
    assert all(path.name.startswith("state-000000-") for path in states)
    with pytest.raises(DataError, match=r"was saved by a training with lr 0\.0003, this one has 0\.01"):
        flow_of(lr=1e-2).resume()
    fixed = flow_of(lr=3e-4)
    assert fixed.resume().startswith("resuming after epoch 0, step")
    assert fixed.arch.engine == "compiled step"


def test_validation_images_given_as_test_images_are_not_called_held_out(few_loaders, tmp_path):
    train, val = few_loaders
    flow = ModelFlow(generic_2(), train, val, "same", test_loader=val, results_dir=tmp_path, verbose=False)
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert run.protocol.startswith("card")
    assert run.test_reads is None


def test_how_often_the_test_images_were_read_is_counted_on(fashion, tmp_path):
    loaders = fashion.held_out_loaders(64, 42, 59_000)
    for reads, skip_train in ((1, False), (2, True)):
        stored = tmp_path / "counted" / "model_checkpoint.pth" if skip_train else None
        options = {"test_loader": loaders[2], "results_dir": tmp_path, "verbose": False}
        flow = ModelFlow(generic_2(), *loaders[:2], "counted", stored, **options)
        flow.run(epochs=1, skip_train=skip_train)
        assert read_run(flow.results_dir).test_reads == reads


def test_tables_and_pictures_name_the_protocol(fashion, few_loaders, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("modelflow.figures.style.heading", lambda title, *_: titles.append(title) or title)
    held_out = fashion.held_out_loaders(64, 42, 59_000)
    for name, loaders in (("held-out", held_out), ("card", (*few_loaders, None))):
        flow = ModelFlow(generic_2(), *loaders[:2], name, test_loader=loaders[2], results_dir=tmp_path, verbose=False)
        titles.clear()
        flow.run(epochs=1)
        drawn = [title for title in titles if "accuracy" in title or "loss after" in title]
        assert len(drawn) == 2
        assert all(title.endswith(f"(protocol {name})") for title in drawn)
        header, first = (flow.results_dir / "classification_report.csv").read_text().splitlines()[:2]
        assert (header.split(",")[-1], first.split(",")[-1]) == ("protocol", name)
        assert (flow.results_dir / "confusion_matrix.csv").read_text().startswith(f"true class (protocol {name}),")
        assert (flow.results_dir / "history.csv").read_text().splitlines()[1].endswith(f",{name}")


def test_a_training_over_worker_processes_goes_on_after_its_search(fashion, tmp_path, monkeypatch):
    save_often(monkeypatch)

    def flow_in(name):
        train = TensorDataset(fashion.train_x_NCHW[:500], fashion.train_y_N[:500])
        val = TensorDataset(fashion.test_x_NCHW[:100], fashion.test_y_N[:100])
        loaders = DataLoader(train, batch_size=16, shuffle=True, num_workers=1), DataLoader(val, batch_size=100)
        return ModelFlow(generic_2(), *loaders, name, results_dir=tmp_path, verbose=False)

    whole, broken, fixed = flow_in("whole"), flow_in("broken"), flow_in("broken")
    for flow in (whole, broken):
        flow.find_best_lr(start_lr=3e-4)
    whole.run(epochs=2)
    break_off(broken, 2, 10, of=2)
    assert fixed.resume().startswith("resuming after epoch")
    fixed.run(epochs=2)
    names = ("model.safetensors", "history.csv", "predictions.npz")
    assert content(fixed, *names) == content(whole, *names)
    assert read_run(fixed.results_dir).lr == read_run(whole.results_dir).lr != 3e-4


@pytest.mark.parametrize("given", [None, 1e-2])
def test_a_rate_beside_a_checkpoint_is_used_and_recorded(flow_of, given):
    first = flow_of("first", lr=2e-3)
    first.run(epochs=1)
    options = {} if given is None else {"lr": given}
    second = flow_of("second", generic_2(7), load_checkpoint_path=first.results_dir / "model_checkpoint.pth", **options)
    first.lr = 2e-3 if given is None else given
    for flow in (first, second):
        flow.run(epochs=1)
    assert second.arch.losses == first.arch.losses
    run = read_run(second.results_dir)
    assert (run.lr, run.settings["lr"]) == (given or 2e-3, given or 2e-3)
    assert f"lr {given or 2e-3}" in run.protocol


def test_a_rate_beside_an_optimizer_of_ones_own_is_one_of_the_two(flow_of):
    model = generic_2()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    assert flow_of(model=model, optimizer=sgd).lr == flow_of(model=model, optimizer=sgd, lr=0.5).lr == 0.5
    with pytest.raises(UsageError, match=r"lr = 0.1: the optimizer given has lr = 0.5. Give one of the two"):
        flow_of(model=model, optimizer=sgd, lr=0.1)


def test_seconds_are_of_all_epochs_also_after_a_checkpoint(flow_of, tmp_path):
    first = flow_of("first")
    first.run(epochs=2)
    path = first.results_dir / "model_checkpoint.pth"
    before = read_run(first.results_dir).seconds["training"]
    second = flow_of("second", load_checkpoint_path=path)
    second.run(epochs=1)
    run = read_run(second.results_dir)
    assert run.epochs == 3
    assert run.seconds["training"] > before
    assert not any("seconds" in note for note in run.notes)
    (tmp_path / "alone.pth").write_bytes(path.read_bytes())
    third = flow_of("third", load_checkpoint_path=tmp_path / "alone.pth")
    third.run(epochs=1)
    assert any("seconds: without the first 2 epochs" in note for note in read_run(third.results_dir).notes)


def test_what_a_flow_is_made_of_can_be_set_later_and_is_recorded(flow_of, fashion, tmp_path):
    flow = flow_of("set")
    flow.lr = 5e-3
    flow.optimizer = "sgd"
    flow.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    flow.train_loader = Batches(fashion.train_x_NCHW[:640], fashion.train_y_N[:640], 64, shuffle=True)
    flow.val_loader = Batches(fashion.test_x_NCHW[:100], fashion.test_y_N[:100], 50)
    flow.test_loader = Batches(fashion.test_x_NCHW[100:150], fashion.test_y_N[100:150], 50)
    flow.schedule, flow.seed, flow.verbose = "one-cycle", 7, False
    flow.model_name, flow.class_names = "renamed", list("abcdefghij")
    flow.results_dir = str(tmp_path / "elsewhere")
    flow.run(epochs=1)
    run = read_run(tmp_path / "elsewhere")
    asked = {"batch_size": 64, "lr": 5e-3, "optimizer": "sgd", "schedule": "one-cycle", "loss_fn": "CrossEntropyLoss"}
    assert run.settings == asked | {"loss_fn.label_smoothing": 0.1}
    assert (run.model_name, run.seed, run.lr, run.metrics.images) == ("renamed", 7, 5e-3, 50)
    assert (run.data.training_images, run.data.validation_images, run.data.test_images) == (640, 100, 50)
    by_hand = ModelFlow(
        generic_2(), flow.train_loader, flow.val_loader, "hand", lr=5e-3, optimizer="sgd", schedule="one-cycle",
        loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1), seed=7, results_dir=tmp_path, verbose=False,
    )  # fmt: skip
    by_hand.train(1)
    assert by_hand.arch.losses == flow.arch.losses


def test_an_optimizer_set_in_either_place_is_the_one_that_trains_and_is_recorded(flow_of):
    flow = flow_of()
    flow.optimizer = torch.optim.SGD(flow.model.parameters(), lr=0.0)
    assert flow.arch.optimizer is flow.optimizer
    before = [p.clone() for p in flow.model.parameters()]
    flow.train(1)
    assert all(map(torch.equal, before, flow.model.parameters()))
    flow.arch.set_optimizer(torch.optim.SGD(flow.model.parameters(), lr=0.25))
    assert flow.lr == 0.25
    flow.lr = 0.5
    flow.arch.loss_fn = nn.MultiMarginLoss()
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert (run.lr, run.settings["optimizer"], run.settings["loss_fn"]) == (0.5, "sgd", "MultiMarginLoss")
    assert "learning rate 0.5 after epoch 1" in run.notes


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model", nn.Linear(1, 1), "ModelFlow.model: cannot be set"),
        ("find_best_lr", True, "ModelFlow.find_best_lr: cannot be set"),
        ("optimiser", "sgd", "ModelFlow.optimiser: cannot be set. Did you mean 'optimizer'"),
        ("epochs", 5, "ModelFlow.epochs: cannot be set. Expected one of arch, class_names, .*lr"),
    ],
)
def test_what_would_silently_do_nothing_cannot_be_set(flow_of, name, value, message):
    with pytest.raises(AttributeError, match=message):
        setattr(flow_of(), name, value)


def test_a_class_made_of_it_has_attributes_of_its_own(few_loaders, tmp_path):
    class Mine(ModelFlow):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.remarks = ["mine"]

    flow = Mine(generic_2(), *few_loaders, results_dir=tmp_path, verbose=False)
    flow.more = 1
    assert flow.remarks == ["mine"]


@pytest.mark.parametrize("skip_train", [False, True])
def test_nothing_is_left_of_another_model_of_the_same_name(flow_of, skip_train):
    first = flow_of("same", CNN2(3))
    first.find_best_lr(set_lr=False)
    first.run(epochs=1)
    (first.results_dir / "notes.txt").write_text("the user's own")
    linear = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    elsewhere = flow_of("elsewhere", linear)
    elsewhere.run(epochs=1)
    stored = elsewhere.results_dir / "model_checkpoint.pth" if skip_train else None
    second = flow_of("same", nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), load_checkpoint_path=stored)
    second.run(epochs=1, skip_train=skip_train)
    left = {path.name for path in second.results_dir.iterdir()}
    of_a_conv = {"spec.json", "filters_conv_layers.0.png", "intermediate_outputs.png"}
    assert left == FILES - of_a_conv | {"notes.txt"}
    assert read_run(second.results_dir).model_class == "Sequential"
    of_elsewhere = read_run(elsewhere.results_dir).seconds["training"]
    assert not skip_train or read_run(second.results_dir).seconds["training"] == of_elsewhere


def test_what_is_of_the_same_training_stays(flow_of, monkeypatch):
    flow = flow_of()
    flow.find_best_lr(set_lr=False)
    flow.run(epochs=1)
    search = content(flow, "lr_finder.png", "lr_finder.csv")
    flow.run(epochs=1)
    again = flow_of(load_checkpoint_path=flow.results_dir / "model_checkpoint.pth")
    again.run(skip_train=True)
    again.run(epochs=1)
    assert content(flow, "lr_finder.png", "lr_finder.csv") == search
    save_often(monkeypatch)
    broken = flow_of()
    broken.find_best_lr(set_lr=False)
    break_off(broken, 1, 60, of=1)
    fixed = flow_of()
    fixed.resume()
    fixed.run(epochs=1)
    assert content(fixed, "lr_finder.png", "lr_finder.csv") == search


def test_a_run_without_a_layer_to_show_leaves_no_picture_of_before(flow_of):
    flow = flow_of()
    flow.run(["conv_layers.0"], epochs=1)
    flow.run([], epochs=1)
    assert not (flow.results_dir / "intermediate_outputs.png").exists()


def test_a_search_alone_leaves_a_finished_run_as_it_is(flow_of):
    flow_of().run(epochs=1)
    looking = flow_of()
    looking.find_best_lr(set_lr=False)
    assert {path.name for path in looking.results_dir.iterdir()} >= FILES


def test_a_training_over_a_stream_goes_on(fashion, tmp_path, monkeypatch):
    save_often(monkeypatch)

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(fashion.train_x_NCHW[:320], fashion.train_y_N[:320], strict=True))

    def flow_in(name):
        loader = DataLoader(Stream(), batch_size=16)
        return ModelFlow(generic_2(), loader, loader, name, results_dir=tmp_path, verbose=False)

    whole, broken, fixed = flow_in("whole"), flow_in("broken"), flow_in("broken")
    whole.train(2)
    break_off(broken, 2, 10, of=2)
    assert fixed.resume().startswith("resuming after epoch 1, step")
    fixed.train(2)
    assert fixed.arch.losses == whole.arch.losses


def test_extra_state_is_kept_by_the_checkpoint_and_left_out_of_the_weights_file(flow_of):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, state):
            self.taken = state

    def made():
        return nn.Sequential(nn.Flatten(), Extra(784, 10))

    flow = flow_of("extra", made())
    flow.run(epochs=1)
    assert sorted(load_file(flow.results_dir / "model.safetensors")) == ["1.bias", "1.weight"]
    assert any("without 1._extra_state" in note for note in read_run(flow.results_dir).notes)
    again = flow_of("extra", made(), load_checkpoint_path=flow.results_dir / "model_checkpoint.pth")
    assert again.model[1].taken == {"version": 1}
    assert again.run(skip_train=True).accuracy == read_run(flow.results_dir).metrics.accuracy
    refused = flow_of("refused", made())
    refused.model[1].get_extra_state = lambda: {1, 2}
    with pytest.raises(UsageError, match="a set in the model's state, which a checkpoint cannot hold"):
        refused.run(epochs=1)
    assert refused.arch.total_epochs == 0


def test_the_pictures_that_are_written_are_none_of_pyplots(flow_of):
    plt.close("all")
    flow = flow_of()
    flow.find_best_lr(set_lr=False)
    flow.run(epochs=1)
    assert plt.get_fignums() == []


def test_beside_an_accelerator_the_compiled_step_trains_on_the_cpu_and_says_so(flow_of, monkeypatch):
    plain = flow_of("plain")
    plain.run(epochs=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked, moved = flow_of("asked", device="cpu"), []
    beside, models = flow_of("beside"), [generic_2(), generic_2()]
    monkeypatch.setattr(
        nn.Module, "to", lambda self, device=None, **_: device and self in models and moved.append(str(device))
    )
    flow_of("unsupported_reason", models[0], optimizer="rmsprop")
    flow_of("wished", models[1], device="cuda:0")
    assert moved == ["cuda", "cuda:0"]
    monkeypatch.undo()
    for flow, why in ((beside, "the compiled step covers the run (also available"), (asked, "asked for")):
        flow.run(epochs=1)
        run = read_run(flow.results_dir)
        assert (run.device, run.engine) == ("cpu", "compiled step")
        assert any(note.startswith(f"device cpu: {why}") for note in run.notes)
        assert content(flow, "model.safetensors") == content(plain, "model.safetensors")
    assert not any("device" in note for note in read_run(plain.results_dir).notes)


@pytest.mark.parametrize(
    ("device", "message"), [("gpu", "expected cpu, cuda, cuda:N"), ("cuda", "torch sees cpu on this")]
)
def test_a_device_that_is_none_is_refused(flow_of, device, message):
    with pytest.raises(UsageError, match=message):
        flow_of(device=device)


def tiny(activation):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), activation, nn.Linear(8, 10))


def test_a_finished_run_gives_no_way_to_what_was_not_trained(flow_of):
    first = flow_of("kept", tiny(nn.Tanh()))
    first.run(epochs=1)
    before = {path.name: path.read_bytes() for path in first.results_dir.iterdir() if path.is_file()}
    checkpoint = first.results_dir / "model_checkpoint.pth"
    for model, how in [
        (tiny(nn.Tanh()), {}),  # with weights of its own
        (tiny(nn.ReLU()), {"load_checkpoint_path": checkpoint}),  # of another network with the same shapes
    ]:
        with pytest.raises(UsageError, match="holds a finished run of other weights or of another network"):
            flow_of("kept", model, **how).run(skip_train=True)
        assert {path.name: path.read_bytes() for path in first.results_dir.iterdir() if path.is_file()} == before
    with pytest.raises(UsageError, match="holds a finished run"):
        flow_of("kept", tiny(nn.Tanh())).run(epochs=0)
    again = flow_of("kept", tiny(nn.Tanh()), load_checkpoint_path=checkpoint).run(skip_train=True)
    assert again.accuracy == read_run(first.results_dir).metrics.accuracy


def test_a_state_of_another_network_with_the_same_shapes_is_refused(flow_of, monkeypatch):
    save_often(monkeypatch)
    break_off(flow_of("other", tiny(nn.Tanh())), 1, 3, of=1)
    with pytest.raises(DataError, match="is of another network"):
        flow_of("other", tiny(nn.ReLU())).resume()
    assert flow_of("other", tiny(nn.Tanh())).resume().startswith("resuming")


def test_a_given_optimizer_keeps_its_settings_beside_a_checkpoint(flow_of):
    first = flow_of("first", tiny(nn.ReLU()), lr=1e-2)
    first.run(epochs=1)
    model = tiny(nn.ReLU())
    given = torch.optim.Adam(model.parameters(), 1e-4, weight_decay=0.5)
    checkpoint = first.results_dir / "model_checkpoint.pth"
    flow = flow_of("second", model, optimizer=given, load_checkpoint_path=checkpoint)
    assert (flow.lr, given.param_groups[0]["weight_decay"]) == (1e-4, 0.5)
    assert given.state  # the averages are the checkpoint's
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert run.settings["continued.after_epoch_1"] == "lr 0.01, optimizer.weight_decay None"
    assert "continued.after_epoch_1" in run.protocol


def test_epochs_trained_otherwise_stand_in_the_record(flow_of, fashion):
    flow = flow_of("parts", tiny(nn.ReLU()), lr=1e-2)
    flow.run(epochs=1)
    plain = read_run(flow.results_dir)
    flow.run(epochs=1)
    assert read_run(flow.results_dir).settings == plain.settings
    flow.train_loader = Batches(fashion.train_x_NCHW[:160], fashion.train_y_N[:160], 16)
    flow.run(epochs=1)
    settings = read_run(flow.results_dir).settings
    assert "training_images" in settings["continued.after_epoch_2"]
    again = flow_of("parts", tiny(nn.ReLU()), load_checkpoint_path=flow.results_dir / "model_checkpoint.pth")
    again.run(epochs=1)
    assert read_run(flow.results_dir).settings["continued.after_epoch_2"] == settings["continued.after_epoch_2"]


def test_values_that_are_not_finite_are_found_before_the_first_step(flow_of, fashion):
    flow_of("kept", tiny(nn.ReLU())).run(epochs=1)
    spoilt = fashion.train_x_NCHW[:200].clone()
    spoilt[150, 0, 3, 3] = float("nan")
    loader = DataLoader(TensorDataset(spoilt, fashion.train_y_N[:200]), batch_size=16, shuffle=True)
    flow = flow_of("kept", tiny(nn.ReLU()))
    for part, what in [("train_loader", "training"), ("val_loader", "validation"), ("test_loader", "test")]:
        flow = flow_of("kept", tiny(nn.ReLU()))
        setattr(flow, part, loader)
        with pytest.raises(DataError, match=f"the {what} loader: image 150 has values that are not finite"):
            flow.run(epochs=1)
        assert read_run(flow.results_dir).epochs == 1


def test_a_network_changed_after_it_was_built_is_no_seed_of_its_spec(flow_of):
    changed = generic_2()
    changed.drop.p = 0.95
    runs = []
    for name, model in [("plain", generic_2()), ("changed", changed)]:
        flow_of(name, model).run(epochs=1)
        runs.append(read_run(flow_of(name).results_dir).model_copy(update={"model_name": "same"}))
    assert runs[0].spec == runs[1].spec
    assert runs[0].module_sha256 is None
    assert identity_of(runs[0]) != identity_of(runs[1])


def test_autocast_is_refused(flow_of):
    flow = flow_of("rounded", tiny(nn.ReLU()))
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(UsageError, match=r"torch\.autocast\('cpu'\) is on"),
    ):
        flow.run(epochs=1)


class Truncated(Dataset):
    """Images of which the last cannot be read any more after so many passes."""

    def __init__(self, images, labels, passes):
        self.images, self.labels, self.left = images, labels, passes * len(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        self.left -= 1
        if self.left < 0:
            raise OSError("image file is truncated (12 bytes not processed)")
        return self.images[i], int(self.labels[i])


def test_a_file_that_cannot_be_read_after_training_leaves_the_weights_and_says_where(flow_of, fashion):
    flow = flow_of("odd", tiny(nn.ReLU()))
    broken = Truncated(fashion.test_x_NCHW[:32], fashion.test_y_N[:32], 1)
    flow.test_loader = DataLoader(broken, batch_size=32)
    with pytest.raises(RunError, match=r"truncated .*\. The weights are kept: .*model\.safetensors"):
        flow.run(epochs=1)
    assert (flow.results_dir / "model.safetensors").exists()


def test_a_part_in_eval_mode_is_told_of(flow_of):
    model = tiny(nn.Dropout(0.5))
    model.train()
    model[2].eval()
    flow = flow_of("still", model)
    flow.run(epochs=1)
    assert any("'2' was in eval mode" in note for note in read_run(flow.results_dir).notes)


@pytest.mark.parametrize("loader", ["shuffled", "in order", "weighted", "weighted otherwise"])
def test_how_a_loader_chooses_images_is_of_the_run(flow_of, fashion, loader):
    images = TensorDataset(fashion.train_x_NCHW[:160], fashion.train_y_N[:160])
    weights = torch.ones(160)
    weights[0] = 7.0
    given = {
        "shuffled": {"shuffle": True},
        "in order": {"shuffle": False},
        "weighted": {"sampler": WeightedRandomSampler(torch.ones(160), 160)},
        "weighted otherwise": {"sampler": WeightedRandomSampler(weights, 160)},
    }
    flow = flow_of("m", tiny(nn.ReLU()))
    settings = {}
    for name, how in given.items():
        flow.train_loader = DataLoader(images, batch_size=16, **how)
        settings[name] = {key: value for key, value in flow.recorded_settings.items() if key.startswith("loader.")}
    others = [of for name, of in settings.items() if name != loader]
    assert settings[loader] not in others
    assert (settings[loader] == {}) == (loader == "shuffled")


def test_a_users_callbacks_are_told_beside_the_flows_own(flow_of):
    class Counts(Callback):
        def __init__(self):
            self.steps, self.pauses, self.epochs = [], 0, 0

        def on_step(self, epoch, step, loss):
            self.steps.append((epoch, step))
            assert loss > 0

        def on_pause(self):
            self.pauses += 1

        def on_epoch(self):
            self.epochs += 1

    flow, counts, epochs = flow_of("told", tiny(nn.ReLU())), Counts(), []
    flow.arch.callbacks.append(counts)
    flow.arch.on_epoch = lambda: epochs.append(flow.arch.total_epochs)
    flow.run(epochs=2)
    assert (counts.epochs, epochs) == (2, [1, 2])
    assert counts.pauses == len(counts.steps) == 2 * len(flow.train_loader)
    assert counts.steps[-1] == (2, len(flow.train_loader))
    flow.run(epochs=1)
    assert (counts.epochs, epochs) == (3, [1, 2, 3])


def test_a_network_of_layers_is_not_called_dead_for_what_stands_before_its_norm(flow_of):
    layers = [
        {"conv": 8, "stride": 2, "padding": "same", "norm": "batch", "activation": "relu"},
        {"residual": [{"conv": 8, "padding": "same", "norm": "batch"}], "activation": "relu"},
        {"pool": "global_average"},
        {"linear": "classes"},
    ]
    flow = flow_of("resnet", GenericCNN({"input": [1, 28, 28], "classes": 10, "layers": layers}), lr=3e-3)
    flow.run(epochs=2)
    run = read_run(flow.results_dir)
    assert run.metrics.accuracy > 0.3
    assert (run.dead_units, run.warnings) == ({}, ())
    assert run.engine == "compiled step"
    again = flow_of("resnet", GenericCNN(run.spec), load_checkpoint_path=flow.results_dir / "model_checkpoint.pth")
    assert again.run(skip_train=True).accuracy == run.metrics.accuracy


def test_a_network_of_the_cards_family_is_called_dead_in_either_notation(flow_of):
    """By a learning rate that kills it."""
    found = []
    for name, model in (("fields", GenericCNN("generic_2")), ("layers", as_layers())):
        flow = flow_of(name, model, lr=0.5)
        flow.run(epochs=1)
        run = read_run(flow.results_dir)
        assert run.engine == "compiled step"
        found.append((run.metrics, list(run.dead_units.values()), len(run.warnings)))
    assert found[0] == found[1]
    _, dead, warned = found[0]
    assert len(dead) == 2
    assert warned


def test_nothing_is_left_of_the_run_whose_name_a_model_takes_later(flow_of):
    other, flow = flow_of("other"), flow_of("mine", tiny(nn.Tanh()))
    for each in (other, flow):
        each.run(epochs=1)
    assert list(other.results_dir.glob("filters_*.png"))
    flow.model_name = "other"
    flow.run(skip_train=True)
    assert not list(other.results_dir.glob("filters_*.png"))
    assert not (other.results_dir / "architecture.json").exists()
    assert read_run(other.results_dir).model_class == "Sequential"


def test_a_state_of_another_average_is_refused(flow_of, monkeypatch):
    save_often(monkeypatch)
    break_off(flow_of(ema=0.99), 1, 100, of=1)
    for other, said in ((None, "None"), (0.9, r"0\.9")):
        with pytest.raises(DataError, match=rf"averaging\.ema 0\.99, this one has {said}\. Train without resuming"):
            flow_of(ema=other).resume()
    assert "resuming after epoch 0" in flow_of(ema=0.99).resume()


def test_an_averaged_run_is_recorded_evaluated_again_and_trained_further(flow_of):
    flow = flow_of("averaged", ema=0.9)
    metrics = flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert run.settings["averaging.ema"] == 0.9
    assert run.protocol.endswith("averaging.ema 0.9")
    assert run.engine == "compiled step"
    checkpoint = flow.results_dir / "model_checkpoint.pth"
    stored = load_file(flow.results_dir / "model.safetensors")
    averaged = torch.load(checkpoint)["model_state_dict"]
    assert all(torch.equal(stored[name], value) for name, value in averaged.items())
    again = flow_of("averaged", generic_2(seed=1), load_checkpoint_path=checkpoint)
    assert again.run(skip_train=True) == metrics
    flow.run(epochs=1)
    trained = content(flow, "model.safetensors")
    again.run(epochs=1)
    assert content(again, "model.safetensors") == trained
    assert read_run(flow.results_dir).settings == run.settings


def test_a_state_of_another_augmentation_is_refused(flow_of, monkeypatch):
    save_often(monkeypatch)
    break_off(flow_of(shift=2), 1, 100, of=1)
    for other, said in (({}, "None"), ({"shift": 1}, "1")):
        with pytest.raises(DataError, match=rf"augmentation\.shift 2, this one has {said}\. Train without resuming"):
            flow_of(**other).resume()
    assert "resuming after epoch 0" in flow_of(shift=2).resume()


def test_augmentation_is_recorded_and_can_be_set_later(flow_of):
    flow = flow_of("augmented", tiny(nn.ReLU()), cutout=4)
    flow.run(epochs=1)
    run = read_run(flow.results_dir)
    assert (run.settings["augmentation.cutout"], "augmentation.shift" in run.settings) == (4, False)
    assert run.protocol.endswith("augmentation.cutout 4")
    flow.shift, flow.flip, flow.cutout = 1, True, 0
    assert (flow.shift, flow.flip, flow.cutout) == (1, True, 0)
    with pytest.raises(UsageError, match="shift = -1: must be 0 or more"):
        flow.shift = -1
    flow.run(epochs=1)
    settings = read_run(flow.results_dir).settings
    assert {name: of for name, of in settings.items() if name.startswith("augmentation.")} == {
        "augmentation.shift": 1,
        "augmentation.flip": True,
    }
    assert "augmentation.cutout 4" in settings["continued.after_epoch_1"]


def test_epochs_before_an_average_stand_in_the_record(flow_of):
    flow = flow_of("later", tiny(nn.ReLU()))
    flow.run(epochs=1)
    assert "averaging.ema" not in read_run(flow.results_dir).settings
    flow.ema = 0.9
    flow.run(epochs=1)
    settings = read_run(flow.results_dir).settings
    assert (settings["averaging.ema"], settings["continued.after_epoch_1"]) == (0.9, "averaging.ema None")
