"""The card's seven models by name, what the card reports of them, and how a MODEL argument becomes a spec. No torch."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelflow.errors import ShapeError, SpecError, UsageError
from modelflow.io.arguments import as_whole, whole
from modelflow.io.files import sha256
from modelflow.io.validation import did_you_mean
from modelflow.networks.code import Code, code_of
from modelflow.networks.data_shape import AskShape, usual
from modelflow.networks.description import PRESETS, Description, Spec, parse_spec, spec_fields
from modelflow.networks.short_form import is_short_form
from modelflow.networks.trace import MAX_PARAMETERS, Trace
from modelflow.networks.trace import trace as traced
from modelflow.text import sentence, short

FIRST_FIELDS = ("in_channels", "layers")  # one of which every spec has
SPEC_ENDINGS = (".json", ".yaml", ".yml")
MAX_PATH_LENGTH = 1000
ESCAPED = 4  # characters that show one that cannot be printed, such as \x0d
MAX_NAME_LENGTH = 100
MODEL_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{MAX_NAME_LENGTH - 1}}}")
STUDY_FILES = (
    *("study.json", "studies.json", "dataset_samples.png", "pareto.png", "report.html", "MODEL_CARD.md"),
    *("leaderboard.csv", "leaderboard.md"),
)
SET_ASIDE = re.compile(r"(?i).*\.old-\d+")
OF_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.")  # devices, and endings it takes away


@dataclass(frozen=True)
class CardResult:
    """What the model card reports of one run: its group, accuracy (a share) and macro F1."""

    group: str
    accuracy: float
    macro_f1: float


CARD = {
    "cnn2_3": CardResult("n_feature Variation (Narrower)", 0.8041, 0.7998),
    "cnn2_5": CardResult("Base Model (n_feature=5)", 0.8328, 0.8296),
    "cnn2_7": CardResult("n_feature Variation (Wider)", 0.8496, 0.8475),
    "generic_0": CardResult("Baseline (GerenicCNN version)", 0.8527, 0.8505),
    "generic_1": CardResult("Deeper Featurizer (3 Conv Blocks)", 0.8245, 0.8228),
    "generic_2": CardResult("Custom (Simpler)", 0.8761, 0.8746),
    "generic_3": CardResult("Custom (Deep Classifier)", 0.8409, 0.8354),
}


@cache
def preset(name: str) -> Spec:
    """The spec of a preset, which is one of `CARD`."""
    path = PRESETS / f"{name}.json"
    spec = parse_spec(spec_fields(path), str(path))
    assert isinstance(spec, Spec)
    return spec


def is_preset(name: str, fields: object) -> bool:
    """Whether these are the fields of the spec of the preset of this name, as a run's record has them."""
    return name in CARD and fields == preset(name).model_dump(mode="json")


def resolve(model: str, folder: Path | None = None, data: AskShape = usual) -> tuple[str, Description]:
    """Name and spec of MODEL: a preset's name, the path of a JSON or YAML file, whose stem names it, or a short form.

    A relative path is looked up in `folder` first, then where the command was given. What a file leaves out is that of
    `data`, which a preset is fitted to. Raises `UsageError` for an unknown name and `SpecError` for a file that holds
    no valid spec.
    """
    if model in CARD:
        return model, fitted(model, data)
    if sum(1 if character.isprintable() else ESCAPED for character in model) > MAX_PATH_LENGTH:
        raise UsageError(f"MODEL {short(model)}: expected a name or a path of at most {MAX_PATH_LENGTH:,} characters")
    if is_model(model):
        name, where = name_of(model), f"MODEL {short(model)}"
        fields: object = {"layers": model}
    else:
        path = _file_of(model, folder)
        name, where = check_name(path.stem), str(path)
        fields = spec_fields(path)
    return name, parse_spec(fields, where, data)


def _file_of(model: str, folder: Path | None) -> Path:
    """The file that MODEL names. Raises `UsageError` for what is not called as one."""
    if not model.lower().endswith(SPEC_ENDINGS) and "/" not in model:
        raise UsageError(_unknown(model))
    beside = Path(model) if folder is None else folder / model
    return beside if os.path.isfile(beside) else Path(model)


def name_of(short_form: str) -> str:
    """What a network that is given in the short form is called: its text with dashes for what no folder may hold."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", short_form).strip("+-.")
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[: MAX_NAME_LENGTH - 9]}-{sha256(short_form.encode())[:8]}"
    return check_name(name)


def fitted(name: str, data: AskShape) -> Spec:
    """A preset for images of the size that the data have, and for at least as many classes.

    Raises `ShapeError` for images that are not square.
    """
    spec, asked = preset(name), data()
    height, width = asked.image_size
    if height != width:
        raise ShapeError(
            f"{name}: the card's form of a spec takes square images only, but those of {asked.name} are "
            f"{height}x{width}. Give the same as a list of layers: '{spec.short_form}'."
        )
    classes = max(spec.num_classes, asked.num_classes)
    return spec.model_copy(update={"in_channels": asked.in_channels, "input_size": height, "num_classes": classes})


def is_model(given: str) -> bool:
    """Whether it is a preset's name, or a short form: no file that is there, and not called as one."""
    if given in CARD:
        return True
    return not given.lower().endswith(SPEC_ENDINGS) and is_short_form(given) and not os.path.isfile(given)


