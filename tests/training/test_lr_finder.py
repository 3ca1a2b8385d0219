"""The learning rate range test: it leaves no trace, reads real curves steadily, and refuses those that say nothing."""

import contextlib
import math
import re
import threading
import warnings
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch_lr_finder import LRFinder

from modelflow.data.batches import Batches
from modelflow.errors import RunError, UsageError
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset
from modelflow.training.lr_finder import (
    MIN_STEPS,
    SKIP_END,
    SKIP_START,
    SMOOTH,
    range_test,
    read_curve,
    steepest_trend,
)
from modelflow.training.optimizers import make_optimizer

CARDS_LR = 4.86e-3


@pytest.fixture
def card_arch(make_arch, fashion):
    """Makes a preset with the card's settings (Adam 3e-4, batch 16), and as many images as 100 steps take."""

    def make(name="generic_2", seed=42, labels=None):
        y_N = fashion.train_y_N[:4000] if labels is None else labels
        batches = Batches(fashion.train_x_NCHW[:4000], y_N, 16, shuffle=True)
        return make_arch(GenericCNN(preset(name), seed), lr=3e-4, train_loader=batches)

    return make


def found_by(arch, seed=42, **options):
    arch.find_best_lr(arch.train_loader, seed=seed, **options)
    return arch.lr_search


class Fails(nn.Module):
    """A network of every kind of state that fails in its fifth pass, or never."""

    def __init__(self, at=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Dropout(0.3), nn.Linear(784, 10))
        self.register_buffer("passes", torch.zeros(1), persistent=False)
        self.at = at

    def forward(self, x_NCHW):
        self.passes += 1
        if self.passes.item() == self.at:
            raise ArithmeticError("the fifth pass")
        return self.layers(x_NCHW)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_everything_is_as_before(make_arch, snapshot, optimizer):
    arch = make_arch(Fails(at=-1), optimizer)
    arch.train(1)
    arch.model.eval()
    arch.model.layers[2].train()
    before, passes = snapshot(arch), arch.model.passes.clone()
    with contextlib.suppress(RunError):  # a trained network may leave nothing to find
        found_by(arch, set_lr=False)
    assert snapshot(arch) == before
    assert torch.equal(arch.model.passes, passes)


def test_everything_is_as_before_when_the_forward_raises(make_arch, images, snapshot):
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(images, 20, shuffle=True, generator=generator)
    arch = make_arch(Fails(), train_loader=loader)
    arch.model.layers[1].eval()
    before, state = snapshot(arch), generator.get_state()
    with pytest.raises(ArithmeticError):
        found_by(arch)
    assert snapshot(arch) == before
    assert (arch.model.passes.item(), arch.lr_search, loader.generator) == (0, None, generator)
    assert torch.equal(generator.get_state(), state)


def test_training_afterwards_is_the_same_as_without_a_search(make_arch, snapshot):
    plain, searched = make_arch(), make_arch()
    found_by(searched, set_lr=False)
    for arch in (plain, searched):
        arch.train(1)
    assert snapshot(plain) == snapshot(searched)


def test_set_lr_sets_every_parameter_group(make_arch):
    model = GenericCNN(preset("generic_2"))
    groups = [
        {"params": model.conv_layers.parameters(), "lr": 1e-3},
        {"params": model.fc_layers.parameters(), "lr": 1e-4},
    ]
    arch = make_arch(model, torch.optim.Adam(groups))
    _, lr = arch.find_best_lr(arch.train_loader, set_lr=False)
    assert [group["lr"] for group in arch.optimizer.param_groups] == [1e-3, 1e-4]
    _, again = arch.find_best_lr(arch.train_loader)
    assert [group["lr"] for group in arch.optimizer.param_groups] == [lr, lr] == [again, again]


