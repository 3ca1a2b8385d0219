"""`Architecture` as people who know the helper class use it: regressions, binary logits, classes, samplers, hooks."""

import random
import threading
import time

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset, WeightedRandomSampler

from modelflow.compat.architecture import Architecture
from modelflow.compat.card import CNN2
from modelflow.data.batches import Batches
from modelflow.errors import DataError, ShapeError, UsageError
from modelflow.evaluation.inspection.activations import activations
from modelflow.evaluation.inspection.filters import conv_layers
from modelflow.networks.resolve import preset
from modelflow.training.seeding import generator_owners

METHODS = (
    "to set_loaders set_optimizer set_seed train save_checkpoint load_checkpoint predict count_parameters plot_losses "
    "visualize_filters attach_hooks remove_hooks visualize_outputs correct loader_apply statistics_per_channel "
    "make_normalizer lr_range_test"
)


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


@pytest.fixture
def points():
    """100 points near y = 1 + 2x, as columns."""
    rng = np.random.default_rng(42)
    x_N1 = rng.random((100, 1))
    return x_N1, 1 + 2 * x_N1 + rng.normal(0, 0.1, (100, 1))


@pytest.fixture
def shirts_and_boots(images):
    """Flattened images of two classes, boots (9) being 1, labels as a column of floats."""
    x_NCHW, y_N = images.tensors
    chosen_N = (y_N == 0) | (y_N == 9)
    return x_NCHW[chosen_N].flatten(1), (y_N[chosen_N] == 9).float()[:, None]


def trained(model, loss_fn, optimizer, data, n_epochs, batch_size=16):
    arch = Architecture(model, loss_fn, optimizer, verbose=False)
    arch.set_loaders(DataLoader(TensorDataset(*data), batch_size, shuffle=True), DataLoader(TensorDataset(*data), 50))
    arch.train(n_epochs)
    return arch


def test_has_the_methods_that_people_know():
    assert all(callable(getattr(Architecture, name)) for name in METHODS.split())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_regression_equals_least_squares(points, dtype):
    data = [torch.tensor(part, dtype=dtype) for part in points]
    model = nn.Linear(1, 1).to(dtype)
    arch = trained(model, nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.5), data, 400, batch_size=100)
    expected = LinearRegression().fit(*points)
    np.testing.assert_allclose(arch.predict(points[0]), expected.predict(points[0]), atol=1e-4)
    assert arch.val_losses[-1] == pytest.approx(np.mean((expected.predict(points[0]) - points[1]) ** 2), rel=1e-4)
    assert arch.plot_losses().axes[0].get_ylabel() == "MSELoss"


@pytest.mark.parametrize("in_a_sigmoid", [False, True])
def test_a_binary_classifier_gives_logits_or_probabilities(shirts_and_boots, in_a_sigmoid):
    x_NF, y_N1 = shirts_and_boots
    model = nn.Sequential(nn.Linear(784, 1), nn.Sigmoid()) if in_a_sigmoid else nn.Linear(784, 1)
    loss_fn = nn.BCELoss() if in_a_sigmoid else nn.BCEWithLogitsLoss()
    arch = trained(model, loss_fn, torch.optim.Adam(model.parameters(), lr=1e-3), shirts_and_boots, 5)
    outputs_N = arch.predict(x_NF)[:, 0]
    probabilities_N = outputs_N if in_a_sigmoid else 1 / (1 + np.exp(-outputs_N))
    oracle = LogisticRegression(max_iter=2000).fit(x_NF, y_N1[:, 0])
    assert np.mean((probabilities_N > 0.5) == oracle.predict(x_NF)) > 0.97
    for threshold in (0.5, 0.01, 0.99):
        counts_KK = confusion_matrix(y_N1[:, 0], probabilities_N > threshold)
        expected = [[counts_KK[k, k], counts_KK[k].sum()] for k in range(2)]
        assert arch.correct(x_NF, y_N1, threshold).tolist() == expected
        assert arch.correct(x_NF, y_N1[:, 0], threshold).tolist() == expected


