"""Checkpoints: ours, those of the original framework, and files that are damaged, hostile or of something else."""

import copy
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from modelflow.errors import DataError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.checkpoint import KEYS, check_storable, not_in_weights, read_checkpoint, weights_bytes
from modelflow.training.states import checked_state

KINDS = ["adam", "adamw", "sgd", "rmsprop"]


@pytest.fixture
def trained(make_arch):
    arch = make_arch()
    arch.train(2)
    return arch


@pytest.fixture
def saved(trained, tmp_path):
    path = tmp_path / "model_checkpoint.pth"
    trained.save_checkpoint(path)
    return path


@pytest.fixture
def original(trained, tmp_path):
    """A file as the original class writes it: a plain torch.save, losses as lists of numpy.float64."""
    path = tmp_path / "original.pth"
    checkpoint = {
        "epoch": trained.total_epochs,
        "model_state_dict": trained.model.state_dict(),
        "optimizer_state_dict": trained.optimizer.state_dict(),
        "loss": [np.mean([loss]) for loss in trained.losses],
        "val_loss": [np.mean([loss]) for loss in trained.val_losses],
    }
    torch.save(checkpoint, path)
    return path


def with_pickle(path, change):
    """The same zip with its pickle changed, checksums right."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            if name.endswith("/data.pkl"):
                changed = change(content)
                assert changed != content
                content = changed
            archive.writestr(name, content)
    return path


def to_numpy_1(content):
    return content.replace(b"cnumpy._core.multiarray\nscalar", b"cnumpy.core.multiarray\nscalar")


def to_gpu(content):
    return content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")


def rewritten(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


def assert_refused_untouched(arch, path, snapshot, message):
    before = snapshot(arch)
    with pytest.raises(DataError, match=message) as caught:
        arch.load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert snapshot(arch) == before
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (0, [], [])


def test_ours_holds_the_five_keys_and_loads_with_weights_only(saved, trained):
    checkpoint = torch.load(saved, weights_only=True)
    assert tuple(checkpoint) == KEYS
    assert (checkpoint["epoch"], checkpoint["loss"], checkpoint["val_loss"]) == (2, trained.losses, trained.val_losses)


@pytest.mark.parametrize("optimizer", KINDS)
def test_trained_on_from_a_file_equals_never_interrupted(make_arch, tmp_path, snapshot, optimizer):
    whole, first, second = (
        make_arch(optimizer=optimizer),
        make_arch(optimizer=optimizer),
        make_arch(None, optimizer, 9.0, 7),
    )
    whole.train(3)
    first.train(2)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    second.train(1)
    assert snapshot(second) == snapshot(whole)
    assert (second.total_epochs, second.losses, second.val_losses) == (3, whole.losses, whole.val_losses)


def test_a_model_in_eval_mode_is_set_to_train(saved, make_arch):
    arch = make_arch()
    arch.model.eval()
    arch.load_checkpoint(saved)
    assert all(module.training for module in arch.model.modules())


@pytest.mark.parametrize(
    "change", [None, to_numpy_1, to_gpu, lambda c: to_gpu(to_numpy_1(c))], ids=["numpy 2", "numpy 1", "gpu", "both"]
)
def test_files_of_the_original_class_load_and_training_goes_on(original, trained, make_arch, change):
    if change is not None:
        with_pickle(original, change)
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torch.load(original, weights_only=True)  # torch alone refuses its numbers, or its tensors
    arch = make_arch(seed=7)
    arch.load_checkpoint(original)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (2, trained.losses, trained.val_losses)
    assert all(type(loss) is float for loss in arch.losses)
    assert all(tensor.device.type == "cpu" for tensor in arch.model.state_dict().values())
    arch.train(1)
    trained.train(1)
    assert arch.losses == trained.losses


def test_files_of_the_time_before_zip_load_too(original, trained, make_arch):
    checkpoint = torch.load(original, weights_only=False)
    torch.save(checkpoint, original, _use_new_zipfile_serialization=False)
    arch = make_arch(seed=7)
    arch.load_checkpoint(original)
    assert arch.losses == trained.losses


def test_without_a_validation_loader_the_losses_are_none(make_arch, tmp_path):
    arch = make_arch(val_loader=None)
    arch.train(1)
    arch.save_checkpoint(tmp_path / "file.pth")
    other = make_arch()
    other.load_checkpoint(tmp_path / "file.pth")
    assert other.val_losses == [None]


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_hostile_pickle_is_refused_without_being_run(saved, make_arch, snapshot, tmp_path, as_zip):
    mark = tmp_path / "was-run"
    checkpoint = torch.load(saved, weights_only=True) | {"loss": Hostile(f"touch {mark}")}
    torch.save(checkpoint, saved, _use_new_zipfile_serialization=as_zip)
    assert_refused_untouched(make_arch(), saved, snapshot, r"not a readable checkpoint \(.*system")
    assert not mark.exists()


def test_torchs_advice_to_load_it_nevertheless_is_not_passed_on(saved, make_arch):
    for loss in (Hostile("true"), [np.float32(1)]):
        torch.save(torch.load(saved, weights_only=True) | {"loss": loss}, saved.with_name("other.pth"))
        with pytest.raises(DataError) as caught:
            make_arch().load_checkpoint(saved.with_name("other.pth"))
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("value", [np.float32(1), np.array([1.0]), np.random.default_rng(0), Hostile], ids=str)
def test_no_other_types_are_allowed(saved, make_arch, snapshot, value):
    torch.save(torch.load(saved, weights_only=True) | {"loss": [value]}, saved)
    message = r"not a readable checkpoint \((Unsupported global|numbers of numpy's type 'f4')"
    assert_refused_untouched(make_arch(), saved, snapshot, message)


def test_nothing_stays_allowed_afterwards(original):
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(original)
    assert set(torch.serialization.get_safe_globals()) == before
    assert np.float64 not in before


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(saved, make_arch, snapshot, key):
    rewritten(saved, lambda checkpoint: checkpoint.pop(key))
    assert_refused_untouched(make_arch(), saved, snapshot, f"lacks the key '{key}', expected epoch, model_state_dict")


def test_other_content_is_named(saved, make_arch, snapshot):
    torch.save([1, 2], saved)
    assert_refused_untouched(make_arch(), saved, snapshot, "holds a list, expected a checkpoint with the keys epoch")
    torch.save(make_arch().model.state_dict(), saved)
    assert_refused_untouched(make_arch(), saved, snapshot, "lacks the key 'epoch'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": 0.5}, "epoch, loss or val_loss are not numbers"),
        ({"loss": ["a", "b"]}, "epoch, loss or val_loss are not numbers"),
        ({"epoch": None}, "epoch, loss or val_loss are not numbers"),
        ({"epoch": float("inf")}, "epoch, loss or val_loss are not numbers"),
        ({"val_loss": [1.0]}, "loss has 2 entries, val_loss 1, expected one per epoch in each"),
        ({"model_state_dict": 3}, "its model_state_dict is a int, expected a mapping"),
        (
            {"model_state_dict": {"conv_layers.0.weight": 3}},
            "conv_layers.0.weight has shape none, the model's has 4x1x5x5",
        ),
        ({"optimizer_state_dict": None}, "its optimizer_state_dict is not the state of an optimizer"),
        ({"optimizer_state_dict": {"state": {}}}, "its optimizer_state_dict is not the state of an optimizer"),
        ({"optimizer_state_dict": {"state": {}, "param_groups": [1]}}, "is not the state of an optimizer"),
        ({"optimizer_state_dict": {"state": {0: 1}, "param_groups": []}}, "is not the state of an optimizer"),
        (
            {"optimizer_state_dict": {"state": {}, "param_groups": []}},
            r"its optimizer has parameter groups of \[\] tensors, expected \[6\]",
        ),
    ],
    ids=str,
)
def test_wrong_values_are_named(saved, make_arch, snapshot, change, message):
    rewritten(saved, lambda checkpoint: checkpoint.update(change))
    assert_refused_untouched(make_arch(), saved, snapshot, message)


def test_another_architecture_is_named(saved, make_arch, snapshot):
    def other(name):
        return make_arch(GenericCNN(preset(name)))

    assert_refused_untouched(other("cnn2_5"), saved, snapshot, "lacks conv1.weight of the model. Build the model with")
    message = "conv_layers.0.weight has shape 4x1x5x5, the model's has 8x1x3x3"
    assert_refused_untouched(other("generic_1"), saved, snapshot, message)
    smaller = make_arch(nn.Sequential(nn.Linear(3, 2)))
    assert_refused_untouched(smaller, saved, snapshot, "lacks 0.weight of the model")
    rewritten(saved, lambda checkpoint: checkpoint["model_state_dict"].update(extra=torch.zeros(2)))
    assert_refused_untouched(make_arch(), saved, snapshot, "holds extra, which the model lacks")


@pytest.mark.parametrize("ours", KINDS)
@pytest.mark.parametrize("theirs", KINDS)
def test_another_kind_of_optimizer_is_named(make_arch, snapshot, tmp_path, ours, theirs):
    other = make_arch(optimizer=theirs)
    other.train(1)
    other.save_checkpoint(tmp_path / "file.pth")
    arch = make_arch(optimizer=ours)
    if ours == theirs:
        arch.load_checkpoint(tmp_path / "file.pth")
        arch.train(1)
        return
    kind = type(arch.optimizer).__name__
    assert_refused_untouched(
        arch, tmp_path / "file.pth", snapshot, f"its optimizer is not {kind} .*. Use the optimizer it"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda kept: kept[0].update(exp_avg=torch.zeros(3)),
            r"state of tensor 0 holds .*exp_avg 3.*Adam keeps .*4x1x5x5",
        ),
        (lambda kept: kept[1].pop("exp_avg_sq"), "state of tensor 1 holds step none, exp_avg 4, Adam keeps"),
        (
            lambda kept: kept[2].update(momentum_buffer=torch.zeros(2)),
            "state of tensor 2 holds .*momentum_buffer 2, Adam",
        ),
    ],
)
def test_optimizer_states_that_do_not_fit_are_named(saved, make_arch, snapshot, change, message):
    rewritten(saved, lambda checkpoint: change(checkpoint["optimizer_state_dict"]["state"]))
    assert_refused_untouched(make_arch(), saved, snapshot, message)


def test_options_of_the_same_kind_come_from_the_file(make_arch, tmp_path):
    def with_momentum(**options):
        model = GenericCNN(preset("generic_2"))
        return make_arch(model, torch.optim.SGD(model.parameters(), lr=0.01, **options))

    first, second = with_momentum(momentum=0.9, nesterov=True), with_momentum()
    first.train(1)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    first.train(1)
    second.train(1)
    assert second.losses == first.losses


def test_a_checkpoint_of_an_optimizer_that_a_scheduler_knows_loads(make_arch, tmp_path):
    first, second = make_arch(), make_arch()
    torch.optim.lr_scheduler.OneCycleLR(first.optimizer, 0.01, total_steps=500)
    first.train(1)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    second.train(1)


def test_a_checkpoint_before_any_training_loads(make_arch, tmp_path, snapshot):
    first, second = make_arch(), make_arch(seed=7)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    assert snapshot(second) == snapshot(first)


def test_missing_files_and_folders_are_named(make_arch, snapshot, tmp_path):
    assert_refused_untouched(make_arch(), tmp_path / "none.pth", snapshot, "none.pth: no such file. Give the path")
    assert_refused_untouched(make_arch(), tmp_path, snapshot, "is a folder. Give the path of a checkpoint")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, -1])
def test_a_cut_file_is_named(saved, make_arch, snapshot, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert_refused_untouched(make_arch(), saved, snapshot, "not a readable checkpoint .*. Use an undamaged copy")


def records(path):
    """Where the content of each record of a zip lies: (name, first byte, last byte)."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset + 26)
            name_length, extra_length = (int.from_bytes(file.read(2), "little") for _ in range(2))
            start = info.header_offset + 30 + name_length + extra_length
            yield info.filename, start, start + info.file_size - 1


