"""What a run and a study are asked to do: validated once, from a study file or the command line. No torch."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from modelflow.data.source import MAX_SIDE, Form, size_of, size_text
from modelflow.data.sources import canonical, is_fixed, shape_of
from modelflow.errors import ShapeError, UsageError
from modelflow.evaluation.measure import ACCURACY, metrics
from modelflow.evaluation.scores.score import Metric
from modelflow.io.arguments import plain
from modelflow.io.bounds import MAX_STUDY_BYTES
from modelflow.io.config import read_fields
from modelflow.io.validation import explain, repeated
from modelflow.networks.code import Code
from modelflow.networks.data_shape import AskShape
from modelflow.networks.description import Description
from modelflow.networks.layers.kind import MAX_LAYERS
from modelflow.networks.resolve import CARD, is_model, is_spec, named_spec, preset
from modelflow.networks.trace import MAX_PARAMETERS, shape_text, trace
from modelflow.text import short
from modelflow.training.choices import Optimizer, Schedule

MAX_SEEDS = 10_000
MAX_STUDY_LAYERS = 20 * MAX_LAYERS  # of all models of a study together
T = TypeVar("T", bound=BaseModel)
Share = Annotated[float, Field(ge=0, lt=1, strict=True)]
Pixels = Annotated[int, Field(ge=0, lt=MAX_SIDE, strict=True)]
RECIPES: dict[str, dict[str, Any]] = {
    "card": {},
    "best": {"epochs": 60, "batch_size": 64, "lr": 2e-3, "schedule": "one-cycle"},
    "modern": {
        "epochs": 15,
        "batch_size": 128,
        "lr": 1e-2,
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "schedule": "one-cycle",
    },
}
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]


def _in_utf_8(name: str) -> str:
    """run.json says what a run was trained on."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("a name in UTF-8") from None
    return name


def _path_as_text(path: object) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def _size_as_text(size: object) -> str | None:
    return None if size is None else size_text(size_of(size))


class RunSettings(BaseModel):
    """How one run is trained.

    Protocol `held-out`: `validation_images` of the training images (5,000, or a twelfth of them if that is fewer) are
    held out for validation, and the test images are read once, at the end; a data set's own validation split is used
    in their place. Protocol `card`: all training images are trained on, and the test images serve as validation.

    `image_size` (as text, such as "32x48", height first), `channels`, `transpose` and `skip_bad` say how the files of a
    data set are read where its format leaves that open.

    What is left out is as `recipe` says: the card's settings, or those that were found best for its networks, or
    for networks with batch norm (docs/recipes.md).
    `weight_decay` and `momentum` are the optimizer's, left out torch's own. `class_weights` balanced counts each image
    by the inverse of its class's share of the training images. `ema` is the decay of the moving average of the weights,
    which is then evaluated and stored (training/averaging.py). `shift`, `flip` and `cutout` change training images at
    each step (training/augmentation.py).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(strict=True), AfterValidator(_in_utf_8), BeforeValidator(_path_as_text)] = (
        "fashion-mnist"
    )
    protocol: Literal["held-out", "card"] = "held-out"
    validation_images: Annotated[int, Field(ge=1, strict=True)] | None = None
    recipe: Literal["card", "best", "modern"] = "card"
    epochs: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1 << 20, strict=True)] = 16
    lr: Annotated[float, Field(gt=0, le=1000, strict=True)] = 3e-4
    optimizer: Optimizer = "adam"
    momentum: Share | None = None
    nesterov: Annotated[bool, Field(strict=True)] = False
    weight_decay: Share | None = None
    schedule: Schedule = "constant"
    label_smoothing: Share = 0.0
    class_weights: Literal["balanced"] | None = None
    ema: Annotated[float, Field(gt=0, lt=1, strict=True)] | None = None
    shift: Pixels = 0
    flip: Annotated[bool, Field(strict=True)] = False
    cutout: Pixels = 0
    max_parameters: Annotated[int, Field(ge=1, strict=True)] = MAX_PARAMETERS
    find_best_lr: Annotated[bool, Field(strict=True)] = False
    image_size: Annotated[str | None, BeforeValidator(_size_as_text)] = None
    channels: Literal[1, 3] | None = None
    transpose: Annotated[bool, Field(strict=True)] = False
    skip_bad: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="before")
    @classmethod
    def _as_the_recipe_says(cls, given: Any) -> Any:
        recipe = given.get("recipe", "card") if isinstance(given, dict) else None
        if not isinstance(recipe, str) or recipe not in RECIPES:
            return given
        usual = dict(RECIPES[recipe])
        if given.get("optimizer") not in (None, usual.get("optimizer")):
            usual.pop("weight_decay", None)  # it was found for the recipe's own optimizer
        return usual | {name: of for name, of in given.items() if of is not None or name not in usual}

    @model_validator(mode="after")
    def _nothing_held_out_by_the_card(self) -> "RunSettings":
        if self.protocol == "card" and self.validation_images is not None:
            raise ValueError("validation_images: protocol card holds nothing out. Remove it.")
        return self

    @model_validator(mode="after")
    def _momentum_has_its_optimizer(self) -> "RunSettings":
        if self.momentum is not None and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(f"momentum: {self.optimizer} has none. Use optimizer sgd, or remove it.")
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("nesterov: is for optimizer sgd with a momentum. Give both, such as momentum 0.9.")
        return self

    @property
    def form(self) -> Form:
        """How the files of the data set are read."""
        return Form.of(self.image_size, self.channels, self.transpose, self.skip_bad)

    def optimizer_options(self) -> dict[str, Any]:
        """What the optimizer is given beside its learning rate, by torch's names; only what was asked for."""
        asked = {"momentum": self.momentum, "nesterov": self.nesterov or None, "weight_decay": self.weight_decay}
        return {name: value for name, value in asked.items() if value is not None}


