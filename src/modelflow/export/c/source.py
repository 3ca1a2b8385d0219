"""A network as one C99 file and a header, which allocate nothing: `model.c` and `model.h`.

    model = c_model("generic_2", trace(spec), state, Pixels((0.286,), (0.353,)), class_names, image)
    model.files()["model.c"], model.constant_bytes, model.ram_bytes

Each function of C lies in a file of `code/`; only those that the network needs are written. Each operation is a `Step`
by `float_steps` or `int8_steps`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from modelflow.errors import UsageError
from modelflow.export.c import float_steps, int8_steps, quantise
from modelflow.export.c.evaluate import evaluated
from modelflow.export.c.memory import Memory, planned
from modelflow.export.c.pieces import Array, Constant, Place, Step, number, text
from modelflow.export.c.pixels import Images, Pixels
from modelflow.networks.layers.tape import Values
from modelflow.networks.program.lowering import Program, lowered
from modelflow.networks.program.operations import Floats, Operation
from modelflow.networks.trace import Trace

CODE = Path(__file__).parent / "code"
FUNCTIONS = (  # in the order in which they stand
    *("window", "bounded", "saturated", *float_steps.ACTIVATIONS),
    *("convolve", "dense", "dense_logits", "pool_max", "pool_average", "activate", "add", "weigh", "real"),
)
TOLERANCE = {"float": 1e-4, "int8_t": 1e-2}  # of the self-test, as a share of the largest logit
MAX_PARAMETERS = 4_000_000  # 50 MB of text in float
UNSAFE = re.compile(r"[^\w .+-]")  # in a comment
KINDS = {"float": "Weights and activations in float32.", "int8_t": "Weights and activations in int8."}


@dataclass(frozen=True)
class Arithmetic:
    """What float and int8 do in their own way."""

    type: str
    operations: tuple[Operation, ...]
    stored: Program  # whose values lie in the model's memory
    step: Callable[[Operation, int, Place], Step]
    factor: Floats
    offset: Floats
    logits: Floats  # of the golden image
    functions: tuple[str, ...] = ()  # that normalising takes

    @property
    def is_int8(self) -> bool:
        return self.type == "int8_t"

    @property
    def tolerance(self) -> float:
        """By how much a logit of the golden image may differ."""
        return TOLERANCE[self.type] * max(1.0, float(np.abs(self.logits).max()))


@dataclass(frozen=True)
class CModel:
    """A network written in C."""

    title: str
    class_names: tuple[str, ...]
    white: int
    golden_image: Images
    arithmetic: Arithmetic

    def files(self, stem: str = "model") -> dict[str, str]:
        """The text of a C file and its header, by their names."""
        environment = Environment(
            loader=FileSystemLoader(CODE), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
        )
        words = self._words | {"stem": stem}
        return {f"{stem}.{end}": environment.get_template(f"model.{end}.j2").render(words) for end in ("h", "c")}

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants in flash: weights, windows, tables, the golden image and its logits. Code is left out."""
        return -(-sum(constant.bytes for constant in self.constants) // 4) * 4

    @property
    def ram_bytes(self) -> int:
        """Bytes of static memory. The caller's image and probabilities and the stack are left out."""
        return self._memory.size + 4 * len(self.class_names) if self.arithmetic.is_int8 else 4 * self._memory.size

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Every field of the struct `constants` of `model.c`: those of four bytes first, so that none is padded."""
        made = self.arithmetic
        own = [
            *(Array("pixel_factor", made.factor), Array("pixel_offset", made.offset)),
            *(Array("golden_image", self.golden_image), Array("golden_logits", made.logits)),
        ]
        found = [*(constant for step in self._steps for constant in step.constants), *own]
        return tuple(sorted(found, key=lambda constant: -constant.alignment))

    @cached_property
    def _memory(self) -> Memory:
        return planned(self.arithmetic.stored)

    def _at(self, value: Values) -> str:
        place = self._memory.place(value)
        return f"memory + {place}" if place else "memory"

    @cached_property
    def _steps(self) -> list[Step]:
        made = self.arithmetic
        return [made.step(operation, i, self._at) for i, operation in enumerate(made.operations)]

    @property
    def _functions(self) -> list[str]:
        needed = {name for step in self._steps for name in step.functions} | {*self.arithmetic.functions}
        return [self._function(name) for name in FUNCTIONS if name in needed]

    def _function(self, name: str) -> str:
        if name in float_steps.ACTIVATIONS:
            return float_steps.activation(name)
        folder = CODE / ("int8" if self.arithmetic.is_int8 else "float")
        return (folder / f"{name}.c").read_text("utf-8")

    @property
    def _words(self) -> dict[str, Any]:
        """What the templates say."""
        made, functions = self.arithmetic, self._functions
        height, width, channels = self.golden_image.shape
        return {
            "title": UNSAFE.sub("_", self.title),
            "kind": KINDS[made.type],
            "type": made.type,
            "int8": made.is_int8,
            "height": height,
            "width": width,
            "channels": channels,
            "white": self.white,
            "classes": len(self.class_names),
            "class_names": ", \\\n    ".join(map(text, self.class_names)),
            "flash": self.constant_bytes,
            "ram": self.ram_bytes,
            "size": self._memory.size,
            "functions": functions,
            "libm": any(word in function for word in float_steps.OF_MATH for function in functions),
            "constants": self.constants,
            "input": self._at(made.stored.input),
            "output": "logits" if made.is_int8 else self._at(made.stored.output),
            "calls": [(op.name, step.call) for op, step in zip(made.operations, self._steps, strict=True)],
            "tolerance": number(np.float32(made.tolerance)),
        }


def c_model(
    title: str,
    traced: Trace,
    state: Mapping[str, np.ndarray],
    pixels: Pixels,
    class_names: Sequence[str],
    golden_image: Images,
    calibration: Images | None = None,
) -> CModel:
    """The network in C: in int8 with `calibration`, images of the training set (N x C x H x W bytes), else in float.

    `title` is a model's name. `state` are the tensors of `GenericCNN` by name, `golden_image` is C x H x W bytes, for
    the self-test. Raises `UsageError` for a layer that has no C or a network too large, `DataError` for weights that
    are missing or not finite.
    """
    if traced.parameters > MAX_PARAMETERS:
        raise UsageError(
            f"{title} has {traced.parameters:,} parameters, expected at most {MAX_PARAMETERS:,} for C. "
            "Export it to another format, or take a smaller network."
        )
    program, golden, pixels = lowered(traced, state), golden_image[None], pixels.of(len(golden_image))
    if calibration is None:
        made = _in_float(program, pixels, golden)
    else:
        made = _in_int8(quantise.quantised(program, pixels, calibration), golden)
    turned = np.ascontiguousarray(golden_image.transpose(1, 2, 0))
    return CModel(title, tuple(class_names), pixels.white, turned, made)


def _in_float(program: Program, pixels: Pixels, golden: Images) -> Arithmetic:
    logits = evaluated(program, pixels.normalised(golden))[program.output.owner].float().numpy().ravel()
    operations = program.operations
    return Arithmetic("float", operations, program, float_steps.step, pixels.factor, pixels.offset, logits)


def _in_int8(network: quantise.Quantised, golden: Images) -> Arithmetic:
    operations, logits = network.program.operations, quantise.logits(network, golden).ravel()

    def step(operation: Operation, index: int, at: Place) -> Step:
        write = int8_steps.last_step if operation is operations[-1] else int8_steps.step
        return write(operation, index, at, network)

    factor, offset = network.factor, network.offset
    return Arithmetic("int8_t", operations, network.stored, step, factor, offset, logits, ("saturated",))
