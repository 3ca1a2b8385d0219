"""What a training loop relies on: chunks, remainders, dropout's distribution, ties, NaN, empty data, the cache."""

from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch
from oracle import adam, flat, fresh, sgd
from torch.nn import functional as F

from modelflow.kernels import cache, machine, threads
from modelflow.kernels.dropout import kept
from modelflow.kernels.layout import layout
from modelflow.kernels.machine import host
from modelflow.kernels.network import Network, State, _together, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.rules.rule import Rule
from modelflow.kernels.rules.sgd import SGD
from modelflow.kernels.step import Program
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.trace import trace

ADAM = Adam()
RULES = [(ADAM, adam()), (SGD(momentum=True, nesterov=True), sgd())]
SPEC = Spec(
    in_channels=1, num_classes=4, input_size=9, cov_kernel_sizes=[2], cov_features=[3], max_pool_sizes=[2], fc_sizes=[7]
)


@pytest.fixture(scope="module")
def network() -> Network:
    return compiled(trace(SPEC), ADAM)


def data(images: int, seed: int = 0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(images, 1, 9, 9)).astype(np.float32)
    return x, rng.integers(0, 4, images), rng.permutation(images)


def new(rule: Rule = ADAM) -> State:
    return fresh(flat(GenericCNN(SPEC).parameters()), rule)


