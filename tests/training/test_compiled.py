"""The compiled step behind `Architecture`: what it covers, that it learns what autograd learns, and the change-over."""

import copy
import pickle
import platform
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader

from modelflow import training
from modelflow.compat.architecture import Architecture
from modelflow.data.batches import Batches
from modelflow.errors import DataError, RunError
from modelflow.kernels.network import Network
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.networks.resolve import preset, resolve
from modelflow.networks.trace import trace
from modelflow.training.augmentation import Augmentation
from modelflow.training.compiled import CompiledStep, compiled_logits, unsupported_reason
from modelflow.training.predict import predict
from modelflow.training.seeding import seeded_order
from notations import as_layers, notations, specs

NO_DROPOUT = preset("generic_2").model_copy(update={"p": 0.0})


class ByAutograd(GenericCNN):
    """The same network, which the compiled step does not take."""

    def forward(self, x_NCHW):
        return super().forward(x_NCHW)


@pytest.fixture
def trainer(fashion):
    """Makes an `Architecture` over 2,010 training images, so that the last batch is a smaller one."""

    def make(kind=GenericCNN, spec=NO_DROPOUT, lr=1e-3, optimizer=torch.optim.Adam, n_images=2010, **options):
        model = kind(spec)
        arch = Architecture(
            model, nn.CrossEntropyLoss(), optimizer(model.parameters(), lr=lr, **options), verbose=False
        )
        train = Batches(fashion.train_x_NCHW[:n_images], fashion.train_y_N[:n_images], 16, shuffle=True)
        arch.set_loaders(train, Batches(fashion.test_x_NCHW[:500], fashion.test_y_N[:500], 500))
        return arch

    return make


@pytest.mark.parametrize(
    ("machine", "tried"),
    [("x86_64", True), ("AMD64", True), ("aarch64", True), ("arm64", True), ("ARM64", False), ("riscv64", False)],
)
def test_it_trains_on_x86_64_and_on_arm_but_under_windows(trainer, machine, tried, monkeypatch):
    arch = trainer()
    monkeypatch.setattr(platform, "machine", lambda: machine)
    reason = unsupported_reason(arch.model, arch.loss_fn, arch.optimizer, arch.train_loader)
    assert reason == ("" if tried else f"the compiled step was not tried on {machine}")


def parameters(arch):
    return torch.cat([p.detach().flatten() for p in arch.model.parameters()])


MOMENTUM = {"optimizer": torch.optim.SGD, "lr": 0.01, "momentum": 0.9}
NESTEROV = MOMENTUM | {"nesterov": True, "weight_decay": 1e-3}


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": torch.optim.Adam, "eps": 1e-3},
        {"optimizer": torch.optim.AdamW, "eps": 1e-3},
        {"optimizer": torch.optim.SGD, "lr": 0.05, "weight_decay": 1e-3},
        MOMENTUM,
        NESTEROV,
    ],
)
def test_its_first_steps_are_those_of_autograd_in_float64(trainer, options):
    """With an `eps` that rounding does not decide: Adam makes a whole step of a gradient of nothing but rounding."""
    compiled, exact = (trainer(kind, n_images=170, **options) for kind in (GenericCNN, ByAutograd))
    exact.model.double()
    exact.set_loaders(*(in_float64(loader) for loader in (exact.train_loader, exact.val_loader)))
    for arch in (compiled, exact):
        arch.train(1)
    assert compiled.engine == "compiled step"
    assert exact.engine == "autograd: the model is a ByAutograd, not built from a spec"
    assert compiled.losses == pytest.approx(exact.losses, rel=1e-5)
    assert compiled.val_losses == pytest.approx(exact.val_losses, rel=1e-4)
    torch.testing.assert_close(parameters(compiled), parameters(exact).float(), rtol=1e-4, atol=2e-5)


def in_float64(loader):
    x_NCHW, y_N = loader.dataset.tensors
    return Batches(x_NCHW.double(), y_N, loader.batch_size, loader.shuffle)


