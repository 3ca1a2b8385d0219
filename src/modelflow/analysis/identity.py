"""What a run is of: which runs may be compared, which are seeds of one model, and what models of one name are called.

Compared are runs on one data set, by its checksums, by one protocol. Seeds of one model have its name, one network and
one way of training too. Of a model and a seed there is one run: a copy, or a second training, counts nowhere. No torch.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modelflow.errors import SpecError
from modelflow.networks.description import parse_spec
from modelflow.results.layout import SEEDS, WEIGHTS
from modelflow.results.protocol import protocol_name
from modelflow.results.records import OF_LOADERS, OPTIONS, Run
from modelflow.text import one_line, shown

MAX_NAMED = 5  # models of which a sentence gives the settings
USUAL = {  # what a record means that does not name the setting
    "batch_size": None,
    "lr": None,
    "optimizer": None,
    "schedule": "constant",
    "loss_fn": "CrossEntropyLoss",
    "find_best_lr": False,
}


class Compared(NamedTuple):
    """What runs share that may be compared: the checksums of the data, the name of the protocol.

    Of files, `data` says what was asked for of how they are read, if anything.
    Loaders have no files: their data are told by what they are called, how many images, and what of these is in memory.
    """

    data: str
    files: tuple[tuple[str, str], ...]
    protocol: str


class Identity(NamedTuple):
    """What runs share that are seeds of one model."""

    compared: Compared
    name: str
    network: str
    training: str


def identity_of(run: Run) -> Identity:
    """What a run is of, but for its seed."""
    return Identity(compared_by(run), run.model_name, network_of(run), training_of(run))


def compared_by(run: Run) -> Compared:
    """The data and the protocol of a run."""
    if run.data.checksums.keys() - OF_LOADERS:
        return Compared(_form_words(run), tuple(sorted(run.data.checksums.items())), protocol_name(run))
    counts = {
        "training": run.data.training_images,
        "validation": run.data.validation_images,
        "test": run.metrics.images,
    }
    known = {name: str(images) for name, images in counts.items()}
    return Compared(run.data.name, tuple(sorted({**known, **run.data.checksums}.items())), protocol_name(run))


def _form_words(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted((run.data.form or {}).items()))


def why_not_compared(run: Run, other: Run) -> str:
    """In what two runs differ that may not be compared, as what follows "they were"; empty where they may be."""
    first, second = compared_by(run), compared_by(other)
    if first.protocol != second.protocol:
        names = [shown(one.protocol) if one.protocol else "not known" for one in (first, second)]
        return f"made by different protocols ({names[0]}, {names[1]}). Compare runs of one protocol."
    if first == second:
        return ""
    data = f"{shown(run.data.name)}, {shown(other.data.name)}"
    if bool(run.data.checksums) != bool(other.data.checksums):
        return f"made on images of which only one has checksums ({data}). Train the other again."
    differ = {name for name, _ in {*first.files} ^ {*second.files}}
    how = "trained" if differ and all(name.startswith("training") for name in differ) else "tested"
    return f"{how} on other images ({data}). Compare runs of one data set."


def settings_apart(runs: Sequence[Run]) -> list[str]:
    """Of each of these runs the settings that not all of them share: "epochs 3, lr 0.1"; empty where all are shared."""
    told = [_settings(run) for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    apart = [name for name in names if len({repr(_alike(one.get(name))) for one in told}) > 1]
    return [", ".join(f"{name} {one[name]}" for name in apart if one.get(name) is not None) for one in told]


def told_by_settings(models: Mapping[Identity, Run]) -> dict[Identity, str]:
    """Of each model, of which a run is given, the settings that not all share which it may be compared with."""
    together: dict[Compared, list[Identity]] = defaultdict(list)
    for model in models:
        together[model.compared].append(model)
    return {
        model: settings
        for alike in together.values()
        for model, settings in zip(alike, settings_apart([models[one] for one in alike]), strict=True)
    }


def unlike_words(settings: Mapping[str, str]) -> str:
    """That models were trained with different settings, by name as `settings_apart` has them; empty where alike."""
    named = [f"{name} ({apart})" for name, apart in settings.items() if apart]
    named = [*named[:MAX_NAMED], f"{len(named) - MAX_NAMED} more"] if len(named) > MAX_NAMED else named
    return f"Trained with different settings: {', '.join(named)}. A difference may come from these." if named else ""


def network_of(run: Run) -> str:
    """The spec; of a module without one its class, its size, how it printed itself, and the file that made it."""
    file = f", {run.code.sha256}" if run.code is not None and run.code.sha256 != run.module_sha256 else ""
    if run.spec is not None:
        changed = f", changed: {run.module_sha256}" if run.module_sha256 else ""
        return json.dumps(run.spec, sort_keys=True) + changed + file
    return f"{run.model_class}, {run.parameters} parameters, {run.module_sha256 or ''}{file}"


def short_form_of(run: Run) -> str:
    """The network in one line; empty where it has none, or no spec describes it."""
    if run.spec is None or run.module_sha256:
        return ""
    with suppress(SpecError, ValueError):
        return parse_spec(run.spec).short_form or ""
    return ""


def training_of(run: Run) -> str:
    """The settings that change what is learned, in words."""
    return ", ".join(f"{name} {_alike(value)}" for name, value in _settings(run).items())


def _settings(run: Run) -> dict[str, object]:
    named = {name: run.settings.get(name, usual) for name, usual in USUAL.items()}
    return {"epochs": run.epochs, **named, "training images": run.data.training_images, **options_of(run)}


def options_of(run: Run) -> dict[str, object]:
    """The options of its optimizer and its loss that are not the defaults, such as `optimizer.weight_decay`."""
    return {name: run.settings[name] for name in sorted(run.settings) if name.startswith(OPTIONS)}


def _alike(value: object) -> object:
    """1, 1.0 and true alike, as JSON's readers may have it."""
    if isinstance(value, list):
        return [_alike(part) for part in value]
    return float(value) if isinstance(value, int | float) else value


