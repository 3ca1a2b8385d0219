"""Every kind of kernel against NumPy in float64, on whatever processor this is. No torch: `make test-arm` runs it."""

import ctypes
from typing import Any

import numpy as np
import pytest
import reference

from modelflow.data.origins.digits import WHITE, Digits
from modelflow.kernels import network as networks
from modelflow.kernels.machine import ARM, Library, compile_text, host
from modelflow.kernels.network import Network, State, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.rules.sgd import SGD
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.trace import trace

SEED = 2**62 + 12345
TINY = np.float32(1e-40)  # denormal


def spec(size: int, features: list[int], kernels: list[int], pools: list[int], fc: list[int], **options) -> Spec:  # type: ignore[no-untyped-def]
    blocks = {"cov_features": features, "cov_kernel_sizes": kernels, "max_pool_sizes": pools}
    return Spec(**{"in_channels": 1, "num_classes": 4, "input_size": size, "fc_sizes": fc} | blocks | options)


KINDS = {
    "preset-like": spec(28, [4, 6], [5, 3], [2, 2], [9], num_classes=10),
    "dropout before each linear layer": spec(12, [3, 5], [3, 2], [2, 1], [15], family="cnn2", p=0.5),
    "no pool, no dropout, one linear layer": spec(9, [5, 7], [3, 3], [1, 1], [], p=0.0),
    "windows of three, three channels": spec(14, [6, 9], [3, 2], [3, 1], [25, 13], in_channels=3),
    "windows of four and more": spec(12, [3, 4], [1, 2], [4, 2], [8]),
    "a window of more than 256": spec(20, [2], [2], [18], [5]),
    "many weights": spec(10, [24, 20], [2, 5], [1, 2], [8], p=0.0),
    "a kernel as large as the image": spec(30, [26], [29], [1], [8]),
    "a large image, a large linear layer": spec(92, [3], [3], [2], [40]),
}
LARGE = KINDS["a large image, a large linear layer"]
DIGITS = spec(8, [6, 8], [3, 2], [2, 1], [32], p=0.1, num_classes=10)


def data(spec: Spec, images: int):  # type: ignore[no-untyped-def]
    """Images, labels, an order, and parameters."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(images, *spec.input_shape)).astype(np.float32)
    return x, rng.integers(0, spec.num_classes, images), rng.permutation(images), parameters(spec)


def parameters(spec: Spec) -> np.ndarray:
    """Uniform, by the root of how many inputs each output has, as torch draws them."""
    rng, parts = np.random.default_rng(2), []
    for layer in trace(spec).layers:
        outputs = layer.output_shape[0]
        bound = np.sqrt(outputs / max(layer.parameters - outputs, 1))
        parts.append(rng.uniform(-bound, bound, layer.parameters))
    return np.concatenate(parts).astype(np.float32)


def state_of(flat: np.ndarray, averages: float = 0.0) -> State:
    return State(flat.copy(), [np.full_like(flat, averages) for _ in Adam().averages])


def adam(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> dict[str, Any]:
    return {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0}


@pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS)
def test_every_kind_of_kernel_agrees_with_numpy_in_float64(spec: Spec) -> None:
    """Logits, the first gradient, then losses, parameters and averages of two steps, the second of five images."""
    network, layers = compiled(trace(spec), Adam()), trace(spec)
    x, y, order, flat = data(spec, images=21)
    expected = reference.logits(layers, flat, x.astype(np.float64))
    np.testing.assert_allclose(network.logits(x, flat), expected, rtol=2e-5, atol=2e-5)

    state, first = state_of(flat), order[:16]
    network.train(x, y, first, 16, state, adam(lr=0.0, betas=(0.0, 0.999)), SEED)
    _, gradient = reference.loss_and_gradient(layers, flat, x[first].astype(np.float64), y[first], SEED, 0)
    np.testing.assert_allclose(state.averages[0], gradient, rtol=2e-4, atol=3e-6 * max(1.0, abs(gradient).max()))

    state, exact = state_of(flat), reference.Adam(flat, lr=1e-3, eps=1e-3)
    done = network.train(x, y, order, 16, state, adam(lr=1e-3, eps=1e-3), SEED)
    losses = reference.train(layers, x, y, order, 16, exact, SEED)
    np.testing.assert_allclose(done.losses, losses, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(state.params, exact.params, rtol=1e-4, atol=2e-5)
    for got, average in zip(state.averages, (exact.exp_avg, exact.exp_avg_sq), strict=True):
        np.testing.assert_allclose(got, average, rtol=1e-2, atol=2e-3 * abs(average).max())


def of_any(traced) -> Network:  # type: ignore[no-untyped-def]
    """By the step of any network, also for the card's family."""
    places, _, write = networks._of_any(traced, Adam(), host())
    return Network(places, Library(compile_text(write(), host(), 1), host()), Adam())