@pytest.mark.parametrize("options", [{}, NESTEROV], ids=["Adam", "SGD"])
def test_it_learns_as_well_as_autograd_does(trainer, options):
    """With dropout of its own: the difference in validation loss over seeds is none that chance would not make."""
    spec, differences = preset("generic_2").model_copy(update={"p": 0.1}), []
    for seed in range(8):
        arches = [trainer(kind, spec, **options) for kind in (GenericCNN, ByAutograd)]
        for arch in arches:
            arch.train(2, seed=seed)
        differences.append(arches[0].val_losses[-1] - arches[1].val_losses[-1])
    found = stats.ttest_1samp(differences, 0).confidence_interval(0.999)
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.3  # of losses of about 0.7: an interval that says something


def test_the_same_seed_gives_the_same_bytes_and_another_others(trainer):
    runs = [trainer(spec=preset("cnn2_3")) for _ in range(3)]
    for arch, seed in zip(runs, (42, 42, 43), strict=True):
        arch.train(1, seed=seed)
    first, again, other = map(parameters, runs)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("options", [{"eps": 1e-3}, NESTEROV], ids=["Adam", "SGD"])
def test_autograd_goes_on_from_the_compiled_step_and_back(trainer, options):
    changing, steady = (trainer(n_images=170, **options) for _ in range(2))
    steady.train(3)
    changing.train(1)
    changing.attach_hooks(["conv_layers.0"])
    changing.train(1)
    assert changing.engine == "autograd: hooks are attached"
    changing.remove_hooks()
    changing.train(1)
    assert changing.engine == "compiled step"
    assert changing.losses == pytest.approx(steady.losses, rel=1e-4)


@pytest.mark.parametrize("options", [{}, MOMENTUM, {"optimizer": torch.optim.SGD}])
def test_module_optimizer_and_checkpoint_see_what_it_trained(trainer, tmp_path, options):
    (arch, again), by_autograd = (trainer(**options) for _ in range(2)), trainer(ByAutograd, **options)
    before = parameters(arch).clone()
    arch.train(1)
    by_autograd.train(1)
    assert not torch.equal(parameters(arch), before)
    state, expected = (one.optimizer.state_dict()["state"] for one in (arch, by_autograd))
    assert {i: list(values) for i, values in state.items()} == {i: list(values) for i, values in expected.items()}
    steps = [[int(values.get("step", 0)) for values in kept.values()] for kept in (state, expected)]
    assert steps[0] == steps[1]
    arch.save_checkpoint(tmp_path / "c.pth")
    again.load_checkpoint(tmp_path / "c.pth")
    for trained in (arch, again):
        trained.train(1)
    assert torch.equal(parameters(arch), parameters(again))
    assert arch.losses == again.losses


@pytest.mark.parametrize("name", ["cnn2_3", "cnn2_7", "generic_1", "generic_2"])
def test_a_network_written_as_layers_trains_to_the_same_bytes(trainer, name):
    """With dropout, in a whole number of batches and one that is smaller."""
    arches = [trainer(spec=spec) for spec in (preset(name), as_layers(preset(name)))]
    assert torch.equal(*map(parameters, arches))
    for arch in arches:
        arch.train(2)
        assert arch.engine == "compiled step"
    fields, layers = arches
    assert layers.losses == fields.losses
    assert layers.val_losses == fields.val_losses
    assert torch.equal(*map(parameters, arches))
    ours, theirs = (arch.predictions(arch.val_loader)[0] for arch in arches)
    np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_networks_in_both_notations_train_to_the_same_bytes(data):
    spec = data.draw(specs())
    images = torch.randn(70, *spec.input_shape)
    labels = torch.randint(0, spec.num_classes, (70,))
    states = []
    for given_as in (spec, data.draw(notations(spec))):
        model = GenericCNN(given_as, seed=3)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        arch = Architecture(model, nn.CrossEntropyLoss(), optimizer, verbose=False)
        arch.set_loaders(Batches(images, labels, 16, shuffle=True), Batches(images, labels, 64))
        arch.train(2)
        states.append((arch.engine, arch.losses, arch.val_losses, parameters(arch).tolist()))
    assert states[0] == states[1]
    assert states[0][0] == "compiled step"


