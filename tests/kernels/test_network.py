"""The compiled step against PyTorch in float64: logits, gradients, steps; random specs and the presets."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle import adam, flat, fresh, logits, train

from modelflow.kernels.machine import Machine, host
from modelflow.kernels.network import Network, compiled
from modelflow.kernels.rules.adam import Adam
from modelflow.kernels.rules.sgd import SGD
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec
from modelflow.networks.family import family
from modelflow.networks.resolve import preset
from modelflow.networks.trace import trace
from notations import notations, specs

SEED = 2**62 + 12345
ADAM = Adam()


def machines() -> list[Machine]:
    """This machine, and it taken for another: the compiler makes narrower vectors of wide ones."""
    here = host()
    kinds = [kind for kind in ((16, 32), (8, 16), (4, 16)) if kind[0] != here.lanes]
    return [here, *(replace(here, lanes=lanes, registers=registers) for lanes, registers in kinds)]


def image_data(spec: Spec, images: int, seed: int = 0):
    """Images, labels, and an order of them."""
    rng = np.random.default_rng(seed)
    shape = (images, spec.in_channels, spec.input_size, spec.input_size)
    x = rng.normal(size=shape).astype(np.float32)
    return x, rng.integers(0, spec.num_classes, images), rng.permutation(images)


def agree(spec: Spec, network: Network, images: int, batch: int) -> None:
    """By Adam: logits, the first gradient, one pass over `images`."""
    x, y, order = image_data(spec, images)
    model = GenericCNN(spec)
    start = flat(model.parameters())
    model.double()
    x64, y64 = torch.from_numpy(x).double(), torch.from_numpy(y)
    with torch.no_grad():
        np.testing.assert_allclose(network.logits(x, start), model.eval()(x64).numpy(), rtol=2e-5, atol=2e-5)

    gradient = fresh(start, ADAM)
    network.train(x, y, order[:batch], batch, gradient, adam(lr=0.0, betas=(0.0, 0.999)), SEED)
    train(model, x64, y64, order[:batch], batch, torch.optim.SGD(model.parameters(), lr=0.0), SEED)
    expected = flat(p.grad for p in model.parameters())
    np.testing.assert_allclose(gradient.averages[0], expected, rtol=2e-4, atol=3e-6 * max(1.0, abs(expected).max()))
    np.testing.assert_array_equal(gradient.params, start)

    agree_after_a_pass(model, network, torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-3), images, batch)


def agree_after_a_pass(
    model: GenericCNN, network: Network, optimizer: torch.optim.Optimizer, images: int, batch: int
) -> None:
    """One pass over `images` in batches by the network's rule: losses, parameters, averages."""
    assert isinstance(model.spec, Spec)
    assert network.rule is not None
    x, y, order = image_data(model.spec, images)
    (group,) = optimizer.param_groups
    state = fresh(flat(model.float().parameters()), network.rule)
    done = network.train(x, y, order, batch, state, group, SEED)
    losses = train(model.double(), torch.from_numpy(x).double(), torch.from_numpy(y), order, batch, optimizer, SEED)
    assert done.failed is None
    assert state.step == len(losses)
    np.testing.assert_allclose(done.losses, losses, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(state.params, flat(model.parameters()), rtol=1e-4, atol=group["lr"] * 2e-2)
    for name, average in zip(network.rule.averages, state.averages, strict=True):
        expected = flat(optimizer.state[p][name] for p in model.parameters())
        np.testing.assert_allclose(average, expected, rtol=2e-2, atol=4e-3 * abs(expected).max() + 1e-8)


SPECS = int(os.environ.get("MODELFLOW_SPECS", "25"))
random_specs = settings(
    max_examples=SPECS,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@random_specs
@given(specs(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2))
def test_random_specs_agree_with_pytorch_in_float64(spec: Spec, images: int, batch: int, which: int) -> None:
    machine = machines()[which]
    agree(spec, compiled(trace(spec), ADAM, machine=machine), images, batch)


SGDS = [{}, {"weight_decay": 0.1}, {"momentum": 0.9}, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}]


@settings(random_specs, max_examples=(SPECS + 1) // 2)
@given(specs(), st.sampled_from(SGDS), st.sampled_from([1, 10]), st.integers(1, 20), st.integers(0, 2))
def test_random_specs_agree_after_steps_of_sgd(spec: Spec, options, steps: int, batch: int, which: int) -> None:
    model = GenericCNN(spec)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, **options)
    network = compiled(trace(spec), SGD.of(optimizer.param_groups[0]), machine=machines()[which])
    agree_after_a_pass(model, network, optimizer, steps * batch, batch)


@settings(random_specs, max_examples=10)
@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2))
def test_random_specs_written_as_layers_have_the_same_code_and_agree_with_their_modules(
    data: st.DataObject, images: int, batch: int, which: int
) -> None:
    """Without dropout, against torch's own modules in float64: logits and one pass."""
    spec = data.draw(specs()).model_copy(update={"p": 0.0})
    machine, described = machines()[which], data.draw(notations(spec))
    assert family(trace(described)) == family(trace(spec))
    network, model = compiled(trace(described), ADAM, machine=machine), GenericCNN(described)
    x, y, order = image_data(spec, images)
    state, model = fresh(flat(model.parameters()), ADAM), model.double()
    x64, y64 = torch.from_numpy(x).double(), torch.from_numpy(y)
    with torch.no_grad():
        np.testing.assert_allclose(network.logits(x, state.params), model(x64).numpy(), rtol=2e-5, atol=2e-5)
    done = network.train(x, y, order, batch, state, adam(lr=1e-3, eps=1e-3), SEED)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-3)
    losses = []
    for chosen in map(torch.from_numpy, np.split(order, range(batch, images, batch))):
        loss = torch.nn.functional.cross_entropy(model(x64[chosen]), y64[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(done.losses, losses, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(state.params, flat(model.parameters()), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["cnn2_3", "cnn2_5", "cnn2_7", "generic_0", "generic_1", "generic_2", "generic_3"])
def test_presets_agree_with_pytorch_in_float64(name: str) -> None:
    agree(preset(name), compiled(trace(preset(name)), ADAM), images=40, batch=32)


SMALL = [
    Spec(in_channels=2, num_classes=3, input_size=7, cov_features=[2], cov_kernel_sizes=[3], fc_sizes=[4], p=0.0),
    Spec(in_channels=1, num_classes=4, input_size=9, cov_features=[3, 2], cov_kernel_sizes=[2, 3], fc_sizes=[5], p=0.5),
    Spec(in_channels=1, num_classes=2, input_size=6, cov_features=[2], max_pool_sizes=[3], amnt_fc_layers=1, p=0.3),
]


@pytest.mark.parametrize("spec", SMALL)
def test_the_gradient_passes_gradcheck(spec: Spec) -> None:
    """Finite differences of PyTorch's loss in float64, no gradient of PyTorch's, against the compiled one."""
    network, model = compiled(trace(spec), ADAM), GenericCNN(spec).double()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, spec.in_channels, spec.input_size, spec.input_size)).astype(np.float32)
    y = rng.integers(0, spec.num_classes, 5)
    names = [name for name, _ in model.named_parameters()]

    def loss(values: torch.Tensor) -> torch.Tensor:
        parts = values.split([p.numel() for p in model.parameters()])
        shaped = {n: v.view(p.shape) for n, v, p in zip(names, parts, model.parameters(), strict=True)}
        with torch.nn.utils.stateless._reparametrize_module(model, shaped):
            outputs = logits(model, torch.from_numpy(x).double(), SEED, 0)
            return torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y))

    class Compiled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):  # type: ignore[no-untyped-def]
            ctx.values = values.detach().float().numpy()
            return loss(values.detach())

        @staticmethod
        def backward(ctx, upstream):  # type: ignore[no-untyped-def]
            state = fresh(ctx.values, ADAM)
            network.train(x, y, np.arange(5), 5, state, adam(lr=0.0, betas=(0.0, 0.999)), SEED)
            return upstream * torch.from_numpy(state.averages[0]).double()

    values = torch.from_numpy(flat(model.parameters())).requires_grad_()
    assert torch.autograd.gradcheck(Compiled.apply, values, eps=1e-6, atol=2e-6, rtol=1e-4)
