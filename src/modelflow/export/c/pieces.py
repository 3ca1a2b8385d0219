"""Pieces of C: constants with their bytes, calls, numbers that are read back exactly, safe texts. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from modelflow.networks.layers.tape import Values

PER_LINE = 10
TYPES = {"float32": "float", "int8": "int8_t", "uint8": "uint8_t"}
Place = Callable[[Values], str]  # the C expression of where a value lies


@dataclass(frozen=True, eq=False)
class Array:
    """A constant array, a field of the struct `constants`."""

    name: str
    values: "np.ndarray[Any, Any]"

    @property
    def bytes(self) -> int:
        return self.values.nbytes

    @property
    def alignment(self) -> int:
        return self.values.itemsize

    @property
    def field(self) -> str:
        return f"{TYPES[self.values.dtype.name]} {self.name}[{self.values.size}]"

    @property
    def content(self) -> str:
        shown = [number(value) for value in self.values.ravel()]
        lines = [", ".join(shown[i : i + PER_LINE]) for i in range(0, len(shown), PER_LINE)]
        return "{\n        " + ",\n        ".join(lines) + "\n    }"


@dataclass(frozen=True)
class Window:
    """How a kernel or a pool moves, a field of the struct `constants`."""

    name: str
    numbers: tuple[int, ...]
    alignment: ClassVar[int] = 4

    @property
    def bytes(self) -> int:
        return self.alignment * len(self.numbers)

    @property
    def field(self) -> str:
        return f"Window {self.name}"

    @property
    def content(self) -> str:
        return f"{{{', '.join(map(str, self.numbers))}}}"


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
