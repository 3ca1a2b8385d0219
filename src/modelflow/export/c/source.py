"""A network as one C99 file and a header, which allocate nothing: `model.c` and `model.h`.

    model = c_model("generic_2", trace(spec), state, Pixels((0.286,), (0.353,)), class_names, image)
    model.files["model.c"], model.constant_bytes, model.ram_bytes

Each function of C lies in a file of `code/`; only those that the network needs are written. Each operation is a `Step`
by `float_steps` or `int8_steps`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader

from modelflow.errors import UsageError
from modelflow.export.c import float_steps, int8_steps, quantise
from modelflow.export.c.pieces import Array, Constant, Place, Step, number, text
from modelflow.export.c.evaluate import evaluated
from modelflow.export.c.lowering import Program, lowered
from modelflow.export.c.memory import planned
from modelflow.export.c.operations import Floats, Operation
from modelflow.export.c.pixels import Images, Pixels
from modelflow.networks.layers.tape import Values
from modelflow.networks.trace import Trace

CODE = Path(__file__).parent / "code"
FUNCTIONS = (  # in the order in which they stand
    *("window", "bounded", "saturated", *float_steps.ACTIVATIONS),
    *("convolve", "dense", "pool_max", "pool_average", "activate", "add", "weigh"),
)
TOLERANCE = 1e-4  # of the self-test in float, as a share of the largest logit
MAX_PARAMETERS = 4_000_000  # 50 MB of text in float
KINDS = {"float": "Weights and activations in float32.", "int8_t": "Weights and activations in int8."}


@dataclass(frozen=True)
class Arithmetic:
    """What float and int8 do in their own way."""

    type: str
    program: Program
    step: Callable[[Operation, int, Place], Step]
    factor: Floats
    offset: Floats
    logits: Floats  # of the golden image
    tolerance: float
    functions: tuple[str, ...] = ()
    logit: tuple[int, np.float32] = (0, np.float32(1))  # zero and step of what is stored


@dataclass(frozen=True)
class CModel:
    """A network written in C."""

    title: str
    class_names: tuple[str, ...]
    white: int
    golden_image: Images
    arithmetic: Arithmetic

    @property
    def files(self) -> dict[str, str]:
        """The text of `model.c` and `model.h`."""
        environment = Environment(
            loader=FileSystemLoader(CODE), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
        )
        return {name: environment.get_template(f"{name}.j2").render(self._words) for name in ("model.h", "model.c")}

    @property
    def constant_bytes(self) -> int:
        """Bytes of constants in flash: weights, windows, tables, the golden image and its logits. Code is left out."""
        return sum(constant.bytes for constant in self.constants)

    @property
    def ram_bytes(self) -> int:
        """Bytes of static memory. The caller's image and probabilities and the stack are left out."""
        return self._memory.size * (1 if self.arithmetic.type == "int8_t" else 4)

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Every constant of `model.c`, in order."""
        made = self.arithmetic
        own = [
            *(Array("pixel_factor", made.factor), Array("pixel_offset", made.offset)),
            *(Array("golden_image", self.golden_image), Array("golden_logits", made.logits)),
        ]
        return (*(constant for step in self._steps for constant in step.constants), *own)

    @cached_property
    def _memory(self) -> Any:
        return planned(self.arithmetic.program)

    def _at(self, value: Values) -> str:
        place = self._memory.place(value)
        return f"memory + {place}" if place else "memory"

    @cached_property
    def _steps(self) -> list[Step]:
        operations = self.arithmetic.program.operations
        return [self.arithmetic.step(operation, i, self._at) for i, operation in enumerate(operations)]

    @property
    def _functions(self) -> list[str]:
        needed = {name for step in self._steps for name in step.functions} | {*self.arithmetic.functions}
        return [self._function(name) for name in FUNCTIONS if name in needed]

    def _function(self, name: str) -> str:
        if name in float_steps.ACTIVATIONS:
            return float_steps.activation(name)
        folder = CODE / ("int8" if self.arithmetic.type == "int8_t" else "float")
        return (folder / f"{name}.c").read_text("utf-8")

    @property
    def _words(self) -> dict[str, Any]:
        """What the templates say."""
        made, functions = self.arithmetic, self._functions
        program = made.program
        height, width, channels = self.golden_image.shape
        return {
            "title": self.title,
            "kind": KINDS[made.type],
            "type": made.type,
            "int8": made.type == "int8_t",
            **{"height": height, "width": width, "channels": channels, "white": self.white},
            "classes": len(self.class_names),
            "class_names": ", \\\n    ".join(map(text, self.class_names)),
            "flash": self.constant_bytes,
            "ram": self.ram_bytes,
            "size": self._memory.size,
            "functions": functions,
            "libm": any(word in function for word in float_steps.OF_MATH for function in functions),
            "constants": self.constants,
            "input": self._at(program.input),
            "output": self._at(program.output),
            "calls": [(op.name, step.call) for op, step in zip(program.operations, self._steps, strict=True)],
            "zero": made.logit[0],
            "step": number(made.logit[1]),
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
    values = evaluated(program, pixels.normalised(golden))
    logits = values[program.output.owner].numpy().ravel()
    tolerance = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    return Arithmetic("float", program, float_steps.step, pixels.factor, pixels.offset, logits, tolerance)


def _in_int8(network: quantise.Quantised, golden: Images) -> Arithmetic:
    scale = network.scale(network.program.output)
    return Arithmetic(
        "int8_t",
        network.program,
        lambda operation, index, at: int8_steps.step(operation, index, at, network),
        network.factor,
        network.offset,
        quantise.logits(network, golden).ravel(),
        1.5 * float(scale.step),  # a compiler that fuses a product and a sum may round another way
        ("saturated",),
        (scale.zero, scale.step),
    )
