"""Which runs a study asks for, where each goes, and which of them are still to be trained. No torch."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelflow.errors import ModelFlowError, UsageError
from modelflow.io.bounds import MAX_RUNS
from modelflow.networks.code import Code
from modelflow.networks.description import Description
from modelflow.results import layout
from modelflow.results.records import Run, other_files
from modelflow.results.run_settings import CHECKSUMS, LATER_SETTINGS, knows_data, settings_asked, settings_of
from modelflow.results.settings import RunSettings, StudySettings
from modelflow.text import sentence, short

WAYS_OUT = "give another folder with --results, or --restart, which renames the old one"


@dataclass(frozen=True)
class Plan:
    """One run to be made: a model, a seed, its settings, its folder, and the data by their `checksums`.

    Those are None where nobody has looked at the data, as before an evaluation; then nothing is compared with them.
    """

    model_name: str
    spec: Description | Code
    seed: int
    settings: RunSettings
    folder: Path
    data_dir: Path | None = None
    checksums: dict[str, str] | None = field(default=None, hash=False)
    device: str | None = None  # where it is trained is no part of what it is

    @property
    def title(self) -> str:
        """How the run is called in tables and messages."""
        return f"{self.model_name}, seed {self.seed}"


@dataclass(frozen=True)
class Event:
    """How far a run is: `done` of `total` epochs, the last one in fractions; `note` is what it does else.

    Without a loss and a note it says that the run's training begins. Without a title its note is of all runs.
    """

    title: str
    done: float
    total: int
    loss: float | None = None
    note: str = ""


OnEvent = Callable[[Event], None]
Outcome = Run | ModelFlowError  # the finished run, or why there is none
Ended = tuple[Plan, Outcome]
Engine = Callable[[list[Plan], OnEvent], Generator[Ended, None, None]]  # yields what ended


def plans(
    study: StudySettings,
    where: str | Path,
    data_dir: Path | None = None,
    checksums: dict[str, str] | None = None,
    device: str | None = None,
) -> list[Plan]:
    """The runs of a study in the order of its models and seeds. Raises `SpecError` or `UsageError` for invalid ones."""
    _check_number(study)
    settings, specs = study.run_settings(), study.specs()
    _check_apart(specs)
    return [
        Plan(name, spec, seed, settings, folder, data_dir, checksums, device)
        for name, spec in specs.items()
        for seed, folder in zip(study.seeds, layout.folders_asked(Path(where), name, study.seeds), strict=True)
    ]


def _check_number(study: StudySettings) -> None:
    """Raises `UsageError` for more runs than a study may have."""
    if study.runs > MAX_RUNS:
        raise UsageError(
            f"models: {len(study.models):,} with {len(study.seeds):,} seeds each are {study.runs:,} runs, expected at "
            f"most {MAX_RUNS:,}. Split them into several studies."
        )


def _check_apart(names: Iterable[str]) -> None:
    """Raises `UsageError` for names that differ in their case alone: one folder on macOS and Windows."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise UsageError(f"models: {other!r} and {name!r} are one folder on macOS and Windows. Rename one of them.")


def is_finished(plan: Plan) -> bool:
    """Whether the plan's folder holds this very run, finished.

    Raises `UsageError` when it holds a run, finished or half-way, of another spec, seed, settings or data, naming what
    differs and the ways out.
    """
    if finished := (plan.folder / layout.RUN).is_file():
        stored = _stored(plan, layout.read_run(plan.folder))
    elif layout.has_states(plan.folder):
        stored = layout.read_plan(plan.folder)
    else:
        return False
    _check_same(plan, stored)
    return finished


def _stored(plan: Plan, run: Run) -> dict[str, Any]:
    """What makes the run in a plan's folder that very run, as `asked` has it; raises for a name in another case."""
    if run.model_name != plan.model_name and run.model_name.lower() == plan.model_name.lower():
        raise UsageError(
            f"{plan.folder} holds a run of {run.model_name!r}, and names that differ only in case are one "
            f"folder here. Rename {plan.model_name!r}, or give another folder with --results."
        )
    spec = run.spec if run.code is None else run.code.model_dump(mode="json")
    return {"spec": spec, "seed": run.seed, **settings_of(run), CHECKSUMS: run.data.checksums}


def unfinished(planned: list[Plan]) -> list[Plan]:
    """The plans of which something is still to be done, be it the model card alone. Raises as `is_finished` does."""
    places = {plan.folder.parent for plan in planned}
    there = {place: {name.lower() for name in layout.names(place)} for place in places}
    return [plan for plan in planned if plan.folder.name.lower() not in there[plan.folder.parent] or _is_due(plan)]


def _is_due(plan: Plan) -> bool:
    return not is_finished(plan) or not (plan.folder / layout.MODEL_CARD).is_file()


def asked(plan: Plan) -> dict[str, Any]:
    """What makes a plan this very run: spec, seed, settings and data."""
    data = {} if plan.checksums is None else {CHECKSUMS: plan.checksums}
    return {"spec": plan.spec.model_dump(mode="json"), "seed": plan.seed, **settings_asked(plan.settings), **data}


def _check_same(plan: Plan, stored: dict[str, Any]) -> None:
    now = asked(plan)
    stored = {**LATER_SETTINGS, **stored}
    stored = stored if knows_data(stored) else stored | {CHECKSUMS: plan.checksums}
    name = next((name for name in now if now[name] != stored.get(name)), None)
    if name is None:
        return
    if name == CHECKSUMS:
        raise UsageError(
            f"{plan.folder} holds a run on other data. These files of {plan.settings.dataset} have changed: "
            f"{other_files(stored[name], now[name])}. Restore the old files, or {WAYS_OUT}."
        )
    if name == "spec" and isinstance(stored.get("spec"), dict):
        now, stored = now["spec"], stored["spec"]
        if "code" in now and now["code"] == stored.get("code"):
            raise UsageError(
                f"{plan.folder} holds a run of other code. {now['code']} has changed: SHA-256 stored "
                f"{_said(stored.get('sha256'))[1:13]}, now {now['sha256'][:12]}. Restore the old code, or {WAYS_OUT}."
            )
        name = next(field for field in {**now, **stored} if now.get(field) != stored.get(field))
    raise UsageError(
        f"{plan.folder} holds a run with other settings: {name} was {_said(stored.get(name))}, "
        f"now {_said(now.get(name))}. {sentence(WAYS_OUT)}.{_to_add(plan, stored) if name == 'seed' else ''}"
    )


def _said(value: object) -> str:
    return "left out" if value is None else short(value)


def _to_add(plan: Plan, stored: dict[str, object]) -> str:
    from modelflow.analysis.verdicts import AFTER_A_LOOK  # and numpy with it

    return f" To add a seed: modelflow run --seeds {short(stored.get('seed'))},{plan.seed}. {AFTER_A_LOOK}."


def interrupted(planned: list[Plan], restarted: bool = False) -> str:
    """What is there after an interruption, in words; a command that `restarted` would set it aside if given again."""
    left = [plan for plan in planned if not (plan.folder / layout.RUN).is_file()]
    begun = [plan.title for plan in left if layout.has_states(plan.folder)]
    lines = [f"interrupted: {len(planned) - len(left)} of {len(planned)} runs are finished and kept"]
    lines += [f"interrupted, will resume: {' · '.join(begun)}"] if begun else []
    again = "again, without --restart," if restarted else "again"
    rest = "train the rest" if left else "write the missing pages"
    return "\n".join([*lines, f"give the same command {again} to {rest}"])
