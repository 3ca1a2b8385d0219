"""What an architecture is: a frozen, validated description, read from JSON, YAML or Python. No torch.

The field names are those of spec files; `shapes.trace` translates a spec into layers, which the rest works on.

    spec = Spec(in_channels=1, num_classes=10, cov_features=[8, 16], cov_kernel_sizes=[3, 3])
    spec = read_spec("my_net.json")
"""

import ast
import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from modelflow.errors import SpecError
from modelflow.files import read_bounded

MAX_FILE_BYTES = 1 << 20
MAX_YAML_BYTES = 1 << 16  # its parser is slow
MAX_YAML_DEPTH = 50
MAX_EXPRESSION_STEPS = 10_000
MAX_COMPUTED = 1 << 64  # in size, of any number that an expression makes
LONGEST_WORDS = 500  # of a parser
MAX_LAYERS = 1000
MAX_SIZE = 1 << 20

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
        filled = {key: value for key, value in given.items() if value is not None or key not in DEFAULTS}
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
    mend = f"add {expected - len(values)}" if len(values) < expected else f"drop {len(values) - expected}"
    raise ValueError(f"{name} = {short(list(values))} has {len(values)} entries, expected {expected} ({why}); {mend}")


def parse_spec(fields: Any, where: str = "spec") -> Spec:
    """The spec that `fields` (a mapping) describes; `where` names its origin in messages.

    Raises `SpecError` with field, value, what is expected and a mend.
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


EXPECTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list of whole numbers",
}


def explain(error: ValidationError, known: list[str]) -> str:
    """A validation error in words: field, value, what is expected, and a mend."""
    return "; ".join(_explain_one(dict(item), known) for item in error.errors(include_url=False)[:5])


def _explain_one(item: dict[str, Any], known: list[str]) -> str:
    kind, path, value = item["type"], item["loc"], item["input"]
    if kind in ("extra_forbidden", "invalid_key"):
        mend = did_you_mean(path[-1], known) or f"known keys: {', '.join(known)}"
        return f"unknown key {short(path[-1])}; {mend}"
    if kind == "missing":
        return f"{path[-1]} is missing; add it"
    message = str(item["msg"]).removeprefix("Value error, ")
    if not path:
        return message
    field = str(path[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    field = field if len(field) <= 100 else field[:97] + "..."
    expected = EXPECTED[kind].format(**item.get("ctx", {})) if kind in EXPECTED else message
    return f"{field} = {short(value)}: expected {expected}; {_mend(kind, value, expected)}"


def _mend(kind: str, value: Any, expected: str) -> str:
    if value is None:
        return "give one, or leave out what has a default"
    number = re.fullmatch(r"'?(\d{1,9})(\.0*)?'?", short(value))
    if kind == "int_type" and number:
        return f"write {number[1]}"
    return did_you_mean(value, re.findall(r"'(\w+)'", expected)) or "change it"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question naming the word of `known` that is closest to `word`; empty when none is close."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1) if isinstance(word, str) else []
    return f"did you mean {close[0]!r}?" if close else ""


def short(value: object) -> str:
    """`value` as it would be written in Python, cut to what fits into a message, however large or nested it is."""
    import reprlib

    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxlong, brief.maxother = 2, 60, 40, 60
    try:
        text = brief.repr(value)
    except ValueError:  # Python refuses to write integers of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else text[:77] + "..."


def read_spec(path: str | Path) -> Spec:
    """The spec in a JSON or YAML file; in JSON, lines that begin with `//` are comments.

    Raises `SpecError` when the file is missing, too large, not readable as JSON or YAML, or no valid spec.
    """
    fields = read_fields(path)
    if isinstance(fields, dict) and "models" in fields:
        raise SpecError(f"{path}: is a study (it has models), expected one spec; for the study: modelflow run {path}")
    return parse_spec(fields, str(path))


def read_fields(path: str | Path) -> Any:
    """The plain data in a JSON (.json, at most 1 MiB) or YAML (any other ending, at most 64 KiB) file.

    Raises `SpecError` naming the file and what is wrong with it.
    """
    path = Path(path)
    kind, limit, parse = ("JSON", MAX_FILE_BYTES, _parse_json)
    if path.suffix.lower() != ".json":
        kind, limit, parse = ("YAML", MAX_YAML_BYTES, _parse_yaml)
    text = _read_text(path, limit)
    if not text.strip():
        raise SpecError(f"{path}: the file is empty, expected {kind}; is it the right file?")
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SpecError(f"{path}: not readable as {kind}: {reason}; mend the file") from None


def _read_text(path: Path, limit: int) -> str:
    if not os.path.isfile(path):
        what = "is no file" if os.path.exists(path) else "no such file"
        raise SpecError(f"{path}: {what}; give the path of a JSON or YAML file")
    try:
        return read_bounded(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8; is it the right file?") from None
    except ValueError as reason:
        raise SpecError(f"{path}: {reason}; is it the right file?") from None


def _parse_json(text: str) -> Any:
    """JSON with `//` comment lines; failing that, the card's dialect: a trailing comma, sizes that are computed."""
    text = re.sub(r"(?m)^[ \t]*//.*$", "", text)
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        try:
            return _evaluate(text.rstrip().rstrip(","))
        except (SyntaxError, MemoryError):  # no expression either, or one that is too complex
            raise error from None


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"the key {short(repeated(key for key, _ in pairs))} stands there twice; drop one of the two")
    return fields


