"""What an architecture is: a frozen, validated description, read from JSON, YAML or Python. No torch.

There are two forms, the card's fields and a list of layers; `trace.trace` turns both into layers with shapes, which the
rest works on.

    spec = Spec(in_channels=1, num_classes=10, cov_features=[8, 16], cov_kernel_sizes=[3, 3])
    spec = read_spec("my_net.yaml")                      # or of a preset's name, such as "generic_2"
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from modelflow.errors import SpecError
from modelflow.io.arguments import plain
from modelflow.io.config import read_fields
from modelflow.io.validation import did_you_mean, explain, nearest
from modelflow.networks.data_shape import AskShape, usual
from modelflow.networks.layers.conv import Conv
from modelflow.networks.layers.flatten import Flatten
from modelflow.networks.layers.kind import CLASSES, MAX_LAYERS, MAX_SIZE, LayerKind, Shape, Size, read_items
from modelflow.networks.layers.linear import Linear
from modelflow.networks.layers.pool import Pool
from modelflow.networks.layers.registry import check_defaults, read_layer
from modelflow.networks.short_form import USUAL, read_short_form, write_short_form
from modelflow.text import sentence, short

PRESETS = Path(__file__).parent / "presets"  # the card's seven specs, as files
PER_BLOCK = ("cov_kernel_sizes", "cov_features", "max_pool_sizes")
DEFAULTS = {"cov_kernel_sizes": 3, "cov_features": 16, "max_pool_sizes": 2, "fc_sizes": 50}

Count = Annotated[int, Field(ge=1, le=MAX_LAYERS, strict=True)]
Sizes = Annotated[
    tuple[Size, ...],
    Field(max_length=MAX_LAYERS, strict=True),
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
]


class Description(BaseModel, ABC):
    """An architecture in either form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """Of an image: channels x height x width."""

    @property
    @abstractmethod
    def logits(self) -> int:
        """How many it gives: at least one a class."""

    @abstractmethod
    def named_layers(self) -> Iterator[tuple[str, LayerKind]]:
        """Its layers in the order of the forward pass, each with the name of its module."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many layers it says, those that others hold left out."""

    @property
    def short_form(self) -> str | None:
        """The network in one line (see `networks.short_form`), flattening left out; None where it has none."""
        layers = [layer for _, layer in self.named_layers()]
        if isinstance(self, Spec):  # whose linear layers flatten by themselves in a list of layers
            layers = [layer for layer in layers if not isinstance(layer, Flatten)]
        return write_short_form(layers, self.logits)

    def to_json(self) -> str:
        """As a JSON text that `read_spec` reads back."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


class Spec(Description):
    """An architecture: blocks of convolution, ReLU and max-pooling, then fully connected layers.

    Lists that are left out (or None) take the defaults `[3]*n`, `[16]*n`, `[2]*n` and `[50]*(amnt_fc_layers - 1)`;
    counts that are left out are the lengths of the lists (2 where no list says otherwise). `fc_sizes` leaves out the
    last fully connected layer, whose size is `num_classes`. The family `cnn2` names its layers conv1, conv2, fc1, fc2
    and drops out before every fully connected layer; `generic` names them conv_layers.0, … and leaves the last one
    without dropout.

    Raises `pydantic.ValidationError`; `parse_spec` and `read_spec` raise `SpecError` with the fix.
    """

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
    def _fill_in_what_was_left_out(cls, given: object) -> Any:
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

    @property
    def input_shape(self) -> Shape:
        return (self.in_channels, self.input_size, self.input_size)

    @property
    def logits(self) -> int:
        return self.num_classes

    @property
    def depth(self) -> int:
        return self.amnt_cov_layers + self.amnt_fc_layers

    def named_layers(self) -> Iterator[tuple[str, LayerKind]]:
        for i, (kernel, features, pool) in enumerate(
            zip(self.cov_kernel_sizes, self.cov_features, self.max_pool_sizes, strict=True)
        ):
            yield self._name("conv", i), Conv(features=features, kernel=(kernel, kernel), activation="relu")
            yield self._name("pool", i), Pool(how="max", size=(pool, pool))
        yield "flatten", Flatten()
        for i, features in enumerate(self.fc_sizes):
            yield self._name("linear", i), Linear(features=features, dropout=self._dropout(i), activation="relu")
        last = len(self.fc_sizes)
        yield self._name("linear", last), Linear(features=self.num_classes, dropout=self._dropout(last))

    def _name(self, kind: str, i: int) -> str:
        if self.family == "cnn2":
            return {"conv": "conv", "pool": "pool", "linear": "fc"}[kind] + str(i + 1)
        return {"conv": "conv_layers", "pool": "max_pool_layers", "linear": "fc_layers"}[kind] + f".{i}"

    def _dropout(self, linear: int) -> float:
        """Before this fully connected layer."""
        return self.p if self.family == "cnn2" or linear < len(self.fc_sizes) else 0.0


class LayerSpec(Description):
    """An architecture as a list of `layers`, one item each.

    `layers` may be in the short form. `input` is an image's channels, height and width, `classes` how many there are;
    `parse_spec` fills in what is left out of these two. `defaults` fill in options that an item leaves out. In its
    place stands what they said, so that two files that say the same are equal.

    Raises `SpecError` for an item that is no layer, naming its place.
    """

    input: tuple[Size, Size, Size]
    classes: Size
    layers: Annotated[tuple[LayerKind, ...], Field(min_length=1, max_length=MAX_LAYERS)]

    @model_validator(mode="before")
    @classmethod
    def _items_are_layers(cls, given: object) -> Any:
        """`layers` with `defaults` filled in, and the word classes as their number."""
        if not isinstance(given, Mapping):
            return given
        fields = {key: plain(value) for key, value in given.items()}
        defaults, items = fields.pop("defaults", {}), fields.get("layers")
        check_defaults(defaults)
        if isinstance(items, str):
            said, items = read_short_form(items)
            defaults = USUAL | defaults | said
            check_defaults(defaults)
        if "layers" in fields:
            classes = fields.get("classes")
            fields["layers"] = read_items(
                items,
                "layers",
                lambda item, place: read_layer(_counted(item, classes), place, {} if _is_last(item) else defaults),
            )
        return fields

    @field_validator("layers")
    @classmethod
    def _not_too_many(cls, layers: tuple[LayerKind, ...]) -> tuple[LayerKind, ...]:
        if (size := sum(layer.leaves for layer in layers)) > MAX_LAYERS:
            raise ValueError(f"at most {MAX_LAYERS:,} layers in all, got {size:,}")
        return layers

    @field_validator("input", mode="before")
    @classmethod
    def _lists_are_shapes(cls, given: object) -> Any:
        if isinstance(given, list | tuple) and len(given) == 3:
            return tuple(given)
        raise ValueError("channels, height and width, such as [1, 28, 28]")

    @field_serializer("layers")
    def _as_items(self, layers: tuple[LayerKind, ...]) -> list[dict[str, Any]]:
        return [layer.as_written() for layer in layers]

    @property
    def input_shape(self) -> Shape:
        return self.input

    @property
    def logits(self) -> int:
        return self.classes

    @property
    def depth(self) -> int:
        return sum(layer.leaves for layer in self.layers)

    def named_layers(self) -> Iterator[tuple[str, LayerKind]]:
        for i, layer in enumerate(self.layers):
            yield f"layers.{i}", layer


FIELDS: dict[type[Description], list[str]] = {
    Spec: list(Spec.model_fields),
    LayerSpec: [*LayerSpec.model_fields, "defaults"],
}


def _is_last(item: object) -> bool:
    """Whether an item gives the logits, which no default's activation may change."""
    return isinstance(item, Mapping) and CLASSES in item.values()