def differing(run: Run, other: Run) -> tuple[str, object, object] | None:
    """In what two runs differ that are no seeds of one model, and the value of each; None where they are."""
    if identity_of(run) == identity_of(other):
        return None
    pairs = [_facts(run), _facts(other)]
    name = next(name for name in {**pairs[0], **pairs[1]} if pairs[0].get(name) != pairs[1].get(name))
    return name, pairs[0].get(name), pairs[1].get(name)


def _facts(run: Run) -> dict[str, object]:
    """All that `identity_of` looks at, by name."""
    spec = {"network": network_of(run)} if run.spec is None else run.spec
    known = run.data.checksums
    compared = compared_by(run)
    files = {f"SHA-256 of {name}" if name in known else f"{name} images": of for name, of in compared.files}
    names = {"model": run.model_name, "data": compared.data}
    return {**names, "protocol": compared.protocol, **files, **spec, **_settings(run)}


def other_weights(run: Run, first: Run) -> str:
    """What to add of a run that `first`, of the same model and seed, stands for; empty for a copy."""
    both = [one.files.get(WEIGHTS) for one in (run, first)]
    return "" if None in both or both[0] == both[1] else "; its weights are others, as of another machine or version"


def called(folders: Mapping[Identity, Path]) -> dict[Identity, str]:
    """What each model is called, `folders` giving where its first run lies: as `told_apart` says."""
    names = told_apart([model.name for model in folders], list(folders.values()))
    return dict(zip(folders, names, strict=True))


def told_apart(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """The names, and behind each that stands there more than once as much of its folder as tells it from the others.

    Such as "mine (anna)", whatever the models of that name differ in: network, data, protocol or settings.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    told = list(names)
    for name, shared in places.items():
        ends = _ends([folders[place] for place in shared]) if len(shared) > 1 else []
        for place, end in zip(shared, ends, strict=False):
            told[place] = f"{name} ({end})"
    return told


def _ends(folders: Sequence[Path]) -> list[str]:
    """As few parts of each path, from its end, as tell all apart; of a further seed its model's folder too."""
    parts = [folder.resolve().parts for folder in folders]
    least = [3 if one[-2:-1] == (SEEDS,) and one[-1].isdecimal() else 1 for one in parts]
    most = max((len(one) for one in parts), default=1)
    for n in range(1, most + 1):
        ends = [one[-max(n, few) :] for one, few in zip(parts, least, strict=True)]
        if len(set(ends)) == len(ends):
            break
    return [one_line(Path(*end)) for end in ends]
