"""A study of modules that functions of Python make: each with each seed, trained in this process.

run_models({"plain": lambda: Net(), "normed": lambda: Net(norm=True)}, "digits", seeds=3, epochs=4)
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from modelflow.data.arrays import dataset_of_arrays, held_in_memory, is_as_its_files, name_of
from modelflow.data.datasets import Dataset
from modelflow.data.sources import canonical
from modelflow.errors import UsageError
from modelflow.io.arguments import plain
from modelflow.networks.build import GenericCNN, is_as_described, module_sha256
from modelflow.networks.code import Code
from modelflow.networks.description import Description
from modelflow.networks.resolve import check_name
from modelflow.results.settings import StudySettings, check_seeds, validated
from modelflow.studies.made import call, is_same
from modelflow.studies.plan import OnEvent
from modelflow.studies.run import in_memory
from modelflow.studies.study import run_study
from modelflow.text import short
from modelflow.training.compiled import OWN_METHODS

if TYPE_CHECKING:
    from modelflow.report.leaderboard import Leaderboard

FRESH = "a second seed would train on. Give a function that makes it: lambda: MyNet()"
DEFAULT_SEED = 42  # of the weights of a network of a spec


def run_models(
    models: Mapping[str, Callable[[], nn.Module]],
    data: str | os.PathLike[str] | Dataset | Sequence[object],
    seeds: int | Sequence[int] = 1,
    where: str | Path = "results",
    *,
    data_dir: str | Path | None = None,
    device: str | None = None,
    on_event: OnEvent | None = None,
    verbose: bool = True,
    **settings: object,
) -> "Leaderboard":
    """Trains each module with each seed as a study. Returns its leaderboard, best first: one row per model.

    The runs train in this process, one after the other, since functions of a notebook cannot be sent to others. Runs
    that are finished are kept, and one that was interrupted resumes.

    Args:
        models: a function, or a class, by the name of its model. Called without arguments it makes a new module, from
            images N x C x H x W to logits N x K. Before each call torch's, numpy's and Python's global generators are
            set to a stream of the seed, and put back afterwards.
        data: the name or the path of a data set, one from `load_dataset`, or the arrays (x, y, x_test, y_test) as
            `data.arrays.dataset_of_arrays` takes them.
        seeds: how many, from 42 on, or a list of them.
        where: the results folder.
        data_dir: the folder of the data set's files.
        device: as for `ModelFlow`.
        on_event: called with an `Event` now and then.
        verbose: whether to say how far the study is: in a notebook's cell, else in lines on the error stream.
        settings: what else a study file may set, such as `epochs`, `lr`, `batch_size`, `margin`.

    Raises:
        UsageError: for a module in place of a function, for what makes no new module, for settings that cannot be, and
            for a folder that holds other runs of these names.
        DataError: for data that are damaged or do not fit the models.
        RunError: when a run failed, after the others are done.
    """
    if given := [name for name in ("models", "seeds", "dataset") if name in settings]:
        raise UsageError(f"{given[0]}: is given twice. Remove one.")
    entries = _entries(models)
    with _named_data(data) as (fields, folder):
        fields |= {"models": entries, "seeds": plain(seeds), **plain(settings)}
        study = validated(StudySettings, fields, "run_models")
        check_seeds(study.seeds, "run_models")
        where_data = data_dir or folder
        return run_study(study, where, data_dir=where_data, jobs=1, device=device, on_event=on_event, verbose=verbose)


@contextmanager
def _named_data(data: object) -> Iterator[tuple[dict[str, Any], str | None]]:
    """How settings name the data and their form, and their folder; what lies in memory is at hand within."""
    if isinstance(data, str | os.PathLike):
        yield {"dataset": canonical(os.fspath(data))}, None
        return
    if isinstance(data, Dataset) and is_as_its_files(data):
        yield {"dataset": data.name, **(data.form or {})}, None if ":" in data.name else data.folder
        return
    held = held_in_memory(data) if isinstance(data, Dataset) else dataset_of_arrays(data)
    name = name_of(held)
    in_memory[name] = held
    try:
        yield {"dataset": name}, None
    finally:
        in_memory.pop(name, None)


def _entries(models: object) -> list[dict[str, Any]]:
    """The models as a study has them. Raises `UsageError` for what is no mapping of names to functions."""
    if not isinstance(models, Mapping) or not models:
        raise UsageError(f"models = {short(models)}: expected functions by name, such as {{'mine': lambda: MyNet()}}")
    return [{"name": check_name(name), "spec": _described(name, maker)} for name, maker in models.items()]


def _described(name: str, maker: object) -> Description | Code:
    """What a function makes: a network of a spec as its spec, any other module by its code.

    Raises `UsageError` for a module in place of a function, and for what makes none.
    """
    if isinstance(maker, nn.Module):
        raise UsageError(f"models: {name} is a module: {FRESH}")
    if not callable(maker):
        raise UsageError(f"models: {name} = {short(maker)}: expected a function that makes a module: lambda: MyNet()")
    model = call(maker, name, DEFAULT_SEED)
    if isinstance(model, GenericCNN) and _says_spec_all(model):
        return model.spec
    return Code.of_function(maker, type(model).__name__, module_sha256(model))


def _says_spec_all(model: GenericCNN) -> bool:
    """Whether it is as its spec describes, its weights too: they are those of the default seed, as each call gives."""
    own = any(getattr(type(model), method) is not getattr(GenericCNN, method) for method in OWN_METHODS)
    return not own and is_as_described(model) and is_same(model, GenericCNN(model.spec, DEFAULT_SEED))