def _counted(item: Any, classes: Any) -> Any:
    """An item with the number of classes in place of the word; what is wrong with that number is said of it alone."""
    if not _is_last(item):
        return item
    classes = classes if type(classes) is int and 1 <= classes <= MAX_SIZE else 1
    return {name: classes if value == CLASSES else value for name, value in item.items()}


def _longest(given: Mapping[str, Any], names: tuple[str, ...], default: int) -> int:
    lengths = [len(given[name]) for name in names if isinstance(given.get(name), (list, tuple))]
    return max(lengths, default=default)


def _less_one(count: object) -> Any:
    return count - 1 if isinstance(count, int) else count


def _check_length(name: str, values: tuple[int, ...], expected: int, why: str) -> None:
    if len(values) == expected:
        return
    fix = f"Add {expected - len(values)}." if len(values) < expected else f"Drop {len(values) - expected}."
    raise ValueError(f"{name} = {short(list(values))} has {len(values)} entries, expected {expected} ({why}). {fix}")


def parse_spec(fields: object, where: str = "spec", data: AskShape = usual) -> Description:
    """The spec that `fields` (a mapping) describes; `where` names its origin in messages.

    `input` and `classes` that a list of layers leaves out are those of `data`. Raises `SpecError` with field, value,
    what is expected and a fix.
    """
    if isinstance(fields, Description):
        return fields
    if not isinstance(fields, Mapping):
        fix = ". Write layers: before the list." if isinstance(fields, list | tuple) else ""
        raise SpecError(f"{where}: expected an object of fields such as in_channels, got {short(fields)}{fix}")
    form = _form_of(fields)
    try:
        return form.model_validate(_completed(fields, data) if form is LayerSpec else dict(fields))
    except ValidationError as error:
        raise SpecError(f"{where}: " + explain(error, FIELDS[form])) from None
    except SpecError as error:
        raise type(error)(f"{where}: {error}") from None