def test_many_classes(make_arch, unseen):
    arch = make_arch(lr=2e-3)
    arch.train(3)
    x_NCHW, y_N = unseen.tensors
    counts_KK = confusion_matrix(y_N, arch.predict(x_NCHW).argmax(1), labels=range(10))
    counts = arch.loader_apply(arch.val_loader, arch.correct)
    assert counts.tolist() == [[counts_KK[k, k], counts_KK[k].sum()] for k in range(10)]
    assert counts[:, 0].sum() / counts[:, 1].sum() > 0.6
    assert arch.plot_losses().axes[0].get_ylabel() == "cross-entropy (nats)"


def test_predict_takes_tensors_arrays_and_lists(make_arch, unseen):
    arch, x_NCHW = make_arch(), unseen.tensors[0][:5]
    expected_NK = arch.predict(x_NCHW)
    for x in (x_NCHW.numpy(), x_NCHW.double().numpy(), x_NCHW.tolist(), x_NCHW.requires_grad_()):
        outputs_NK = arch.predict(x)
        assert isinstance(outputs_NK, np.ndarray)
        assert np.array_equal(outputs_NK, expected_NK)
    whole = arch.predict((x_NCHW.detach() * 0).int())
    assert np.array_equal(whole, arch.predict(x_NCHW.detach() * 0))


@pytest.mark.parametrize("training", [True, False])
def test_predict_and_correct_leave_the_model_as_it_was(make_arch, unseen, snapshot, training):
    arch = make_arch()
    arch.model.train(training)
    before = snapshot(arch)
    assert np.array_equal(arch.predict(unseen.tensors[0]), arch.predict(unseen.tensors[0]))
    arch.correct(*unseen.tensors)
    assert snapshot(arch) == before


def test_the_mode_comes_back_when_the_forward_raises(make_arch):
    arch = make_arch()
    with pytest.raises(ShapeError, match="got 3x28x28"):
        arch.predict(np.zeros((2, 3, 28, 28)))
    assert arch.model.training


def test_training_in_parts_is_training_at_once_to_the_byte(make_arch, snapshot):
    parts, whole = make_arch(), make_arch()
    for n_epochs in (2, 3):
        parts.train(n_epochs)
        torch.rand(5)
        np.random.rand(5)
    whole.train(5)
    ours, theirs = snapshot(parts), snapshot(whole)
    for state in (ours, theirs):
        del state["torch"], state["numpy"]
    assert ours == theirs
    assert (parts.losses, parts.val_losses, parts.total_epochs) == (whole.losses, whole.val_losses, 5)


def test_training_leaves_the_global_generators_alone(make_arch, snapshot):
    arch, state = make_arch(), random.getstate()
    before = snapshot(arch)
    arch.train(1)
    after = snapshot(arch)
    assert {name for name in before if before[name] != after[name]} >= {"model.fc_layers.0.weight"}
    assert (after["torch"], after["numpy"], random.getstate()) == (before["torch"], before["numpy"], state)


def test_order_and_dropout_are_functions_of_the_seed(make_arch):
    def losses(seed):
        arch = make_arch()
        arch.train(2, seed=seed)
        return arch.losses

    assert losses(42) == losses(42)
    assert losses(42) != losses(43)


def test_each_epoch_has_an_order_of_its_own(make_arch, images):
    orders, loader = [], Batches(*images.tensors, 1000, shuffle=True)

    class Watched:
        generator = loader.generator

        def __iter__(self):
            loader.generator = self.generator
            for x_NCHW, y_N in loader:
                orders.append(tuple(y_N.tolist()))
                yield x_NCHW, y_N

    make_arch(train_loader=Watched()).train(3)
    assert len({*orders, tuple(images.tensors[1].tolist())}) == 4