def test_one_flipped_byte_in_any_record_is_named(saved, make_arch, snapshot):
    content, arch = saved.read_bytes(), make_arch()
    for _, first, last in records(saved):
        for at in {first, (first + last) // 2, last}:
            saved.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert_refused_untouched(arch, saved, snapshot, "not a readable checkpoint")


def test_a_flipped_byte_anywhere_is_named_or_changes_nothing(saved):
    content, expected = saved.read_bytes(), read_checkpoint(saved)
    for at in np.random.default_rng(0).integers(0, len(content), 150):
        saved.write_bytes(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :])
        try:
            read = read_checkpoint(saved)
        except DataError:
            continue
        assert all(torch.equal(read["model_state_dict"][k], v) for k, v in expected["model_state_dict"].items())
        assert {k: read[k] for k in ("epoch", "loss", "val_loss")} == {
            k: expected[k] for k in ("epoch", "loss", "val_loss")
        }


def test_a_failed_write_keeps_the_old_checkpoint(saved, trained, monkeypatch):
    before = copy.deepcopy(saved.read_bytes())
    monkeypatch.setattr("modelflow.io.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        trained.save_checkpoint(saved)
    assert saved.read_bytes() == before
    assert [path for path in saved.parent.iterdir() if path.is_file()] == [saved]


def test_what_a_file_says_of_its_modules_is_not_obeyed(saved, make_arch):
    def assigned(checkpoint):
        state = checkpoint["model_state_dict"]
        state._metadata["conv_layers.0"] = {"version": 1, "assign_to_params_buffers": True}

    rewritten(saved, assigned)
    arch = make_arch()
    before = list(arch.model.parameters())
    arch.load_checkpoint(saved)
    assert all(one is other for one, other in zip(before, arch.model.parameters(), strict=True))
    rewritten(saved, lambda checkpoint: checkpoint["model_state_dict"]._metadata.update({"conv_layers.0": 3}))
    make_arch().load_checkpoint(saved)


@pytest.mark.parametrize("text", ["1\x1b[31m", "a" * 10_001])
def test_the_words_of_a_state_cannot_write_to_the_terminal(text):
    call = {"asked": {}, "engine": "", "first_epoch": 0, "seconds": {}, "started": "2025-01-01", "notes": ["fine"]}
    checked_state({"midway": None, "call": call | {"made_by": {"numpy": "2.4"}}}, "state.pth")
    for field in ({"notes": [text]}, {"made_by": {"numpy": text}}, {"made_by": {text: "1"}}):
        with pytest.raises(DataError, match="without control characters"):
            checked_state({"midway": None, "call": call | field}, "state.pth")


@pytest.mark.parametrize("optimizer", KINDS)
def test_files_of_before_torch_1_12_load_as_torch_alone_takes_them(make_arch, tmp_path, optimizer):
    """Steps were numbers then, and groups had fewer options."""
    whole, old = make_arch(optimizer=optimizer), tmp_path / "old.pth"
    whole.train(1)
    whole.save_checkpoint(old)

    def as_then(checkpoint):
        state = checkpoint["optimizer_state_dict"]
        for kept in state["state"].values():
            kept.update({name: int(value) for name, value in kept.items() if name == "step"})
        later = ("foreach", "maximize", "capturable", "differentiable", "fused", "decoupled_weight_decay")
        for group, name in ((group, name) for group in state["param_groups"] for name in later):
            group.pop(name, None)

    rewritten(old, as_then)
    arch, torchs = make_arch(optimizer=optimizer, seed=7), make_arch(optimizer=optimizer)
    arch.load_checkpoint(old)
    torchs.optimizer.load_state_dict(torch.load(old, weights_only=True)["optimizer_state_dict"])
    ours, theirs = (one.optimizer.state_dict()["state"] for one in (arch, torchs))
    assert {n: sorted(kept) for n, kept in ours.items()} == {n: sorted(kept) for n, kept in theirs.items()}
    for number, name in ((number, name) for number, kept in theirs.items() for name in kept):
        torch.testing.assert_close(ours[number][name], theirs[number][name], rtol=0, atol=0)
    for one in (whole, arch):
        one.train(1)
    assert arch.losses == whole.losses


@pytest.mark.parametrize("step", [-1, float("nan"), 10**400, True, "1"])
def test_a_step_that_is_no_number_of_steps_is_named(saved, make_arch, snapshot, step):
    rewritten(saved, lambda checkpoint: checkpoint["optimizer_state_dict"]["state"][0].update(step=step))
    assert_refused_untouched(make_arch(), saved, snapshot, "state of tensor 0 has other types than Adam keeps")


WRAPPED = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"_orig_mod.module.{name}",
    "a compiled block": lambda name: name.replace("conv_layers.0", "conv_layers._orig_mod.0"),
    "an outer module": lambda name: f"model.{name}",
    "both, outside": lambda name: f"net._orig_mod.{name}",
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_names_of_wrapped_models_are_those_of_the_model_within(saved, trained, make_arch, wrapped):
    def wrap(checkpoint):
        state = checkpoint["model_state_dict"]
        checkpoint["model_state_dict"] = {wrapped(name): value for name, value in state.items()}

    rewritten(saved, wrap)
    arch = make_arch(seed=7)
    arch.load_checkpoint(saved)
    ours, theirs = arch.model.state_dict(), trained.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_wrapped_model_takes_a_file_of_the_model_within(saved, trained, make_arch):
    inner = GenericCNN(preset("generic_2"), 7)
    arch = make_arch(nn.DataParallel(inner), torch.optim.Adam(inner.parameters()))
    arch.load_checkpoint(saved)
    assert all(map(torch.equal, inner.parameters(), trained.model.parameters()))


def test_other_names_are_still_named(saved, make_arch, snapshot):
    def only_some(checkpoint):
        state = checkpoint["model_state_dict"]
        state["module.conv_layers.0.weight"] = state.pop("conv_layers.0.weight")
        state["module.more"] = torch.zeros(1)

    rewritten(saved, only_some)
    assert_refused_untouched(make_arch(), saved, snapshot, "lacks conv_layers.0.weight of the model")


class Counting(nn.Linear):
    """Keeps more than tensors in its state."""

    def __init__(self, *sizes, extra=None):
        super().__init__(*sizes)
        self.extra = {"passes": 0, "scale": torch.tensor(2.0), "names": ["a"]} if extra is None else extra

    def forward(self, x):
        if isinstance(self.extra, dict):
            self.extra["passes"] += 1
        return super().forward(x)

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        if state == "refuse":
            raise ValueError("no such state")
        self.extra = state


def counting(**how):
    return nn.Sequential(nn.Flatten(), Counting(784, 10, **how))


def test_extra_state_comes_back_from_a_file(make_arch, tmp_path):
    first, second = make_arch(counting()), make_arch(counting())
    first.train(1)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    assert second.model[1].extra["passes"] == first.model[1].extra["passes"] > 30
    assert torch.equal(second.model[1].extra["scale"], torch.tensor(2.0))
    assert torch.equal(second.model[1].weight, first.model[1].weight)


def test_extra_state_that_its_module_refuses_changes_nothing(make_arch, tmp_path):
    make_arch(counting(extra="refuse")).save_checkpoint(tmp_path / "file.pth")
    arch = make_arch(counting(extra="mine"))
    weights = arch.model[1].weight.detach().clone()
    message = r"the model refuses its extra state \(.*no such state"
    with pytest.raises(DataError, match=message):
        arch.load_checkpoint(tmp_path / "file.pth")
    assert arch.model[1].extra == "mine"
    assert torch.equal(arch.model[1].weight, weights)


@pytest.mark.parametrize(
    "extra", [{1, 2}, np.zeros(2), Hostile("true"), lambda: 0], ids=["set", "array", "object", "function"]
)
def test_extra_state_that_no_file_could_be_read_with_is_named_before_training(extra):
    with pytest.raises(
        UsageError, match=r"1\._extra_state: a \w+ in the model's state, which a checkpoint cannot hold"
    ):
        check_storable(counting(extra=extra))
    check_storable(counting())


def test_complex_weights_come_back_from_both_files_and_sparse_ones_are_told(make_arch, tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    model.register_buffer("spectrum", torch.arange(4.0).to(torch.complex64))
    arch = make_arch(model)
    check_storable(model)
    arch.save_checkpoint(tmp_path / "file.pth")
    arch.load_checkpoint(tmp_path / "file.pth")
    assert torch.equal(load(weights_bytes(model))["spectrum"], model.spectrum)
    model.register_buffer("wide", torch.zeros(2, dtype=torch.complex128))
    assert not_in_weights(model) == ["wide"]
    assert sorted(load(weights_bytes(model))) == ["1.bias", "1.weight", "spectrum"]
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.raises(UsageError, match=r"sparse: a torch.float32 in the model's state"):
        check_storable(model)
