"""How the results were made, and the command that makes them again. No torch.

how = how_made(content)
how.command      # modelflow run --protocol card --seeds 5 --results results
"""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelflow.errors import ModelFlowError
from modelflow.plans import read_written_study, settings_asked, settings_of
from modelflow.records import Run, kept_apart
from modelflow.report.content import Content
from modelflow.report.words import NONE, count, listed, shown, significant
from modelflow.results import STUDY
from modelflow.settings import RunSettings, StudySettings, read_study

LONGEST_LIST = 12
SHORT = 12  # digits of a revision that tell it from others
AGAIN = "repeated"
EXPLAINED = {
    "card": "card (the settings of the course's model card, but for those given)",
    "best": "best (the settings found best on validation images, but for those given)",
    "compiled step": "compiled step (machine code made for each architecture)",
}


@dataclass(frozen=True)
class How:
    """Settings and circumstances by name, the checksums of the data, and how to repeat it.

    `made_with` says by which versions, `data` where each data set comes from. `command` is empty where no study file
    tells; `caution` says what `command` does not cover.
    """

    facts: tuple[tuple[str, str], ...]
    checksums: tuple[tuple[str, str, str], ...]
    notes: tuple[tuple[str, int, str], ...]
    made_with: str
    data: tuple[str, ...]
    command: str
    caution: str


def how_made(content: Content) -> How:
    """All that is known of how these results were made."""
    seeds = [(model.name, seed.run) for model in content.models for seed in model.seeds]
    notes = tuple((name, run.seed, shown(note)) for name, run in seeds for note in run.notes)
    sums = {(run.data.name, file, sha256) for run in content.runs for file, sha256 in run.data.checksums.items()}
    command, caution = repeat_command(content)
    data = tuple(dict.fromkeys(data_words(run) for run in content.runs))
    return How(tuple(_facts(content.runs)), tuple(sorted(sums)), notes, made_with(content.runs), data, command, caution)


FACTS: tuple[tuple[str, Callable[[Run], Any]], ...] = (
    ("Data set", lambda run: run.data.name),
    ("Images to train on", lambda run: count(run.data.training_images)),
    ("Images to validate on", lambda run: count(run.data.validation_images)),
    ("Images to test on", lambda run: count(run.metrics.images)),
    ("Protocol", lambda run: run.protocol),
    ("Recipe", lambda run: _explained(run.settings.get("recipe"))),
    ("Epochs", lambda run: run.epochs),
    ("Batch size", lambda run: run.settings.get("batch_size")),
    ("Optimizer", lambda run: run.settings.get("optimizer")),
    ("Learning rate", lambda run: f"{run.lr:g}"),
    ("Schedule", lambda run: run.settings.get("schedule")),
    ("Seeds", lambda run: run.seed),
    ("Test images evaluated", lambda run: _reads(run)),
    ("Trained by", lambda run: _explained(run.engine)),
    ("Device", lambda run: run.device),
    ("Processor", lambda run: run.processor),
    ("Threads", lambda run: run.threads),
    ("Revision of ModelFlow", lambda run: run.git_revision),
)


def _explained(value: Any) -> Any:
    """With what the word means, where it is one of ours."""
    return EXPLAINED.get(value, value) if isinstance(value, str) else value


def _reads(run: Run) -> str | None:
    if run.test_reads is None:
        return "after every epoch" if kept_apart(run.protocol) == "card" else "not known"
    return "once a run" if run.test_reads == 1 else f"{run.test_reads} times a run"


def _facts(runs: list[Run]) -> Iterable[tuple[str, str]]:
    """Each fact with every value that the runs have."""
    for name, read in FACTS:
        yield name, _values(read(run) for run in runs)
    packages = sorted({package for run in runs for package in run.versions})
    versions = [f"{shown(name)} {_values(run.versions.get(name) for run in runs)}" for name in packages]
    yield "Versions", ", ".join(versions) or NONE
    yield "Seconds of training, all runs together", significant(sum(run.seconds.get("training", 0.0) for run in runs))
    days = sorted({run.started[:10] for run in runs})
    yield "Trained on", days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def made_with(runs: Sequence[Run]) -> str:
    """What the runs were made by, as recorded: "ModelFlow 0.1.0 (revision 0123456789ab) on Python 3.11.7"."""
    own, python = ([run.versions.get(name) for run in runs] for name in ("modelflow", "python"))
    revisions = [_revision(run.git_revision) for run in runs if run.git_revision]
    at = f" (revision {_values(revisions)})" if revisions else ""
    return f"ModelFlow {_or_unknown(own)}{at} on Python {_or_unknown(python)}"


def _revision(revision: str) -> str:
    return f"{revision[:SHORT]} with changes" if revision.endswith("+") else revision[:SHORT]


