"""What is wrong with data that was given, in words: field, value, what is expected, and the fix. No torch."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from modelflow.text import sentence, short

ALTERNATIVE = re.compile(r"(literal|constrained|function|list|tuple)[-\[].*")  # pydantic's names of what a field may be
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
    "bool_parsing": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list of whole numbers",
}


def explain(error: ValidationError, known: list[str]) -> str:
    """A validation error in words: field, value, what is expected, and a fix."""
    by_field: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        place = tuple(part for part in item["loc"] if not (isinstance(part, str) and ALTERNATIVE.fullmatch(part)))
        by_field.setdefault(place, []).append(dict(item))
    return " ".join(_explain_one(place, items, known) for place, items in list(by_field.items())[:5])


def _explain_one(path: tuple[Any, ...], alternatives: list[dict[str, Any]], known: list[str]) -> str:
    """What is wrong with a field, by all that it may be."""
    item = alternatives[0]
    kind, value = item["type"], item["input"]
    if kind in ("extra_forbidden", "invalid_key"):
        fix = sentence(did_you_mean(path[-1], known)) or f"Known keys: {', '.join(known)}."
        return f"unknown key {short(path[-1])}. {fix}"
    if kind == "missing":
        return f"{path[-1]} is missing. Add it."
    if not path:
        return _message(item)
    field = str(path[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    field = field if len(field) <= 100 else field[:97] + "..."
    expected = " or ".join(dict.fromkeys(_expected(item) for item in alternatives))
    return f"{field} = {short(value)}: expected {expected}. {_fix(kind, value, expected)}".rstrip()


def _expected(item: dict[str, Any]) -> str:
    kind = item["type"]
    return EXPECTED[kind].format(**item.get("ctx", {})) if kind in EXPECTED else _message(item)


def _message(item: dict[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")


def _fix(kind: str, value: Any, expected: str) -> str:
    if value is None:
        return "Give a value, or leave the key out where it has a default."
    if value is False and "'none'" in expected:
        return "Write none: YAML reads no, off and false as false."
    number = re.fullmatch(r"'?(?:np\.\w+\()?(\d{1,9})(\.0*)?\)?'?", short(value))
    if kind == "int_type" and number:
        return f"Write {int(number[1])}."
    return sentence(did_you_mean(value, re.findall(r"'(\w+)'", expected)))


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question naming the word of `known` that is closest to `word`; empty when none is close."""
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else ""


def nearest(word: object, known: Iterable[str]) -> str:
    """The word of `known` that is closest to `word`; empty when none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), "") if isinstance(word, str) else ""


def repeated(values: Iterable[object]) -> Any:
    """The first of `values` that stood there before; None where each is there once."""
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def unique_keys(pairs: list[tuple[object, object]]) -> dict[Any, Any]:
    """The pairs as a dict. Raises `ValueError` for a key that is there twice."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"the key {short(repeated(key for key, _ in pairs))} appears twice. Remove one")
    return fields
