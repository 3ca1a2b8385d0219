import numpy as np
import pytest
import torch
from torch import nn

from modelflow.errors import UsageError
from modelflow.evaluation.inspection.hooks import captured


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(2 * 6 * 6, 3))


def n_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_are_captured_under_their_layers_names():
    model, x_NCHW = network(), torch.randn(4, 1, 8, 8)
    with captured(model, ["0", "3"]) as outputs:
        logits_NK = model(x_NCHW)
    assert list(outputs) == ["0", "3"]
    np.testing.assert_array_equal(outputs["3"], logits_NK.detach().numpy())
    np.testing.assert_array_equal(outputs["0"], model[0](x_NCHW).detach().numpy())


def test_a_relu_in_place_after_a_layer_does_not_change_what_was_captured():
    with captured(model := network(), ["0"]) as outputs:
        model(torch.randn(4, 1, 8, 8))
    assert (outputs["0"] < 0).any()


def test_what_was_captured_is_nobody_elses():
    model = nn.Sequential(nn.Identity())
    x_NF = torch.zeros(2, 3)
    with captured(model, ["0"]) as outputs:
        model(x_NF)
    outputs["0"][:] = 7
    assert x_NF.abs().sum() == 0


def test_several_forward_passes_are_joined():
    model = network()
    with captured(model, ["3"]) as outputs:
        first, second = model(torch.randn(4, 1, 8, 8)), model(torch.randn(1, 1, 8, 8))
        assert outputs["3"].shape == (5, 3)
        third = model(torch.randn(2, 1, 8, 8))
    np.testing.assert_array_equal(outputs["3"], torch.cat([first, second, third]).detach().numpy())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_left_alone_and_the_hooks_come_off(training):
    model = network().train(training)
    with captured(model, ["0", "1"]):
        assert n_hooks(model) == 2
        assert model.training is training
    assert n_hooks(model) == 0
    assert model.training is training


def test_the_hooks_come_off_when_the_forward_pass_raises():
    model = network()
    with pytest.raises(RuntimeError), captured(model, ["0", "3"]):
        model(torch.randn(4, 1, 9, 9))
    assert n_hooks(model) == 0


def test_the_hooks_of_others_stay():
    model, seen = network(), []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    with captured(model, ["0"]):
        pass
    model(torch.randn(1, 1, 8, 8))
    assert seen == [1]


def test_an_unknown_layer_is_told_with_the_known_ones_before_any_hook_is_attached():
    model = network()
    with pytest.raises(UsageError) as error, captured(model, ["0", "conv9"]):
        pass
    assert str(error.value) == "layer 'conv9': Sequential has no such layer. Name one of 0, 1, 2, 3."
    assert n_hooks(model) == 0


def test_an_output_that_is_no_tensor_is_told():
    model = nn.Sequential(nn.LSTM(3, 2))
    message = r"layer '0' \(LSTM\) gives a tuple, expected one tensor. Name another layer"
    with pytest.raises(UsageError, match=message), captured(model, ["0"]):
        model(torch.randn(4, 1, 3))
    assert n_hooks(model) == 0


def test_a_layer_that_runs_at_several_places_with_other_shapes_is_told():
    drop = nn.Dropout(0.5)
    model = nn.Sequential(drop, nn.Linear(4, 3), drop)
    with captured(model, ["0"]) as outputs:
        model(torch.randn(2, 4))
    with pytest.raises(UsageError, match=r"layer '0': its outputs have different shapes, \(3,\) and \(4,\)"):
        outputs["0"]


def test_half_precision_becomes_single():
    model = nn.Sequential(nn.Linear(2, 2)).to(torch.bfloat16)
    with captured(model, ["0"]) as outputs:
        model(torch.randn(1, 2, dtype=torch.bfloat16))
    assert outputs["0"].dtype == np.float32
