import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from modelflow.errors import UsageError
from modelflow.evaluation.inspection.activations import activations
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset

X_NCHW = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Noisy(nn.Module):
    """Draws in every mode, counts nothing, and changes its input where it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.fc = nn.Linear(28 * 28, 2)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        x_NCHW.relu_()
        return self.fc(self.norm(x_NCHW + torch.rand_like(x_NCHW)).flatten(1))


def test_the_outputs_are_those_of_eval_mode():
    model = GenericCNN(preset("generic_2")).train()
    outputs = activations(model, X_NCHW, ["conv_layers.0", "fc_layers.1"])
    assert {name: array.shape for name, array in outputs.items()} == {
        "conv_layers.0": (3, 4, 24, 24),
        "fc_layers.1": (3, 10),
    }
    with torch.no_grad():
        np.testing.assert_array_equal(outputs["fc_layers.1"], model.eval()(X_NCHW).numpy())


def test_arrays_are_taken_too_even_read_only_ones():
    x_NCHW = X_NCHW.numpy().copy()
    x_NCHW.flags.writeable = False
    model = GenericCNN(preset("cnn2_3"))
    np.testing.assert_array_equal(
        activations(model, x_NCHW, ["conv2"])["conv2"], activations(model, X_NCHW, ["conv2"])["conv2"]
    )


def state_of(model: nn.Module) -> dict[str, object]:
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "generator": torch.get_rng_state(),
        "grad_enabled": torch.is_grad_enabled(),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("raises", [False, True])
def test_the_model_is_the_same_afterwards_also_when_the_pass_raises(raises):
    model = Noisy().train()
    model(X_NCHW.clone()).sum().backward()
    model.norm.eval()
    before = state_of(model)
    if raises:
        with pytest.raises(RuntimeError):
            activations(model, X_NCHW[:, :, 1:], ["fc"])
    else:
        activations(model, X_NCHW, ["norm", "fc"])
    assert_same(before, state_of(model))


def test_the_images_are_the_same_afterwards():
    images_NCHW = -torch.ones(3, 1, 28, 28)
    activations(Noisy(), images_NCHW, ["fc"])
    assert (images_NCHW == -1).all()


def test_a_layer_that_does_not_run_once_is_told():
    model = GenericCNN(preset("cnn2_3"))
    message = "layer 'drop': 6 outputs for 3 images, expected one per image"
    model.fc1, model.fc2 = nn.Linear(75, 75), nn.Linear(75, 10)
    with pytest.raises(UsageError, match=message):
        activations(model, X_NCHW, ["drop"])
    with pytest.raises(UsageError, match="layer 'conv_layers': 0 outputs for 3 images"):
        activations(GenericCNN(preset("generic_2")), X_NCHW, ["conv_layers"])


def test_the_same_images_give_the_same_outputs_even_from_a_model_that_draws():
    model = Noisy()
    first, second = (activations(copy.deepcopy(model), X_NCHW, ["fc"])["fc"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_inspection_needs_little_else_of_modelflow():
    needed = {
        "compat.moved",
        "text",
        "errors",
        "networks.seeds",
        "training.openmp",
        "training.modes",
        "training.seeding",
    }
    check = (
        "import modelflow.evaluation.inspection.activations, modelflow.evaluation.inspection.filters, sys; "
        "print(*sorted(name for name, module in sys.modules.items() if name.startswith('modelflow.') "
        "and not hasattr(module, '__path__')))"
    )
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()
    others = {
        name.removeprefix("modelflow.") for name in loaded if not name.startswith("modelflow.evaluation.inspection.")
    }
    assert others == needed