def test_an_optimizer_that_a_scheduler_knows(make_arch):
    arch = make_arch()
    scheduler = torch.optim.lr_scheduler.StepLR(arch.optimizer, 1, gamma=0.5)
    _, lr = arch.find_best_lr(arch.train_loader)
    assert arch.optimizer.param_groups[0]["initial_lr"] == 1e-3
    arch.train(1)
    scheduler.step()
    assert arch.optimizer.param_groups[0]["lr"] == pytest.approx(lr / 2)


def test_a_plain_loader_and_batches_give_the_same_curve_where_the_order_is_the_same(make_arch, images):
    loaders = [Batches(*images.tensors, 20), DataLoader(images, 20)]
    first, second = (found_by(make_arch(train_loader=loader)) for loader in loaders)
    assert first == second


def test_the_curve_is_a_function_of_the_seed(card_arch):
    torch.rand(3)
    first, again, other = (found_by(card_arch(), seed) for seed in (1, 1, 2))
    assert first == again
    assert first.losses != other.losses


@pytest.mark.parametrize("n_batches", [1, 34, 99, 100])
def test_a_loader_that_is_too_short_is_gone_through_again_and_that_is_said(make_arch, images, n_batches, capsys):
    x_NCHW, y_N = images.tensors
    arch = make_arch(train_loader=Batches(x_NCHW[: 10 * n_batches], y_N[: 10 * n_batches], 10))
    arch.verbose = True
    note = found_by(arch).note
    if n_batches == 100:
        assert (note, capsys.readouterr().out) == ("", "")
        return
    assert note.startswith("An epoch has fewer than 100 batches, so the test used its images up to ")
    assert note.endswith(f"{math.ceil(len(arch.lr_search.lrs) / n_batches)} times.")
    assert note in capsys.readouterr().out


def test_more_steps_suggest_lower_rates_and_another_number_than_the_tested_one_is_said(card_arch):
    few, tested, many = (found_by(card_arch(), num_iter=steps) for steps in (50, 100, 240))
    assert few.suggestion > 1.5 * tested.suggestion > 1.5 * 1.5 * many.suggestion
    assert tested.note == ""
    for found, steps in ((few, 50), (many, 240)):
        assert found.note.startswith(f"The suggestion is tested for 100 steps, not for {steps}: it falls with their")


def test_a_loader_without_a_length(make_arch, images):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(images)

    assert found_by(make_arch(train_loader=DataLoader(Stream(), 20))) == found_by(
        make_arch(train_loader=DataLoader(images, 20))
    )


def test_a_search_that_takes_long_says_so_once_and_nothing_else_is_printed(make_arch, capsys, monkeypatch):
    arch = make_arch()
    arch.say = print
    monkeypatch.setattr("modelflow.training.lr_finder.PATIENCE", math.inf)
    found_by(arch)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("modelflow.training.lr_finder.PATIENCE", 0)
    found_by(arch)
    printed = capsys.readouterr()
    assert re.fullmatch(r"learning rate range test: up to 100 steps, about \d+ s\n", printed.out)
    assert printed.err == ""


def test_attached_hooks_see_nothing_of_the_search(make_arch, unseen):
    arch = make_arch()
    arch.attach_hooks(["fc_layers.0"])
    found_by(arch)
    assert arch.visualization == {"fc_layers.0": None}
    arch.predict(unseen.tensors[0])
    assert arch.visualization["fc_layers.0"].shape == (500, 20)


def test_steepest_is_what_torch_lr_finder_suggests_on_the_same_curve(card_arch):
    for seed in range(3):
        arch = card_arch(seed=seed)
        found = found_by(arch, seed, set_lr=False)
        theirs = LRFinder(arch.model, arch.optimizer, arch.loss_fn)
        theirs.history = {"lr": list(found.lrs), "loss": list(found.losses)}
        _, lr = theirs.plot(suggest_lr=True, ax=plt.figure().add_subplot())
        plt.close()
        assert found.steepest == lr