def test_a_network_of_layers_has_its_own_names_in_checkpoints_and_goes_on_from_them(trainer, tmp_path):
    arch, again, whole = (trainer(spec=as_layers(preset("generic_2"))) for _ in range(3))
    arch.train(1)
    arch.save_checkpoint(tmp_path / "c.pth")
    names = ["layers.0.conv.weight", "layers.0.conv.bias", "layers.2.linear.weight", "layers.2.linear.bias"]
    saved = torch.load(tmp_path / "c.pth", weights_only=True)["model_state_dict"]
    assert list(saved) == [*names, "layers.3.linear.weight", "layers.3.linear.bias"]
    again.load_checkpoint(tmp_path / "c.pth")
    again.train(1)
    whole.train(2)
    assert again.losses == whole.losses
    assert torch.equal(parameters(again), parameters(whole))


def test_a_network_of_layers_changes_to_autograd_while_it_is_looked_into(trainer):
    spec = as_layers(NO_DROPOUT)
    changing, steady = (trainer(spec=spec, n_images=170, eps=1e-3) for _ in range(2))
    steady.train(3)
    changing.train(1)
    changing.attach_hooks(["layers.0"])
    changing.train(1)
    assert changing.engine == "autograd: hooks are attached"
    changing.remove_hooks()
    changing.train(1)
    assert changing.engine == "compiled step"
    assert changing.losses == pytest.approx(steady.losses, rel=1e-4)


def test_averages_and_weights_that_lie_channels_last_are_taken_up(trainer):
    """As of a state that an older version left."""
    arch, steady = (trainer(spec=as_layers(NO_DROPOUT)) for _ in range(2))
    for trained in (arch, steady):
        trained.train(1)
    arch.model.lay_out(torch.channels_last)
    weight = next(arch.model.parameters())
    kept = arch.optimizer.state[weight]
    kept["exp_avg"] = kept["exp_avg"].clone(memory_format=torch.channels_last)
    for trained in (arch, steady):
        trained.train(1)
    assert arch.losses == steady.losses
    assert torch.equal(parameters(arch), parameters(steady))


def losses_of_one_epoch(trainer, seed):
    arch, losses = trainer(spec=preset("generic_2")), []
    in_order = Batches(*arch.train_loader.dataset.tensors, 16)
    step = CompiledStep(arch.model, arch.loss_fn, arch.optimizer, None)
    step.train_epoch(in_order, seed, lambda made, _midway: losses.extend(made), 1)
    return losses


def test_dropout_is_that_of_its_seed_however_the_epoch_is_cut(trainer, monkeypatch):
    whole, other = losses_of_one_epoch(trainer, 1), losses_of_one_epoch(trainer, 2)
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 7 * 16 * trace(preset("generic_2")).macs)
    assert losses_of_one_epoch(trainer, 1) == whole
    assert other != whole


def test_what_it_validates_is_what_the_module_gives(trainer):
    arch = trainer()
    arch.train(1)
    x, y = next(iter(arch.val_loader))
    with torch.no_grad():
        expected = nn.functional.cross_entropy(arch.model.eval()(x), y).item()
    assert arch.val_losses[-1] == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def evaluated_by(monkeypatch):
    """A list of which thread evaluated, one name an evaluation."""
    names, logits = [], Network.logits

    def watched(*arguments):
        names.append(threading.current_thread().name)
        return logits(*arguments)

    monkeypatch.setattr(Network, "logits", watched)
    return names


def by_two(arch):
    arch.threads = lambda: 2
    return arch


def test_a_second_thread_evaluates_while_training_goes_on_to_the_same_bytes(trainer, evaluated_by):
    alone, helped = trainer(spec=preset("generic_2")), by_two(trainer(spec=preset("generic_2")))
    alone.threads = lambda: 1
    alone.train(4)
    assert evaluated_by == ["MainThread"] * 4
    helped.train(4)
    others = [name != "MainThread" for name in evaluated_by[4:]]
    assert others == [True, True, True, False]  # after the last epoch nothing is left to train meanwhile
    assert helped.val_losses == alone.val_losses
    assert helped.losses == alone.losses
    assert torch.equal(parameters(helped), parameters(alone))