def _listed(models: object) -> Any:
    """One model alone as a list of it, specs by their names as a list of these."""
    if isinstance(models, str | os.PathLike) or is_spec(models):
        return [models]
    if isinstance(models, Mapping):
        pair = set(models) in ({"name", "spec"}, {"name", "module"})
        return [models] if pair else [{"name": name, "spec": spec} for name, spec in models.items()]
    return models


def _seeds_from_42(seeds: object) -> Any:
    """A number of seeds as that many, from 42 on."""
    if isinstance(seeds, list | tuple):
        return seeds
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= MAX_SEEDS:
        return list(range(42, 42 + seeds))
    raise ValueError(f"a number of seeds from 1 to {MAX_SEEDS:,}, or a list such as [1, 2, 3]")


def _known_metric(word: str) -> str:
    if word not in (known := metrics()):
        raise ValueError(" or ".join(map(repr, known)))
    return word


class StudySettings(RunSettings):
    """A study: each of `models` with each of `seeds`. The default is the card's: seven models, one seed.

    Of a `whole` study, such as `read_study` gives, `models` are names with their specs.
    `metric` is what the study is decided by, left out accuracy. `margin` is what would matter, in points of it: two
    models are equivalent within it. Left out it is half a point, or four test images where that is more. Of the metric
    nll it is in nats, left out 0.01. Both are of the study and not of its runs.
    """

    models: Annotated[list[Any], BeforeValidator(_listed), Field(min_length=1, max_length=10_000)] = Field(
        default_factory=lambda: list(CARD)
    )
    seeds: Annotated[list[Seed], BeforeValidator(_seeds_from_42), Field(min_length=1, max_length=MAX_SEEDS)] = Field(
        default_factory=lambda: [42]
    )
    metric: Annotated[str, Field(strict=True), AfterValidator(_known_metric)] | None = None
    margin: Annotated[float, Field(gt=0, lt=100, strict=True)] | None = None

    def specs(self) -> dict[str, Description | Code]:
        """The specs of a `whole` study by model name."""
        return {model["name"]: model["spec"] for model in self.models}

    @property
    def decided_by(self) -> Metric:
        """The metric that is called by its word; left out, accuracy."""
        return ACCURACY if self.metric is None else metrics()[self.metric]

    @property
    def runs(self) -> int:
        """How many it asks for: each model with each seed."""
        return len(self.models) * len(self.seeds)

    def run_settings(self) -> RunSettings:
        """The settings that every run of the study shares."""
        return RunSettings(**{name: getattr(self, name) for name in RunSettings.model_fields})


def _check_traceable(name: str, spec: Description, max_parameters: int) -> None:
    """Raises `ShapeError` for layers that do not fit, and for too many parameters."""
    try:
        trace(spec, max_parameters)
    except ShapeError as error:
        fitted = name in CARD and spec.input_shape != preset(name).input_shape
        images = f" for images of {shape_text(spec.input_shape)}" if fitted else ""
        raise ShapeError(f"{name}{images}: {error}") from None


def _asked(settings: RunSettings, data_dir: Path | None) -> AskShape:
    """The shape of a data set, found when something is left out, and once."""
    return cache(partial(shape_of, settings.dataset, settings.form, data_dir))