SAMPLERS = {
    "weighted": lambda data, g: WeightedRandomSampler(1.0 + data.tensors[1], 600, generator=g),
    "random": lambda data, g: RandomSampler(data, generator=g),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("own", [True, False], ids=["own generator", "no generator"])
def test_a_sampler_in_a_plain_loader(make_arch, images, make, own):
    def losses(seed, state):
        generator = torch.Generator().manual_seed(state) if own else None
        sampler = make(images, generator)
        before = generator.get_state() if own else None
        arch = make_arch(train_loader=DataLoader(images, 30, sampler=sampler))
        arch.train(2, seed=seed)
        assert sampler.generator is generator
        assert not own or torch.equal(generator.get_state(), before)
        return arch.losses

    assert losses(42, 1) == losses(42, 2)
    assert losses(42, 1) != losses(43, 1)


def test_a_shuffled_validation_loader_with_a_generator_goes_on_from_a_file_too(make_arch, unseen, tmp_path):
    def make(state):
        generator = torch.Generator().manual_seed(state)
        return make_arch(val_loader=DataLoader(unseen, 30, shuffle=True, generator=generator))

    whole, first, second = make(1), make(1), make(2)
    whole.train(3)
    first.train(1)
    first.save_checkpoint(tmp_path / "file.pth")
    second.load_checkpoint(tmp_path / "file.pth")
    second.train(2)
    assert second.val_losses == whole.val_losses


def test_set_seed_seeds_everything_that_draws(make_arch, images):
    generator = torch.Generator()
    loaders = [
        DataLoader(images, 30, sampler=RandomSampler(images, generator=generator)),
        Batches(*images.tensors, 30, shuffle=True),
        DataLoader(images, 30, shuffle=True),
        None,
    ]
    for loader in loaders:
        arch, drawn = make_arch(train_loader=loader), []
        for _ in range(2):
            arch.set_seed(7)
            order = [] if loader is None else next(iter(loader))[1].tolist()
            drawn.append((torch.rand(1).item(), np.random.rand(), random.random(), order))
        assert drawn[0] == drawn[1]


def told(capsys, arch, n_epochs, **options):
    arch.train(n_epochs, **options)
    return capsys.readouterr().out.splitlines()


def test_verbose_tells_of_every_tenth_epoch_and_the_last(make_arch, images, capsys):
    arch = make_arch(train_loader=Batches(*images.tensors, 500))
    assert told(capsys, arch, 2) == []
    assert told(capsys, arch, 2, verbose=True) == [
        f"epoch 4/4: training loss {arch.losses[3]:.4f}, validation {arch.val_losses[3]:.4f}"
    ]
    arch.verbose = True
    arch.val_loader = None
    lines = told(capsys, arch, 8)
    assert lines == [f"epoch {e}/12: training loss {arch.losses[e - 1]:.4f}" for e in (10, 12)]
    assert told(capsys, arch, 1, verbose=False) == []
    assert len(told(capsys, arch, 4, batch_report=2)) == 3  # epochs 14, 16 and, as the last, 17


def test_verbose_mini_batch_tells_of_every_hundredth_step(make_arch, images, capsys):
    arch = make_arch(train_loader=Batches(*images.tensors, 4))
    lines = told(capsys, arch, 1, verbose_mini_batch=True)
    assert [line.split(":")[0] for line in lines] == ["epoch 1, step 100/250", "epoch 1, step 200/250"]
    arch.set_loaders(Batches(*images.tensors, 500))
    lines = told(capsys, arch, 1, verbose_mini_batch=True, mini_batch_report=1)
    assert [line.split(":")[0] for line in lines] == ["epoch 2, step 1/2", "epoch 2, step 2/2"]


def test_what_cannot_be_trained_is_refused(make_arch):
    with pytest.raises(UsageError, match=r"there is no training loader. Call set_loaders"):
        make_arch(train_loader=None).train(1)
    with pytest.raises(UsageError, match=r"n_epochs = -1: must be 0 or more"):
        make_arch().train(-1)


def test_a_loader_without_a_length_trains_too(make_arch, images, capsys):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(images)

    streamed, listed = (make_arch(train_loader=DataLoader(data, 100)) for data in (Stream(), images))
    lines = told(capsys, streamed, 1, verbose_mini_batch=True, mini_batch_report=10)
    listed.train(1)
    assert streamed.losses == listed.losses
    assert [line.split(":")[0] for line in lines] == ["epoch 1, step 10"]


def test_set_optimizer_is_what_trains_from_then_on(make_arch, snapshot):
    arch = make_arch()
    arch.set_optimizer(torch.optim.SGD(arch.model.parameters(), lr=0.0))
    before = snapshot(arch)
    arch.train(1)
    after = snapshot(arch)
    assert all(before[name] == after[name] for name in before if name.startswith("model."))


def test_to_takes_model_batches_and_the_optimizers_tensors_along(make_arch):
    """There is no second device here, so a second kind of number stands for it: both move in the same way."""
    arch = make_arch()
    arch.train(1)
    arch.model.double()
    arch.to("cpu")
    assert (arch.device, next(arch.model.parameters()).dtype) == ("cpu", torch.float64)
    kept = [value for state in arch.optimizer.state.values() for name, value in state.items() if name != "step"]
    assert {value.dtype for value in kept} == {torch.float64}
    assert all(p in arch.optimizer.state for p in arch.model.parameters())


def test_count_parameters_counts_what_is_trained(make_arch):
    arch = make_arch()
    assert arch.count_parameters() == 11_854
    arch.model.conv_layers[0].requires_grad_(False)
    assert arch.count_parameters() == 11_854 - (4 * 25 + 4)


def test_hooks_record_copies_of_all_passes_until_they_come_off(make_arch, unseen):
    arch, x_NCHW = make_arch(nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU(inplace=True), nn.Flatten())), unseen.tensors[0]
    arch.attach_hooks(["0", "1"])
    assert arch.visualization == {"0": None, "1": None}
    arch.predict(x_NCHW[:4])
    arch.predict(x_NCHW[4:10])
    arch.remove_hooks()
    arch.predict(x_NCHW[:3])
    expected = arch.model[0](x_NCHW[:10]).detach().numpy()
    np.testing.assert_allclose(
        arch.visualization["0"], expected, rtol=1e-5, atol=1e-5
    )  # not what the in-place ReLU made
    np.testing.assert_allclose(arch.visualization["1"], np.maximum(expected, 0), rtol=1e-5, atol=1e-5)
    assert arch.handles == {}
    assert not any(module._forward_hooks for module in arch.model.modules())
    weights = arch.model[0].weight.detach().clone()
    arch.visualization["0"][:] = 7
    assert torch.equal(arch.model[0].weight, weights)


