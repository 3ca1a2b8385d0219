"""Each operation's reference in NumPy: the kernels' losses are its own, their gradients its differences. No torch."""

import numpy as np
import pytest

from modelflow.kernels import activations
from modelflow.kernels.extras import PLAIN, Extras, Targets
from modelflow.kernels.graph import graph, unsupported_layer
from modelflow.kernels.machine import Library, compile_text, host
from modelflow.kernels.network import Network, State, _of_any
from modelflow.kernels.ops.operation import Given
from modelflow.kernels.rules.sgd import SGD
from modelflow.networks.description import parse_spec
from modelflow.networks.trace import Trace, trace

SEED = 2**61 + 5
BATCH = 5
USED = "+valid-bn-act "
NETWORKS = {
    "convolution": USED + "c3k3x2/1x2 c2+same+bias gap fc3",
    "groups and padding": USED + "c4 c6g2p1k3/2 fc3",
    "depthwise": USED + "d3m2 d1/2+same fc3",
    "separable": "s4/2 gap fc3",
    "batch norm": "+valid+bn c3k2 gap fc3",
    **{f"{name} after batch norm": f"c2/2+{name} gap fc3" for name in ("leaky_relu", "relu6", "hard_swish", "silu")},
    **{f"{name} alone": f"+same-bn c2/2+{name} fc3" for name in ("relu", "gelu", "tanh", "sigmoid")},
    "largest": USED + "c2 m2 m3/1p1 fc3",
    "average": USED + "c2 a2 a3/1p1 fc3",
    "global largest": USED + "c3 gmp fc3",
    "squeeze": USED + "c4 e2 gap fc3",
    "residual": USED + "c3 (c3+same c3+same)r (c4+same)r+conv fc3",
    "dropout": USED + "c3 drop0.4 gap fc6 drop0.3 fc3",
    "dropout of maps": USED + "c6 drop0.4+spatial fc3",
    "linear": USED + "fc7+relu fc3",
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def loss_by_reference(traced: Trace, flat: np.ndarray, x: np.ndarray, y: np.ndarray, targets: Targets) -> float:
    """Of one step, in float64."""
    whole = graph(traced)
    values = {whole.image: x.astype(np.float64)}
    for operation in whole.operations:
        given = Given(flat, SEED, step=0)
        values[operation.output] = operation.reference(given, *(values[value] for value in operation.inputs))
    z = values[whole.logits]
    log_shares = z - z.max(1, keepdims=True)
    log_shares -= np.log(np.exp(log_shares).sum(1, keepdims=True))
    own, shared = targets.table().astype(np.float64).reshape(2, -1)
    wanted = np.eye(z.shape[1])[y] * own + shared
    return float(-(wanted * log_shares).sum() / targets.weights_K[y].sum())


def by_differences(traced, flat, x, y, targets, places):  # type: ignore[no-untyped-def]
    found = []
    for place in places:
        ends = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[place] += sign * 1e-5
            ends.append(loss_by_reference(traced, moved, x, y, targets))
        found.append((ends[0] - ends[1]) / 2e-5)
    return np.array(found)


def step(traced, flat, x, y, targets, extras):  # type: ignore[no-untyped-def]
    """The loss of one step, and its gradients: what a step of gradient descent at rate 1 takes away."""
    places, _, write = _of_any(traced, SGD(), host(), extras)
    network = Network(places, Library(compile_text(write(), host(), 1), host()), SGD(), extras)
    running = np.ones(places.running, np.float32)
    state, options = State(flat.astype(np.float32), running=running), {"lr": 1.0, "weight_decay": 0.0, "momentum": 0.0}
    done = network.train(x, y, np.arange(len(x)), len(x), state, options, SEED, targets=targets)
    return done.losses[0], flat - state.params


@pytest.mark.parametrize("extras", [PLAIN, Extras(weighted=True)], ids=["plain", "weighted"])
@pytest.mark.parametrize("short", NETWORKS.values(), ids=list(NETWORKS))
def test_losses_are_the_references_and_gradients_their_differences(short, extras, rng):
    traced = trace(parse_spec({"input": [2, 7, 6], "classes": 3, "layers": short}))
    x = rng.normal(size=(BATCH, *traced.input_shape)).astype(np.float32)
    y, flat = rng.integers(0, 3, BATCH), rng.normal(scale=0.4, size=traced.parameters).astype(np.float32)
    targets = Targets(np.array([0.5, 1.0, 2.5]), 0.1) if extras else Targets(np.ones(3), 0.0)
    loss, gradients = step(traced, flat.astype(np.float64), x, y, targets, extras)
    assert loss == pytest.approx(loss_by_reference(traced, flat.astype(np.float64), x, y, targets), rel=1e-5)
    places = rng.permutation(traced.parameters)[:60]
    expected = by_differences(traced, flat.astype(np.float64), x, y, targets, places)
    np.testing.assert_allclose(gradients[places], expected, rtol=2e-3, atol=1e-5)


def test_an_activation_without_a_kernel_is_named_as_not_covered(monkeypatch):
    traced = trace(parse_spec({"input": [1, 8, 8], "classes": 3, "layers": "c4-act gelu fc"}))
    assert not unsupported_layer(traced)
    monkeypatch.delitem(activations.VALUES, "gelu")
    assert unsupported_layer(traced) == "layers.1: GELU"
