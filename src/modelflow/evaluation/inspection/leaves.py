"""A module run once on an image: each call of a layer with what it gave, its parameters and its multiply-accumulates.

module_trace(GenericCNN("generic_2"), torch.zeros(1, 1, 28, 28), "generic_2").macs  ->  69_320
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from modelflow.evaluation.inspection.hooks import plain_name
from modelflow.networks.layers.kind import Role, Shape
from modelflow.networks.module_trace import ModuleLayer, ModuleTrace
from modelflow.training.modes import as_written, evaluating
from modelflow.training.seeding import seeded_rng

HOLDERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
MULTIPLIES = re.compile(r"attention|rnn|lstm|gru|conv|linear|matmul|mm\b|mv\b|dot\b|cdist|fft")
WORDS: Mapping[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Flatten: "flatten",
    nn.BatchNorm2d: "batch norm",
    nn.AdaptiveAvgPool2d: "adaptive average pool",
    nn.AdaptiveMaxPool2d: "adaptive max pool",
}
POOLS: Mapping[type[nn.Module], str] = {nn.MaxPool2d: "max-pool", nn.AvgPool2d: "average pool"}


class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves hints out
    """Within, the multiply-accumulates of this thread's operations, by the formulas of torch's own flop counter."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs, self.uncounted = 0, dict[str, None]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, getattr(func, "_overloadpacket", func)
        formula = flop_registry.get(packet)
        if formula is None and isinstance(func, torch._ops.OpOverload):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        given = func(*args, **kwargs)
        if formula is not None:
            self.macs += formula(*args, **kwargs, out_val=given) // 2
        elif MULTIPLIES.search(name := packet.__name__):
            self.uncounted[name] = None
        return given


@dataclass
class _Notes:
    """What the hooks take down, in the order in which the calls end."""

    work: Work
    layers: list[ModuleLayer] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)  # of parameters, by id
    began: list[int] = field(default_factory=list)  # multiply-accumulates before the calls under way

    def begin(self, _module: nn.Module, _inputs: object) -> None:
        self.began.append(self.work.macs)

    def end(self, name: str, module: nn.Module, inputs: object, output: object) -> None:
        did, role = words_of(module)
        self.layers.append(
            ModuleLayer(
                name=name,
                input_shape=_shape(inputs),
                output_shape=_shape(output),
                called=type(module).__name__,
                did=did,
                drawn_as=role,
                weights=self.new_parameters(module),
                work=self.work.macs - self.began.pop(),
            )
        )

    def new_parameters(self, module: nn.Module) -> int:
        """Those that were in no module before."""
        new = {id(p): p.numel() for p in module.parameters() if id(p) not in self.counted}
        self.counted |= new.keys()
        return sum(new.values())


def module_trace(model: nn.Module, x_NCHW: Tensor, name: str) -> ModuleTrace:
    """The layers of `model`, as it runs in eval mode on the first of the images.

    Mode, buffers, gradients and random numbers are afterwards as before. What the forward pass raises is not caught.
    """
    leaves = dict({id(module): (place, module) for place, module in reversed([*_leaves(model, "")])}.values())
    x_1CHW = x_NCHW[:1]
    with _untouched(model), Work() as work, _noted(leaves, _Notes(work)) as notes:
        output = model(x_1CHW)
    ran = {layer.name for layer in notes.layers}
    idle = tuple(layer_name for layer_name in leaves if layer_name not in ran)
    gives = _shape(output)
    outside = _outside(model, notes, gives)
    layers = (*notes.layers, outside) if outside.weights or outside.work else tuple(notes.layers)
    return ModuleTrace(tuple(x_1CHW.shape[1:]), layers, name, gives, tuple(work.uncounted), idle)


def _outside(model: nn.Module, notes: _Notes, gives: Shape) -> ModuleLayer:
    """Parameters and work that are of no layer: of functions, or of layers that did not run."""
    work = notes.work.macs - sum(layer.work for layer in notes.layers)
    weights, did = notes.new_parameters(model), ("outside of layers",)
    return ModuleLayer(
        "(outside)", output_shape=gives, called=type(model).__name__, did=did, weights=weights, work=work
    )


def _leaves(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Each module that holds no others, or is torch's own and no mere list of them, by its name."""
    children = list(module.named_children())
    own = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.modules"))
    if not children or own not in HOLDERS:
        yield plain_name(name) or type(module).__name__, module
        return
    for part, child in children:
        yield from _leaves(child, f"{name}.{part}" if name else part)


@contextmanager
def _noted(leaves: Mapping[str, nn.Module], notes: _Notes) -> Iterator[_Notes]:
    """Hooks that take notes, removed whatever happens."""
    handles: list[Any] = []
    try:
        for name, module in leaves.items():
            handles.append(module.register_forward_pre_hook(notes.begin))
            handles.append(module.register_forward_hook(lambda *call, name=name: notes.end(name, *call)))
        with as_written():
            yield notes
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Within in eval mode; buffers and random numbers are put back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with seeded_rng(0, "trace"), torch.enable_grad(), evaluating(model):  # without, attention is one operation
            yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def _shape(values: object) -> Shape:
    """Of the first tensor in some values, without the batch."""
    while isinstance(values, tuple | list) and values:
        values = values[0]
    return tuple(values.shape[1:]) if isinstance(values, Tensor) else ()


def words_of(module: nn.Module) -> tuple[tuple[str, ...], Role]:
    """What a layer does, and how it is drawn."""
    if isinstance(module, nn.modules.conv._ConvNd):
        back, groups = "transposed " * module.transposed, f" in {module.groups} groups" if module.groups > 1 else ""
        return (f"{back}conv {_sizes(module.kernel_size)}{_steps(module.stride)}{groups}",), "conv"
    if (pool := POOLS.get(type(module))) is not None:
        window, stride = _pair(module.kernel_size), _pair(module.stride)
        return (f"{pool} {_sizes(window)}{'' if stride == window else _steps(stride) or ', stride 1'}",), "pool"
    role: Role = "pool" if "Pool" in type(module).__name__ else "linear" if isinstance(module, nn.Linear) else "flatten"
    return (WORDS.get(type(module), type(module).__name__),), role


def _pair(sizes: Any) -> tuple[int, ...]:
    return tuple(sizes) if isinstance(sizes, tuple | list) else (sizes, sizes)


def _sizes(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _steps(stride: tuple[int, ...]) -> str:
    """How a window moves: nothing for one step at a time."""
    if set(stride) == {1}:
        return ""
    return f", stride {stride[0] if len(set(stride)) == 1 else _sizes(stride)}"