def _or_unknown(versions: Sequence[str | None]) -> str:
    return _values(versions) if any(versions) else "of a version that was not recorded"


def data_words(run: Run) -> str:
    """Where the data of a run come from, and what shows that they are the same."""
    sums = list(run.data.checksums.values())
    if not sums:
        return f"{_origin(run)}; no checksum was recorded."
    known = f"SHA-256 {shown(sums[0])}" if len(sums) == 1 else f"the SHA-256 of its {len(sums)} files stand below"
    return f"{_origin(run)}; {known}."


def _origin(run: Run) -> str:
    from modelflow.data.sources import KNOWN_SETS

    name = shown(run.data.name)
    if name in KNOWN_SETS:
        return f"{name} is downloaded, and checked, where it is nowhere on the machine"
    if name == "digits":
        return f"{name} comes with scikit-learn ({_or_unknown([run.versions.get('scikit-learn')])})"
    if name.startswith("idx:"):
        return f"{name} is read from that folder, which has to hold the same files"
    return f"{name} was given in Python, and has to be given again"


def _values(found: Iterable[Any]) -> str:
    values = sorted({value for value in found if value not in (None, "", NONE)}, key=lambda v: (str(type(v)), v))
    texts = [shown(value) for value in values]
    if len(texts) > LONGEST_LIST:
        return f"{', '.join(texts[:LONGEST_LIST])} and {len(texts) - LONGEST_LIST} more"
    return listed(texts) if texts else NONE


def repeat_command(content: Content) -> tuple[str, str]:
    """The command that trains all of it again, from study.json; and what it does not cover."""
    path = content.folder / STUDY
    if not path.is_file():
        return (
            "",
            f"There is no {STUDY} here: the runs were trained one by one, and the run.json of each tells how.",
        )
    try:
        study = read_written_study(content.folder)
        planned = set(study.specs())
    except ModelFlowError as error:
        return "", f"{STUDY} cannot be read: {shown(error)}"
    others = sorted({model.name for model in content.models} - planned)
    cautions = [f"The study file does not cover {listed(others)}."] if others else []
    cautions += [*_other_seeds(content, study.seeds, planned), *_other_settings(content, study, planned)]
    options = _options(study)
    asked = [str(path)] if options is None else options
    return shlex.join(["modelflow", "run", *asked, "--results", AGAIN]), " ".join(cautions)


def _other_seeds(content: Content, asked: list[int], planned: set[str]) -> Iterable[str]:
    """A sentence where the runs of the models that are planned have other seeds than were asked for."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for run in content.runs:
        seeds[run.model_name].add(run.seed)
    by_seeds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, found in sorted(seeds.items()):
        if name in planned and found != set(asked):
            by_seeds[tuple(sorted(found))].append(shown(name))
    if by_seeds:
        have = [f"{_seed_list(found)} ({listed(names)})" for found, names in by_seeds.items()]
        yield f"{STUDY} asks for {_seed_list(sorted(set(asked)))}; these runs have {'; '.join(have)}."


def _other_settings(content: Content, study: StudySettings, planned: set[str]) -> Iterable[str]:
    """A sentence where a run of a model that is planned has other settings than are asked for."""
    asked = settings_asked(study.run_settings())
    found = [settings_of(run) for run in content.runs if run.model_name in planned]
    others = [name for name, value in asked.items() if any(one.get(name) != value for one in found)]
    if others:
        yield f"{STUDY} asks for another {listed(others)} than some of these runs have."


def _seed_list(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {_values(seeds)}"


def _options(study: StudySettings) -> list[str] | None:
    """The options that give the very study from the card's models; None where it takes its own file."""
    given: dict[str, Any] = {"recipe": study.recipe, "seeds": study.seeds}
    usual = read_study(None, **given)
    names = [name for name in RunSettings.model_fields if getattr(study, name) != getattr(usual, name)]
    given |= {name: getattr(study, name) for name in names}
    try:
        same = read_study(None, **given).specs() == study.specs() and "schedule" not in names
    except ModelFlowError:
        same = False
    if not same:
        return None
    words = [] if study.recipe == "card" else ["--recipe", study.recipe]
    for name in names:
        option = f"--{name.replace('_', '-')}"
        words += [option] if given[name] is True else [option, str(given[name])]
    return words + _seed_words(study.seeds)


def _seed_words(seeds: list[int]) -> list[str]:
    if seeds == list(range(42, 42 + len(seeds))):
        return [] if len(seeds) == 1 else ["--seeds", str(len(seeds))]
    return ["--seed", str(seeds[0])] if len(seeds) == 1 else ["--seeds", ",".join(map(str, seeds))]


def results_name(folder: Path) -> str:
    """What the folder is called."""
    return shown(folder.resolve().name or "results")