def _form_of(fields: Mapping[str, object]) -> type[Description]:
    """The form that has the fields; where neither has any of them, the one with the word that is closest."""
    for form in (LayerSpec, Spec):
        if not fields.keys().isdisjoint(FIELDS[form]):
            return form
    words = [nearest(name, [*FIELDS[LayerSpec], *FIELDS[Spec]]) for name in fields]
    return Spec if set(words).isdisjoint(FIELDS[LayerSpec]) else LayerSpec


def _completed(fields: Mapping[str, object], data: AskShape) -> dict[str, Any]:
    """A list of layers with `input` and `classes`."""
    if "input" in fields and "classes" in fields:
        return dict(fields)
    asked = data()
    return {"input": asked.input_shape, "classes": asked.num_classes, **fields}


def read_spec(path: str | os.PathLike[str] | Mapping[str, object] | Description, data: AskShape = usual) -> Description:
    """The spec in a JSON or YAML file; in JSON, lines that begin with `//` are comments.

    In place of the path, a preset's name, the fields themselves, or a model built from a spec will do; `data` is as for
    `parse_spec`. Raises `SpecError` when the file is missing, too large, not readable as JSON or YAML, or no valid
    spec.
    """
    if not isinstance(path, str | os.PathLike):
        return parse_spec(getattr(path, "spec", path), data=data)
    path = _file_of(path)
    return parse_spec(spec_fields(path), str(path), data)


def spec_fields(path: Path) -> Any:
    """What stands in a spec file. Raises `SpecError` when it cannot be read, or is a study."""
    fields = read_fields(path)
    if isinstance(fields, dict) and "models" in fields:
        raise SpecError(f"{path}: is a study (it has models), expected one spec. To train it: `modelflow run {path}`.")
    return fields


def _file_of(path: str | os.PathLike[str]) -> Path:
    """The path itself where there is something; else a preset's of this name. Raises `SpecError` for one like it."""
    path, known = Path(path), {file.stem: file for file in PRESETS.glob("*.json")}
    if os.path.exists(path) or str(path) in known:
        return path if os.path.exists(path) else known[str(path)]
    if path.name == path.stem == str(path) and (hint := did_you_mean(str(path), known)):
        raise SpecError(f"{path}: no such file or preset. {sentence(hint)}")
    return path
