"""Where a model trains: on the CPU where the compiled step covers the run and is faster, else on CUDA; or as asked.

A small network's steps are too short for an accelerator: launching them takes longer than the compiled step computes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from modelflow.errors import UsageError

MACS_ON_CPU = 30e6  # of a step: with more, an H100 was faster than one core (docs/explanation/performance.md)
KNOWN = ("cpu", "cuda", "mps", "xpu")
EXPECTED = "expected cpu, cuda, cuda:N, mps, xpu or xpu:N"


class Choice(NamedTuple):
    """A device, and why it was chosen, in words."""

    device: torch.device
    why: str


def devices_here() -> dict[str, int]:
    """How many devices of each kind torch sees on this machine."""
    counts = {
        "cuda": max(1, torch.cuda.device_count()) if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "xpu": max(1, torch.xpu.device_count()) if torch.xpu.is_available() else 0,
    }
    return {"cpu": 1} | {kind: count for kind, count in counts.items() if count}


def choose_device(
    asked: torch.device | str | int | None, given: torch.device, reason: str, here: Mapping[str, int]
) -> Choice:
    """The device for a model that was `given` on one; `reason` is that for CUDA (see `reason_for_cuda`).

    Raises `UsageError` for a device that is unknown or not `here`.
    """
    if asked is not None:
        return Choice(check_device(asked, here), "asked for")
    if given.type != "cpu":
        return Choice(given, "the model was already there")
    cpu = torch.device("cpu")
    if not reason:
        return Choice(cpu, "the compiled step covers the run")
    if "cuda" in here:
        return Choice(torch.device("cuda"), reason)
    return Choice(cpu, "there is no CUDA device")


def reason_for_cuda(unsupported_reason: str, macs: int) -> str:
    """Why a run is CUDA's, in words: the compiled step cannot train it, or a step of so many `macs` takes it longer."""
    if unsupported_reason:
        return f"the compiled step does not cover the run: {unsupported_reason}"
    return f"its steps of {macs / 1e6:.0f} million multiply-accumulates are faster there" if macs > MACS_ON_CPU else ""


def check_device(asked: torch.device | str | int, here: Mapping[str, int] | None = None) -> torch.device:
    """The device by its name. Raises `UsageError` for one that is unknown, or not `here` where that is given."""
    try:
        device = torch.device(f"cuda:{asked}" if isinstance(asked, int) else str(asked).lower())
    except (RuntimeError, TypeError, ValueError):
        raise UsageError(f"device {str(asked)!r:.40}: {EXPECTED}") from None
    if device.type not in KNOWN:
        raise UsageError(f"device {str(asked)!r:.40}: {EXPECTED}")
    if here is not None and (device.index or 0) >= here.get(device.type, 0):
        seen = ", ".join(f"{kind} ({count})" if count > 1 else kind for kind, count in here.items())
        raise UsageError(
            f"device {str(asked)!r:.40}: torch sees {seen} on this machine. Name one of these, or leave it out."
        )
    return device


def device_of(model: nn.Module) -> torch.device:
    """Where the first of the model's parameters lies."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def in_words(choice: Choice, asked: bool, here: Mapping[str, int]) -> list[str]:
    """What was chosen and why, for the record; nothing where there was nothing to choose."""
    others = [kind for kind in here if kind != choice.device.type]
    if not asked and not others:
        return []
    also = "" if asked else f" (also available with device= or --device: {', '.join(others)})"
    return [f"device {choice.device}: {choice.why}{also}"]
