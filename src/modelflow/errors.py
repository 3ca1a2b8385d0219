"""The errors that ModelFlow raises for its users: one base class, five kinds.

Each message says what is wrong, where, what was expected and how to mend it; the command line prints it as it stands.
"""

import re


class ModelFlowError(Exception):
    """Anything that ModelFlow tells its user to mend; whatever it quotes, a terminal shows it and obeys none of it."""

    def __str__(self) -> str:
        return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", super().__str__())


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