def test_a_network_that_trains_on_both_threads_is_evaluated_between_epochs(trainer, evaluated_by):
    wide = NO_DROPOUT.model_copy(update={"fc_sizes": (300, 200)})
    by_two(trainer(spec=wide)).train(2)
    assert evaluated_by == ["MainThread"] * 2


@pytest.mark.parametrize("options", [{}, NESTEROV], ids=["Adam", "SGD"])
def test_a_state_has_the_validation_loss_of_every_epoch_before_it(trainer, evaluated_by, monkeypatch, options):
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 50 * 16 * trace(NO_DROPOUT).macs)
    arch, states = by_two(trainer(**options)), []
    arch.on_epoch = arch.on_midway = lambda: states.append(copy.deepcopy(arch.state()))
    arch.train(3)
    assert [name != "MainThread" for name in evaluated_by] == [True, True, False]
    assert {len(state["val_loss"]) - state["epoch"] for state in states} == {0}
    for state in states:
        again = by_two(trainer(**options))
        again.resume_from(state, "a state")
        again.train(3 - again.total_epochs)
        assert again.val_losses == arch.val_losses
        assert torch.equal(parameters(again), parameters(arch))


def test_a_state_after_a_callback_has_failed_midway_claims_no_place_in_the_epoch(trainer):
    arch = trainer()

    def fail():
        raise OSError("the disk is full")

    arch.on_midway = fail
    with pytest.raises(OSError, match="the disk is full"):
        arch.train(1)
    assert (arch.state()["epoch"], arch.state()["midway"]) == (0, None)


def overflowing(loader):
    return Batches(loader.dataset.tensors[0] * 0 + 3e38, loader.dataset.tensors[1], 500)


@pytest.mark.parametrize("read_at_once", [False, True])
def test_an_epoch_whose_late_validation_loss_is_not_finite_does_not_count(trainer, read_at_once):
    arch = by_two(trainer())
    arch.train(1)
    losses, val_losses = list(arch.losses), list(arch.val_losses)
    arch.set_loaders(arch.train_loader, overflowing(arch.val_loader))
    if read_at_once:
        arch.on_epoch = lambda: arch.val_losses
    with pytest.raises(RunError, match=r"epoch 2, after its last step: the validation loss is (nan|inf)"):
        arch.train(3)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (1, losses, val_losses)


def raised_in_epoch(number, error):
    def on_step(epoch, _step, _loss):
        if epoch == number:
            raise error

    return on_step


def test_training_that_fails_while_an_evaluation_is_under_way_keeps_its_loss(trainer):
    arch, whole = by_two(trainer()), trainer()
    whole.train(1)

    def spoil():
        arch.optimizer.param_groups[0]["lr"] = 1e38

    arch.on_epoch = spoil
    with pytest.raises(RunError, match=r"epoch 2, step \d+: the loss"):
        arch.train(3)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (1, whole.losses, whole.val_losses)


def test_a_late_validation_loss_that_is_not_finite_is_told_before_what_failed_after_it(trainer):
    arch = by_two(trainer())
    arch.set_loaders(arch.train_loader, overflowing(arch.val_loader))
    arch.on_step = raised_in_epoch(2, RunError("epoch 2 failed"))
    with pytest.raises(RunError, match=r"epoch 1, after its last step: the validation loss"):
        arch.train(3)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (0, [], [])


