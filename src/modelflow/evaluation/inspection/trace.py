"""trace: the layers of a network, or of any module, that show themselves. No torch until a module is given.

trace("c16 s24/2 gap fc")                   from a spec: nothing is built
trace(MyNet(), input=(3, 32, 32))           from a forward pass of one image
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelflow.errors import UsageError
from modelflow.io.arguments import whole
from modelflow.networks.drawn import ShownTrace
from modelflow.networks.drawn import trace as trace_of_spec
from modelflow.networks.trace import MAX_PARAMETERS
from modelflow.text import short

if TYPE_CHECKING:
    from torch import nn

MAX_VALUES = 1 << 24  # of an image


def trace(model: Any, input: Sequence[int] | None = None, max_parameters: int = MAX_PARAMETERS) -> ShownTrace:  # noqa: A002
    """The layers of a network, with their shapes and costs.

    Of a spec nothing is built. A module runs once, in eval mode on one image of zeros, and stays as it was: its mode,
    buffers, gradients, and the generators of random numbers. Multiply-accumulates are those that torch's flop counter
    has formulas for; what it has none for is named.

    Args:
        model: a preset's name, a short form, a spec, its fields, the path of a spec file, a model built from a spec, or
            any module.
        input: the shape of an image for a module: channels, height, width. A model built from a spec knows it.
        max_parameters: of a spec.

    Raises:
        ShapeError: where a layer of a spec cannot take its input, or for more than `max_parameters` parameters.
        UsageError: for what is no network, and for a module without `input`.
        SpecError: for a spec that is none.
        DataError: where the module cannot take such an image.
    """
    if not _is_module(model) or (input is None and hasattr(model, "spec")):
        if input is not None:
            raise UsageError(f"trace: input = {short(input)}: a spec has its own. Leave it out, or give a module.")
        return trace_of_spec(model, max_parameters)
    return _of_module(model, _image_shape(model, input))


def _is_module(model: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _image_shape(model: object, given: object) -> tuple[int, ...]:
    if given is None:
        raise UsageError(f"trace: {type(model).__name__} is a module. Give the shape of an image: input=(1, 28, 28).")
    if isinstance(given, str | bytes) or not isinstance(given, Sequence) or not given:
        raise UsageError(f"trace: input = {short(given)}: expected channels, height and width, such as (1, 28, 28)")
    shape = tuple(whole(f"input[{i}]", size, 1) for i, size in enumerate(given))
    whole("values of an input", math.prod(shape), 1, MAX_VALUES)
    return shape


def _of_module(model: "nn.Module", shape: tuple[int, ...]) -> ShownTrace:
    import torch

    from modelflow.data.convert import dtype_of
    from modelflow.evaluation.inspection.leaves import module_trace
    from modelflow.training.devices import device_of
    from modelflow.training.preflight import check_model, explained

    check_model(model)
    x_1CHW = torch.zeros(1, *shape, dtype=dtype_of(model) or torch.int64, device=device_of(model))
    with explained(f"trace of {type(model).__name__}", x_1CHW):
        return module_trace(model, x_1CHW, type(model).__name__)
