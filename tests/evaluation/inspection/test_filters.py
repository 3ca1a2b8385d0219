import numpy as np
import pytest
from torch import nn

from modelflow.errors import UsageError
from modelflow.evaluation.inspection.filters import conv_layers, filters
from modelflow.networks.build import GenericCNN
from modelflow.networks.resolve import preset


def test_conv_layers_are_named_in_their_order():
    assert conv_layers(GenericCNN(preset("generic_1"))) == ["conv_layers.0", "conv_layers.1", "conv_layers.2"]
    assert conv_layers(GenericCNN(preset("cnn2_3"))) == ["conv1", "conv2"]
    assert conv_layers(nn.Linear(2, 2)) == []


def test_the_filters_are_a_copy_of_the_weights():
    model = GenericCNN(preset("generic_2"))
    weights_OIHW = filters(model, "conv_layers.0")
    assert weights_OIHW.shape == (4, 1, 5, 5)
    before = model.get_submodule("conv_layers.0").weight.detach().clone().numpy()
    np.testing.assert_array_equal(weights_OIHW, before)
    weights_OIHW[:] = 0
    np.testing.assert_array_equal(filters(model, "conv_layers.0"), before)


def test_a_layer_of_another_kind_is_told_with_the_convolutions():
    model = GenericCNN(preset("cnn2_3"))
    with pytest.raises(UsageError) as error:
        filters(model, "fc1")
    assert str(error.value) == "layer 'fc1' is a Linear, expected a Conv2d. Name one of conv1, conv2."
    with pytest.raises(UsageError, match="layer 'conv9': GenericCNN has no such layer"):
        filters(model, "conv9")
    with pytest.raises(UsageError, match="this model has none"):
        filters(nn.Sequential(nn.ReLU()), "0")