def test_ctrl_c_while_an_evaluation_is_under_way_comes_through(trainer):
    arch, whole = by_two(trainer()), trainer()
    whole.train(3)
    arch.on_step = raised_in_epoch(2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        arch.train(3)
    assert (arch.total_epochs, arch.losses, arch.val_losses) == (1, whole.losses[:1], whole.val_losses[:1])
    arch.set_loaders(arch.train_loader, overflowing(arch.val_loader))
    arch.on_step = raised_in_epoch(3, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        arch.train(3)
    with pytest.raises(RunError, match=r"epoch 2, after its last step: the validation loss"):
        arch.train(1)
    assert (arch.total_epochs, arch.losses) == (1, whole.losses[:1])


def test_a_checkpoint_taken_up_while_an_evaluation_is_under_way_leaves_it_behind(trainer, fashion):
    many = Batches(fashion.train_x_NCHW[:20_000], fashion.train_y_N[:20_000], 500)
    arches = trainer(n_images=64), by_two(trainer(n_images=64))
    for arch in arches:
        arch.set_loaders(arch.train_loader, many)
        start = copy.deepcopy(arch.state())
        again = iter([start] * 3)

        def go_back(arch=arch, again=again):
            if (state := next(again, None)) is not None:
                arch.resume_from(copy.deepcopy(state), "a state")

        arch.on_epoch = go_back
        arch.train(6)
    alone, helped = arches
    assert helped.val_losses == alone.val_losses
    assert helped.losses == alone.losses


def test_its_predictions_are_the_modules_and_need_no_training(trainer, fashion):
    arch = trainer()
    assert type(arch.val_loader) is Batches
    ours, labels = arch.predictions(arch.val_loader)
    assert np.array_equal(ours, compiled_logits(arch.model, arch.val_loader, arch.optimizer))
    assert ours == pytest.approx(predict(arch.model, arch.val_loader, "cpu")[0], abs=1e-5)
    assert np.array_equal(labels, fashion.test_y_N[:500].numpy())
    loader = DataLoader(arch.val_loader.dataset, 100)
    assert np.array_equal(arch.predictions(loader)[0], predict(arch.model, loader, "cpu")[0])


def test_one_program_trains_with_all_extras_and_evaluates(trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELFLOW_KERNELS", str(tmp_path))
    arch, said = trainer(spec=resolve("c4/2 gap fc")[1], n_images=64), []
    arch.ema, arch.augmentation, arch.say = 0.9, Augmentation(shift=1), said.append
    arch.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    arch.train(1)
    ours, _ = arch.predictions(arch.val_loader)
    assert arch.engine == "compiled step"
    assert [line for line in said if "compiling" in line] == ["compiling its training step, once on this machine"]
    assert np.array_equal(ours, compiled_logits(arch.model, arch.val_loader, arch.optimizer))


def test_logits_that_a_fault_made_are_not_believed(trainer, monkeypatch):
    arch = trainer()
    rightly = predict(arch.model, arch.val_loader, "cpu")[0]
    monkeypatch.setattr("modelflow.training.trainer.compiled_logits", lambda *_: rightly + np.eye(10)[0])
    assert np.array_equal(arch.predictions(arch.val_loader)[0], rightly)
    assert any("evaluated by PyTorch" in note for note in arch.notes)


def test_predictions_of_a_shuffled_loader_are_in_its_order(trainer):
    arch = trainer()
    arch.val_loader.shuffle = True
    with seeded_order(arch.val_loader, 1, "evaluation"):
        x = torch.cat([x for x, _ in arch.val_loader])
    with seeded_order(arch.val_loader, 1, "evaluation"):
        ours, _ = arch.predictions(arch.val_loader)
    assert ours == pytest.approx(arch.predict(x), abs=1e-5)


def test_a_loss_that_is_not_finite_stops_it_before_that_update(trainer):
    arch = trainer()
    x, _ = arch.train_loader.dataset.tensors
    spoilt = x.clone()
    spoilt[7] = 3e38
    arch.set_loaders(Batches(spoilt, arch.train_loader.dataset.tensors[1], 16, shuffle=True))
    with pytest.raises(RunError, match=r"epoch 1, step \d+: the loss is (nan|inf)"):
        arch.train(1)
    assert arch.engine == "compiled step"
    assert torch.isfinite(parameters(arch)).all()


@pytest.mark.parametrize("pixel", [(14, 14), (27, 27)], ids=["read by a pool", "read by none"])
def test_images_that_are_not_finite_are_left_to_autograd(trainer, pixel):
    arch = trainer(spec=preset("cnn2_3"))
    spoilt = arch.train_loader.dataset.tensors[0].clone()
    spoilt[7, 0, *pixel] = float("nan")
    arch.set_loaders(Batches(spoilt, arch.train_loader.dataset.tensors[1], 16, shuffle=True))
    with pytest.raises(RunError, match=r"epoch 1, step \d+: the loss is nan"):
        arch.train(1)
    assert arch.engine == "autograd: the images hold values that are not finite numbers"


def test_a_change_to_autograd_is_said_once(trainer):
    arch, said = trainer(ByAutograd), []
    arch.say = said.append
    arch.train(2)
    assert said == ["training by autograd: the model is a ByAutograd, not built from a spec"]


def test_where_autograd_trains_is_said_before_the_first_step(trainer):
    arch, said = trainer(ByAutograd), []
    arch.say = said.append
    arch.set_loaders(arch.train_loader)
    arch.device = "meta"  # a device that is everywhere, on which the first step then fails
    with pytest.raises(DataError, match="epoch 1, step 1"):
        arch.train(1)
    assert said == ["training on meta by autograd: the model is a ByAutograd, not built from a spec"]


def test_what_it_does_not_cover_is_told(trainer):
    arch = trainer()
    parts = [arch.model, arch.loss_fn, arch.optimizer, arch.train_loader]
    assert unsupported_reason(*parts) == ""
    weights = list(arch.model.parameters())
    others = [
        (0, nn.Linear(2, 2), "Linear, not built from a spec"),
        (1, nn.CrossEntropyLoss(reduction="sum"), "the loss"),
        (1, nn.CrossEntropyLoss(weight=torch.ones(9)), "weights of the loss are not one float32 number"),
        (1, nn.CrossEntropyLoss(weight=torch.ones(10).double()), "weights of the loss are not one float32 number"),
        (1, nn.CrossEntropyLoss(ignore_index=1), "the loss"),
        (1, type("Own", (nn.CrossEntropyLoss,), {})(), "the loss"),
        (2, torch.optim.RMSprop(weights), "the optimizer is RMSprop"),
        (2, type("SGD", (torch.optim.SGD,), {})(weights), "the optimizer is SGD"),
        (2, torch.optim.Adam([{"params": weights[:1]}, {"params": weights[1:]}]), "several parameter groups"),
        (2, torch.optim.Adam(weights, weight_decay=0.1), "does not cover Adam with weight_decay"),
        (2, torch.optim.Adam(weights, amsgrad=True), "does not cover Adam with amsgrad"),
        (2, torch.optim.Adam(weights, eps=0.0), "does not cover Adam with eps below 1.2e-38"),
        (2, torch.optim.SGD(weights, maximize=True), "does not cover SGD with maximize"),
        (2, torch.optim.SGD(weights, momentum=0.9, dampening=0.1), "does not cover SGD with dampening"),
        (2, torch.optim.SGD(weights, lr=torch.tensor(0.1)), "options of the optimizer are tensors"),
        (
            2,
            torch.optim.Adam(weights, betas=(torch.tensor(0.9),) * 2),
            "options of the optimizer are tensors",
        ),
        (2, torch.optim.Adam(weights[1:]), "not the model's"),
        (3, DataLoader(arch.train_loader.dataset, 16), "DataLoader, not batches"),
        (3, Batches(torch.zeros(4, 1, 28, 28).double(), torch.zeros(4).long()), "not float32 images"),
        (3, Batches(torch.zeros(4, 1, 28, 28), torch.zeros(4).int()), "int64 labels"),
        (3, Batches(torch.zeros(4, 1, 28, 28), torch.zeros(4, 1).long()), "the labels are not"),
        (3, Batches(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 10, 2])), "the labels are not"),
        (3, Batches(torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, -100, 2])), "the labels are not"),
        (3, Batches(torch.zeros(4, 1, 14, 56), torch.zeros(4).long()), "another shape"),
    ]
    for place, other, reason in others:
        assert reason in unsupported_reason(*(other if i == place else part for i, part in enumerate(parts)))
    with_own_rates = arch.optimizer.register_step_post_hook(lambda *_: None)
    assert "hooks are attached to the optimizer" in unsupported_reason(*parts)
    with_own_rates.remove()
    clipped = arch.model.fc_layers[0].weight.register_hook(lambda gradient: gradient.clamp(-1, 1))
    assert "hooks are attached" in unsupported_reason(*parts)
    clipped.remove()
    arch.model.conv_layers[0].padding = (1, 1)
    assert "layers are not those" in unsupported_reason(*parts)
    arch.model.conv_layers[0].padding = (0, 0)
    arch.model.forward = lambda x_NCHW: x_NCHW
    assert "not built from a spec" in unsupported_reason(*parts)
    del arch.model.forward
    assert unsupported_reason(*parts) == ""
    arch.model.drop.p = 0.5
    assert "layers are not those" in unsupported_reason(*parts)
    arch.model.drop.p = 0.0
    arch.model.conv_layers[0].forward = lambda x_NCHW: x_NCHW
    assert "layers are not those" in unsupported_reason(*parts)
    del arch.model.conv_layers[0].forward
    assert unsupported_reason(*parts) == ""
    arch.model.fc_layers[1] = nn.Linear(20, 11)
    assert "layers are not those" in unsupported_reason(arch.model, *parts[1:])


