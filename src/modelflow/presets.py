"""The card's seven models by name, what the card reports of them, and how a MODEL argument becomes a spec. No torch."""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modelflow.errors import SpecError, UsageError
from modelflow.spec import Spec, did_you_mean, parse_spec, read_spec, short

SPEC_ENDINGS = (".json", ".yaml", ".yml")
LONGEST_PATH = 1000
ESCAPED = 4  # characters that show one that cannot be printed, such as \x0d
MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
TAKEN = re.compile(r"(?i).*\.old-\d+|study\.json|leaderboard\.(csv|md)|(pareto|dataset_samples)\.png|report\.html")


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
    return read_spec(Path(__file__).parent / "models" / "presets" / f"{name}.json")


def resolve(model: str, folder: Path | None = None) -> tuple[str, Spec]:
    """Name and spec of MODEL: a preset's name, or the path of a JSON or YAML file, whose stem names the model.

    A relative path is looked up in `folder` first, then where the command was given. Raises `UsageError` for an unknown
    name and `SpecError` for a file that holds no valid spec.
    """
    if model in CARD:
        return model, preset(model)
    if sum(1 if character.isprintable() else ESCAPED for character in model) > LONGEST_PATH:
        raise UsageError(f"MODEL {short(model)}: expected a name or a path of at most {LONGEST_PATH:,} characters")
    if not model.lower().endswith(SPEC_ENDINGS) and "/" not in model:
        raise UsageError(_unknown(model))
    name = check_name(Path(model).stem)
    beside = None if folder is None else folder / model
    return name, read_spec(beside if beside and os.path.isfile(beside) else model)


def check_name(name: object) -> str:
    """`name`, when it can name a results folder. Raises `SpecError` otherwise."""
    if isinstance(name, str) and MODEL_NAME.fullmatch(name):
        if TAKEN.fullmatch(name):
            raise SpecError(f"model name {name!r}: a study's files and folders set aside are called so; rename it")
        return name
    raise SpecError(
        f"model name {short(name)}: expected up to 100 letters, digits, '_', '-', '+' or '.', beginning with a letter, "
        "digit or '_'; rename it"
    )


def named_spec(entry: object, folder: Path | None = None) -> tuple[str, Spec]:
    """Name and spec of one entry of a study's `models`: a MODEL (see `resolve`), or `{name: …, spec: {…}}`.

    Raises `UsageError` or `SpecError`.
    """
    if isinstance(entry, str):
        return resolve(entry, folder)
    if isinstance(entry, dict) and set(entry) == {"name", "spec"}:
        name = check_name(entry["name"])
        return name, parse_spec(entry["spec"], f"models: {name}")
    raise UsageError(
        f"models: {short(entry)}: expected a preset's name, the path of a JSON or YAML file, or "
        "{name: …, spec: {…}}; change it"
    )


def _unknown(name: str) -> str:
    hint = did_you_mean(name, CARD)
    known = f"give one of {', '.join(CARD)}, or the path of a file that ends in {', '.join(SPEC_ENDINGS)}"
    return f"MODEL {short(name)}: no such preset; {hint + ' Or ' if hint else ''}{known}"
