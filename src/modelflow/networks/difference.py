"""In what two networks differ: layer by layer, in costs, in words. No torch.

difference(trace(a), trace(b)).words  ->  "B has stride 2 where A pools (layers.0). B has 40 % fewer MACs, …"
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.kind import LayerKind
from modelflow.networks.layers.pool import Pool
from modelflow.networks.short_form import items_of
from modelflow.networks.trace import Layer, Trace, shape_text, totals

MAX_PHRASES = 5  # of a sentence

Entry = tuple[str, Layer | None]  # a layer in the short form, and itself
NOTHING: Entry = ("", None)


@dataclass(frozen=True)
class Pair:
    """A layer of A and the one that stands for it in B; None where there is none.

    What flattens stands beside nothing else, for a linear layer also does it by itself.
    """

    a: Layer | None
    b: Layer | None
    items: tuple[str, str]  # both in the short form

    @property
    def is_same(self) -> bool:
        """Whether both are written alike, or one only flattens; their costs may differ."""
        if self.a is None or self.b is None:
            return _flattens(self.a or self.b)
        return self.a.written == self.b.written


@dataclass(frozen=True)
class Difference:
    """Two networks, and their layers side by side in the order of the forward pass."""

    a: Trace
    b: Trace
    pairs: tuple[Pair, ...]

    @property
    def words(self) -> str:
        """What B has where A has something else, then what it costs beside A."""
        phrases = list(_phrases(self))
        if not phrases:
            return "A and B are the same layer by layer."
        left = len(phrases) - MAX_PHRASES
        phrases = phrases[:MAX_PHRASES] + ([f"And {left} more"] if left > 0 else [])
        return f"{'. '.join(phrases)}. B has {', '.join(_costs(self.a, self.b))}."


def difference(a: Trace, b: Trace) -> Difference:
    """Layers that are written alike are aligned first, then in between those that are of one sort."""
    all_of_a, all_of_b = _with_items(a), _with_items(b)
    of_a, of_b = ([entry for entry in side if not _flattens(entry[1])] for side in (all_of_a, all_of_b))
    beside: list[tuple[Entry, Entry]] = []
    for tag, i, i_end, j, j_end in _aligned([item for item, _ in of_a], [item for item, _ in of_b]):
        one, other = of_a[i:i_end], of_b[j:j_end]
        beside += zip(one, other, strict=True) if tag == "equal" else _by_role(one, other)
    pairs = [Pair(one[1], other[1], (one[0], other[0])) for one, other in _flattened(beside, all_of_a, all_of_b)]
    return Difference(a, b, tuple(pairs))


def _with_items(traced: Trace) -> list[Entry]:
    layers = list(_flat(traced.layers))
    items = items_of([layer.written for layer in layers], traced.layers[-1].output_shape[0])
    return list(zip(items, layers, strict=True))


def _flattened(
    beside: Iterable[tuple[Entry, Entry]], a: Iterable[Entry], b: Iterable[Entry]
) -> Iterator[tuple[Entry, Entry]]:
    """Entries side by side, with those of all of A and B that flatten in between."""
    left = deque(a), deque(b)
    for pair in [*beside, None]:
        skipped = (_up_to(entries, pair and pair[side]) for side, entries in enumerate(left))
        yield from zip_longest(*skipped, fillvalue=NOTHING)
        if pair:
            yield pair


def _up_to(entries: deque[Entry], end: Entry | None) -> Iterator[Entry]:
    """Takes away what comes before `end`, and that too; nothing before what is not there, all where there is no end."""
    while entries and end != NOTHING:
        if (entry := entries.popleft()) == end:
            return
        yield entry


def as_data(found: Difference) -> dict[str, Any]:
    """As plain data: `words`, the costs of `a` and `b`, and `layers` of both side by side with theirs."""
    layers = [
        {
            side: None if layer is None else {"name": layer.name, "item": item, **_costs_of(layer)}
            for side, layer, item in zip(("a", "b"), (pair.a, pair.b), pair.items, strict=True)
        }
        | {"same": pair.is_same}
        for pair in found.pairs
    ]
    return {"words": found.words, "a": totals(found.a), "b": totals(found.b), "layers": layers}


def _costs_of(layer: Layer) -> dict[str, Any]:
    return {
        "output_shape": list(layer.output_shape),
        "parameters": layer.parameters,
        "macs": layer.macs,
        "activation_bytes": layer.activation_bytes,
    }


def _flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """What is repeated one by one."""
    for layer in layers:
        if layer.inner and not layer.operations:
            yield from _flat(layer.inner)
        else:
            yield layer


def _flattens(layer: Layer | None) -> bool:
    return layer is not None and isinstance(layer.written, Flatten)


def _aligned(a: Sequence[str], b: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    return SequenceMatcher(None, a, b, autojunk=False).get_opcodes()


def _by_role(a: Sequence[Entry], b: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Convolutions beside convolutions, pools beside pools, the others alone."""
    roles = [[layer.role for _, layer in side if layer] for side in (a, b)]
    for tag, i, i_end, j, j_end in _aligned(*roles):
        if tag == "equal":
            yield from zip(a[i:i_end], b[j:j_end], strict=True)
        else:
            yield from ((entry, NOTHING) for entry in a[i:i_end])
            yield from ((NOTHING, entry) for entry in b[j:j_end])