def test_options_that_change_between_updates_hold_from_then_on(trainer, monkeypatch):
    """Also those that take other code: momentum begins after 50 of 126 updates, Nesterov's after 100."""
    monkeypatch.setattr(training.compiled, "MACS_A_CALL", 50 * 16 * trace(NO_DROPOUT).macs)
    arches = [trainer(kind, optimizer=torch.optim.SGD, lr=0.01) for kind in (GenericCNN, ByAutograd)]
    for arch in arches:
        (group,) = arch.optimizer.param_groups

        def change(epoch, step, _loss, group=group):
            group.update(momentum=0.9 if (epoch, step) >= (1, 50) else 0.0, nesterov=(epoch, step) >= (1, 100))

        arch.on_step = change
        arch.train(2)
    compiled, autograd = arches
    assert compiled.engine == "compiled step"
    assert compiled.losses == pytest.approx(autograd.losses, rel=2e-3)
    assert compiled.val_losses == pytest.approx(autograd.val_losses, rel=5e-3)


def test_sgd_needs_no_step_of_a_parameter_that_was_frozen_for_a_while(trainer):
    arches = [trainer(kind, n_images=170, **MOMENTUM) for kind in (GenericCNN, ByAutograd)]
    for arch in arches:
        last = list(arch.model.parameters())[-1]
        last.requires_grad_(False)
        arch.train(1)
        last.requires_grad_(True)
        arch.train(1)
    assert arches[0].engine == "compiled step"
    assert arches[0].losses == pytest.approx(arches[1].losses, rel=1e-4)
    torch.testing.assert_close(*map(parameters, arches), rtol=1e-3, atol=1e-4)


