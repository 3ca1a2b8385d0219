"""Data sets as they lie in their files, by name or path: "fashion-mnist", "idx:FOLDER", "my_photos". No torch.

read_source("digits").train_images.shape  ->  (1442, 8, 8)
"""

import difflib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import modelflow.data.origins as folder
from modelflow.data.archives import is_archive
from modelflow.data.origins.origin import FileRow, Origin, prefix_of
from modelflow.data.source import AS_THEY_ARE, Form, Framing, Source
from modelflow.errors import UsageError
from modelflow.io.found import classes_in
from modelflow.networks.data_shape import DataShape


@cache
def origins() -> tuple[type[Origin], ...]:
    """All that data sets come from, found in the files of the folder `origins`."""
    return tuple(classes_in(folder, Origin))


def names() -> tuple[str, ...]:
    """What may be asked for, names before forms such as "idx:FOLDER"."""
    known = [name for origin in origins() for name in origin.names]
    return tuple(sorted(known, key=lambda name: (":" in name, name)))


def canonical(name: str) -> str:
    """The name of a data set; of a path that was named without a prefix, with that of the format that lies there.

    A name that is neither known nor a path stays as it is. Raises `UsageError` for a path where no format is
    recognised, or several.
    """
    if any(origin.takes(name) for origin in origins()):
        return name
    path = Path(os.path.expanduser(name))
    if not name or not os.path.exists(path):
        return name
    found = sorted(prefix_of(origin) for origin in origins() if _recognises(origin, path))
    if len(found) == 1:
        return found[0] + name
    if found:
        raise UsageError(f"{name}: could be {' or '.join(found)} Write the prefix: {found[0]}{name}")
    if is_archive(path):
        raise UsageError(f"{name}: is an archive. Unpack it and give the folder, or the file in it.")
    forms = ", ".join(form for form in names() if ":" in form)
    raise UsageError(f"{name}: no data set is recognised there. Give a name from `modelflow data list`, or {forms}.")


def _recognises(origin: type[Origin], path: Path) -> bool:
    try:
        return origin.recognises(path)
    except OSError:
        return False


def origin_of(name: str, data_dir: str | Path | None = None, form: Form = AS_THEY_ARE) -> Origin:
    """Where the data set of this name, or at this path, comes from.

    Raises `UsageError` for an unknown one, and for what its format does not take of a `form`.
    """
    name = canonical(str(name))
    for origin in origins():
        if origin.takes(name):
            return origin(name, data_dir, form)
    near = difflib.get_close_matches(name.lower(), names(), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown data set {name!r}, expected one of {', '.join(names())}.{hint}")


def read_source(
    name: str, data_dir: str | Path | None = None, form: Form = AS_THEY_ARE, *, download: bool = True
) -> Source:
    """The data set of this name, read in this form. Raises `DataError` for files that are damaged, or nowhere.

    Files that are nowhere on this machine are fetched, unless `download` is false.
    """
    origin = origin_of(name, data_dir, form)
    place, source = origin.folder, origin.read(download)
    resolved = source.form if source.form.asked else form
    return replace(source, form=resolved, folder=place if place and place.isprintable() else None)


def folder_of(name: str, data_dir: str | Path | None = None) -> str | None:
    """Where its files lie, whatever the current folder is; None where no folder was named.

    Raises `UsageError` for an unknown data set.
    """
    return origin_of(name, data_dir).folder


def is_fixed(name: str) -> bool:
    """Whether the name alone says which files they are."""
    return any(origin.takes(name) and origin.fixed for origin in origins())


def white_of(name: str) -> int:
    """The value of a white pixel in the files of the data set of this name; 255 where the name is not known."""
    return next((origin.white for origin in origins() if origin.takes(name)), 255)


def framing_of(name: str) -> Framing | None:
    """How things were put into the images of the data set of this name; None where that is not known."""
    return next((origin(name).framing for origin in origins() if origin.takes(name)), None)


def shape_of(name: str, form: Form = AS_THEY_ARE, data_dir: str | Path | None = None) -> DataShape:
    """What a data set asks of a network; files of known sets are not read for it. Raises as `read_source`."""
    return origin_of(name, data_dir, form).shape()


def checksums_of(name: str, form: Form = AS_THEY_ARE, data_dir: str | Path | None = None) -> dict[str, str]:
    """SHA-256 by file name of what `read_source` would read now. Raises `DataError` as that."""
    return origin_of(name, data_dir, form).checksums()


def fetch_dataset(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Get what is missing, check all, and say where each file is."""
    return origin_of(name, data_dir).fetch()


def verify(name: str, data_dir: str | Path | None = None, form: Form = AS_THEY_ARE) -> list[FileRow]:
    """Check the files that are there, fetching none: a row for each, or `DataError` for the first bad one."""
    return origin_of(name, data_dir, form).verify()
