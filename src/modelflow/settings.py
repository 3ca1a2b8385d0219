"""What a run and a study are asked to do: validated once, from a study file or the command line. No torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from modelflow.errors import ShapeError, UsageError
from modelflow.presets import CARD, named_spec
from modelflow.shapes import MAX_PARAMETERS, trace
from modelflow.spec import MAX_LAYERS, Spec, explain, read_fields, repeated, short

MOST_SEEDS = 10_000
MOST_LAYERS = 20 * MAX_LAYERS  # of all models of a study together
T = TypeVar("T", bound=BaseModel)
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["constant", "one-cycle"]
RECIPES: dict[str, dict[str, Any]] = {
    "card": {},
    "best": {"epochs": 60, "batch_size": 64, "lr": 2e-3, "schedule": "one-cycle"},
}
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


class RunSettings(BaseModel):
    """How one run is trained.

    Protocol `held-out`: `validation_images` of the training images (5,000, or a twelfth of them if that is fewer) are
    held out for validation, and the test images are read once, at the end. Protocol `card`: all training images are
    trained on, and the test images serve as validation.

    What is left out is as `recipe` says: the card's settings, or those that were found best (docs/recipes.md).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(strict=True)] = "fashion-mnist"
    protocol: Literal["held-out", "card"] = "held-out"
    validation_images: Annotated[int, Field(ge=1, strict=True)] | None = None
    recipe: Literal["card", "best"] = "card"
    epochs: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1 << 20, strict=True)] = 16
    lr: Annotated[float, Field(gt=0, le=1000, strict=True)] = 3e-4
    optimizer: Optimizer = "adam"
    schedule: Schedule = "constant"
    max_parameters: Annotated[int, Field(ge=1, strict=True)] = MAX_PARAMETERS
    find_best_lr: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="before")
    @classmethod
    def _as_the_recipe_says(cls, given: Any) -> Any:
        recipe = given.get("recipe", "card") if isinstance(given, dict) else None
        return RECIPES[recipe] | given if isinstance(recipe, str) and recipe in RECIPES else given

    @model_validator(mode="after")
    def _nothing_held_out_by_the_card(self) -> "RunSettings":
        if self.protocol == "card" and self.validation_images is not None:
            raise ValueError("validation_images: nothing is held out by the protocol card; leave it out")
        return self


def _seeds_from_42(seeds: Any) -> Any:
    """A number of seeds as that many, from 42 on."""
    if isinstance(seeds, list | tuple):
        return seeds
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MOST_SEEDS:
        return list(range(42, 42 + seeds))
    raise ValueError(f"how many, from 1 to {MOST_SEEDS:,}, or a list such as [1, 2, 3]")


class StudySettings(RunSettings):
    """A study: each of `models` with each of `seeds`. The default is the card's: seven models, one seed."""

    models: Annotated[list[Any], Field(min_length=1, max_length=10_000)] = Field(default_factory=lambda: list(CARD))
    seeds: Annotated[list[Seed], BeforeValidator(_seeds_from_42), Field(min_length=1, max_length=MOST_SEEDS)] = Field(
        default_factory=lambda: [42]
    )

    def specs(self) -> dict[str, Spec]:
        """The specs by model name. Raises `UsageError` when two have one name, `SpecError` for an invalid one."""
        named: dict[str, Spec] = {}
        for name, spec in _named(self.models):
            try:
                trace(spec, self.max_parameters)
            except ShapeError as error:
                raise ShapeError(f"{name}: {error}") from None
            named[name] = spec
        return named

    def run_settings(self) -> RunSettings:
        """The settings that every run of the study shares."""
        return RunSettings(**{name: getattr(self, name) for name in RunSettings.model_fields})


def _named(models: list[Any], folder: Path | None = None) -> Iterator[tuple[str, Spec]]:
    """Name and spec of each entry. Raises `UsageError` when two have one name, or all together too many layers."""
    names, layers = set(), 0
    for entry in models:
        name, spec = named_spec(entry, folder)
        if name in names:
            raise UsageError(f"models: the name {name!r} stands there twice; give one of them another name")
        names.add(name)
        layers += spec.amnt_cov_layers + spec.amnt_fc_layers
        if layers > MOST_LAYERS:
            raise UsageError(f"models: more than {MOST_LAYERS:,} layers in all; make several studies of them")
        yield name, spec


def read_study(path: str | Path | None, **overrides: Any) -> StudySettings:
    """The study in a YAML or JSON file (the card's when there is none); `overrides` that are not None win.

    Spec files that it names are looked up beside the study file first, then where the command was given; they are read
    once, here. Raises `UsageError` or `SpecError` naming the field, its value, what is expected and a mend.
    """
    fields = {} if path is None else read_fields(path)
    if not isinstance(fields, dict):
        raise UsageError(f"{path}: {short(fields)}: expected settings such as `epochs: 10`; write them so")
    if "in_channels" in fields and "models" not in fields:
        raise UsageError(f"{path}: is a spec, expected a study; to train it: modelflow train {path}")
    options = {name: value for name, value in overrides.items() if value is not None}
    where = " and ".join([*([] if path is None else [str(path)]), *(["options"] if options else [])]) or "settings"
    study = validated(StudySettings, fields | options, where)
    _check_seeds(study.seeds, where)
    folder = None if path is None else Path(path).parent
    named = [{"name": name, "spec": spec} for name, spec in _named(study.models, folder)]
    study = study.model_copy(update={"models": named})
    study.specs()
    return study


def _check_seeds(seeds: list[int], where: str) -> None:
    if (twice := repeated(seeds)) is not None:
        raise UsageError(f"{where}: seeds: {twice} stands there twice; drop one of the two")


def validated(kind: type[T], fields: dict[str, Any], where: str) -> T:
    """`fields` as `kind`. Raises `UsageError` with field, value and what is expected."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{where}: " + explain(error, list(kind.model_fields))) from None
