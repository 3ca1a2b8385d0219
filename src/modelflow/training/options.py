"""Options of an optimizer and a loss that are not their defaults, as plain data for a record.

options(Adam(model.parameters(), weight_decay=5), CrossEntropyLoss(), model)    ->  {"optimizer.weight_decay": 5}
"""

import functools
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import RandomSampler, SequentialSampler, SubsetRandomSampler

from modelflow.data.memory import is_numbers, sha256_of
from modelflow.io.files import sha256
from modelflow.training.augmentation import AS_THEY_ARE, Augmentation

MAX_OPTIONS = 32  # of an optimizer, or of a loss; more are known by one SHA-256
MAX_NUMBERS = 32  # of a list; more are known by their SHA-256
MAX_TEXT_LENGTH = 200
GREATEST = 1e100  # that a record holds as a number
NOT_COMPARED = ("lr", "fused", "foreach", "capturable", "differentiable", "decoupled_weight_decay")
ADDRESS = re.compile(r"(?: at)? 0x[0-9a-fA-F]+")
NO_DEFAULT = object()


def options(
    optimizer: torch.optim.Optimizer,
    loss_fn: object,
    model: nn.Module,
    ema: float | None = None,
    augmentation: Augmentation = AS_THEY_ARE,
) -> dict[str, Any]:
    """By names such as `optimizer.weight_decay` and `loss_fn.label_smoothing`; empty where all have their defaults.

    `optimizer.1.lr` is of the second group of parameters, where it differs from the first group's;
    `optimizer.parameters` says how many numbers each group trains, where that is not one group of all. Values are
    numbers, texts and lists of numbers; of what is long it is the SHA-256. `averaging.ema` is the decay by which the
    weights are averaged, where they are. `augmentation.shift` and the like say how training images are changed.
    """
    of_optimizer = dict(_of_groups(optimizer)) | _trained(optimizer, model)
    averaging = {} if ema is None else {"averaging.ema": ema}
    augmented = {f"augmentation.{name}": value for name, value in augmentation.asked.items()}
    return _few("optimizer.", of_optimizer) | _few("loss_fn.", dict(_of_loss(loss_fn))) | averaging | augmented


def loader_options(loader: object) -> dict[str, Any]:
    """How a training loader chooses images, where it does not shuffle all: by names such as `loader.sampler`."""
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, RandomSampler) and type(sampler) is RandomSampler and not sampler.replacement:
        return {}
    if isinstance(sampler, SequentialSampler) or getattr(loader, "shuffle", True) is False:
        return {"loader.shuffle": False}
    if sampler is None or isinstance(sampler, SubsetRandomSampler):
        return {}  # a loader of another kind, or one whose images the record names
    return {"loader.sampler": type(sampler).__name__} | {
        f"loader.{name}": plain_value(value)
        for name, value in vars(sampler).items()
        if is_numbers(value) or _is_number(value)
    }


def _few(kind: str, found: Mapping[str, object]) -> dict[str, Any]:
    if len(found) > MAX_OPTIONS:
        return {f"{kind}options": f"SHA-256 {sha256(repr(found).encode(errors='backslashreplace'))}"}
    return {kind + name: value for name, value in found.items()}


def _of_groups(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Any]]:
    first, *others = optimizer.param_groups
    names = [name for name in getattr(optimizer, "defaults", {}) if name not in NOT_COMPARED]
    yield from _unlike({name: first.get(name) for name in names}, _defaults(optimizer))
    for i, group in enumerate(others, start=1):
        of_first = {name: plain_value(first.get(name)) for name in ("lr", *names)}
        yield from ((f"{i}.{name}", value) for name, value in _unlike({n: group.get(n) for n in of_first}, of_first))


def _trained(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    sizes = [sum(p.numel() for p in group["params"] if p.requires_grad) for group in optimizer.param_groups]
    usual = sizes == [sum(p.numel() for p in model.parameters())]
    return {} if usual else {"parameters": plain_value(sizes if len(sizes) > 1 else sizes[0])}


def _of_loss(loss_fn: object) -> Iterator[tuple[str, Any]]:
    if isinstance(loss_fn, functools.partial):
        yield from _unlike({"func": loss_fn.func, "args": loss_fn.args or None, **loss_fn.keywords}, {"args": None})
    parts = loss_fn.named_modules() if isinstance(loss_fn, nn.Module) else [("", loss_fn)]
    for place, part in parts:
        if place:
            yield place, type(part).__name__
        kept = {**getattr(part, "__dict__", {}), **getattr(part, "_buffers", {})}
        public = {name: value for name, value in kept.items() if not name.startswith("_") and name != "training"}
        yield from ((f"{place}.{name}".lstrip("."), value) for name, value in _unlike(public, _defaults(part)))


def _unlike(values: Mapping[str, object], usual: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Those, as plain data, that are not as `usual`."""
    for name, value in values.items():
        if (plain := plain_value(value)) != usual.get(name, NO_DEFAULT):
            yield name, plain


def _defaults(part: object) -> dict[str, Any]:
    """What the constructor of its class takes for what is left out, as plain data."""
    try:
        taken = inspect.signature(type(part).__init__).parameters
    except (TypeError, ValueError):
        return {}
    return {name: plain_value(one.default) for name, one in taken.items() if one.default is not inspect.Parameter.empty}


def plain_value(value: object) -> Any:
    """`value` as a record can hold it: a number, a text, a list of numbers, or the SHA-256 of what is long."""
    if isinstance(value, np.generic):
        return plain_value(value.item())
    if is_numbers(value):
        return _of_array(value)
    if value is None or _is_number(value):
        return value
    if isinstance(value, list | tuple) and len(value) <= MAX_NUMBERS and all(map(_is_number, value)):
        return list(value)
    return _text(value)


def _is_number(value: Any) -> bool:
    return type(value) in (bool, int, float) and math.isfinite(value) and abs(value) < GREATEST


def _of_array(values: Any) -> Any:
    if values.ndim == 0:
        return plain_value(values.item())
    listed = values.tolist() if values.ndim == 1 and len(values) <= MAX_NUMBERS else [NO_DEFAULT]
    return listed if all(map(_is_number, listed)) else f"SHA-256 {sha256_of(values)}"


def _text(value: object) -> str:
    """A text, the name of a function or a class, or how anything else prints itself."""
    name = value if isinstance(value, str) else getattr(value, "__name__", None)
    text = name if isinstance(name, str) else ADDRESS.sub("", repr(value))
    if len(text) <= MAX_TEXT_LENGTH and text.isprintable():
        return text
    return f"SHA-256 {sha256(text.encode(errors='backslashreplace'))}"
