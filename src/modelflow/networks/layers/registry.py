"""The kinds of layers, found in the files of this folder, and a layer read from an item of a network file.

read_layer({"conv": 16, "stride": 2}, "layers[0]", {"padding": "same"})  ->  Conv(features=16, …)
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

import modelflow.networks.layers as folder
from modelflow.errors import SpecError
from modelflow.io.arguments import plain
from modelflow.io.found import classes_in
from modelflow.io.validation import did_you_mean, explain
from modelflow.networks.layers.kind import CLASSES, LayerKind
from modelflow.text import sentence, short

MAX_DEPTH = 20  # of layers that hold layers


@cache
def kinds() -> dict[str, type[LayerKind]]:
    """Each kind of layer that can be written, by its key."""
    return {kind.key: kind for kind in classes_in(folder, LayerKind) if kind.key}


def read_layer(item: Any, where: str, defaults: Mapping[str, Any], depth: int = 0) -> LayerKind:
    """The layer that an item of `layers` describes; `defaults` fill in options that its kind takes from there.

    Raises `SpecError` with the item's place, what is wrong, what is expected and a fix.
    """
    if isinstance(item, LayerKind):
        return item
    if depth > MAX_DEPTH:
        raise SpecError(f"{where}: layers within layers more than {MAX_DEPTH} deep. Write them one after the other.")
    if isinstance(item, Mapping) and isinstance(item.get("residual"), bool):
        return _around(item, where, defaults, depth)
    key = _key(item, where)
    kind = kinds()[key]
    given = {kind.main if name == key else name: plain(value) for name, value in item.items()}
    filled = {name: value for name, value in defaults.items() if name in kind.defaulted} | given
    try:
        return kind.read(filled, lambda inner, place: read_layer(inner, f"{where}.{place}", defaults, depth + 1))
    except ValidationError as error:
        meant = did_you_mean(given.get("features"), [CLASSES])
        raise SpecError(f"{where}: {key}: {explain(error, _options(kind))} {sentence(meant)}".rstrip()) from None
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from None


def _around(item: Mapping[str, Any], where: str, defaults: Mapping[str, Any], depth: int) -> LayerKind:
    """A residual around one layer, after whose sum nothing follows; where it says `residual: false`, that layer."""
    options = dict(item)
    is_residual, shortcut = options.pop("residual"), options.pop("shortcut", "identity")
    layer = read_layer(options, where, defaults, depth + 1)
    if not is_residual:
        return layer
    own = {"norm": "none"} if shortcut == "identity" else {}
    return read_layer({"residual": [layer], "shortcut": shortcut, "activation": "none", **own}, where, defaults, depth)


def check_defaults(defaults: object) -> None:
    """Raises `SpecError` for options that no kind of layer takes from a file's `defaults`, and for wrong values."""
    if not isinstance(defaults, Mapping):
        raise SpecError(f"defaults = {short(defaults)}: expected options such as {{padding: same}}")
    known = sorted(_defaults().model_fields)
    for name in defaults:
        if name not in known:
            hint = sentence(did_you_mean(name, known)) or f"Known options: {', '.join(known)}."
            raise SpecError(f"defaults: {short(name)} is no option that layers take from there. {hint}")
    try:
        _defaults().model_validate(dict(defaults))
    except ValidationError as error:
        raise SpecError("defaults: " + explain(error, known)) from None


@cache
def _defaults() -> type[BaseModel]:
    """The options that any kind takes from a file's `defaults`, each as such a kind has it."""
    fields: dict[str, Any] = {
        name: (kind.model_fields[name].annotation, kind.model_fields[name])
        for kind in kinds().values()
        for name in sorted(kind.defaulted)
    }
    return create_model("Defaults", **fields)


def _refused(key: str, others: list[str]) -> list[str]:
    """Those of the other kinds in an item that are no option of its first one."""
    return [other for other in others if other not in kinds()[key].model_fields]


def _options(kind: type[LayerKind]) -> list[str]:
    return [name for name in kind.model_fields if name != kind.main]


def _key(item: object, where: str) -> str:
    """The kind's key in an item. Raises `SpecError` where there is none, or more than one."""
    if not isinstance(item, Mapping) or not item:
        raise SpecError(f"{where} = {short(item)}: expected a layer such as {{conv: 16, kernel: 3}}")
    named = [name for name in item if name in kinds()]
    taking = [key for key in named if all(other in kinds()[key].model_fields for other in named if other != key)]
    if len(taking) == 1:
        return str(taking[0])
    if len(named) > 1 and (refused := _refused(named[0], named[1:])):
        named = [named[0], *refused]
    if named:
        raise SpecError(
            f"{where}: {' and '.join(map(str, named))} in one item, expected one kind. Make two items of it."
        )
    raise SpecError(f"{where}: {short(next(iter(item)))} is no kind of layer. {_meant(item)}")


def _meant(item: Mapping[Any, Any]) -> str:
    """What may be meant by an item of no kind."""
    if hints := [hint for name in item if (hint := did_you_mean(name, kinds()))]:
        return sentence(hints[0])
    if takers := [key for key, kind in kinds().items() if next(iter(item)) in _options(kind)]:
        return f"It is an option of {takers[0]}: write it into that item."
    return f"Known kinds: {', '.join(sorted(kinds()))}."