def repeated(values: Iterable[Any]) -> Any:
    """The first of `values` that stood there before; None where each is there once."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def _evaluate(text: str) -> Any:
    """The value of a text in the card's dialect. Raises `SyntaxError`, or `ValueError` for what a spec may not hold."""
    if len(text) > MAX_YAML_BYTES:
        raise SyntaxError("too long for an expression")
    try:
        return _Dialect().value(ast.parse(f"({text})", mode="eval").body, {"true": True, "false": False, "null": None})
    except (ArithmeticError, TypeError) as error:
        raise ValueError(str(error)) from None


class _Dialect:
    """The values of literals, lists, objects, arithmetic, `int`, `range`, `[… for i in …]`; nothing else is known."""

    def __init__(self) -> None:
        self._steps = 0

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """The value of `node`; `names` are those that it may use."""
        self._steps += 1
        if self._steps > MAX_EXPRESSION_STEPS:
            raise ValueError(f"line {node.lineno}: more than {MAX_EXPRESSION_STEPS:,} steps, which no spec needs")
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.List(elts=items):
                return [self.value(item, names) for item in items]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip(keys, values, strict=True)
                return _unique_keys([(self.value(key, names), self.value(value, names)) for key, value in pairs if key])
            case _:
                return self._computed(node, names)

    def _computed(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        match node:
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in ARITHMETIC:
                return _number(
                    ARITHMETIC[type(sign)](_number(self.value(left, names)), _number(self.value(right, names)))
                )
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -_number(self.value(operand, names))
            case ast.Call(func=ast.Name(id="int"), args=[argument], keywords=[]):
                return int(_number(self.value(argument, names)))
            case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]):
                return self._counted(range(*(self.value(argument, names) for argument in arguments)))
            case ast.ListComp(elt=each, generators=[ast.comprehension(target=ast.Name(id=name), iter=source, ifs=[])]):
                return [self.value(each, {**names, name: item}) for item in self.value(source, names)]
        known = "numbers, lists, arithmetic, int(…), range(…), [… for i in …]"
        raise ValueError(f"line {node.lineno}: {short(ast.unparse(node))}: expected {known}")

    def _counted(self, numbers: range) -> list[int]:
        self._steps += len(numbers)
        if self._steps > MAX_EXPRESSION_STEPS:
            raise ValueError(f"{numbers}: more than {MAX_EXPRESSION_STEPS:,} steps, which no spec needs")
        return list(numbers)


ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise ValueError(f"{short(value)}: expected a number to compute with")
    if isinstance(value, int) and abs(value) > MAX_COMPUTED:  # products of products would grow without bounds
        raise ValueError(f"{short(value)}: expected a number up to 2**64 to compute with")
    return value


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, _yaml_loader())
    except yaml.YAMLError as error:
        words, half = str(error), LONGEST_WORDS // 2  # they repeat a tag of any length, and end with its place
        raise ValueError(words if len(words) <= LONGEST_WORDS else f"{words[:half]}...{words[-half:]}") from None


@cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader, which here reads plain data alone, and 3e-4 as a number.

    Refused are a key that stands there twice, `<<`, aliases (which would grow without bounds) and tags (whose makers
    raise whatever they like).
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def fetch_flow_collection_start(self, kind: Any) -> None:
            if self.flow_level == MAX_YAML_DEPTH:  # each level makes every later character slower
                raise ValueError("nested too deeply")
            super().fetch_flow_collection_start(kind)

        def compose_node(self, parent: Any, index: Any) -> Any:
            _check_event(self.peek_event())  # type: ignore[no-untyped-call]
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            _check_keys(keys, f"line {node.start_mark.line + 1}")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))
    return Loader


def _check_event(event: Any) -> None:
    line = f"line {event.start_mark.line + 1}"
    if not hasattr(event, "tag"):
        raise ValueError(f"{line}: the alias {short('*' + event.anchor)} is not read; write the value out")
    if event.tag is not None:
        raise ValueError(f"{line}: the tag {short(event.tag)} is not read; leave it out")


def _check_keys(keys: list[tuple[str, str]], line: str) -> None:
    if twice := repeated(keys):
        raise ValueError(f"{line}: the key {short(twice[1])} stands there twice; drop one of the two")
    if any(tag == "tag:yaml.org,2002:merge" for tag, _ in keys):  # merges of merges would grow without bounds
        raise ValueError(f"{line}: the merge key << is not read; write the keys out")
