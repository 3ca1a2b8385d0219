"""A spec built as an ordinary `nn.Module`, layer by layer along its trace."""

from torch import Tensor, nn
from torch.nn import functional as F

from modelflow.errors import ShapeError
from modelflow.seeding import drawn_from
from modelflow.shapes import MAX_PARAMETERS, Layer, shape_text, trace
from modelflow.spec import Spec


class GenericCNN(nn.Module):
    """Blocks of convolution, ReLU and max-pooling, then fully connected layers, as `spec` says.

    The initial weights are PyTorch's defaults, drawn from a stream of `seed` alone: the same call gives the same
    network, and torch's global generator is left as it was. Raises `ShapeError` before anything is allocated.
    """

    def __init__(self, spec: Spec, seed: int = 42, max_parameters: int = MAX_PARAMETERS) -> None:
        traced = trace(spec, max_parameters)
        super().__init__()
        self.spec = spec
        self.trace = traced
        self.p = spec.p
        self.drop = nn.Dropout(spec.p)
        self.flattened_dim = traced.of_kind("flatten")[0].output_shape[0]
        with drawn_from(seed, "weights"):
            for layer in traced.layers:
                self._add(layer.name, _module(layer, spec.family))

    def _add(self, name: str, module: nn.Module | None) -> None:
        group, _, index = name.partition(".")
        if module is None:
            return
        if not index:
            self.add_module(group, module)
            return
        if group not in self._modules:
            self.add_module(group, nn.ModuleList())
        modules = self.get_submodule(group)
        assert isinstance(modules, nn.ModuleList)
        modules.append(module)

    def featurizer(self, x_NCHW: Tensor) -> Tensor:
        """The flattened feature maps, N x flattened_dim. Raises `ShapeError` for images of another shape."""
        given = tuple(x_NCHW.shape[1:])
        if given != self.trace.input_shape:
            raise ShapeError(
                f"the model takes images of {shape_text(self.trace.input_shape)}, got {shape_text(given)}; "
                "build it with the input_size and in_channels of the data"
            )
        for layer in self.trace.layers:
            if layer.kind == "conv":
                x_NCHW = F.relu(self.get_submodule(layer.name)(x_NCHW))
            elif layer.kind == "pool" and self.spec.family == "cnn2":
                x_NCHW = F.max_pool2d(x_NCHW, layer.kernel_size)
            elif layer.kind == "pool":
                x_NCHW = self.get_submodule(layer.name)(x_NCHW)
        return x_NCHW.flatten(1)

    def classifier(self, x_NF: Tensor) -> Tensor:
        """Logits, N x num_classes, from the flattened feature maps."""
        for layer in self.trace.of_kind("linear"):
            x_NF = self.drop(x_NF) if layer.dropout else x_NF
            x_NF = self.get_submodule(layer.name)(x_NF)
            x_NF = F.relu(x_NF) if layer.relu else x_NF
        return x_NF

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Logits, N x num_classes, of images N x in_channels x input_size x input_size."""
        return self.classifier(self.featurizer(x_NCHW))


def _module(layer: Layer, family: str) -> nn.Module | None:
    if layer.kind == "conv":
        return nn.Conv2d(layer.input_shape[0], layer.output_shape[0], layer.kernel_size)
    if layer.kind == "pool" and family == "generic":
        return nn.MaxPool2d(layer.kernel_size)
    if layer.kind == "linear":
        return nn.Linear(layer.input_shape[0], layer.output_shape[0])
    return None
