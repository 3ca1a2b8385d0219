"""Functions written into one module, each by its name; those called from without flush denormal numbers to zero."""

from collections.abc import Callable

from llvmlite import ir

from modelflow.kernels.denormals import flushed_to_zero
from modelflow.kernels.emit import I64, PTR, Code, Num

VOID = ir.VoidType()
TRAIN = (
    "images",
    "labels",
    "order",
    "count",
    "batch",
    "params",
    "memory",
    "scalars",
    "targets",
    "changes",
    "seed",
    "start",
    "losses",
    "thread",
    "threads",
    "barrier",
)
LOGITS = ("images", "count", "params", "memory", "blocks_at_once", "out")
PACK = ("flat", "packed")
INTEGERS = (
    *("count", "batch", "seed", "start", "blocks_at_once", "valid", "number", "keys", "begin", "before"),
    *("thread", "threads", "left", "step"),
)


class Functions:
    """A module that functions are written into."""

    def __init__(self, lanes: int, architecture: str) -> None:
        self.lanes = lanes
        self.architecture = architecture
        self.module = ir.Module("network")
        self.functions: dict[str, tuple[ir.Function, tuple[str, ...]]] = {}

    @property
    def text(self) -> str:
        return str(self.module)

    def function(self, name: str, arguments: str, write: Callable[[Code], None], result: ir.Type = VOID) -> None:
        """A function whose body `write` writes; `arguments` are names: numbers if in INTEGERS, else memory."""
        names = tuple(arguments.split())
        k = Code(self.module, name, {n: I64 if n in INTEGERS else PTR for n in names}, result, self.lanes)
        write(k)
        if result is VOID:
            k.give()
        self.functions[name] = (k.function, names)

    def entry(self, name: str, arguments: tuple[str, ...], write: Callable[[Code], None], result: ir.Type) -> None:
        """As `function`, one that is called from without: what it does is done with denormals flushed to zero."""
        inner = f"{name}_flushed"

        def enter(k: Code) -> None:
            with flushed_to_zero(k, self.architecture):
                given = self.call(k, inner)
            if result is not VOID:
                k.give(given)

        self.function(inner, " ".join(arguments), write, result)
        self.function(name, " ".join(arguments), enter, result)

    def call(self, k: Code, name: str, **values: Num) -> Num:
        """Calls a function, its arguments taken from `values` or from those of the same name in the caller."""
        function, names = self.functions[name]
        return k.call(function, *(values[n] if n in values else getattr(k, n) for n in names))
