"""Files of settings, JSON and YAML, read as plain data; what could harm is refused before it is parsed. No torch."""

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelflow.errors import SpecError
from modelflow.io.dialect import evaluate
from modelflow.io.files import read_bounded
from modelflow.io.validation import unique_keys
from modelflow.text import ended, short

if TYPE_CHECKING:
    import yaml

MAX_FILE_BYTES = 1 << 20
MAX_YAML_BYTES = 1 << 16  # its parser is slow
MAX_YAML_DEPTH = 50
MAX_MESSAGE_LENGTH = 500  # of a parser


def read_fields(path: str | Path, most: int = MAX_FILE_BYTES) -> Any:
    """The plain data in a JSON (.json, of at most `most` bytes) or YAML (any other ending, at most 64 KiB) file.

    Raises `SpecError` naming the file and what is wrong with it.
    """
    path = Path(path)
    kind, limit, parse = ("JSON", most, _parse_json)
    if path.suffix.lower() != ".json":
        kind, limit, parse = ("YAML", MAX_YAML_BYTES, _parse_yaml)
    text = _read_text(path, limit)
    if not text.strip():
        raise SpecError(f"{path}: the file is empty, expected {kind}. Is it the right file?")
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SpecError(f"{path}: not readable as {kind}: {ended(reason)} Fix the file.") from None


def _read_text(path: Path, limit: int) -> str:
    if not os.path.isfile(path):
        what = "not a file" if os.path.exists(path) else "no such file"
        raise SpecError(f"{path}: {what}. Give the path of a JSON or YAML file.")
    try:
        return read_bounded(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{path}: not a text file in UTF-8. Is it the right file? If so, save it as UTF-8.") from None
    except ValueError as reason:
        raise SpecError(f"{path}: {ended(reason)} Is it the right file?") from None


def _parse_json(text: str) -> Any:
    """JSON with `//` comment lines; failing that, the card's dialect: a trailing comma, sizes that are computed."""
    text = re.sub(r"(?m)^[ \t]*//.*$", "", text)
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        try:
            return evaluate(text.rstrip().rstrip(","))
        except (SyntaxError, MemoryError):  # no expression either, or one that is too complex
            raise error from None


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, _yaml_loader())
    except yaml.MarkedYAMLError as error:
        raise ValueError(_placed(error, text)) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{error!s:.{MAX_MESSAGE_LENGTH}}") from None


def _placed(error: "yaml.MarkedYAMLError", text: str) -> str:
    """What the parser says, after the line that it stopped at."""
    problem = _in_words(f"{error.problem or error.context or error:.{MAX_MESSAGE_LENGTH}}")
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return problem
    lines = text.splitlines()
    stopped_in = f" ({short(lines[mark.line].strip())})" if mark.line < len(lines) else ""
    return f"line {mark.line + 1}, column {mark.column + 1}{stopped_in}: {problem}"


def _in_words(problem: str) -> str:
    """What PyYAML says, where it says it in words of its own."""
    if "'\\t'" in problem:
        return "a tab, where YAML takes blanks alone. Replace it"
    if problem.startswith("expected <block end>"):
        return "indented otherwise than what it belongs to. Move it"
    return problem


@cache
def _yaml_loader() -> Any:
    """PyYAML's safe loader, which here reads plain data alone, and 3e-4 as a number.

    Refused are a key that stands there twice, `<<`, aliases (which would grow without bounds), tags (whose makers raise
    whatever they like) and numbers that YAML reads otherwise than people do.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def fetch_flow_collection_start(self, kind: object) -> None:
            if self.flow_level == MAX_YAML_DEPTH:  # each level makes every later character slower
                line = self.get_mark().line + 1
                raise ValueError(f"line {line}: nested too deeply, expected at most {MAX_YAML_DEPTH} levels")
            super().fetch_flow_collection_start(kind)

        def compose_node(self, parent: Any, index: Any) -> Any:
            _check_event(self.peek_event())  # type: ignore[no-untyped-call]
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            _check_keys([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            return super().construct_mapping(node, deep)

    def number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
        of_a_float = node.tag.endswith("float")
        value: int | float = (loader.construct_yaml_float if of_a_float else loader.construct_yaml_int)(node)
        if re.match(r"[-+]?0[0-7_]", node.value) or ":" in node.value:
            said = f"line {node.start_mark.line + 1}: {short(node.value)} is {value} in YAML"
            raise ValueError(f"{said}. Write {value}, or a number without a leading 0 or a colon")
        return value

    for tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        Loader.add_constructor(tag, number)
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))
    return Loader


def _check_event(event: Any) -> None:
    line = f"line {event.start_mark.line + 1}"
    if not hasattr(event, "tag"):
        raise ValueError(f"{line}: the alias {short('*' + event.anchor)} is not supported. Write the value out")
    if event.tag is not None:
        raise ValueError(f"{line}: the tag {short(event.tag)} is not supported. Remove it")


def _check_keys(keys: "list[yaml.ScalarNode]") -> None:
    seen = set()
    for key in keys:
        line = f"line {key.start_mark.line + 1}"
        if (key.tag, key.value) in seen:
            raise ValueError(f"{line}: the key {short(key.value)} appears twice. Remove one")
        if key.tag == "tag:yaml.org,2002:merge":  # merges of merges would grow without bounds
            raise ValueError(f"{line}: the merge key << is not supported. Write the keys out")
        seen.add((key.tag, key.value))
