"""How the results were made, and the command that makes them again, for the page and the cards. No torch.

how = how_made(content)
how.command      # modelflow run --protocol card --seeds 5 --results repeated
"""

import itertools
import json
import math
import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import escape

from modelflow.analysis.archive import Content
from modelflow.analysis.verdicts import default_margin
from modelflow.data.source import IN_MEMORY
from modelflow.errors import ModelFlowError, UsageError
from modelflow.evaluation.measure import ACCURACY
from modelflow.networks.code import Code
from modelflow.networks.description import Description
from modelflow.networks.resolve import is_preset
from modelflow.report.sealed import as_file
from modelflow.report.words import NONE, count, listed, significant
from modelflow.results.asked import study_fields
from modelflow.results.layout import SPEC, STUDY
from modelflow.results.protocol import protocol_name, protocol_of
from modelflow.results.records import OF_LOADERS, OPTIONS, Run
from modelflow.results.run_settings import settings_asked, settings_of
from modelflow.results.settings import RECIPES, RunSettings, StudySettings, read_study
from modelflow.text import shown

MAX_LIST_LENGTH = 12
SHORT = 12  # digits of a revision that tell it from others
AGAIN, NEW = "repeated", "new_study"  # folders of results
RELATIVE = "{} is relative to the folder in which these runs began. Give the command there."
FOLDER = "FOLDER"
IN_FOLDER = "Put the folder of the data on your machine in place of FOLDER."
CHANGES = (
    "“With changes”: the source was not as committed. These changes are not in this page, so the revision alone may "
    "give other results."
)
MAX_STUDY_BYTES = 100_000  # of study.json in a page, as text and as a link: of about 30 models
SAME_BYTES = (
    "Same seeds, versions and machine give the same bytes in model.safetensors, history.csv and predictions.npz. "
    "Another processor or version may change the last digits of a weight, and so some predictions."
)
EXPLAINED = {
    "card": "card (the settings of the course's model card, except those given)",
    "best": "best (the settings found best on validation images, except those given)",
    "modern": "modern (the settings found best on validation images for networks with batch norm, except those given)",
    "compiled step": "compiled step (machine code made for each architecture)",
}


@dataclass(frozen=True)
class How:
    """Settings and circumstances by name, the checksums of the data, and how to repeat it.

    `made_with` says by which versions, `changes` that these had changes, `data` where each data set comes from.
    `command` is empty where no study file tells; `caution` says what `command` does not cover. `alone` is what who has
    the page alone needs.
    """

    facts: tuple[tuple[str, str], ...]
    checksums: tuple[tuple[str, str, str], ...]
    notes: tuple[tuple[str, int, str], ...]
    made_with: str
    changes: str
    data: tuple[str, ...]
    command: str
    caution: str
    alone: "Alone | None"


@dataclass(frozen=True)
class Alone:
    """How to repeat it without the results folder: the text of study.json, and the command beside it.

    `study` is empty where the text is too long for a page; `caution` says what to put in the command.
    """

    study: str
    command: str
    caution: str

    @property
    def size(self) -> int:
        """Bytes that study.json takes in a page, as text and as a link."""
        return len(escape(self.study)) + len(as_file(self.study))


def how_made(content: Content) -> How:
    """All that is known of how these results were made."""
    seeds = [(model.name, seed.run) for model in content.models for seed in model.seeds]
    notes = tuple((name, run.seed, shown(note)) for name, run in seeds for note in run.notes)
    sums = {(run.data.name, file, sha256) for run in content.runs for file, sha256 in run.data.checksums.items()}
    command, caution = repeat_command(content)
    data = tuple(dict.fromkeys(data_words(run) for run in content.runs))
    changes = CHANGES if any((run.git_revision or "").endswith("+") for run in content.runs) else ""
    facts, made, alone = tuple(_facts(content.runs)), made_with(content.runs), _alone(content, command)
    return How(facts, tuple(sorted(sums)), notes, made, changes, data, command, caution, alone)