def trace(model: object, max_parameters: int = MAX_PARAMETERS) -> Trace:
    """The layers of whatever says an architecture, as for `spec_of`. Raises as that and as `trace.trace` do."""
    return traced(spec_of(model, "trace"), whole("max_parameters", max_parameters, 1))


def spec_of(model: object, where: str) -> Description:
    """A spec, or that of its fields, of a MODEL (see `resolve`), or of a model built from a spec.

    `where` is named in messages. Raises `UsageError` or `SpecError` for what is none of these.
    """
    if isinstance(model, str | os.PathLike):
        return resolve(os.fspath(model))[1]
    spec = getattr(model, "spec", model)
    if isinstance(spec, Description | Mapping):
        return parse_spec(spec)
    fix = "" if as_whole(model) is None else ". For channels and classes: GerenicCNN(1, 10)."
    raise UsageError(
        f"{where}: {short(model)}: expected a spec, its fields, a preset's name, the path of a spec file, or a model "
        f"built from a spec{fix}"
    )


def check_name(name: object) -> str:
    """`name`, when it can name a results folder, on whichever system. Raises `SpecError` otherwise."""
    spelled = check_spelling(name)
    if SET_ASIDE.fullmatch(spelled) or spelled.lower() in map(str.lower, STUDY_FILES):
        raise SpecError(f"model name {name!r}: reserved for a study's files and folders set aside")
    if OF_WINDOWS.fullmatch(spelled):
        raise SpecError(f"model name {name!r}: Windows can make no folder of that name")
    return spelled


def check_spelling(name: object) -> str:
    """`name`, when it is spelled as a model's. Raises `SpecError` otherwise."""
    if isinstance(name, str) and MODEL_NAME.fullmatch(name):
        return name
    raise SpecError(
        f"model name {short(name)}: expected up to 100 letters, digits, '_', '-', '+' or '.', beginning with a letter, "
        "digit or '_'. Letters are a to z and A to Z. Rename it."
    )


def named_spec(
    entry: object, folder: Path | None = None, place: int = 1, data: AskShape = usual
) -> tuple[str, Description | Code]:
    """Name and spec of one entry of a study's `models`: a MODEL (see `resolve`), `{name: …, spec: …}`, or a spec.

    Also `{name: …, module: "FILE:NAME"}`, whose file is read and not run. `folder` and `data` are as for `resolve`. A
    spec without a name is called as the preset that it is, else by its place. Raises `UsageError` or `SpecError`.
    """
    if isinstance(entry, str | os.PathLike) or is_spec(entry):
        name, spec = _network(entry, f"models: entry {place}", folder, data)
        return name or f"model_{place}", spec
    if isinstance(entry, dict) and set(entry) in ({"name", "module"}, {"name", "spec"}):
        name = check_name(entry["name"])
        code = code_of(entry, f"models: {name}", folder)
        return name, code or _network(entry["spec"], f"models: {name}", folder, data)[1]
    raise UsageError(
        f"models: {short(entry)}: expected a preset's name, the path of a JSON or YAML file, a short form or "
        "a spec. Or give {name: …, spec: {…}} or {name: …, module: 'FILE:NAME'}."
    )


def _network(given: object, where: str, folder: Path | None, data: AskShape) -> tuple[str, Description]:
    """Name and spec of a MODEL (see `resolve`), a spec or its fields; "" for the name of a spec that is no preset."""
    if isinstance(given, str | os.PathLike):
        return resolve(os.fspath(given), folder, data)
    spec = parse_spec(getattr(given, "spec", given), where, data)
    return next((name for name in CARD if preset(name) == spec), ""), spec


def is_spec(given: object) -> bool:
    """Whether it is a spec, its fields, or a model built from one."""
    fields = isinstance(given, Mapping) and "models" not in given and not given.keys().isdisjoint(FIRST_FIELDS)
    return fields or isinstance(getattr(given, "spec", given), Description)


def _unknown(name: str) -> str:
    hint = sentence(did_you_mean(name, CARD))
    presets = f"Presets: {', '.join(CARD)}."
    others = f"Or give a short form such as 'c16 gap fc', or the path of a file that ends in {', '.join(SPEC_ENDINGS)}."
    return " ".join([f"MODEL {short(name)}: no such preset.", *([hint] if hint else []), presets, others])