def test_a_parameter_that_was_frozen_for_a_while_is_left_to_autograd(trainer):
    arch = trainer()
    last = list(arch.model.parameters())[-1]
    last.requires_grad_(False)
    arch.train(1)
    last.requires_grad_(True)
    arch.train(1)
    assert arch.engine == "autograd: the optimizer has updated some parameters more often than others"


@pytest.mark.parametrize("name", ["cnn2_5", "generic_1"])
def test_presets_of_several_blocks_learn(trainer, name):
    arch = trainer(spec=preset(name), n_images=10_000)
    arch.train(2)
    assert arch.engine == "compiled step"
    assert arch.val_losses[-1] < 1.2
    assert isinstance(arch.model.spec, Spec)


def turned(p):
    p.data = p.data.transpose(-1, -2)


def swapped(p):
    first, second = p.data[0], p.data[1]
    p.data = torch.cat([second[None], first[None], p.data[2:]])


def with_gaps(p):
    p.data = torch.stack([p.data, p.data + 1], -1)[..., 0]


def repeated(p):
    p.data = torch.full((1,), 0.1).expand(p.shape)


@pytest.mark.parametrize("lay", [turned, swapped, with_gaps, repeated])
def test_weights_that_were_laid_otherwise_between_trainings_stay_as_they_are(trainer, lay):
    arch = trainer()
    arch.train(1)
    lay(arch.model.conv_layers[0].weight)
    wanted = parameters(arch).clone()
    arch.lr = 0.0
    arch.train(1)
    assert arch.engine == "compiled step"
    assert torch.equal(parameters(arch), wanted)


