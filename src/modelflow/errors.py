"""The errors that ModelFlow raises for its users: one base class, five kinds.

Each message says what is wrong, where, what was expected and how to fix it; the command line prints it as it stands.
"""

import errno
import re

from modelflow.text import visible

NO_MEMORY = re.compile(
    r"(?i)alloc|out of memory|enough memory|failed to map segment|could not create a primitive"
    r"|can't start new thread|without exception set"
)


class ModelFlowError(Exception):
    """Anything that ModelFlow tells its user to fix; whatever it quotes, a terminal shows it and obeys none of it."""

    def __str__(self) -> str:
        return visible(super().__str__())


class UsageError(ModelFlowError, ValueError):
    """An argument, an option or a study file asks for something that does not exist."""


class SpecError(ModelFlowError, ValueError):
    """A spec is not well formed: an unknown key, a wrong length, a value out of range."""


class ShapeError(SpecError):
    """A well-formed spec that no network can be built from, or one that is too large."""


class DataError(ModelFlowError, ValueError):
    """A data set, a checkpoint or a stored run is missing, damaged, or does not fit the model."""


class RunError(ModelFlowError, RuntimeError):
    """A run or a learning rate search failed while it was under way."""


def is_of_memory(error: BaseException) -> bool:
    """Whether it says that memory, or the threads that would take some, have run out.

    Python, torch, oneDNN, LLVM and the loader of shared libraries each have words of their own for it.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    kinds = (RuntimeError, ImportError, SystemError)
    return isinstance(error, MemoryError) or (isinstance(error, kinds) and bool(NO_MEMORY.search(str(error))))
