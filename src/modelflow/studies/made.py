"""A module that code makes, fresh for a seed: its initial weights are drawn from the seed, and nobody else has them."""

import sys
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import torch
from torch import nn

from modelflow.errors import ModelFlowError, UsageError
from modelflow.networks.build import module_sha256
from modelflow.networks.code import Code, Maker, in_words
from modelflow.text import short
from modelflow.training.preflight import check_model
from modelflow.training.seeding import seeded_rng

OF_THE_SEED = "initial weights: the module's own, drawn from the seed"
OF_NO_SEED = "initial weights: the module's own, the same for every seed"
OF_MORE = "initial weights: the module's own, not the same for the same seed. The run cannot be repeated."


class Made(NamedTuple):
    """A module, and what a reader of its run must know of its initial weights."""

    model: nn.Module
    note: str


def made(code: Code, name: str, seed: int) -> Made:
    """The module of the model `name`, whose initial weights are drawn from torch's global generators set to the seed.

    Those are put back afterwards. It is made once more with the seed, and once with another, to know what its weights
    depend on. Raises `UsageError` for what makes no module, the same one each time, or another one than it has made
    before.
    """
    maker = code.maker(name)
    model, again, other = (call(maker, name, number) for number in (seed, seed, seed + 1))
    if _storages(model) & (_storages(again) | _storages(other)):
        raise UsageError(
            f"{name}: gives the same weights each time: a second seed would train on. Make the module in the "
            "function: lambda: MyNet()."
        )
    if not code.is_in_file and module_sha256(model) != code.sha256:
        raise UsageError(f"{name}: gives another network for seed {seed}. Make the same layers each time.")
    if not is_same(model, again):
        return Made(model, OF_MORE)
    return Made(model, OF_NO_SEED if is_same(model, other) else OF_THE_SEED)


def call(maker: Maker, name: str, seed: int) -> nn.Module:
    """What a function makes with the global generators set to a stream of the seed.

    Raises `UsageError` where that is no module with weights that can be trained, or fails.
    """
    with seeded_rng(seed, "weights"), redirect_stdout(sys.stderr):
        try:
            model = maker()
        except ModelFlowError as error:
            raise UsageError(f"{name}: {error}") from error
        except (Exception, SystemExit) as error:
            raise UsageError(f"{name}: its function failed: {in_words(error)}{_without_arguments(error)}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"{name}: its function gives {short(model)}, expected a torch.nn.Module. Return the module.")
    if not any(p.requires_grad for p in model.parameters()):
        raise UsageError(f"{name}: {type(model).__name__} has no weights that can be trained. Add a layer.")
    try:
        check_model(model)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    return model


def _without_arguments(error: BaseException) -> str:
    missing = isinstance(error, TypeError) and "argument" in str(error)
    return ". It is called without arguments: give them within, as lambda: MyNet(10)." if missing else ""


def _storages(model: nn.Module) -> set[int]:
    """Where its weights lie."""
    return {p.data_ptr() for p in model.parameters()} - {0}


def is_same(model: nn.Module, other: nn.Module) -> bool:
    """Whether both have the same weights and buffers."""
    pairs: list[tuple[Any, Any]] = list(zip(model.state_dict().items(), other.state_dict().items(), strict=False))
    return len(model.state_dict()) == len(other.state_dict()) and all(
        name == other_name and (not isinstance(a, torch.Tensor) or torch.equal(a, b))
        for (name, a), (other_name, b) in pairs
    )