def test_two_layers_that_change_places_in_memory_keep_their_weights(trainer):
    arch = trainer(spec=NO_DROPOUT.model_copy(update={"fc_sizes": (20, 20, 20), "amnt_fc_layers": 4}))
    arch.train(1)
    first, second = arch.model.fc_layers[1].weight, arch.model.fc_layers[2].weight
    wanted = second.data.clone(), first.data.clone()
    averages = [arch.optimizer.state[p]["exp_avg"] for p in (first, second)]
    wanted_averages = [average.clone() for average in averages[::-1]]
    first.data, second.data = second.data, first.data
    for p, average in zip((first, second), averages[::-1], strict=True):
        arch.optimizer.state[p]["exp_avg"] = average
    step = CompiledStep(arch.model, arch.loss_fn, arch.optimizer, None)
    for bound in (arch._step, step):
        bound._bound()
        assert torch.equal(first, wanted[0])
        assert torch.equal(second, wanted[1])
        for p, average in zip((first, second), wanted_averages, strict=True):
            assert torch.equal(arch.optimizer.state[p]["exp_avg"], average)


def test_turned_weights_train_as_by_autograd(trainer):
    arches = trainer(n_images=64), trainer(ByAutograd, n_images=64)  # so few steps that no rounding grows
    for arch in arches:
        arch.train(1)
        turned(arch.model.conv_layers[0].weight)
        arch.train(1)
    torch.testing.assert_close(*map(parameters, arches), atol=1e-4, rtol=0)


def test_layers_that_share_memory_are_left_to_autograd(trainer):
    arch = trainer(spec=NO_DROPOUT.model_copy(update={"fc_sizes": (20, 20, 20), "amnt_fc_layers": 4}))
    arch.model.fc_layers[2].weight.data = arch.model.fc_layers[1].weight.data
    arch.train(1)
    assert arch.engine == "autograd: some parameters share their memory"
    assert torch.equal(arch.model.fc_layers[2].weight, arch.model.fc_layers[1].weight)


def by_a_copy(arch):
    return copy.deepcopy(arch)


def by_a_pickle(arch):
    return pickle.loads(pickle.dumps(arch))


@pytest.mark.parametrize("copied", [by_a_copy, by_a_pickle])
@pytest.mark.parametrize("helped", [False, True], ids=["", "while an evaluation is under way"])
def test_a_copy_goes_on_as_the_original_does_and_apart_from_it(trainer, copied, helped):
    arch, whole = trainer(), trainer()
    if helped:
        by_two(arch).on_step = raised_in_epoch(2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            arch.train(3)
        arch.on_step, arch.threads = None, torch.get_num_threads
    else:
        arch.train(1)
    weights = parameters(arch).clone()
    other = copied(arch)
    other.train(1)
    assert torch.equal(parameters(arch), weights)
    arch.train(1)
    whole.train(2)
    assert other.losses[-1] == arch.losses[-1]
    assert torch.equal(parameters(other), parameters(arch))
    assert other.val_losses == arch.val_losses
    assert helped or arch.losses == whole.losses


def test_threads_that_share_one_loader_train_as_each_does_alone(trainer):
    alone, together = trainer(), [trainer() for _ in range(3)]
    loaders = alone.train_loader, alone.val_loader
    alone.train(2)
    for arch in together:
        arch.set_loaders(*loaders)
    threads = [threading.Thread(target=arch.train, args=(2,)) for arch in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [arch.losses for arch in together] == [alone.losses] * 3
    assert [arch.val_losses for arch in together] == [alone.val_losses] * 3
