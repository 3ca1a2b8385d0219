"""The card's seven models by name, what the card reports of them, and how a MODEL argument becomes a spec. No torch."""

import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from modelflow.errors import SpecError, UsageError
from modelflow.spec import Spec, parse_spec, read_spec

SPEC_ENDINGS = (".json", ".yaml", ".yml")
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


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
    """The spec of a preset. Raises `UsageError` for a name that is none."""
    if name not in CARD:
        raise UsageError(_unknown(name))
    source = files("modelflow.models") / "presets" / f"{name}.json"
    return Spec.model_validate_json(source.read_text("utf-8"))


def resolve(model: str) -> tuple[str, Spec]:
    """Name and spec of MODEL: a preset's name or the path of a JSON or YAML file, whose name without ending is the model's.

    Raises `UsageError` for an unknown name and `SpecError` for a file that holds no valid spec.
    """
    if model in CARD:
        return model, preset(model)
    if Path(model).suffix.lower() in SPEC_ENDINGS or "/" in model:
        return check_name(Path(model).stem), read_spec(model)
    raise UsageError(_unknown(model))


def check_name(name: str) -> str:
    """`name`, when it can name a results folder. Raises `SpecError` otherwise."""
    if not isinstance(name, str) or not MODEL_NAME.fullmatch(name):
        raise SpecError(f"model name {name!r}: expected up to 100 letters, digits, '_', '-', '+' or '.', beginning with a letter, digit or '_'; rename it")
    return name


def named_spec(entry: object) -> tuple[str, Spec]:
    """Name and spec of one entry of a study's `models`: a MODEL, or `{name: …, spec: {…}}`.

    Raises `UsageError` or `SpecError`.
    """
    if isinstance(entry, str):
        return resolve(entry)
    if isinstance(entry, dict) and set(entry) == {"name", "spec"}:
        name = check_name(entry["name"])
        return name, parse_spec(entry["spec"], f"models: {name}")
    raise UsageError(f"models: {entry!r}: expected a preset's name, the path of a JSON or YAML file, or {{name: …, spec: {{…}}}}")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, CARD, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"MODEL {name!r}: no such preset; {hint}Presets: {', '.join(CARD)}; or give the path of a JSON or YAML file"