def _named(
    models: list[object], data: AskShape, folder: Path | None = None
) -> Iterator[tuple[str, Description | Code]]:
    """Name and spec of each entry. Raises `UsageError` when two have one name, or all together too many layers."""
    names, layers = set(), 0
    for place, entry in enumerate(models, start=1):
        name, spec = named_spec(entry, folder, place, data)
        if name in names:
            raise UsageError(f"models: the name {name!r} appears twice. Rename one of them.")
        names.add(name)
        layers += 1 if isinstance(spec, Code) else spec.depth
        if layers > MAX_STUDY_LAYERS:
            raise UsageError(f"models: more than {MAX_STUDY_LAYERS:,} layers in all. Split them into several studies.")
        yield name, spec


def whole(study: StudySettings, folder: Path | None = None, data_dir: Path | None = None) -> StudySettings:
    """The study with name and spec of each of its models within; a spec file is looked up in `folder` first.

    `data_dir` is the folder that was named for the files of its data, if any.
    Raises `UsageError` when two have one name, `SpecError` for an invalid one.
    """
    named = dict(_named(study.models, _asked(study, data_dir), folder))
    for name, spec in named.items():
        if not isinstance(spec, Code):
            _check_traceable(name, spec, study.max_parameters)
    return study.model_copy(update={"models": [{"name": name, "spec": spec} for name, spec in named.items()]})


def read_study(
    study: str | Path | Mapping[str, object] | Sequence[object] | None,
    data_dir: Path | None = None,
    **overrides: object,
) -> StudySettings:
    """The `whole` study of a file, or the card's, as `read_study_file` reads it.

    In place of the file, its settings will do as a mapping, a list of its models, or one model. Raises as
    `read_study_file` does.
    """
    if study is None:
        return read_study_file(None, data_dir, **overrides)
    if isinstance(study, str | os.PathLike) and not is_model(os.fspath(study)):
        return read_study_file(Path(study), data_dir, **overrides)
    models_alone = isinstance(study, str | os.PathLike | list | tuple) or is_spec(study)
    return study_of_fields({"models": plain(study)} if models_alone else plain(study), None, data_dir, overrides)


def read_study_file(path: Path | None, data_dir: Path | None = None, **overrides: object) -> StudySettings:
    """The `whole` study in a YAML or JSON file (the card's when there is none); `overrides` that are not None win.

    Spec files that it names are looked up beside the study file first, then where the command was given; they are read
    once, here. Images of your own are looked up in `data_dir`, then where the command was given, then beside the study
    file. Raises `UsageError` or `SpecError` naming the field, its value, what is expected and a fix.
    """
    fields = {} if path is None else read_fields(path, MAX_STUDY_BYTES)
    if is_spec(fields):
        raise UsageError(
            f"{path}: is a spec, expected a study. To train it: modelflow train {path}, or run_study(['{path}'])."
        )
    return study_of_fields(fields, path, data_dir, overrides)


def study_of_fields(
    fields: Any, path: Path | None, data_dir: Path | None = None, overrides: Mapping[str, object] | None = None
) -> StudySettings:
    """The `whole` study of its fields, which stand in the file `path`, if in any. Raises as `read_study_file` does."""
    if not isinstance(fields, dict):
        raise UsageError(f"{path or 'study'}: {short(fields)}: expected settings such as `epochs: 10`")
    options = {name: value for name, value in (overrides or {}).items() if value is not None}
    where = " and ".join([*([] if path is None else [str(path)]), *(["options"] if options else [])]) or "settings"
    study = validated(StudySettings, fields | options, where)
    check_seeds(study.seeds, where)
    folder = None if path is None else path.parent
    return whole(study.model_copy(update={"dataset": _found(study.dataset, folder)}), folder, data_dir)


def _found(dataset: str, folder: Path | None) -> str:
    """A data set's name, with the prefix of its format where it is a path.

    A relative path that leads nowhere from here is taken as seen from the study file's `folder`. Raises `UsageError`
    for a path where no format is recognised, or several.
    """
    kind, colon, path = dataset.partition(":")
    path = path if colon else dataset
    if folder is None or not path or is_fixed(dataset) or os.path.isabs(path) or os.path.exists(path):
        return canonical(dataset)
    beside = folder / path
    return canonical(f"{kind}:{beside}" if colon else str(beside)) if os.path.exists(beside) else dataset


def check_seeds(seeds: list[int], where: str) -> None:
    """Raises `UsageError`, which names `where` they stand, for a seed that is there twice."""
    if (twice := repeated(seeds)) is not None:
        raise UsageError(f"{where}: seeds: {twice} appears twice. Remove one.")


def validated(kind: type[T], fields: dict[str, Any], where: str) -> T:
    """`fields` as `kind`. Raises `UsageError` with field, value and what is expected."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{where}: " + explain(error, list(kind.model_fields))) from None
