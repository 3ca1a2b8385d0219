"""Attributes of a face that lie in what stands behind it.

lr = Delegated[float, float]()             # flow.lr is flow._parts.lr, read and set
model = Shown[nn.Module]()                 # read alone
"""

from operator import attrgetter
from typing import Generic, Never, Self, TypeVar, overload

from modelflow.studies.parts import Parts

Read = TypeVar("Read")
Given = TypeVar("Given")


class Shown(Generic[Read]):
    """An attribute that can be read, of type `Read`; it lies at `path`, or under the same name among the `Parts`."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def __set_name__(self, owner: type, name: str) -> None:
        home, _, self._name = (self._path or f"_parts.{name}").rpartition(".")
        self._home = attrgetter(home)
        self.__doc__ = vars(Parts)[name].__doc__ if name in vars(Parts) else None

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: object, owner: type) -> Read: ...
    def __get__(self, face: object, owner: type) -> object:
        return self if face is None else getattr(self._home(face), self._name)

    def __set__(self, face: object, value: Never) -> None:
        raise AttributeError(f"{self._name}: cannot be set")


class Delegated(Shown[Read], Generic[Read, Given]):
    """One that can be set too, to what has type `Given`."""

    def __set__(self, face: object, value: Given) -> None:
        setattr(self._home(face), self._name, value)