def test_the_curve_is_that_of_torch_lr_finder(card_arch):
    """Without dropout and shuffling nothing is left to chance, and its own test gives the same numbers."""
    spec = preset("generic_2").model_copy(update={"p": 0.0})
    x_NCHW, y_N = card_arch().train_loader.dataset.tensors
    loader = DataLoader(TensorDataset(x_NCHW, y_N), 16)
    models = [GenericCNN(spec) for _ in range(2)]
    found = range_test(
        models[0],
        cross_entropy,
        make_optimizer("adam", models[0].parameters(), 3e-4),
        loader,
        device="cpu",
        end_lr=1,
        num_iter=100,
    )
    theirs = LRFinder(models[1], make_optimizer("adam", models[1].parameters(), 3e-4), cross_entropy)
    theirs.range_test(loader, end_lr=1, num_iter=100)
    assert list(found.lrs) == theirs.history["lr"]
    assert list(found.losses) == theirs.history["loss"]


def test_on_generic_2_the_suggestion_is_of_the_order_of_the_cards_and_steadier_than_the_steepest_point(card_arch):
    found = [found_by(card_arch(seed=seed), seed) for seed in range(8)]
    suggestions, steepest = (np.log10([getattr(one, name) for one in found]) for name in ("suggestion", "steepest"))
    assert np.abs(suggestions - np.log10(CARDS_LR)).max() < np.log10(2.5)
    assert np.abs(np.median(suggestions) - np.log10(CARDS_LR)) < np.log10(2)
    assert suggestions.std() < 0.15 < steepest.std()


@pytest.mark.parametrize("name", ["generic_2", "cnn2_5", "generic_1"])
def test_a_network_learns_at_the_suggestion(card_arch, name):
    arch = card_arch(name)
    found_by(arch)
    arch.train(2)
    x_NCHW, y_N = arch.val_loader.dataset.tensors
    assert (arch.predict(x_NCHW).argmax(1) == y_N.numpy()).mean() > 0.5


@pytest.mark.parametrize("name", ["generic_2", "cnn2_5", "generic_1"])
def test_labels_that_nothing_can_be_learned_from_give_an_error(card_arch, name):
    for seed in range(5):
        labels = torch.randint(0, 10, (4000,), generator=torch.Generator().manual_seed(seed))
        arch = card_arch(name, seed, labels)
        with pytest.raises(RunError, match=r"the loss does not fall clearly between lr = .*. Search a wider range"):
            found_by(arch, seed)
        assert arch.optimizer.param_groups[0]["lr"] == 3e-4
        assert (arch.lr_search.steepest, arch.lr_search.suggestion) == (None, None)
        assert arch.plot_lr_search().axes[0].lines


def test_a_learning_rate_too_high_from_the_start_gives_an_error(make_arch):
    arch = make_arch(optimizer="sgd", lr=50.0)
    with pytest.raises(RunError, match=r"learning rate search: "):
        found_by(arch, end_lr=1e6)


def test_a_loss_that_is_no_number_gives_an_error_or_a_curve_cut_off_there(make_arch, images):
    x_NCHW, y_N = images.tensors[0].clone(), images.tensors[1]
    x_NCHW[480] = math.nan
    with pytest.raises(
        RunError, match=r"only 24 losses to read, then it is not finite from lr = .*. Start from a smaller"
    ):
        found_by(make_arch(train_loader=Batches(x_NCHW, y_N, 20)))
    found = found_by(make_arch(train_loader=Batches(x_NCHW, y_N, 8)))
    assert found.suggestion < found.lrs[60]
    assert found.note == f"The loss is not finite from lr = {found.lrs[60]:.1e} on: only earlier losses were read."


LRS = np.geomspace(1e-4, 1, 100)


def curve_of(height, noise=0.1):
    """Losses that follow `height`, a function from 0 to 1, with the noise of small batches, smoothed as in the test."""
    losses = list(height(np.linspace(0, 1, 100)) + np.random.default_rng(0).normal(0, noise, 100))
    for i in range(1, 100):
        losses[i] = SMOOTH * losses[i] + (1 - SMOOTH) * losses[i - 1]
    return np.array(losses)


