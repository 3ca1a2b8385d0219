"""Pieces of C: constant arrays with their bytes, calls, numbers that are read back exactly, texts that end nothing. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelflow.networks.layers.tape import Values

PER_LINE = 10
TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t"}
Place = Callable[[Values], str]  # the C expression of where a value lies


@dataclass(frozen=True, eq=False)
class Array:
    """A constant array and its name."""

    name: str
    values: "np.ndarray[Any, Any]"

    @property
    def bytes(self) -> int:
        return self.values.nbytes

    def __str__(self) -> str:
        flat = self.values.ravel()
        shown = [number(value) for value in flat]
        lines = [", ".join(shown[i : i + PER_LINE]) for i in range(0, len(shown), PER_LINE)]
        joined = ",\n    ".join(lines)
        return f"static const {TYPES[flat.dtype.name]} {self.name}[{len(flat)}] = {{\n    {joined}\n}};\n"


@dataclass(frozen=True)
class Window:
    """A constant struct of how a kernel or a pool moves."""

    name: str
    numbers: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return 4 * len(self.numbers)

    def __str__(self) -> str:
        return f"static const Window {self.name} = {{{', '.join(map(str, self.numbers))}}};\n"


Constant = Array | Window


@dataclass(frozen=True)
class Step:
    """One operation in C: its constants, the functions of `code` that it needs, and the call."""

    constants: tuple[Constant, ...]
    functions: tuple[str, ...]
    call: str


def number(value: Any) -> str:
    """In as few digits as are read back as the same number."""
    if not isinstance(value, np.floating):
        return str(int(value))
    if not np.isfinite(value):
        return "FLT_MAX" if value > 0 else "-FLT_MAX"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return np.format_float_positional(value, unique=True, trim="0") + "f"
    return np.format_float_scientific(value, unique=True, trim="0") + "f"


def text(words: str) -> str:
    """A string in C, whatever it holds: all but letters, digits and a few signs by their bytes."""
    safe = {*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,/+()"}
    return '"' + "".join(c if c in safe else "".join(f"\\{b:03o}" for b in c.encode()) for c in words) + '"'