def same(a: State, b: State) -> bool:
    return all((x == y).all() for x, y in zip((a.params, *a.averages), (b.params, *b.averages), strict=True))


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_chunks_give_the_same_bytes_as_one_call(rule: Rule, options) -> None:  # type: ignore[no-untyped-def]
    x, y, order = data(100)
    network, whole, parts = compiled(trace(SPEC), rule), new(rule), new(rule)
    losses = network.train(x, y, order, 8, whole, options, seed=5).losses
    given = [
        network.train(x, y, order[i : i + 24], 8, parts, options, 5, start=i // 8).losses for i in range(0, 100, 24)
    ]
    np.testing.assert_array_equal(losses, np.concatenate(given))
    assert same(whole, parts)
    assert whole.step == parts.step == 13


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(network: Network) -> None:
    x, y, order = data(64)
    runs = [new() for _ in range(3)]
    for state, seed in zip(runs, (1, 1, 2), strict=True):
        network.train(x, y, order, 16, state, adam(), seed)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_before_its_step(network: Network, bad: float) -> None:
    x, y, order = data(64)
    x[order[40]] = bad  # in the third batch of 16
    stopped, two_steps = new(), new()
    result = network.train(x, y, order, 16, stopped, adam(), seed=1)
    network.train(x, y, order[:32], 16, two_steps, adam(), seed=1)
    assert result.failed == 2
    assert len(result.losses) == 3
    assert not np.isfinite(result.losses[2])
    assert np.isfinite(result.losses[:2]).all()
    assert stopped.step == 2
    assert same(stopped, two_steps)


@pytest.mark.parametrize("pixel", [(0, 0), (0, 1), (1, 0), (3, 4), (7, 7)])
def test_one_nan_pixel_that_the_pool_reads_is_noticed(network: Network, pixel: tuple[int, int]) -> None:
    x, y, order = data(16)
    x[3, 0, pixel[0], pixel[1]] = np.nan
    state = new()
    result = network.train(x, y, order, 16, state, adam(), seed=1)
    model = GenericCNN(SPEC)
    assert result.failed == 0
    assert np.isnan(model.eval()(torch.from_numpy(x))[3].detach().numpy()).any()
    assert np.isnan(network.logits(x, state.params)[3]).any()


def test_the_first_of_equal_maxima_wins() -> None:
    """Images of one colour: all conv outputs are equal, so the winner decides which pixels weigh in the gradient."""
    spec = SPEC.model_copy(update={"p": 0.0})
    model = GenericCNN(spec)
    x = np.round(data(16)[0]) * 0 + np.arange(16, dtype=np.float32)[:, None, None, None]
    x[:, :, ::2, :] += 1
    y = data(16)[1]
    with torch.no_grad():
        next(iter(model.parameters())).zero_()
        list(model.parameters())[1].fill_(0.5)
    state = fresh(flat(model.parameters()), ADAM)
    compiled(trace(spec), ADAM).train(x, y, np.arange(16), 16, state, adam(lr=0.0, betas=(0.0, 0.9)), seed=1)
    F.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    np.testing.assert_allclose(state.averages[0], flat(p.grad for p in model.parameters()), rtol=1e-4, atol=1e-6)


def test_empty_data_gives_no_steps_and_no_logits(network: Network) -> None:
    x, y, order = data(16)
    state = new()
    result = network.train(x, y, order[:0], 16, state, adam(), seed=1)
    assert len(result.losses) == 0
    assert result.failed is None
    assert state.step == 0
    assert network.logits(x[:0], state.params).shape == (0, 4)


def test_dropout_keeps_the_share_it_should_without_patterns() -> None:
    """Shares within 5 standard errors by image, feature and step; neighbours, halves of a draw, steps uncorrelated."""
    p, images, features, steps = 0.3, 256, 576, 12
    drawn = np.stack([kept(7, step, 0, images, features, p) for step in range(steps)]).astype(float)
    for axes in ((0, 1), (0, 2), (1, 2), (0, 1, 2)):
        share = drawn.mean(axis=axes)
        error = np.sqrt(p * (1 - p) / np.prod([drawn.shape[a] for a in axes]))
        assert abs(share - (1 - p)).max() < 5 * error
    centred = drawn - (1 - p)
    for a, b in (
        (centred[1:], centred[:-1]),
        (centred[:, 1:], centred[:, :-1]),
        (centred[:, :, 1:], centred[:, :, :-1]),
    ):
        assert abs((a * b).mean()) < 5 * p * (1 - p) / np.sqrt(a.size)


def test_what_would_crash_is_refused(network: Network) -> None:
    x, y, order = data(16)
    for labels, indices in ((y + 4, order), (y, order + 1), (y - 4, order), (y, order - 1), (y[:3], order)):
        with pytest.raises(ValueError, match="expected"):
            network.train(x, labels, indices, 16, new(), adam(), seed=1)
    with pytest.raises(ValueError, match="float32"):
        network.train(x.astype(np.float64), y, order, 16, new(), adam(), seed=1)


def test_weight_decay_and_a_rate_a_step_are_those_of_adamw() -> None:
    spec = SPEC.model_copy(update={"p": 0.0})
    x, y, order = data(48)
    model = GenericCNN(spec).double()
    rates = np.array([1e-3, 2e-3, 5e-4])
    state = new()
    settings = adam(lr=rates, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)
    compiled(trace(spec), ADAM).train(x, y, order, 16, state, settings, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)
    for i, lr in enumerate(rates):
        optimizer.param_groups[0]["lr"] = lr
        chosen = torch.from_numpy(order[16 * i : 16 * i + 16])
        optimizer.zero_grad()
        F.cross_entropy(model(torch.from_numpy(x).double()[chosen]), torch.from_numpy(y)[chosen]).backward()
        optimizer.step()
    np.testing.assert_allclose(state.params, flat(model.parameters()), rtol=1e-4, atol=1e-6)


def test_the_cache_compiles_once_says_so_and_survives_damage(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MODELFLOW_KERNELS", str(tmp_path))
    said: list[str] = []
    compiled(trace(SPEC), ADAM, said.append)
    compiled(trace(SPEC), ADAM, said.append)
    assert len(said) == 1
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    compiled(trace(SPEC), ADAM, said.append)
    assert len(said) == 2
    assert cache.folder() == tmp_path


def test_a_user_without_a_home_compiles_each_time(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("MODELFLOW_KERNELS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", no_home)
    assert cache.folder() is None
    said: list[str] = []
    for _ in range(2):
        compiled(trace(SPEC), ADAM, said.append)
    assert len(said) == 2


def test_a_program_is_no_longer_for_a_larger_pool() -> None:
    sizes = [40, 60]
    specs = [
        Spec(in_channels=1, num_classes=2, input_size=n, cov_features=[2], max_pool_sizes=[n - 2], fc_sizes=[5])
        for n in sizes
    ]
    short, long = (
        len(Program(layout(trace(spec), 8), replace(host(), lanes=8, registers=16), ADAM).text) for spec in specs
    )
    assert long == pytest.approx(short, rel=0.02)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_order_has_places_for_a_block_and_the_next(lanes: int) -> None:
    places = layout(trace(SPEC), lanes)
    assert (places.shared - places.order) * lanes * 4 >= 2 * lanes * 8


def no_home() -> None:
    raise RuntimeError("Could not determine home directory.")


WIDE = Spec(in_channels=1, num_classes=4, input_size=9, cov_features=[3], cov_kernel_sizes=[2], fc_sizes=[400, 300])


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("units", [400, 392, 408])
@pytest.mark.parametrize("batch", [5, 16, 40])
def test_two_threads_give_the_bytes_of_one(batch: int, units: int, rule: Rule, options) -> None:  # type: ignore[no-untyped-def]
    """A large layer's columns of inputs are divided: an even number of them to each thread, or an odd one."""
    spec = WIDE.model_copy(update={"fc_sizes": (units, 300)})
    network = compiled(trace(spec), rule)
    assert network.layout.has_large
    x, y, order = data(100)
    start = flat(GenericCNN(spec).parameters())
    states = [fresh(start, rule) for _ in range(2)]
    for _ in range(5):
        losses = [
            network.train(x, y, order, batch, state, options, 3, threads=threads).losses
            for threads, state in enumerate(states, start=1)
        ]
        np.testing.assert_array_equal(*losses)
    assert same(*states)


@pytest.mark.parametrize("spec", [SPEC, WIDE], ids=["small", "large"])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 127, 128, 131, 1001])
def test_two_threads_that_divide_the_images_give_the_logits_of_one(spec: Spec, count: int, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    network, x = compiled(trace(spec), ADAM), data(max(count, 1))[0][:count]
    params, at_work = flat(GenericCNN(spec).parameters()), []

    def together(run, threads):  # type: ignore[no-untyped-def]
        at_work.append(threads)
        return _together(run, threads)

    monkeypatch.setattr("modelflow.kernels.network._together", together)
    one, two = (network.logits(x, params, threads) for threads in (1, 2))
    assert at_work == [1, 2 if count >= 128 else 1]
    np.testing.assert_array_equal(one, two)
    each = [network.logits(x[i : i + 1], params) for i in range(count)]
    np.testing.assert_array_equal(one, np.concatenate([one[:0], *each]))


@pytest.mark.parametrize("form", ["c6 (c6 c6-act)r gap fc", "c4 m2 fc"], ids=["any network", "the card's family"])
def test_evaluation_by_two_threads_leaves_large_batches_alone(form: str) -> None:
    """What one thread writes lies nowhere that a later batch takes for zero."""
    spec = parse_spec({"input": [1, 9, 9], "classes": 4, "layers": form})
    params = flat(GenericCNN(spec).parameters())
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(512, 1, 9, 9)).astype(np.float32), rng.integers(0, 4, 512)
    found = []
    for at_once in (1, 2):
        network, state = compiled(trace(spec), ADAM), fresh(params, ADAM)
        state.running = np.ones(network.layout.running, np.float32)
        for _ in range(2):
            losses = network.train(x, y, np.arange(512), 256, state, adam(), 3).losses
            found.append((*losses, network.logits(x, state.params, at_once, state.running).sum()))
    assert found[:2] == found[2:]


def test_two_threads_both_stop_at_a_loss_that_is_not_finite() -> None:
    network = compiled(trace(WIDE), ADAM)
    x, y, order = data(64)
    x[order[40]] = np.nan
    start = flat(GenericCNN(WIDE).parameters())
    state = fresh(start, ADAM)
    done = network.train(x, y, order, 16, state, adam(), 3, threads=2)
    assert done.failed == 2
    assert np.isfinite(state.params).all()


def test_a_waiting_thread_gives_way_by_a_call_that_the_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sched_yield` is POSIX's; a name that the system lacks would end the process when the code is loaded."""
    large = trace(
        Spec(in_channels=1, num_classes=2, input_size=20, cov_kernel_sizes=[1], max_pool_sizes=[1], fc_sizes=[9])
    )
    places, here = layout(large, host().lanes), host()
    assert places.has_large
    for name, call, other in (
        ("x86_64-pc-windows-msvc", "SwitchToThread", "sched_yield"),
        ("x86_64-unknown-linux-gnu", "sched_yield", "SwitchToThread"),
        ("arm64-apple-darwin23.0", "sched_yield", "SwitchToThread"),
    ):
        monkeypatch.setattr(threads, "triple", lambda name=name: name)
        text = Program(places, here, ADAM).text
        assert (f"@{call}" in text or f'@"{call}"' in text, other in text) == (True, False)


@pytest.mark.parametrize(
    ("triple", "features", "registers"),
    [
        ("x86_64-unknown-linux-gnu", ["avx2", "avx512f", "avx512vl"], (16, 32)),
        ("x86_64-unknown-linux-gnu", ["avx2"], (8, 16)),
        ("x86_64-apple-darwin23.0", [], (4, 16)),
        ("aarch64-unknown-linux-gnu", ["neon"], (4, 32)),
        ("aarch64-unknown-linux-gnu", [], (4, 32)),
        ("arm64-apple-darwin23.0", [], (4, 32)),
    ],
)
def test_lanes_and_registers_are_those_of_the_processor(
    triple: str, features: list[str], registers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM reports no features of Apple's processors, and under emulation those of no other."""
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: llvm.FeatureMap(dict.fromkeys(features, True)))
    monkeypatch.setattr(llvm, "get_default_triple", lambda: triple)
    found = machine.host.__wrapped__()
    assert (found.lanes, found.registers) == registers