@pytest.mark.parametrize(
    "losses",
    [
        np.full(100, 2.3),
        np.zeros(100),
        curve_of(lambda t: 2.3 + 0 * t),
        curve_of(lambda t: 2.3 + t),
        curve_of(lambda t: 2.3 + 5 * t**4),
        curve_of(lambda t: 0.5 + 0 * t, noise=0.5),
        curve_of(lambda t: 2.3 - 0.05 * t),
    ],
    ids=["constant", "zero", "flat", "rising", "rising late", "noise", "hardly falling"],
)
def test_curves_that_say_nothing_are_refused(losses):
    with pytest.raises(RunError, match="does not fall clearly"):
        read_curve(LRS, losses)


@pytest.mark.parametrize("kept", [0, 1, 10, 24])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_curves_that_end_early_are_refused(kept, value):
    losses = np.where(np.arange(100) < kept, np.linspace(2, 1, 100), value)
    with pytest.raises(RunError, match=f"only {kept} losses to read, then it is not finite from lr = .*. Start from a"):
        read_curve(LRS, losses)
    if kept:
        with pytest.raises(RunError, match=f"only {kept} losses to read, then it grew fivefold"):
            read_curve(LRS[:kept], losses[:kept])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_middle_of_the_fall_is_suggested_at_every_scale(scale):
    losses = (2 - np.tanh(12 * np.linspace(-0.45, 0.55, 100))) * scale
    _, suggestion = read_curve(LRS, losses)
    assert abs(math.log10(suggestion / LRS[45])) < 0.1


def test_nothing_after_the_lowest_loss_is_suggested():
    assert steepest_trend(np.array([3.0, 2.0, 1.0, *np.linspace(1.01, 1.2, 80)])) == 2
    assert steepest_trend(np.linspace(1, 2, 80)) is None


def test_the_trend_is_the_least_squares_slope_of_a_moving_half(card_arch):
    for seed in range(4):
        losses = np.array(found_by(card_arch(seed=seed), seed).losses[SKIP_START:-SKIP_END])
        reach = len(losses) // 4
        slopes = savgol_filter(losses, 2 * reach + 1, 1, deriv=1)[reach:-reach]
        assert steepest_trend(losses) == slopes.argmin() + reach


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end_lr": 1e-3}, "end_lr = 0.001: expected more than the start, lr = 0.001"),
        ({"end_lr": math.nan}, "end_lr = nan: must be a finite number greater than 0"),
        ({"end_lr": math.inf}, "end_lr = inf: must be a finite number greater than 0"),
        ({"end_lr": -1}, "end_lr = -1: must be a finite number greater than 0"),
        ({"num_iter": MIN_STEPS - 1}, "num_iter = 29: expected at least 30, or the curve is too short"),
        ({"num_iter": 0}, "num_iter = 0: expected at least 30"),
    ],
)
def test_bounds_that_leave_nothing_to_search_are_refused(make_arch, options, message):
    with pytest.raises(UsageError, match=message):
        found_by(make_arch(), **options)


def test_a_learning_rate_of_0_and_a_loader_without_batches_are_refused(make_arch):
    with pytest.raises(UsageError, match=r"the start, lr = 0\.0, which must be above 0"):
        found_by(make_arch(lr=0.0))
    with pytest.raises(UsageError, match="the loader has no batches"):
        found_by(make_arch(train_loader=[]))


def test_the_picture_shows_both_suggestions(make_arch):
    arch = make_arch()
    axes, lr = arch.find_best_lr(arch.train_loader)
    legend = " ".join(text.get_text() for text in axes.get_legend().get_texts())
    assert f"steepest point: {arch.lr_search.steepest:.2e}" in legend
    assert f"suggestion (steepest trend): {lr:.2e}" in legend


