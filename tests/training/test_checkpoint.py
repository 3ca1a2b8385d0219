"""Checkpoints: ours, those of the original framework, and files that are damaged, hostile or of something else."""

import copy
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from modelflow.errors import DataError
from modelflow.models.build import GenericCNN
from modelflow.presets import preset
from modelflow.training.checkpoint import KEYS, read_checkpoint
from modelflow.training.saved import checked_state

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
        ({"val_loss": [1.0]}, "loss has 2 entries, val_loss 1, expected one an epoch in each"),
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

    assert_refused_untouched(other("cnn2_5"), saved, snapshot, "lacks conv1.weight of the model; build the model with")
    message = "conv_layers.0.weight has shape 4x1x5x5, the model's has 8x1x3x3; build the model with the spec"
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
        arch, tmp_path / "file.pth", snapshot, f"its optimizer is not {kind} .*; use the optimizer it"
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
    assert_refused_untouched(make_arch(), tmp_path / "none.pth", snapshot, "none.pth: no such file; give the path")
    assert_refused_untouched(make_arch(), tmp_path, snapshot, "is a folder; give the path of a checkpoint")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99, -1])
def test_a_cut_file_is_named(saved, make_arch, snapshot, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert_refused_untouched(make_arch(), saved, snapshot, "not a readable checkpoint .*; use an undamaged copy")


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
    monkeypatch.setattr("modelflow.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
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
        with pytest.raises(DataError, match="none of them a control character"):
            checked_state({"midway": None, "call": call | field}, "state.pth")