@pytest.mark.parametrize("name", ["dropout before each linear layer", "windows of three, three channels"])
def test_the_step_of_any_network_agrees_with_numpy_in_float64(name: str) -> None:
    spec = KINDS[name]
    network, layers = of_any(trace(spec)), trace(spec)
    x, y, order, flat = data(spec, images=21)
    expected = reference.logits(layers, flat, x.astype(np.float64))
    np.testing.assert_allclose(network.logits(x, flat), expected, rtol=2e-5, atol=2e-5)
    state, exact = state_of(flat), reference.Adam(flat, lr=1e-3, eps=1e-3)
    done = network.train(x, y, order, 16, state, adam(lr=1e-3, eps=1e-3), SEED)
    losses = reference.train(layers, x, y, order, 16, exact, SEED)
    np.testing.assert_allclose(done.losses, losses, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(state.params, exact.params, rtol=1e-4, atol=2e-5)


def test_layers_of_today_learn_the_digits_to_the_same_loss_on_each_processor() -> None:
    """A strided, a grouped and a separable convolution, batch norm, a residual, squeeze, dropout, both means."""
    layers = [
        {"conv": 8, "kernel": 3},
        {"separable": 8, "kernel": 3, "stride": 2, "squeeze": 4, "activation": "hard_swish"},
        {"residual": [{"conv": 8, "kernel": 3, "groups": 2, "activation": "silu"}]},
        {"dropout": 0.1, "spatial": True},
        {"pool": "average", "size": 3, "stride": 1, "padding": 1},
        {"pool": "global_average"},
        {"linear": 10},
    ]
    defaults = {"padding": "same", "norm": "batch", "activation": "relu"}
    spec = parse_spec({"input": [1, 8, 8], "classes": 10, "defaults": defaults, "layers": layers})
    digits = Digits("digits").read(download=False)
    x = (digits.train_images[:480] / WHITE).astype(np.float32)[:, None]
    y, network = digits.train_labels[:480].astype(np.int64), compiled(trace(spec), Adam())
    flat = np.random.default_rng(2).uniform(-0.5, 0.5, network.layout.parameters).astype(np.float32)
    running = np.ones(network.layout.running, np.float32)
    state = State(flat, [np.zeros_like(flat) for _ in Adam().averages], running=running)
    done = network.train(x, y, np.tile(np.arange(480), 10), 16, state, adam(lr=1e-2, eps=1e-4), SEED)
    assert done.losses[:10].mean() == pytest.approx(2.31649, rel=1e-4)
    assert done.losses[-30:].mean() == pytest.approx(1.11, rel=0.1)
    logits = network.logits(x, state.params, running=state.running)
    assert (logits.argmax(1) == y).mean() > 0.5


@pytest.mark.parametrize("momentum", [0.0, 0.9], ids=["plain", "Nesterov"])
def test_gradient_descent_agrees_with_numpy_in_float64(momentum: float) -> None:
    options = {"lr": 0.1, "momentum": momentum, "nesterov": momentum > 0, "weight_decay": 1e-2, "dampening": 0.0}
    x, y, order, flat = data(DIGITS, images=50)
    rule, exact = SGD.of(options), reference.SGD(flat, lr=0.1, momentum=momentum, decay=1e-2)
    state = State(flat.copy(), [np.zeros_like(flat) for _ in rule.averages])
    done = compiled(trace(DIGITS), rule).train(x, y, order, 16, state, options, SEED)
    losses = reference.train(trace(DIGITS), x, y, order, 16, exact, SEED)
    np.testing.assert_allclose(done.losses, losses, rtol=2e-5)
    np.testing.assert_allclose(state.params, exact.params, rtol=1e-4, atol=2e-5)


def test_the_references_gradient_is_that_of_finite_differences() -> None:
    spec = KINDS["windows of three, three channels"]
    x, y, _, flat = data(spec, images=3)
    layers, x, flat = trace(spec), x.astype(np.float64), flat.astype(np.float64)
    _, gradient = reference.loss_and_gradient(layers, flat, x, y, SEED, 0)
    for i in np.linspace(0, len(flat) - 1, 60).astype(int):
        step = np.eye(1, len(flat), i)[0] * 1e-6
        up, down = (reference.loss_and_gradient(layers, flat + s, x, y, SEED, 0)[0] for s in (step, -step))
        assert gradient[i] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9)


