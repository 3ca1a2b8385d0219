"""What an architecture is: a frozen, validated description, read from JSON, YAML or Python. No torch.

The field names are those of spec files; `trace.trace` translates a spec into layers, which the rest works on.

    spec = Spec(in_channels=1, num_classes=10, cov_features=[8, 16], cov_kernel_sizes=[3, 3])
    spec = read_spec("my_net.json")                      # or of a preset's name, such as "generic_2"
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from modelflow.errors import SpecError
from modelflow.io.arguments import plain
from modelflow.io.config import read_fields
from modelflow.io.validation import did_you_mean, explain
from modelflow.text import short

MAX_LAYERS = 1000
MAX_SIZE = 1 << 20

PRESETS = Path(__file__).parent / "presets"  # the card's seven specs, as files
PER_BLOCK = ("cov_kernel_sizes", "cov_features", "max_pool_sizes")
DEFAULTS = {"cov_kernel_sizes": 3, "cov_features": 16, "max_pool_sizes": 2, "fc_sizes": 50}

Size = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]
Count = Annotated[int, Field(ge=1, le=MAX_LAYERS, strict=True)]
Sizes = Annotated[
    tuple[Size, ...],
    Field(max_length=MAX_LAYERS, strict=True),
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]


class Spec(BaseModel):
    """An architecture: blocks of convolution, ReLU and max-pooling, then fully connected layers.

    Lists that are left out (or None) take the defaults `[3]*n`, `[16]*n`, `[2]*n` and `[50]*(amnt_fc_layers - 1)`;
    counts that are left out are the lengths of the lists (2 where no list says otherwise). `fc_sizes` leaves out the
    last fully connected layer, whose size is `num_classes`. The family `cnn2` names its layers conv1, conv2, fc1, fc2
    and drops out before every fully connected layer; `generic` names them conv_layers.0, … and leaves the last one
    without dropout.

    Raises `pydantic.ValidationError`; `parse_spec` and `read_spec` raise `SpecError` with the fix.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_channels: Size
    num_classes: Size
    input_size: Size = 28
    amnt_cov_layers: Count = 2
    cov_kernel_sizes: Sizes = ()
    cov_features: Sizes = ()
    max_pool_sizes: Sizes = ()
    amnt_fc_layers: Count = 2
    fc_sizes: Sizes = ()
    p: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.3
    family: Literal["generic", "cnn2"] = "generic"

    @model_validator(mode="before")
    @classmethod
    def _fill_in_what_was_left_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        filled = {key: plain(value) for key, value in given.items() if value is not None or key not in DEFAULTS}
        filled.setdefault("amnt_cov_layers", _longest(filled, PER_BLOCK, 2))
        filled.setdefault("amnt_fc_layers", _longest(filled, ("fc_sizes",), 1) + 1)
        lengths = dict.fromkeys(PER_BLOCK, filled["amnt_cov_layers"]) | {
            "fc_sizes": _less_one(filled["amnt_fc_layers"])
        }
        for name, length in lengths.items():
            if name not in filled and isinstance(length, int) and length <= MAX_LAYERS:
                filled[name] = [DEFAULTS[name]] * length
        return filled

    @model_validator(mode="after")
    def _lists_have_the_length_of_their_count(self) -> Self:
        for name in PER_BLOCK:
            _check_length(name, getattr(self, name), self.amnt_cov_layers, f"amnt_cov_layers = {self.amnt_cov_layers}")
        one_fewer = f"amnt_fc_layers = {self.amnt_fc_layers}, one fewer: the last layer is num_classes"
        _check_length("fc_sizes", self.fc_sizes, self.amnt_fc_layers - 1, one_fewer)
        return self

    def to_json(self) -> str:
        """The spec as a JSON text that `read_spec` reads back."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def _longest(given: Mapping[str, Any], names: tuple[str, ...], default: int) -> int:
    lengths = [len(given[name]) for name in names if isinstance(given.get(name), (list, tuple))]
    return max(lengths, default=default)


def _less_one(count: Any) -> Any:
    return count - 1 if isinstance(count, int) else count


def _check_length(name: str, values: tuple[int, ...], expected: int, why: str) -> None:
    if len(values) == expected:
        return
    fix = f"add {expected - len(values)}" if len(values) < expected else f"drop {len(values) - expected}"
    raise ValueError(f"{name} = {short(list(values))} has {len(values)} entries, expected {expected} ({why}); {fix}")


def parse_spec(fields: Any, where: str = "spec") -> Spec:
    """The spec that `fields` (a mapping) describes; `where` names its origin in messages.

    Raises `SpecError` with field, value, what is expected and a fix.
    """
    if isinstance(fields, Spec):
        return fields
    if not isinstance(fields, Mapping):
        raise SpecError(
            f"{where}: expected an object of fields such as in_channels, got {short(fields)}; write such an object"
        )
    try:
        return Spec.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(f"{where}: " + explain(error, list(Spec.model_fields))) from None


def read_spec(path: str | os.PathLike[str] | Mapping[str, Any] | Spec) -> Spec:
    """The spec in a JSON or YAML file; in JSON, lines that begin with `//` are comments.

    In place of the path, a preset's name, the fields themselves, or a model built from a spec will do. Raises
    `SpecError` when the file is missing, too large, not readable as JSON or YAML, or no valid spec.
    """
    if not isinstance(path, str | os.PathLike):
        return parse_spec(getattr(path, "spec", path))
    path = _file_of(path)
    fields = read_fields(path)
    if isinstance(fields, dict) and "models" in fields:
        raise SpecError(f"{path}: is a study (it has models), expected one spec; for the study: modelflow run {path}")
    return parse_spec(fields, str(path))


def _file_of(path: str | os.PathLike[str]) -> Path:
    """The path itself where there is something; else a preset's of this name. Raises `SpecError` for one like it."""
    path, known = Path(path), {file.stem: file for file in PRESETS.glob("*.json")}
    if os.path.exists(path) or str(path) in known:
        return path if os.path.exists(path) else known[str(path)]
    if path.name == path.stem == str(path) and (hint := did_you_mean(str(path), known)):
        raise SpecError(f"{path}: no such file or preset; {hint}")
    return path
