"""Data sets as they lie in their files, by name: "fashion-mnist", "digits", "idx:FOLDER". No torch.

read_source("digits").train_images.shape  ->  (1442, 8, 8)
"""

import difflib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import modelflow.data.origins as folder
from modelflow.data.origins.origin import FileRow, Origin, Source
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


def origin_of(name: str, data_dir: str | Path | None = None) -> Origin:
    """Where the data set of this name comes from. Raises `UsageError` for an unknown one."""
    name = str(name)
    for origin in origins():
        if origin.takes(name):
            return origin(name, data_dir)
    near = difflib.get_close_matches(name.lower(), names(), n=1)
    if os.path.isdir(name):
        near = [f"idx:{name}"]
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown data set {name!r}, expected one of {', '.join(names())}.{hint}")


def read_source(name: str, data_dir: str | Path | None = None, *, download: bool = True) -> Source:
    """The data set of this name. Raises `DataError` for files that are damaged, or nowhere.

    Files that are nowhere on this machine are fetched, unless `download` is false.
    """
    origin = origin_of(name, data_dir)
    place = origin.folder
    return replace(origin.read(download), folder=place if place and place.isprintable() else None)


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


def shape_of(name: str) -> DataShape:
    """What a data set asks of a network; files of known sets are not read for it. Raises as `read_source`."""
    return origin_of(name).shape()


def checksums_of(name: str) -> dict[str, str]:
    """SHA-256 by file name of what `read_source` would read now. Raises `DataError` as that."""
    return origin_of(name).checksums()


def fetch_dataset(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Get what is missing, check all, and say where each file is."""
    return origin_of(name, data_dir).fetch()


def verify(name: str, data_dir: str | Path | None = None) -> list[FileRow]:
    """Check the files that are there, fetching none: a row for each, or `DataError` for the first bad one."""
    return origin_of(name, data_dir).verify()
