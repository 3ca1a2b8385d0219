"""The card's own classes, `GerenicCNN` and `CNN2`, under the names and arguments their users know."""

import os
from collections.abc import Sequence

from modelflow.errors import SpecError
from modelflow.io.arguments import plain
from modelflow.networks.build import GenericCNN
from modelflow.networks.description import Spec, parse_spec
from modelflow.networks.resolve import is_spec
from modelflow.networks.trace import Layer, shape_text
from modelflow.text import short


class GerenicCNN(GenericCNN):
    """The card's builder: says while it builds what each block makes of its input.

    Lists left out are `[3]*n`, `[16]*n`, `[2]*n` and `[50]*(amnt_fc_layers - 1)`; `fc_sizes` has one entry fewer than
    `amnt_fc_layers`, since the last layer is `num_classes`. `verbose=False` is quiet. Raises `ValueError`
    before anything is allocated: "Cannot create conv layer {i}, input size is too small.", or `SpecError` for values
    out of range.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None = None,
        input_size: int = 28,
        amnt_cov_layers: int = 2,
        cov_kernel_sizes: Sequence[int] | None = None,
        cov_features: Sequence[int] | None = None,
        max_pool_sizes: Sequence[int] | None = None,
        amnt_fc_layers: int = 2,
        fc_sizes: Sequence[int] | None = None,
        p: float = 0.3,
        verbose: bool = True,
        seed: int = 42,
    ) -> None:
        _check_number("GerenicCNN(1, 10)", "in_channels", in_channels)
        fields = {
            "in_channels": in_channels,
            "num_classes": num_classes,
            "input_size": input_size,
            "amnt_cov_layers": amnt_cov_layers,
            "cov_kernel_sizes": cov_kernel_sizes,
            "cov_features": cov_features,
            "max_pool_sizes": max_pool_sizes,
            "amnt_fc_layers": amnt_fc_layers,
            "fc_sizes": fc_sizes,
            "p": p,
        }
        spec = parse_spec(plain(fields), "GerenicCNN")
        assert isinstance(spec, Spec)
        size = input_size
        for i, (kernel, pool) in enumerate(zip(spec.cov_kernel_sizes, spec.max_pool_sizes, strict=True)):
            after_conv, after_pool = self._compute_next_dims(size, kernel, pool)
            if size <= 1 or after_conv < 1 or after_pool < 1:
                raise ValueError(f"Cannot create conv layer {i}, input size is too small.")
            size = after_pool
        super().__init__(spec, seed)
        self.in_channels = spec.in_channels
        self.num_classes = spec.num_classes
        self.input_size = spec.input_size
        self.amnt_cov_layers = spec.amnt_cov_layers
        self.cov_kernel_sizes = list(spec.cov_kernel_sizes)
        self.cov_features = list(spec.cov_features)
        self.max_pool_sizes = list(spec.max_pool_sizes)
        self.amnt_fc_layers = spec.amnt_fc_layers
        self.fc_sizes = list(spec.fc_sizes)
        if verbose:
            print("\n".join(_summary(spec, self.trace.layers)))

    def _compute_next_dims(self, current_dim: int, kernel_size: int, max_pool_size: int) -> tuple[int, int]:
        conv_dim = current_dim - kernel_size + 1
        return conv_dim, conv_dim // max_pool_size


class CNN2(GenericCNN):
    """The card's base model: two blocks of `n_feature` channels (kernel 3, pool 2), then 50 units and the classes.

    Takes images of 28 x 28. Raises `SpecError` for values out of range.
    """

    def __init__(
        self, n_feature: int, in_channels: int = 1, num_classes: int = 10, p: float = 0.3, seed: int = 42
    ) -> None:
        _check_number("CNN2(5)", "n_feature", n_feature)
        fields = {"in_channels": in_channels, "num_classes": num_classes, "cov_features": [n_feature] * 2, "p": p}
        super().__init__(parse_spec(fields | {"family": "cnn2"}, "CNN2"), seed)
        self.n_feature = n_feature


def _check_number(form: str, what: str, value: object) -> None:
    """Raises `SpecError` where a spec, or whatever says one, stands in a number's place."""
    if is_spec(value) or (isinstance(value, str | os.PathLike) and not str(value).isdigit()):
        name = form.partition("(")[0]
        raise SpecError(
            f"{name}: {what} = {short(value)}: expected a whole number, as in {form}. For a preset, a spec or its "
            "fields: GenericCNN('generic_2')."
        )


def _summary(spec: Spec, layers: tuple[Layer, ...]) -> list[str]:
    convs = [layer for layer in layers if layer.kind == "conv"]
    pools = [layer for layer in layers if layer.kind == "pool"]
    linears = [layer for layer in layers if layer.kind == "linear"]
    lines = []
    sizes = zip(spec.cov_kernel_sizes, spec.max_pool_sizes, strict=True)
    for i, (conv, pool, (kernel, size)) in enumerate(zip(convs, pools, sizes, strict=True)):
        lines += [
            f"conv{i}: {shape_text(conv.input_shape)} -> {shape_text(conv.output_shape)} "
            f"({conv.output_shape[0]} channels, kernel {kernel}x{kernel}), max pool {size}x{size} "
            f"-> {shape_text(pool.output_shape)}",
            f"conv{i} output size (after max pool): {pool.output_shape[1]}x{pool.output_shape[2]}",
        ]
    return lines + [f"fc{i}: {fc.input_shape[0]} -> {fc.output_shape[0]}" for i, fc in enumerate(linears)]
