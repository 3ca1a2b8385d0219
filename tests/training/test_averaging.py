"""The average of the weights against torch's AveragedModel and NumPy in float64; and what a checkpoint keeps of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.data.datasets import load_dataset
from modelflow.errors import DataError, UsageError
from modelflow.training.averaging import EMA, STARTED_ANEW
from modelflow.training.loop import mean_loss

DECAY = 0.7  # which (1 + t) / (10 + t) reaches after 20 updates


def with_batch_norm():
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(108, 10)]
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def tensors():
    data = load_dataset("digits")
    return data.train_x_NCHW[:100].double(), data.train_y_N[:100]


@pytest.fixture
def arch_of(tensors):
    def make(ema=DECAY, model=None, dtype=torch.float64):
        model = (with_batch_norm() if model is None else model).to(dtype)
        arch = Architecture(model, nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 0.01), verbose=False)
        x, y = tensors
        arch.set_loaders(Batches(x.to(dtype), y, 8, shuffle=True), Batches(x.to(dtype), y, 50))
        arch.ema = ema
        return arch

    return make


def decay_at(update):
    return min(DECAY, (1 + update) / (10 + update))


def multi_avg_fn(averages, values, n_averaged):
    decay = decay_at(int(n_averaged))
    for average, value in zip(averages, values, strict=True):
        average.copy_(average * decay + value * (1 - decay) if average.is_floating_point() else value)


def test_each_update_is_torchs_and_numpys(arch_of):
    arch = arch_of()
    oracle = AveragedModel(arch.model, multi_avg_fn=multi_avg_fn, use_buffers=True)
    oracle.update_parameters(arch.model)  # the initial weights
    by_hand = {name: value.numpy().copy() for name, value in arch.model.state_dict().items()}

    def on_step(_epoch, _step, _loss):
        oracle.update_parameters(arch.model)
        updates[0] += 1
        for name, value in arch.model.state_dict().items():
            decay = decay_at(updates[0]) if value.is_floating_point() else 0
            by_hand[name] = by_hand[name] * decay + value.numpy() * (1 - decay)

    updates = [0]
    arch.on_step = on_step
    arch.train(3)
    assert arch.averaging.updates == updates[0] == 39
    for name, value in arch.model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), oracle.module.state_dict()[name].numpy(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(value.numpy(), by_hand[name], rtol=1e-12, atol=1e-15)


def test_training_goes_on_from_the_weights_of_a_training_without_an_average(arch_of, tmp_path):
    plain, averaged = arch_of(None), arch_of()
    for arch in (plain, averaged):
        arch.train(1)
        arch.train(1)
        arch.save_checkpoint(tmp_path / str(arch.ema))
    assert plain.losses == averaged.losses
    assert plain.val_losses != averaged.val_losses
    kept = [torch.load(tmp_path / str(ema)) for ema in (None, DECAY)]
    assert EMA not in kept[0]
    trained = kept[1][EMA]["training_state_dict"]
    for name, value in kept[0]["model_state_dict"].items():
        assert torch.equal(trained[name], value)
    assert not torch.equal(kept[1]["model_state_dict"]["0.weight"], trained["0.weight"])
    assert (kept[1][EMA]["decay"], kept[1][EMA]["updates"]) == (DECAY, 26)


def test_what_is_validated_and_predicted_is_the_average(arch_of, tmp_path):
    arch = arch_of()
    arch.train(2)
    arch.save_checkpoint(tmp_path / "c.pth")
    again = with_batch_norm().double()
    again.load_state_dict(torch.load(tmp_path / "c.pth")["model_state_dict"])
    assert arch.val_losses[-1] == mean_loss(again, arch.loss_fn, arch.val_loader, "cpu")
    x_NCHW = arch.val_loader.dataset.tensors[0]
    with torch.no_grad():
        expected = again.eval()(x_NCHW).numpy()
    np.testing.assert_allclose(arch.predictions(arch.val_loader)[0], expected, rtol=1e-6)


def content(arch, path):
    arch.save_checkpoint(path)
    return path.read_bytes()


def test_two_calls_and_a_checkpoint_between_them_give_the_same_bytes(arch_of, tmp_path):
    once = arch_of(dtype=torch.float32)
    once.train(4)
    twice = arch_of(dtype=torch.float32)
    twice.train(2)
    twice.save_checkpoint(tmp_path / "half.pth")
    twice.train(2)
    resumed = arch_of(dtype=torch.float32)
    resumed.load_checkpoint(tmp_path / "half.pth")
    resumed.train(2)
    assert content(once, tmp_path / "1") == content(twice, tmp_path / "2") == content(resumed, tmp_path / "3")
    assert not resumed.notes
    copied = copy.deepcopy(twice)
    for arch in (twice, copied):
        arch.train(1)
    assert content(twice, tmp_path / "4") == content(copied, tmp_path / "5")


def test_a_search_tries_the_weights_that_are_trained_on(arch_of):
    plain, averaged = arch_of(None), arch_of()
    found = []
    for arch in (plain, averaged):
        arch.train(1)
        before = copy.deepcopy(arch.model.state_dict())
        found.append(arch.lr_range_test(arch.train_loader, num_iter=10)[0])
        assert all(torch.equal(before[name], value) for name, value in arch.model.state_dict().items())
    assert found[0] == found[1]


def test_a_checkpoint_of_another_decay_or_none_is_taken_up_with_a_note(arch_of, tmp_path):
    arch_of(None).save_checkpoint(tmp_path / "none.pth")
    of_seven = arch_of(0.7)
    of_seven.train(1)
    of_seven.save_checkpoint(tmp_path / "seven.pth")

    left_out = arch_of(None)
    left_out.load_checkpoint(tmp_path / "seven.pth")
    assert (left_out.ema, left_out.notes) == (0.7, ["ema 0.7, as in the checkpoint"])
    for arch in (left_out, of_seven):
        arch.train(1)
    assert content(left_out, tmp_path / "1") == content(of_seven, tmp_path / "2")

    other = arch_of(0.9)
    other.load_checkpoint(tmp_path / "seven.pth")
    assert other.notes == ["ema 0.9: the checkpoint's average was made with 0.7. It continues with 0.9."]
    assert (other.ema, other.averaging.updates) == (0.9, 13)

    begun = arch_of(0.9)
    begun.load_checkpoint(tmp_path / "none.pth")
    assert begun.notes == ["ema 0.9: the checkpoint has no average. It starts from the checkpoint's weights."]
    begun.train(1)
    anew = arch_of(0.9)
    anew.train(1)
    assert content(begun, tmp_path / "3") == content(anew, tmp_path / "4")


def test_weights_changed_between_two_calls_start_the_average_anew_with_a_note(arch_of, tmp_path):
    arch = arch_of()
    arch.train(1)
    with torch.no_grad():
        arch.model[5].bias += 1
    changed = copy.deepcopy(arch.model.state_dict())
    arch.save_checkpoint(tmp_path / "c.pth")
    assert arch.notes == [STARTED_ANEW]
    kept = torch.load(tmp_path / "c.pth")
    assert kept[EMA]["updates"] == 0
    assert all(torch.equal(changed[name], value) for name, value in kept[EMA]["training_state_dict"].items())


def test_images_seen_in_training_mode_between_two_calls_change_nothing_that_follows(arch_of):
    arch, seeing = arch_of(), arch_of()
    for one in (arch, seeing):
        one.train(1)
    with torch.no_grad():
        seeing.model.train()(seeing.val_loader.dataset.tensors[0])
    for one in (arch, seeing):
        one.train(1)
    assert not seeing.notes
    assert torch.equal(arch.model[1].running_mean, seeing.model[1].running_mean)


def test_shared_and_other_tensors_of_a_model_stay_what_they_are(arch_of, tmp_path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.first, self.second, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
            self.second.weight = self.first.weight
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

        def forward(self, x):
            return self.last(self.second(self.first(x.flatten(1)).relu()).relu())

    arch = arch_of(model=Shared())
    arch.train(1)
    assert arch.model.second.weight is arch.model.first.weight
    assert arch.model.mask.tolist() == [0, -torch.inf]
    arch.save_checkpoint(tmp_path / "c.pth")
    again = arch_of(model=Shared())
    again.load_checkpoint(tmp_path / "c.pth")
    for one in (arch, again):
        one.train(1)
    assert torch.equal(arch.model.first.weight, again.model.first.weight)


def test_a_model_made_double_takes_its_average_along(arch_of):
    arch = arch_of(dtype=torch.float32)
    arch.train(1)
    arch.model.double()
    arch.optimizer = torch.optim.Adam(arch.model.parameters(), 0.01)
    arch.set_loaders(arch_of().train_loader)
    arch.train(1)
    assert not arch.notes
    assert arch.averaging.updates == 26


@pytest.mark.parametrize("ema", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "0.9", True, [0.9]])
def test_a_decay_that_is_none_is_refused(arch_of, ema):
    with pytest.raises(UsageError, match=r"must be a number greater than 0 and less than 1, such as 0\.999"):
        arch_of(ema)


def test_numbers_of_numpy_and_torch_are_decays(arch_of):
    assert type(arch_of(np.float32(0.5)).ema) is type(arch_of(torch.tensor(0.5)).ema) is float


def test_an_average_that_was_begun_cannot_be_switched_off(arch_of):
    arch = arch_of()
    arch.ema = None
    arch.ema = DECAY
    arch.train(1)
    with pytest.raises(UsageError, match="ema = None: the weights are averaged already"):
        arch.ema = None


DAMAGED = [
    (lambda _: 3, "ema: "),
    (lambda _: {"updates": 1}, "decay is missing"),
    (lambda kept: kept | {"decay": 1.5}, "decay = 1.5: expected less than 1"),
    (lambda kept: kept | {"updates": -1}, "updates = -1"),
    (lambda kept: kept | {"training_state_dict": 3}, "expected a mapping"),
    (lambda kept: kept | {"training_state_dict": {}}, "lacks 0.weight"),
]


@pytest.mark.parametrize(("damaged", "message"), DAMAGED)
def test_a_damaged_average_is_refused_and_changes_nothing(arch_of, snapshot, tmp_path, damaged, message):
    saved = arch_of()
    saved.train(1)
    saved.save_checkpoint(tmp_path / "c.pth")
    checkpoint = torch.load(tmp_path / "c.pth")
    torch.save(checkpoint | {EMA: damaged(checkpoint[EMA])}, tmp_path / "c.pth")
    arch = arch_of()
    before = snapshot(arch)
    with pytest.raises(DataError, match=message):
        arch.load_checkpoint(tmp_path / "c.pth")
    assert snapshot(arch) == before
