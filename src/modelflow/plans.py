"""Which runs a study asks for, where each goes, and which of them are still to be trained. No torch."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelflow import results
from modelflow.errors import ModelFlowError, UsageError
from modelflow.locks import LOCK, alone_in
from modelflow.records import Run
from modelflow.settings import RunSettings, StudySettings, read_study
from modelflow.spec import Spec, read_fields, short

MOST_NAMED = 5  # models of which a message says what is missing
LATER_SETTINGS = {"schedule": "constant", "validation_images": None}  # which older records do not name


@dataclass(frozen=True)
class Plan:
    """One run to be made: a model, a seed, its settings and its folder."""

    model_name: str
    spec: Spec
    seed: int
    settings: RunSettings
    folder: Path
    data_dir: Path | None = None

    @property
    def title(self) -> str:
        """How the run is called in tables and messages."""
        return f"{self.model_name}, seed {self.seed}"


@dataclass(frozen=True)
class Event:
    """How far a run is: `done` of `total` epochs, the last one in fractions; `note` is what it does else."""

    title: str
    done: float
    total: int
    loss: float | None = None
    note: str = ""


OnEvent = Callable[[Event], None]


def plans(study: StudySettings, where: Path, data_dir: Path | None = None) -> list[Plan]:
    """The runs of a study in the order of its models and seeds. Raises `SpecError` or `UsageError` for invalid ones."""
    settings = study.run_settings()
    return [
        Plan(name, spec, seed, settings, results.run_folder(where, name, seed, study.seeds[0]), data_dir)
        for name, spec in study.specs().items()
        for seed in study.seeds
    ]


def is_finished(plan: Plan) -> bool:
    """Whether the plan's folder holds this very run, finished.

    Raises `UsageError` when it holds a run, finished or half-way, of another spec, seed or settings, naming what
    differs and the two ways out.
    """
    if not (plan.folder / results.RUN).is_file():
        if results.has_states(plan.folder):
            _check_same(plan, results.read_plan(plan.folder))
        return False
    run = results.read_run(plan.folder)
    _check_same(plan, {"spec": run.spec, "seed": run.seed, **settings_of(run)})
    return True


def unfinished(planned: list[Plan]) -> list[Plan]:
    """The plans of which something is still to be done, be it the model card alone. Raises as `is_finished` does."""
    return [plan for plan in planned if not is_finished(plan) or not (plan.folder / results.MODEL_CARD).is_file()]


def read_written_study(where: Path) -> StudySettings:
    """study.json as a study writes it, with its specs within. Raises `UsageError` or `SpecError` for any other."""
    path = where / results.STUDY
    fields = None if path.is_symlink() else read_fields(path)
    models = fields.get("models") if isinstance(fields, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(one, dict) and isinstance(one.get("spec"), dict) for one in models
    ):
        raise UsageError(f"{path}: expected a study's settings with the specs of its models")
    return read_study(path)


def missing(where: Path) -> str:
    """Which of the runs that study.json asks for are not finished, in words.

    Empty when all are, or no study file can be read. Raises `DataError` where a run's folder is a symbolic link.
    """
    try:
        study = read_written_study(where)
    except ModelFlowError:
        return ""
    seeds = set(study.seeds)
    done = {name: seeds & _finished_seeds(where / name, study.seeds[0]) for name in study.specs()}
    begun = [name for name, found in done.items() if len(found) < len(seeds)]
    if not begun:
        return ""
    asked_for, left = len(seeds) * len(done), len(seeds) * len(done) - sum(map(len, done.values()))
    named = [f"{name} ({_seed_list(seeds - done[name])})" for name in begun[:MOST_NAMED]]
    named += [f"{len(begun) - MOST_NAMED} models more"] if len(begun) > MOST_NAMED else []
    return (
        f"{left:,} of the {asked_for:,} runs that {results.STUDY} asks for are not finished: {', '.join(named)}; "
        "the command that began them, given again, trains them"
    )


def _finished_seeds(folder: Path, first: int) -> set[int]:
    """Those of a model's folder, which itself holds the run of the study's first seed."""
    names = (str(first) if place == folder else place.name for place in results.model_runs(folder))
    return {int(name) for name in names if name.isdecimal()}


def _seed_list(seeds: set[int]) -> str:
    if len(seeds) > MOST_NAMED:
        return f"{len(seeds):,} seeds"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, sorted(seeds)))}"


def asked(plan: Plan) -> dict[str, Any]:
    """What makes a plan this very run: spec, seed and settings."""
    return {"spec": plan.spec.model_dump(mode="json"), "seed": plan.seed, **settings_asked(plan.settings)}


def settings_asked(settings: RunSettings) -> dict[str, Any]:
    """Those that make a run another one."""
    return settings.model_dump(exclude={"max_parameters", "recipe"})


def settings_of(run: Run) -> dict[str, Any]:
    """Those of a finished run, as `settings_asked` has them."""
    return {**LATER_SETTINGS, **run.settings, "epochs": run.epochs}


def _check_same(plan: Plan, stored: dict[str, Any]) -> None:
    now = asked(plan)
    name = next((name for name in now if now[name] != stored.get(name)), None)
    if name is None:
        return
    if name == "spec" and isinstance(stored.get("spec"), dict):
        now, stored = now["spec"], stored["spec"]
        name = next(field for field in {**now, **stored} if now.get(field) != stored.get(field))
    add = f"; to add a seed: modelflow run --seeds {stored['seed']},{plan.seed}" if name == "seed" else ""
    raise UsageError(
        f"{plan.folder} holds a run with another {name} (stored {short(stored.get(name))}, asked "
        f"{short(now.get(name))}); give another folder with --results, or --restart (make: RESTART=1), which keeps "
        f"the old one aside{add}"
    )


def set_aside(folder: Path) -> Path | None:
    """Moves a folder that exists to the first free name `FOLDER.old-N`, and says which.

    Raises `UsageError` while another process is at work there, in a folder below it or in its study.
    """
    if not folder.exists():
        return None
    n = 1
    while (aside := folder.with_name(f"{folder.name}.old-{n}")).exists():
        n += 1
    with ExitStack() as held:
        held.enter_context(alone_in(folder))
        for place in _places_of_work(folder):
            held.enter_context(alone_in(place, patience=0))
        shutil.move(folder, aside)
    return aside


def _places_of_work(folder: Path) -> list[Path]:
    """The folders above and below it that a process may be at work in."""
    below = [path.parent for path in folder.rglob(LOCK) if path.parent != folder]
    return [place for place in (folder.parent, *folder.parents[2:3]) if (place / LOCK).is_file()] + below


def interrupted(planned: list[Plan], restarted: bool = False) -> str:
    """What is there after an interruption, in words; a command that `restarted` would set it aside if given again."""
    left = [plan for plan in planned if not (plan.folder / results.RUN).is_file()]
    begun = [plan.title for plan in left if results.has_states(plan.folder)]
    lines = [f"interrupted: {len(planned) - len(left)} of {len(planned)} runs are finished and kept"]
    lines += [f"kept half-way, to go on from: {'; '.join(begun)}"] if begun else []
    again = "again, without --restart (make: RESTART=1)," if restarted else "again"
    rest = "train the rest" if left else "write what is missing of its pages"
    return "\n".join([*lines, f"give the same command {again} to {rest}"])