def test_two_threads_give_the_bytes_of_one() -> None:
    network = compiled(trace(LARGE), Adam())
    assert network.layout.has_large
    x, y, order, flat = data(LARGE, images=150)
    one, two = state_of(flat), state_of(flat)
    losses = [
        network.train(x, y, order, 16, state, adam(), SEED, threads=threads).losses
        for threads, state in ((1, one), (2, two))
    ]
    np.testing.assert_array_equal(*losses)
    for a, b in zip((one.params, *one.averages), (two.params, *two.averages), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(network.logits(x, flat), network.logits(x, flat, threads=2))


def test_the_digits_are_learned_as_by_numpy_in_float64() -> None:
    """So to the same loss on each processor."""
    digits = Digits("digits").read(download=False)
    x = (digits.train_images / WHITE).astype(np.float32)[:, None]
    y, layers, flat = digits.train_labels.astype(np.int64), trace(DIGITS), parameters(DIGITS)
    network, state, exact = compiled(layers, Adam()), state_of(flat), reference.Adam(flat, lr=1e-2, eps=1e-4)
    means = []
    for epoch in range(3):
        order = np.random.default_rng(epoch).permutation(len(x))
        done = network.train(x, y, order, 16, state, adam(lr=1e-2, eps=1e-4), epoch)
        expected = reference.train(layers, x, y, order, 16, exact, epoch)
        means.append(done.losses.mean())
        assert means[-1] == pytest.approx(expected.mean(), rel=1e-5)
    assert means[-1] < means[0] / 2


def one_step(bad: bool = False) -> State:
    """One step without any gradient but rounding's, both averages denormal before it."""
    network, x = compiled(trace(DIGITS), Adam()), np.zeros((8, 1, 8, 8), np.float32)
    x[3, 0, 0, 0] = np.nan if bad else 0.0
    state = state_of(parameters(DIGITS), TINY)
    done = network.train(x, np.zeros(8, np.int64), np.arange(8), 8, state, adam(), SEED)
    network.logits(x, state.params)
    assert (done.failed == 0) is bad
    return state


def test_averages_that_fade_become_zero() -> None:
    state = one_step()
    assert state.step == 1
    for values in (state.params, *state.averages):
        bits = np.abs(values).view(np.uint32)
        assert not ((bits > 0) & (bits < 0x00800000)).any()


@pytest.mark.parametrize("own", [False, True], ids=["kept", "flushed"])
@pytest.mark.parametrize("bad", [False, True], ids=["trained", "stopped"])
def test_the_mode_of_the_caller_is_put_back(own: bool, bad: bool) -> None:
    mode = Mode()
    before = mode.get()
    try:
        mode.set(before | mode.flush if own else before & ~mode.flush)
        set_mode, tiny = mode.get(), np.array([TINY])
        one_step(bad)
        assert mode.get() == set_mode
        assert (tiny * np.float32(1) == 0).item() is own
    finally:
        mode.set(before)


class Mode:
    """The register that says whether this thread takes denormal numbers for zero, in which `flush` are the bits."""

    def __init__(self) -> None:
        arm = host().architecture in ARM
        self.flush = 1 << 24 if arm else 1 << 15 | 1 << 6
        self._library = Library(compile_text(FPCR if arm else MXCSR, host()), host())
        self.get = ctypes.CFUNCTYPE(ctypes.c_int64)(self._library.address("get"))
        self.set = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._library.address("set"))


FPCR = """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define i64 @get() {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %mode
}
define void @set(i64 %mode) {
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
"""
MXCSR = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i64 @get() {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %mode = load i32, ptr %place
  %wide = zext i32 %mode to i64
  ret i64 %wide
}
define void @set(i64 %mode) {
  %place = alloca i32
  %narrow = trunc i64 %mode to i32
  store i32 %narrow, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
"""