def test_hooks_come_off_after_a_forward_that_raises_and_when_attached_twice(make_arch, unseen):
    arch = make_arch()
    arch.attach_hooks(["conv_layers.0", "conv_layers.0", "fc_layers.0"])
    with pytest.raises(ShapeError, match=r"takes images of 1x28x28, got 1x9x9. Build it with the input_size"):
        arch.predict(np.zeros((2, 1, 9, 9)))
    arch.attach_hooks(["conv_layers.0"])
    arch.predict(unseen.tensors[0][:3])
    assert arch.visualization["conv_layers.0"].shape == (3, 4, 24, 24)
    arch.remove_hooks()
    assert not any(module._forward_hooks for module in arch.model.modules())


def test_hooks_leave_training_as_it_is(make_arch, snapshot):
    hooked, plain = make_arch(), make_arch()
    hooked.attach_hooks(["conv_layers.0", "fc_layers.1"])
    plain.attach_hooks(["drop"], hook_fn=lambda *_: None)  # so that autograd trains both
    for arch in (hooked, plain):
        arch.train(1)
    assert snapshot(hooked) == snapshot(plain)


def test_a_hook_of_ones_own(make_arch, unseen):
    arch, seen = make_arch(), []
    arch.attach_hooks(["fc_layers.0"], lambda _layer, _inputs, outputs: seen.append(tuple(outputs.shape)))
    arch.predict(unseen.tensors[0])
    assert seen == [(500, 20)]


def test_layers_that_do_not_exist_are_refused_before_any_hook(make_arch):
    arch = make_arch()
    with pytest.raises(UsageError, match=r"layer 'conv9'.*conv_layers.0"):
        arch.attach_hooks(["conv_layers.0", "conv9"])
    assert not any(module._forward_hooks for module in arch.model.modules())
    with pytest.raises(
        UsageError, match=r"layer 'fc_layers.0' is a Linear, expected a Conv2d. Name one of conv_layers.0"
    ):
        arch.visualize_filters("fc_layers.0")


