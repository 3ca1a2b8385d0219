"""What the files of a folder of the package define, so that one more file is one more kind. No torch."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def files_in(package: ModuleType) -> list[str]:
    """The names of a package's files, without importing any."""
    return sorted(file.name for file in pkgutil.iter_modules(package.__path__))


def classes_in(package: ModuleType, base: type[T]) -> Iterator[type[T]]:
    """Every class derived from `base` that a file of the package defines whole, file by file in their order."""
    for file in files_in(package):
        module = importlib.import_module(f"{package.__name__}.{file}")
        for value in list(vars(module).values()):
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, base) and value is not base and not inspect.isabstract(value):
                yield value