def _alone(content: Content, command: str) -> Alone | None:
    """None where no command repeats it, and where the command takes no study.json."""
    study = content.asked.study
    if not command or study is None or _options(study, content) is not None:
        return None
    text = json.dumps(study_fields(study), indent=2) + "\n"
    kind, colon, _ = study.dataset.partition(":")
    data, caution = (["--dataset", f"{kind}:{FOLDER}"], IN_FOLDER) if colon else ([], "")
    again = shlex.join(["modelflow", "run", STUDY, *data, "--results", AGAIN])
    alone = Alone(text, again, caution)
    return alone if alone.size <= MAX_STUDY_BYTES else replace(alone, study="")


FACTS: tuple[tuple[str, Callable[[Run], Any]], ...] = (
    ("Data set", lambda run: run.data.name),
    ("Training images", lambda run: count(run.data.training_images)),
    ("Validation images", lambda run: count(run.data.validation_images)),
    ("Test images", lambda run: count(run.metrics.images)),
    ("Protocol", protocol_name),
    ("Settings other than the card's", lambda run: protocol_of(run).differing),
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


def _explained(value: object) -> Any:
    """With what the word means, where it is one of ours."""
    return EXPLAINED.get(value, value) if isinstance(value, str) else value


def _reads(run: Run) -> str | None:
    if run.test_reads is None:
        return "after every epoch" if protocol_of(run).kind == "card" else "not known"
    return "once per run" if run.test_reads == 1 else f"{run.test_reads} times per run"


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
        return f"{_origin(run)}. No checksum was recorded."
    parts = "files" if run.data.checksums.keys() - OF_LOADERS else "parts"
    known = f"SHA-256 {shown(sums[0])}" if len(sums) == 1 else f"The SHA-256 of its {len(sums)} {parts} are below"
    return f"{_origin(run)}. {known}."


def _origin(run: Run) -> str:
    from modelflow.data.sources import origin_of

    name = shown(run.data.name)
    try:
        return f"{name} {origin_of(run.data.name).words}"
    except UsageError:
        return f"{name} was given in Python and must be given again"


def _values(found: Iterable[object]) -> str:
    values = sorted({value for value in found if value not in (None, "", NONE)}, key=lambda v: (str(type(v)), v))
    texts = [shown(value) for value in values]
    if len(texts) > MAX_LIST_LENGTH:
        return f"{', '.join(texts[:MAX_LIST_LENGTH])} and {len(texts) - MAX_LIST_LENGTH} more"
    return listed(texts) if texts else NONE


def repeat_command(content: Content) -> tuple[str, str]:
    """The command that trains all of it again, wherever it is given, from study.json; and what it does not cover.

    Empty where none does; the second text then says what to do instead.
    """
    return _command(content)


def new_study_command(content: Content, number: int) -> str:
    """The command that trains the same models with so many seeds that no run here has; empty where none does."""
    seen = {run.seed for run in content.runs}
    seeds = list(itertools.islice((seed for seed in itertools.count(42) if seed not in seen), number))
    return _command(content, seeds)[0] if len(content.groups) == 1 else ""


def _command(content: Content, other_seeds: list[int] | None = None) -> tuple[str, str]:
    """As `repeat_command`; with other seeds into another folder."""
    path, study = content.folder / STUDY, content.asked.study
    if study is None and content.asked.why:
        return "", f"{STUDY} cannot be read: {shown(content.asked.why)}"
    if study is None:
        each = "The MODEL_CARD.md of each says how to repeat it, its run.json how it was made"
        return "", f"There is no {STUDY} here: the runs were trained one by one, or brought together. {each}."
    planned = study.specs()
    if by_code := {name: spec for name, spec in planned.items() if isinstance(spec, Code)}:
        again = _again(next(iter(by_code.values())))
        return (
            "",
            f"No command repeats all of it: {listed([shown(name) for name in by_code])} were made by code. {again}",
        )
    if study.dataset.startswith(IN_MEMORY):
        return "", "No command repeats it: its images were given as arrays. Call run_models with them again."
    covered = [run for run in content.runs if run.model_name in planned and not run.made_in_python]
    data, caution = data_options(study.dataset, covered)
    cautions = [*_not_covered(content, planned), *_other_networks(covered, planned)]
    cautions += [*_other_seeds(covered, study.seeds), *_other_settings(covered, study), *([caution] if caution else [])]
    options, (place, here) = _options(study, content), _placed(path)
    cautions += [here] if options is None and here else []
    asked = [place] if options is None else [*options, *_seed_words(other_seeds or study.seeds)]
    if options is None and other_seeds:
        asked += _seed_words(other_seeds)
    folder = NEW if other_seeds else AGAIN
    return shlex.join(["modelflow", "run", *asked, *data, "--results", folder]), " ".join(cautions)


def repeat_run(run: Run, folder: Path) -> tuple[str, str]:
    """The command that trains a run again, wherever it is given, and what to know of it; as `repeat_command`."""
    if run.made_in_python:
        return "", _in_python(run)
    own = not is_preset(run.model_name, run.spec)
    place, here = _placed(folder / SPEC)
    model = place if own else run.model_name
    data, caution = data_options(str(run.settings["dataset"]), [run])
    words = ["modelflow", "train", model, *_run_options(run), *data, "--results", AGAIN]
    called = f"The model is then named after its file, {Path(SPEC).stem}." if own else ""
    return shlex.join(words), " ".join(text for text in (here if own else "", called, caution, SAME_BYTES) if text)


def _placed(path: Path) -> tuple[str, str]:
    """A file by its path from anywhere; where no page can hold that, by its name, and in which folder that is."""
    place = str(path.resolve())
    return (place, "") if place.isprintable() else (path.name, f"Give the command in the folder of {path.name}.")


def _in_python(run: Run) -> str:
    if run.code is not None:
        return f"No command repeats it: the run was made by code. {_again(run.code)}"
    module = f"the module {shown(run.model_class)}" if run.spec is None else f"GenericCNN(read_spec({SPEC!r}))"
    return (
        f"No command repeats it: the run was made in Python. Create {module} and the loaders "
        f"({shown(run.data.name)}) again. Then call, with the settings above, ModelFlow(model, train_loader, "
        f"val_loader, …).run(epochs={run.epochs})."
    )


def _again(code: Code) -> str:
    """How to train again what code has made."""
    if code.is_in_file:
        return f"Give the study file that names {shown(code.code)} again, with --allow-code."
    return f"Call run_models with a function that makes {shown(code.code)} again."


def data_options(dataset: str, runs: Sequence[Run]) -> tuple[list[str], str]:
    """The options that find the data of the runs from any folder, and what to know where no record says where."""
    folders = {run.data.folder for run in runs}
    folder = folders.pop() if len(folders) == 1 else None
    kind, colon, path = dataset.partition(":")
    if not colon:
        return ([] if folder is None else ["--data-dir", folder]), ""
    if folder is not None:
        return ["--dataset", f"{kind}:{folder}"], ""
    relative = not os.path.isabs(os.path.expanduser(path))
    return ["--dataset", dataset], RELATIVE.format(shown(dataset)) if relative else ""


def _not_covered(content: Content, planned: Mapping[str, Description | Code]) -> Iterable[str]:
    """A sentence where models are not in the study file, or are not of it, being made in Python."""
    others = {model.name: model.first for model in content.models if model.first.model_name not in planned}
    in_python = {model.name: model.first for model in content.models if model.first.made_in_python}
    if files := sorted(others.keys() - in_python.keys()):
        yield f"The study file does not cover {listed([shown(name) for name in files])}."
    if in_python:
        yield f"No command repeats {listed([shown(name) for name in sorted(in_python)])}, which Python code made."


def _other_networks(covered: Sequence[Run], planned: Mapping[str, Description | Code]) -> Iterable[str]:
    """A sentence where a run of a model that is planned is of another network."""
    specs = {name: spec.model_dump(mode="json") for name, spec in planned.items()}
    if others := sorted({run.model_name for run in covered if run.spec != specs[run.model_name]}):
        yield f"{STUDY} describes another {listed(others)} than some of these runs used."


def _other_seeds(covered: Sequence[Run], asked: list[int]) -> Iterable[str]:
    """A sentence where the runs of the models that are planned have other seeds than were asked for."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for run in covered:
        seeds[run.model_name].add(run.seed)
    by_seeds: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, found in sorted(seeds.items()):
        if found != set(asked):
            by_seeds[tuple(sorted(found))].append(shown(name))
    if by_seeds:
        have = [f"{_seed_list(found)} ({listed(names)})" for found, names in by_seeds.items()]
        yield f"{STUDY} asks for {_seed_list(sorted(set(asked)))}. These runs have {', '.join(have)}."


def _other_settings(covered: Sequence[Run], study: StudySettings) -> Iterable[str]:
    """A sentence where a run of a model that is planned has other settings than are asked for."""
    asked = settings_asked(study.run_settings())
    found = [settings_of(run) for run in covered]
    others = [name for name, value in asked.items() if any(one.get(name) != value for one in found)]
    if others:
        yield f"{STUDY} asks for another {listed(others)} than some of these runs have."


def _seed_list(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {_values(seeds)}"


def _options(study: StudySettings, content: Content) -> list[str] | None:
    """The options, but for its seeds, that give the very study from the card's models; None where it takes its file."""
    given: dict[str, Any] = {"recipe": study.recipe, "seeds": study.seeds}
    usual = read_study(None, **given)
    names = [name for name in RunSettings.model_fields if getattr(study, name) != getattr(usual, name)]
    given |= {name: getattr(study, name) for name in names}
    try:
        same = read_study(None, **given).specs() == study.specs()
    except ModelFlowError:
        same = False
    if not same:
        return None
    words = [] if study.recipe == "card" else ["--recipe", study.recipe]
    for name in names:
        if name == "dataset" and ":" in study.dataset:
            continue  # which `data_options` gives
        option = f"--{name.replace('_', '-')}"
        words += [option] if given[name] is True else [option, str(given[name])]
    return words + _decided_words(study, content)


def _decided_words(study: StudySettings, content: Content) -> list[str]:
    """The metric and the margin; nothing where they are the default for these test images, or were not kept yet."""
    metric, given = study.decided_by, study.margin
    by = [] if metric is ACCURACY else ["--metric", metric.word]
    default = metric.unit.scale * default_margin(content.groups[0].images, metric)
    usual = given is None or math.isclose(given, default)
    return by if usual else [*by, "--margin", f"{given:g}"]


def _run_options(run: Run) -> list[str]:
    """What differs from the run's recipe; no path of the data, and no options of parts, which settings stand for."""
    one_cycle = run.settings.get("schedule") == "one-cycle"  # of records that do not name their recipe
    named = run.settings.get("recipe", "best" if one_cycle else "card")
    recipe: dict[str, Any] = {"recipe": named if isinstance(named, str) and named in RECIPES else "card"}
    usual = RunSettings(**recipe).model_dump() | {"recipe": "card"}
    asked = {"protocol": "card"} | run.settings | recipe
    words = ["--seed", str(run.seed)]
    for field, value in asked.items():
        elsewhere = field.startswith(OPTIONS) or (field == "dataset" and ":" in str(value))
        if not elsewhere and value is not None and value != usual.get(field):
            option = "--" + field.replace("_", "-")
            words += [option] if value is True else [option, str(value)]
    return words


def _seed_words(seeds: list[int]) -> list[str]:
    if seeds == list(range(42, 42 + len(seeds))):
        return [] if len(seeds) == 1 else ["--seeds", str(len(seeds))]
    return ["--seed", str(seeds[0])] if len(seeds) == 1 else ["--seeds", ",".join(map(str, seeds))]


def results_name(folder: Path) -> str:
    """What the folder is called."""
    return shown(folder.resolve().name or "results")