def test_pictures(make_arch, unseen):
    arch = make_arch()
    x_NCHW, y_N = unseen.tensors
    layers = ["conv_layers.0", "fc_layers.0"]
    arch.attach_hooks(layers)
    with pytest.raises(UsageError, match="Call attach_hooks"):
        arch.visualize_outputs(layers)
    yhat_N = arch.predict(x_NCHW).argmax(1)
    arch.remove_hooks()
    arch.train(2)
    figures = [
        arch.visualize_outputs(layers, 5, y_N.numpy(), yhat_N),
        arch.visualize_outputs(["fc_layers.0", "never hooked"]),
        arch.visualize_filters("conv_layers.0"),
        arch.plot_losses(),
    ]
    for figure in figures:
        figure.canvas.draw()
        assert figure.axes


def test_loader_apply_sums_averages_or_stacks(images):
    loader = DataLoader(images, 300)
    y_N = images.tensors[1].float()
    per_batch = [part.sum().item() for part in y_N.split(300)]

    def apply(**options):
        return Architecture.loader_apply(loader, lambda _, y: y.sum(), **options).tolist()

    assert apply() == y_N.sum().item()
    assert apply(reduce="mean") == pytest.approx(np.mean(per_batch))
    assert apply(reduce=None) == per_batch


def test_statistics_and_normalizer_equal_numpys(images):
    rng = np.random.default_rng(0)
    x_NCHW = np.concatenate([images.tensors[0].numpy()[:100], rng.normal(3, 2, (100, 1, 28, 28))], axis=1)
    loader = DataLoader(TensorDataset(torch.tensor(x_NCHW), torch.zeros(100)), 32)
    statistics = Architecture.statistics_per_channel(torch.tensor(x_NCHW), None)
    means_NC, stds_NC = x_NCHW.mean((2, 3)), x_NCHW.reshape(100, 2, -1).std(2, ddof=1)
    np.testing.assert_allclose(statistics, [[100, 100], means_NC.sum(0), stds_NC.sum(0)], rtol=1e-6)

    normalize = Architecture.make_normalizer(loader)
    np.testing.assert_allclose(normalize.mean, means_NC.mean(0), rtol=1e-6)
    np.testing.assert_allclose(normalize.std, stds_NC.mean(0), rtol=1e-6)
    expected = (x_NCHW - means_NC.mean(0)[:, None, None]) / stds_NC.mean(0)[:, None, None]
    np.testing.assert_allclose(normalize(torch.tensor(x_NCHW)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalize(torch.tensor(x_NCHW[0])), expected[0], rtol=1e-5, atol=1e-6)


def test_an_optimizer_of_another_model_is_refused_before_the_first_step(make_arch, images):
    other, arch = nn.Linear(2, 2), make_arch()
    arch.set_optimizer(torch.optim.Adam(other.parameters()))
    for use in (lambda: arch.train(1), lambda: arch.find_best_lr(DataLoader(images, 30))):
        with pytest.raises(UsageError, match="none of its parameters is the model's"):
            use()
    arch.set_optimizer(torch.optim.Adam(arch.model.parameters()))
    arch.model.fc_layers[1] = nn.Linear(20, 10)
    with pytest.raises(UsageError, match="lacks 2 of the model's"):
        arch.train(1)
    assert arch.total_epochs == 0


def test_the_learning_rate_is_an_attribute_that_works(make_arch):
    arch, by_hand = make_arch(), make_arch()
    arch.lr = 5e-3
    by_hand.optimizer.param_groups[0]["lr"] = 5e-3
    for one in (arch, by_hand):
        one.train(1)
    assert (arch.lr, arch.losses) == (5e-3, by_hand.losses)


class WithDropout(nn.Sequential):
    """Not built from a spec, so that autograd trains it."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))
        with torch.no_grad():
            self[2].weight.copy_(torch.linspace(-1, 1, 7840).view(10, 784) / 28)
            self[2].bias.zero_()


@pytest.mark.parametrize("kind", ["batches", "loader"])
def test_threads_train_by_autograd_as_each_does_alone(make_arch, images, unseen, kind):
    if kind == "batches":
        loaders = {"train_loader": Batches(*images.tensors, 30, shuffle=True)}
    else:
        loaders = {"train_loader": DataLoader(images, 30, shuffle=True), "val_loader": DataLoader(unseen, 100)}
    alone, *together = (make_arch(WithDropout(), **loaders) for _ in range(4))
    generators = [owner.generator for owner in generator_owners(loaders["train_loader"])]
    alone.train(2)
    before = torch.get_rng_state()
    threads = [threading.Thread(target=arch.train, args=(2,)) for arch in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [arch.losses for arch in together] == [alone.losses] * 3
    assert [arch.val_losses for arch in together] == [alone.val_losses] * 3
    assert torch.equal(torch.get_rng_state(), before)
    assert [owner.generator for owner in generator_owners(loaders["train_loader"])] == generators


def test_an_epoch_of_autograd_does_not_hold_up_another_thread(make_arch, images):
    arch, begun, had_its_turn, in_time = make_arch(WithDropout()), threading.Event(), threading.Event(), []
    arch.set_loaders(Batches(*images.tensors, 10))

    def on_step(_epoch, step, _loss):
        begun.set()
        time.sleep(0.01)
        if step == 100:
            in_time.append(had_its_turn.is_set())

    arch.on_step = on_step
    training = threading.Thread(target=arch.train, args=(1,))
    training.start()
    begun.wait(60)
    activations(arch.model, images.tensors[0][:2], ["2"])
    had_its_turn.set()
    training.join()
    assert in_time == [True]


def whole(model):
    return torch.compile(model, backend="eager")


def in_place(model):
    model.compile(backend="eager")
    return model


def part(model):
    model[0] = torch.compile(model[0], backend="eager")
    return model


def its_forward(model):
    model.forward = torch.compile(model.forward, backend="eager")
    return model


@pytest.mark.parametrize("compiled", [whole, in_place, part, its_forward])
def test_hooks_hear_compiled_models_under_the_layers_own_names(make_arch, images, unseen, compiled):
    block = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU())
    loaders = {"train_loader": Batches(*images.tensors[:1000], 500), "val_loader": None}
    arch = make_arch(compiled(nn.Sequential(block, nn.Flatten(), nn.Linear(1152, 10))), **loaders)
    x_NCHW = unseen.tensors[0][:3]
    arch.train(1)
    arch.predict(x_NCHW)
    activations(arch.model, x_NCHW, ["0.0"])  # by now it is compiled for both modes, and with hooks
    assert conv_layers(arch.model) == ["0.0"]
    maps = activations(arch.model, x_NCHW, ["0.0", "0"])
    np.testing.assert_allclose(maps["0.0"], block[0](x_NCHW).detach(), rtol=1e-4, atol=1e-5)
    arch.attach_hooks(["0.0"])
    arch.predict(x_NCHW)
    assert np.array_equal(arch.visualization["0.0"], maps["0.0"])
    arch.train(1)
    assert len(arch.visualization["0.0"]) == 1003
    arch.remove_hooks()
    arch.visualize_filters("0.0")
    with pytest.raises(UsageError, match=r"layer '0.7'.* Name one of 0, 0.0, 0.1, 1, 2"):
        arch.visualize_filters("0.7")


def test_figures_of_the_methods_are_pyplots_and_those_of_threads_nobodys(make_arch, images, unseen):
    arch = make_arch()
    arch.attach_hooks(["conv_layers.0"])
    arch.predict(unseen.tensors[0][:3])
    arch.remove_hooks()
    draw = {
        "losses": arch.plot_losses,
        "filters": lambda: arch.visualize_filters("conv_layers.0"),
        "outputs": lambda: arch.visualize_outputs(["conv_layers.0"], 3),
        "range": lambda: arch.lr_range_test(DataLoader(images, 10), num_iter=30)[1],
        "search": lambda: arch.find_best_lr(DataLoader(images, 10), set_lr=False)[0].figure,
    }
    for name, method in draw.items():
        plt.close("all")
        assert method() is plt.gcf(), name
        assert len(plt.get_fignums()) == 1, name
    plt.close("all")
    found = []
    thread = threading.Thread(target=lambda: found.append(arch.plot_losses()))
    thread.start()
    thread.join()
    assert found[0].axes
    assert plt.get_fignums() == []


def test_a_figure_is_made_also_where_no_display_is(make_arch, monkeypatch):
    def no_display(*_, **__):
        raise RuntimeError("cannot connect to X server")

    monkeypatch.setattr(plt, "figure", no_display)
    assert make_arch().plot_losses().axes


def test_filters_are_drawn_as_imshow_is_told(make_arch):
    arch = make_arch()
    plain, grey = (
        arch.visualize_filters("conv_layers.0", **look).axes[0].images[0].get_array() for look in ({}, {"cmap": "gray"})
    )
    assert not np.array_equal(plain, grey)
    assert (grey[..., 0] == grey[..., 1]).all()
    weights = arch.model.conv_layers[0].weight
    with torch.no_grad():
        weights[0] = 1.0
    image = (
        arch.visualize_filters("conv_layers.0", cmap="gray", vmin=0, vmax=2, interpolation="nearest").axes[0].images[0]
    )
    middle = image.get_array()[30, 30]
    assert tuple(middle) == tuple(round(255 * part) for part in plt.get_cmap("gray")(0.5)[:3])
    assert image.get_interpolation() == "nearest"
    arch.visualize_filters("conv_layers.0", norm=matplotlib.colors.SymLogNorm(0.1)).canvas.draw()
    for look in ({"cmap": "no such map"}, {"colour": "gray"}, {"vmin": "low"}):
        plt.close("all")
        with pytest.raises(UsageError, match=r"visualize_filters: .*Give what imshow takes"):
            arch.visualize_filters("conv_layers.0", **look)


def test_statistics_and_normalizers_work_where_the_images_are():
    """There is no second device here: torch's default one, without memory, stands for it."""
    images = torch.rand(4, 2, 5, 5)
    with torch.device("meta"):
        assert Architecture.statistics_per_channel(images).device.type == "cpu"


def test_numbers_and_images_of_any_kind_are_taken(make_arch, images):
    arch, (x, y) = make_arch(), images.tensors
    wanted = arch.predict(x[:4])
    for given in (x[:4].numpy(), x[:4].double().numpy(), x[:4].tolist(), list(x[:4])):
        assert np.array_equal(arch.predict(given), wanted)
    for given in ("image", None, arch.train_loader):
        with pytest.raises(DataError, match="expected a tensor of numbers"):
            arch.predict(given)
    assert torch.equal(arch.correct(x[:9].numpy(), y[:9].numpy()), arch.correct(x[:9], y[:9]))
    arch.set_seed(np.int64(7))
    drawn = torch.rand(1)
    arch.set_seed(7)
    assert torch.equal(torch.rand(1), drawn)
    statistics = Architecture.statistics_per_channel
    assert torch.equal(statistics(x[:9].numpy()), statistics(x[:9]))


def test_what_stands_in_the_place_of_a_part_is_told(make_arch):
    arch = make_arch()
    for model in ("generic_2", CNN2, None, preset("generic_2")):
        with pytest.raises(UsageError, match=r"model is .*, expected a module, such as Ge.*CNN\("):
            Architecture(model, nn.CrossEntropyLoss(), arch.optimizer)
    refused = {
        "seed": lambda: arch.set_seed("3"),
        "filename": lambda: arch.save_checkpoint(None),
        "filename = 3": lambda: arch.load_checkpoint(3),
        "layer": lambda: arch.visualize_filters(0),
        "layers": lambda: arch.attach_hooks([0]),
        "end_lr = '1': must be a number. Write 1": lambda: arch.lr_range_test(arch.train_loader, end_lr="1"),
        "num_iter = '40'": lambda: arch.find_best_lr(arch.train_loader, num_iter="40"),
    }
    for said, call in refused.items():
        with pytest.raises(UsageError, match=said):
            call()


def test_the_training_loss_of_a_sum_is_its_mean_over_the_images(make_arch):
    """At a rate that changes nothing both losses see the same outputs; the last batch of 34 has 10 images, not 30."""
    by_form = {}
    for reduction in ("mean", "sum"):
        arch = make_arch(nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False)), "sgd", lr=1e-12)
        arch.loss_fn = nn.CrossEntropyLoss(reduction=reduction)
        torch.nn.init.constant_(arch.model[1].weight, 0.01)
        arch.model[1].weight.data[3] = 0.02
        arch.train(1)
        by_form[reduction] = (arch.losses[0], arch.val_losses[0])
    assert by_form["sum"] == pytest.approx(by_form["mean"], rel=1e-5)
