"""A network in one line, read into the items of a network file and written from its layers. No torch.

    "c16 s24/2 s24r gap fc"  <->  [{conv: 16}, {separable: 24, stride: 2}, {separable: 24, residual: true},
                                   {pool: global_average}, {linear: classes}]

An item is a word, the main number, and marks: `c16k5/2` is a convolution to 16 maps with kernel 5 and stride 2. Without
a number it has one output per class, and what follows it is not filled in. Elsewhere, where nothing is said, padding is
same, and batch norm and ReLU follow.

    k5, k3x5   kernel                +valid, +same           padding (p1: a number)
    /2, /2x1   stride                +bn, -bn                batch norm after it, or none
    g4         groups                +gelu, …, -act          activation after it, or none
    m2         maps per channel      +bias, -bias            whatever the norm
    e4         squeeze and excite    +spatial                dropout of whole maps
    drop0.3    dropout before it     r                       residual around this layer: what it gives plus its input
                                     +conv                   convolution in the residual's shortcut
    (c16 c16-act)r      residual around several; its marks are of the sum
    3*c16, 3*(c16 m2)   several times
    +valid-bn           as the first item: what holds where an item says nothing
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

from modelflow.errors import SpecError
from modelflow.io.validation import did_you_mean
from modelflow.networks.layers.activation import WORDS as ACTIVATIONS
from modelflow.networks.layers.kind import CLASSES, LayerKind
from modelflow.networks.layers.registry import MAX_DEPTH, kinds
from modelflow.networks.layers.repeat import Repeat
from modelflow.networks.layers.residual import Residual
from modelflow.text import sentence, short

USUAL = {"padding": "same", "norm": "batch", "activation": "relu"}
SIGNED: dict[str, tuple[str, Any]] = {
    "+valid": ("padding", "valid"),
    "+same": ("padding", "same"),
    "+bn": ("norm", "batch"),
    "-bn": ("norm", "none"),
    **{f"+{name}": ("activation", name) for name in ACTIVATIONS},
    "-act": ("activation", "none"),
    "+bias": ("bias", True),
    "-bias": ("bias", False),
    "+spatial": ("spatial", True),
    "+conv": ("shortcut", "conv"),
}
NUMBER = r"\d{1,9}(?:\.\d{1,30})?(?:x\d{1,9})?"
TOKEN = re.compile(
    r"(?P<times>(?:\d{1,9}\*)*)(?:(?P<open>\()|(?P<item>[^\s()]+))|(?P<close>\))(?P<marks>[^\s()]*)|(?P<bad>\S)"
)
MARK = re.compile(
    rf"(?P<signed>{'|'.join(re.escape(mark) for mark in sorted(SIGNED, key=len, reverse=True))})"
    rf"|(?P<letter>drop|[a-z/])(?P<number>{NUMBER})|(?P<residual>r)"
)
FORM = "Write items such as c16 (a convolution to 16 maps), s24/2, m2, gap or fc, separated by spaces."


@cache
def words() -> dict[str, tuple[type[LayerKind], Mapping[str, Any]]]:
    """Each word that an item may begin with: the kind of layer, and the options that it says."""
    return {word: (kind, said) for kind in kinds().values() for word, said in kind.short_words.items()}


@cache
def _beginning() -> re.Pattern[str]:
    """A word and its number."""
    known = "|".join(sorted(words(), key=len, reverse=True))
    return re.compile(rf"(?P<word>{known})(?P<number>{NUMBER})?")


def is_short_form(text: str) -> bool:
    """Whether it is several words, or one item."""
    begun = _beginning().match(text)
    return len(text.split()) > 1 or (begun is not None and not MARK.sub("", text[begun.end() :]))


# --- read ------------------------------------------------------------------------------------------------------------


@dataclass
class _Group:
    """Items within brackets, and how often they come."""

    times: list[int]
    items: list[Any] = field(default_factory=list)


def read_short_form(text: str) -> tuple[dict[str, Any], list[Any]]:
    """The options that hold for all, and `layers` of a network file. Raises `SpecError` naming the item."""
    head = text.split(maxsplit=1)[0] if text.lstrip().startswith(("+", "-")) else ""
    options = _marked(head, head, {"k": "kernel"})
    groups = [_Group([])]
    for token in TOKEN.finditer(text.lstrip()[len(head) :]):
        _take(token, groups)
    if len(groups) > 1:
        raise SpecError(f"{short(text)}: a bracket is not closed. Add ).")
    if not groups[0].items:
        raise SpecError(f"{short(text)}: no layer in it. {FORM}")
    return options, groups[0].items


def _take(token: re.Match[str], groups: list[_Group]) -> None:
    """One token more: an item goes to the innermost group, a bracket begins one or ends it."""
    if token["bad"]:
        raise SpecError(f"{short(token.string[token.start() :])}: expected an item. {FORM}")
    times = [int(number) for number in (token["times"] or "").split("*")[:-1]]
    if len(groups) + len(times) > MAX_DEPTH:
        raise SpecError(f"{short(token.string)}: layers within layers more than {MAX_DEPTH} deep")
    if token["open"]:
        groups.append(_Group(times))
    elif token["item"]:
        groups[-1].items.append(_repeated(_item(token["item"]), times))
    elif len(groups) == 1:
        raise SpecError(f"{short(token[0])}: no bracket is open there. Drop it.")
    else:
        group = groups.pop()
        groups[-1].items.append(_closed(group, token["marks"]))


def _closed(group: _Group, marks: str) -> dict[str, Any]:
    """A residual, or what is repeated."""
    options = _marked(marks, f"({marks}", {})
    if options.pop("residual", False):
        return _repeated({"residual": group.items, **options}, group.times)
    if options or not group.times:
        raise SpecError(f"(…){marks}: expected a residual (…)r, or layers several times 3*(…)")
    *outer, last = group.times
    return _repeated({"repeat": last, "layers": group.items}, outer)


def _repeated(item: dict[str, object], times: list[int]) -> dict[str, Any]:
    for number in reversed(times):
        item = {"repeat": number, "layers": [item]}
    return item


def _item(text: str) -> dict[str, Any]:
    begun = _beginning().match(text)
    if not begun or _key_of(text):
        raise SpecError(f"{short(text)}: no layer begins so. {_fix(text)}")
    kind, said = words()[begun["word"]]
    options, number = dict(said), kind.short_number or kind.main
    if begun["number"]:
        if number in said:
            raise SpecError(f"{short(text)}: {begun['word']} takes no number. Drop it.")
        options[number] = _value(begun["number"])
    elif kind.main not in options:
        if kind.main != "features":
            raise SpecError(f"{short(text)}: expected a number after {begun['word']}")
        options[kind.main] = CLASSES
    marks = _marked(text[begun.end() :], text, kind.short_marks)
    if "shortcut" in marks and "residual" not in marks:
        raise SpecError(f"{short(text)}: +conv is of a residual's shortcut. Write {text.replace('+conv', 'r+conv')}.")
    return {kind.key: options.pop(kind.main), **options, **marks}


def _fix(text: str) -> str:
    """What may be meant by an item that is none."""
    if text == "r":
        return "A residual's r stands right after its layer or its bracket: c16r, (c16 c16)r."
    key = _key_of(text)
    spelled = [word + text.removeprefix(key) for word, (kind, _) in words().items() if kind.key == key]
    hint = f"did you mean {spelled[0]!r}?" if spelled else did_you_mean(text, words())
    return sentence(hint) or FORM


def _key_of(text: str) -> str:
    """The key of a network file that an item begins with in place of its word, as conv16 does; empty where none."""
    return next((key for key in kinds() if key not in words() and text.startswith(key)), "")


def _marked(text: str, item: str, letters: Mapping[str, str]) -> dict[str, Any]:
    """The options that marks say; `letters` are those with a number. Raises `SpecError` naming the item."""
    options: dict[str, Any] = {}
    place = 0
    while place < len(text):
        mark = MARK.match(text, place)
        if not mark or (mark["letter"] and mark["letter"] not in letters):
            known = [*(f"{letter}2" for letter in letters), *SIGNED, "r"]
            hint = sentence(did_you_mean(text[place:], SIGNED))
            ending = f". {hint}" if hint else f", expected one of {', '.join(known)}"
            raise SpecError(f"{short(item)}: {short(text[place:])} is no mark of it{ending}")
        if mark["signed"]:
            name, value = SIGNED[mark["signed"]]
        else:
            name, value = (letters[mark["letter"]], _value(mark["number"])) if mark["letter"] else ("residual", True)
        if name in options:
            raise SpecError(f"{short(item)}: {name} is said twice. Drop one of the two.")
        options[name] = value
        place = mark.end()
    return options


def _value(text: str) -> Any:
    if "x" in text:
        return [_value(part) for part in text.split("x")]
    return float(text) if "." in text else int(text)


# --- written ---------------------------------------------------------------------------------------------------------


class _NoShortFormError(Exception):
    pass


def write_short_form(layers: Sequence[LayerKind], classes: int) -> str | None:
    """The layers in one line; None where a kind or an option has no word."""
    defaults = _most_common(layers)
    logits = _logits(layers, classes)
    try:
        head = [_sign(name, value) for name, value in defaults.items() if value != USUAL[name]]
        items = [_written(layer, defaults, i == logits) for i, layer in enumerate(layers)]
    except _NoShortFormError:
        return None
    if head and head[0].startswith("-"):  # a command would take it for an option
        head = [_sign("padding", defaults["padding"]), *head]
    return " ".join([*(["".join(head)] if head else []), *items])


def items_of(layers: Sequence[LayerKind], classes: int) -> list[str]:
    """Each layer by itself in the short form; as in a network file where it has none."""
    logits = _logits(layers, classes)
    return [_item_or_fields(layer, i == logits) for i, layer in enumerate(layers)]


def _item_or_fields(layer: LayerKind, is_logits: bool) -> str:
    try:
        return _written(layer, USUAL, is_logits)
    except _NoShortFormError:
        return json.dumps(layer.as_written())


def _logits(layers: Sequence[LayerKind], classes: int) -> int:
    """The place of the layer that gives a number a class; -1 where there is none."""
    return max((i for i, layer in enumerate(layers) if getattr(layer, "features", None) == classes), default=-1)


def _most_common(layers: Iterable[LayerKind]) -> dict[str, Any]:
    """Of the options in `USUAL` what most layers say; what is usual where as many say that."""
    found = {name: Counter({usual: 0}) for name, usual in USUAL.items()}
    for layer in _all(layers):
        for name in layer.defaulted & USUAL.keys():
            found[name][getattr(layer, name)] += 1
    said = {name: counts.most_common(1)[0][0] for name, counts in found.items()}
    return {name: value if (name, value) in SIGNED.values() else USUAL[name] for name, value in said.items()}


def _all(layers: Iterable[LayerKind]) -> Iterable[LayerKind]:
    for layer in layers:
        yield layer
        yield from _all(getattr(layer, "layers", ()))


def _written(layer: LayerKind, defaults: Mapping[str, object], is_logits: bool = False) -> str:
    """An item. Raises `_NoShortFormError`."""
    if isinstance(layer, Repeat):
        inner = [_written(one, defaults) for one in layer.layers]
        bare = len(inner) == 1 and (inner[0][0] != "(" or isinstance(layer.layers[0], Residual))
        return f"{layer.times}*{inner[0]}" if bare else f"{layer.times}*({' '.join(inner)})"
    if isinstance(layer, Residual):
        return _residual(layer, defaults)
    return _atom(layer, {} if is_logits else defaults, is_logits)


def _residual(layer: Residual, defaults: Mapping[str, object]) -> str:
    inner = [_written(one, defaults) for one in layer.layers]
    alone = layer == Residual(layers=layer.layers[:1])
    if alone and not isinstance(layer.layers[0], Residual | Repeat):
        return f"{inner[0]}r"
    return f"({' '.join(inner)})r{''.join(_sign(*said) for said in _to_say(layer, defaults) if said[0] != 'layers')}"


def _atom(layer: LayerKind, defaults: Mapping[str, object], is_logits: bool) -> str:
    """A word, the number, marks."""
    to_say = dict(_to_say(layer, defaults))
    word, said = _word(layer)
    number = type(layer).short_number or layer.main
    text = word if is_logits or number not in to_say or number in said else word + _number(to_say[number])
    letters = {name: letter for letter, name in type(layer).short_marks.items()}
    for name, value in to_say.items():
        if name not in (number, *said):
            with_number = name in letters and not isinstance(value, str)
            text += letters[name] + _number(value) if with_number else _sign(name, value)
    return text


def _word(layer: LayerKind) -> tuple[str, Mapping[str, Any]]:
    for word, said in type(layer).short_words.items():
        if all(getattr(layer, name) == value for name, value in said.items()):
            return word, said
    raise _NoShortFormError


def _to_say(layer: LayerKind, defaults: Mapping[str, object]) -> Iterable[tuple[str, Any]]:
    """The options that are not what they are where nothing is said."""
    for name, about in type(layer).model_fields.items():
        unsaid = defaults[name] if name in defaults and name in layer.defaulted else about.default
        if getattr(layer, name) != unsaid:
            yield name, getattr(layer, name)


def _number(value: object) -> str:
    if isinstance(value, tuple):
        return _number(value[0]) if value[0] == value[1] else "x".join(map(_number, value))
    return format(Decimal(repr(value)), "f")


def _sign(name: str, value: object) -> str:
    for mark, said in SIGNED.items():
        if said == (name, value) and type(said[1]) is type(value):
            return mark
    raise _NoShortFormError
