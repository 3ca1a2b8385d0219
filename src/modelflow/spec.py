"""What an architecture is: a frozen, validated description, read from JSON, YAML or Python. No torch.

The field names are those of spec files; `shapes.trace` translates a spec into layers, which the rest of the code works on.

    spec = Spec(in_channels=1, num_classes=10, cov_features=[8, 16], cov_kernel_sizes=[3, 3])
    spec = read_spec("my_net.json")
"""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from modelflow.errors import SpecError

MAX_FILE_BYTES = 1 << 20
MAX_LAYERS = 1000
MAX_SIZE = 1 << 20

PER_BLOCK = ("cov_kernel_sizes", "cov_features", "max_pool_sizes")
DEFAULTS = {"cov_kernel_sizes": 3, "cov_features": 16, "max_pool_sizes": 2, "fc_sizes": 50}

Size = Annotated[int, Field(ge=1, le=MAX_SIZE, strict=True)]
Count = Annotated[int, Field(ge=1, le=MAX_LAYERS, strict=True)]
Sizes = Annotated[
    tuple[Size, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value), Field(max_length=MAX_LAYERS)
]


class Spec(BaseModel):
    """An architecture: blocks of convolution, ReLU and max-pooling, then fully connected layers.

    Lists that are left out take the defaults `[3]*n`, `[16]*n`, `[2]*n` and `[50]*(amnt_fc_layers - 1)`; counts that are
    left out are the lengths of the lists (2 where no list says otherwise). `fc_sizes` leaves out the last fully connected
    layer, whose size is `num_classes`. The family `cnn2` names its layers conv1, conv2, fc1, fc2 and drops out before
    every fully connected layer; `generic` names them conv_layers.0, … and leaves the last one without dropout.

    Raises `pydantic.ValidationError`; `parse_spec` and `read_spec` raise `SpecError` with the mend.
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
        filled = {key: value for key, value in given.items() if value is not None}
        filled.setdefault("amnt_cov_layers", _longest(filled, PER_BLOCK, 2))
        filled.setdefault("amnt_fc_layers", _longest(filled, ("fc_sizes",), 1) + 1)
        lengths = dict.fromkeys(PER_BLOCK, filled["amnt_cov_layers"]) | {"fc_sizes": _less_one(filled["amnt_fc_layers"])}
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
    if len(values) != expected:
        raise ValueError(f"{name} = {list(values)} has {len(values)} entries, expected {expected} ({why}); add or drop entries")


def parse_spec(fields: Any, where: str = "spec") -> Spec:
    """The spec that `fields` (a mapping) describes; `where` names its origin in messages.

    Raises `SpecError` with field, value, what is expected and a mend.
    """
    if isinstance(fields, Spec):
        return fields
    if not isinstance(fields, Mapping):
        raise SpecError(f"{where}: expected an object of fields such as in_channels, got {_short(fields)}")
    try:
        return Spec.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(f"{where}: " + explain(error, list(Spec.model_fields))) from None


def explain(error: ValidationError, known: list[str]) -> str:
    """A validation error in words: field, value, what is expected, and a mend where one can be told."""
    return "; ".join(_explain_one(dict(item), known) for item in error.errors()[:5])


def _explain_one(item: dict[str, Any], known: list[str]) -> str:
    field = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in item["loc"]))
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key {field!r}; {mend}"
    if item["type"] == "missing":
        return f"{field} is missing; add it"
    message = str(item["msg"]).removeprefix("Value error, ")
    if not field:
        return message
    expected = message.replace("Input should be", "expected").replace("a valid tuple", "a list of integers")
    return f"{field} = {_short(item['input'])}: {expected[0].lower()}{expected[1:]}; change it"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_spec(path: str | Path) -> Spec:
    """The spec in a JSON or YAML file; lines that begin with `//` are comments.

    Raises `SpecError` when the file is missing, too large, not readable as JSON or YAML, or no valid spec.
    """
    return parse_spec(read_fields(path), str(path))


def read_fields(path: str | Path) -> Any:
    """The plain data in a JSON (.json) or YAML (any other ending) file of at most 1 MiB.

    Raises `SpecError` naming the file and what is wrong with it.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        return _parse_json(text) if path.suffix.lower() == ".json" else _parse_yaml(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SpecError(f"{path}: not readable as {path.suffix.lstrip('.').upper() or 'YAML'}: {reason}; mend the file") from None


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise SpecError(f"{path}: no such file; give the path of a JSON or YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from None
    except ValueError:
        raise SpecError(f"{str(path)!r}: not a path; give the path of a JSON or YAML file") from None
    if len(content) > MAX_FILE_BYTES:
        raise SpecError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes, which no spec needs; is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8; is it the right file?") from None


def _parse_json(text: str) -> Any:
    """JSON with `//` comment lines; failing that, the card's dialect: a trailing comma, sizes given as an expression."""
    text = re.sub(r"(?m)^\s*//.*$", "", text)
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        try:
            return _evaluate(text.strip().rstrip(","))
        except ValueError:
            raise error from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(key for key in fields if [name for name, _ in pairs].count(key) > 1)
        raise SpecError(f"the key {twice!r} stands there twice; drop one of the two")
    return fields


def _evaluate(text: str) -> Any:
    from simpleeval import EvalWithCompoundTypes

    evaluator = EvalWithCompoundTypes(functions={"int": int, "range": _short_range}, names={"true": True, "false": False, "null": None})
    try:
        return evaluator.eval(text)
    except Exception as error:  # simpleeval lets whatever the expression raises through
        raise ValueError(str(error)) from None


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_LAYERS:
        raise ValueError(f"a range of {len(numbers)} numbers, expected at most {MAX_LAYERS}")
    return numbers


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