def test_lr_range_test_tracks_losses_and_gives_a_figure(make_arch, snapshot):
    arch = make_arch()
    before = snapshot(arch)
    tracking, figure = arch.lr_range_test(arch.train_loader, end_lr=0.1, num_iter=40)
    assert snapshot(arch) == before
    assert {name: len(values) for name, values in tracking.items()} == {"loss": 40, "lr": 40}
    np.testing.assert_allclose(tracking["lr"], np.geomspace(1e-3, 0.1, 40))
    assert figure.axes[0].get_xscale() == "log"


@pytest.mark.parametrize(("step_mode", "scale"), [("exp", "log"), ("linear", "linear")])
def test_lr_range_test_draws_into_given_axes(make_arch, step_mode, scale):
    arch, axes = make_arch(), plt.figure().add_subplot()
    tracking, figure = arch.lr_range_test(arch.train_loader, 0.1, 40, step_mode, 0.05, axes)
    plt.close(figure)
    assert figure is axes.figure
    assert axes.get_xscale() == scale
    x, y = axes.lines[0].get_data()
    assert (list(x), list(y)) == (tracking["lr"], tracking["loss"])


def test_lr_range_test_smooths_by_alpha(make_arch):
    arch = make_arch()
    raw, smooth = (arch.lr_range_test(arch.train_loader, 0.1, 40, alpha=alpha)[0]["loss"] for alpha in (0, 0.2))
    expected = raw[:1]
    for loss in raw[1:]:
        expected.append(0.2 * loss + 0.8 * expected[-1])
    assert smooth == pytest.approx(expected)


def test_lr_range_test_refuses_what_it_cannot_do(make_arch):
    arch = make_arch()
    for options, message in (
        ({"num_iter": 1}, "num_iter = 1: expected at least 2 steps"),
        ({"alpha": 1.5}, "alpha = 1.5: expected at least 0"),
        ({"step_mode": "cosine"}, "step_mode = 'cosine': expected 'exp' or 'linear'"),
    ):
        with pytest.raises(UsageError, match=message):
            arch.lr_range_test(arch.train_loader, **options)


class Keeping(nn.Module):
    """Keeps what its last pass made, in an attribute, a list, a dictionary and an object."""

    def __init__(self):
        super().__init__()
        self.fc, self.kept = nn.Linear(784, 10), []

    def forward(self, x):
        self.features = self.fc(x.flatten(1))
        self.kept = [{"last": self.features.relu()}, SimpleNamespace(here=self.features * 2)]
        return self.features


def test_a_model_that_keeps_outputs_is_searched_and_left_as_it_is(make_arch):
    arch = make_arch(Keeping(), val_loader=None)
    arch.train(1)
    features = arch.model.features
    assert len(arch.lr_range_test(arch.train_loader, num_iter=30)[0]["loss"]) == 30
    assert arch.model.features is features
    assert features.grad_fn is not None


def test_a_model_under_weight_norm_is_searched(make_arch):
    with warnings.catch_warnings(action="ignore"):  # torch has a newer form
        linear = nn.utils.weight_norm(nn.Linear(784, 10))
    arch = make_arch(nn.Sequential(nn.Flatten(), linear))
    arch.train(1)
    assert len(arch.lr_range_test(arch.train_loader, num_iter=30)[0]["loss"]) == 30


def test_a_model_that_cannot_be_copied_is_told_so(make_arch):
    arch = make_arch(Keeping())
    arch.model.lock = threading.Lock()
    with pytest.raises(UsageError, match=r"cannot be copied \(TypeError: .*lock"):
        arch.find_best_lr(arch.train_loader)


def test_a_copy_that_would_train_the_model_itself_is_told_so_and_leaves_its_gradients(make_arch, snapshot):
    arch = make_arch(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    arch.train(1)
    own = arch.model.forward
    arch.model.forward = lambda x: own(x)
    before = snapshot(arch)
    with pytest.raises(UsageError, match="a copy of the model trains the model itself"):
        arch.find_best_lr(arch.train_loader)
    assert snapshot(arch) == before