# --- words -----------------------------------------------------------------------------------------------------------


def _phrases(found: Difference) -> Iterator[str]:
    """What is different, each once, with where it is."""
    if found.a.input_shape != found.b.input_shape:
        yield f"B takes images of {shape_text(found.b.input_shape)} where A takes {shape_text(found.a.input_shape)}"
    places: dict[str, list[str]] = defaultdict(list)
    for phrase, layer in _said(found.pairs):
        places[phrase].append(layer.name)
    for phrase, names in places.items():
        yield f"{phrase} ({names[0] if len(names) == 1 else f'{len(names)} layers'})"


def _said(pairs: Sequence[Pair]) -> Iterator[tuple[str, Layer]]:
    """What B has where A has something else, with a layer where that is."""
    merged = False
    for pair, following in zip_longest(pairs, pairs[1:]):
        if merged or pair.is_same:
            merged = False
            continue
        if pair.a is None or pair.b is None:
            layer = pair.a or pair.b
            assert layer is not None
            item = pair.items[0 if pair.b is None else 1]
            yield f"B {'leaves out' if pair.b is None else 'adds'} {_what(layer, item)}", layer
        elif pair.a.kind != pair.b.kind or _how(pair.a) != _how(pair.b):
            a, b = _what(pair.a, pair.items[0]), _what(pair.b, pair.items[1])
            yield f"B has {b} where A has {a}", pair.b
        else:
            phrase = following and _stride_for_pool(pair.a, pair.b, following)
            merged = bool(phrase)
            yield from ((said, pair.b) for said in ([phrase] if phrase else []))
            yield from ((said, pair.b) for said in _options(pair.a, pair.b, {"stride"} if phrase else set()))


def _what(layer: Layer, item: str) -> str:
    """A layer in words, one that holds others as its item of the short form."""
    return f"a residual {item}" if layer.inner else layer.what


def _how(layer: Layer) -> str:
    """Of a pool what it takes of a window, or of a whole map; empty for another layer."""
    return layer.written.how if isinstance(layer.written, Pool) else ""


def _stride_for_pool(a: Layer, b: Layer, following: Pair) -> str:
    """Where one has a stride and the other a pool after it instead; empty elsewhere."""
    steps, others = (getattr(layer.written, "stride", None) or (1, 1) for layer in (a, b))
    if following.b is None and _pools(following.a) and steps < others:
        return f"B has stride {_value(others)} where A pools"
    if following.a is None and _pools(following.b) and steps > others:
        return f"B pools where A has stride {_value(steps)}"
    return ""


def _pools(layer: Layer | None) -> bool:
    return layer is not None and isinstance(layer.written, Pool)


def _options(a: Layer, b: Layer, but: set[str]) -> Iterator[str]:
    for name in (field for field in type(a.written).model_fields if field not in but):
        one, other = getattr(a.written, name), getattr(b.written, name)
        if one != other:
            yield f"B has {name} {_value(other)} where A has {_value(one)}"


def _value(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], LayerKind):
        return f"({' '.join(items_of(value, 0))})"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "x".join(map(str, value[:1] if value[0] == value[1] else value))
    return {"True": "yes", "False": "no", "None": "none"}.get(str(value), str(value))


def _costs(a: Trace, b: Trace) -> Iterator[str]:
    yield _compared(a.macs, b.macs, "fewer", "MACs")
    yield _compared(a.parameters, b.parameters, "fewer", "parameters")
    yield _compared(a.peak[0], b.peak[0], "less", "activation memory at its peak")


def _compared(a: int, b: int, less: str, what: str) -> str:
    if a == b:
        return f"as {'many' if less == 'fewer' else 'much'} {what}"
    if b >= 2 * a:
        return f"{b / a:.3g} times the {what}" if a else f"{b:,} {what} instead of none"
    percent = 100 * abs(b - a) / a
    return f"{f'{percent:.0f}' if percent >= 1 else 'less than 1'} % {less if b < a else 'more'} {what}"
