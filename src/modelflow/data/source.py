"""A data set as it lies in its files: images and labels in bytes, and how they were read. No torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelflow.data.idx import IdxFile
from modelflow.errors import UsageError
from modelflow.networks.data_shape import DataShape
from modelflow.text import short

Images = NDArray[np.uint8]
Labels = NDArray[Any]
Parts = Mapping[str, tuple[Images, Labels]]  # by "train", "val" and "test"
MAX_SIDE = 512
BEGIN_AT_1 = "labels begin at 1. Classes are counted from 0, and named by their labels."
IN_MEMORY = "arrays:"  # how the data set of a study begins that was given as arrays; digits of its SHA-256 follow
SIZE = re.compile(r"(\d{1,4})(?:x(\d{1,4}))?", re.ASCII)


class Form(NamedTuple):
    """How files are read where they leave a choice; each field as the option of its name.

    `image_size` is height and width. `skip_bad` leaves out files that cannot be read.
    """

    image_size: tuple[int, int] | None = None
    channels: Literal[1, 3] | None = None
    transpose: bool = False
    skip_bad: bool = False

    @classmethod
    def of(cls, image_size: Any = None, channels: Any = None, transpose: Any = False, skip_bad: Any = False) -> "Form":
        """Of what a user or a record gives: the size as `size_of` takes it. Raises `UsageError` for anything else."""
        try:
            size = None if image_size is None else size_of(image_size)
        except ValueError as expected:
            raise UsageError(f"image_size = {short(image_size)}: expected {expected}") from None
        if channels not in (None, 1, 3):
            raise UsageError(f"channels = {short(channels)}: expected 1 (grey) or 3 (RGB)")
        for name, value in (("transpose", transpose), ("skip_bad", skip_bad)):
            if not isinstance(value, bool):
                raise UsageError(f"{name} = {short(value)}: expected true or false")
        return cls(size, channels, transpose, skip_bad)

    @property
    def asked(self) -> dict[str, str | int | bool]:
        """What is not the default, as records have it: the size as text."""
        given = {**self._asdict(), "image_size": self.image_size and size_text(self.image_size)}
        return {name: value for name, value in given.items() if value not in (None, False)}


AS_THEY_ARE = Form()


class Framing(NamedTuple):
    """How things were put into the images of a data set, bright on black, when it was made.

    The longer side is `box` pixels. In the middle of the image is that of the thing, or, `by_mass`, its centre of mass.
    """

    box: int
    by_mass: bool


def size_of(given: object) -> tuple[int, int]:
    """Height and width of 32, "32", "32x48" (height first) or (32, 48).

    Raises `ValueError`, which says what is expected, for anything else.
    """
    text = "x".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    match = SIZE.fullmatch(text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"a side, or HEIGHTxWIDTH such as 32x48, of 1 to {MAX_SIDE} pixels")
    return size


def size_text(size: tuple[int, int]) -> str:
    """(32, 48) -> "32x48"."""
    return "x".join(map(str, size))


@dataclass(frozen=True, eq=False)
class Source:
    """Images N x H x W (or N x C x H x W) from 0 to `white`, and a label for each.

    Those for validation are None where the data set has no such split of its own. `notes` say what a reader must know
    of how it was read, `form` what was asked for.
    """

    name: str
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)
    class_names: tuple[str, ...]
    checksums: dict[str, str] = field(repr=False)  # file name -> SHA-256 of the uncompressed file
    white: int = 255
    val_images: Images | None = field(default=None, repr=False)
    val_labels: Labels | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    form: Form = AS_THEY_ARE
    labels_from: int = 0  # what the label of the first class is in its files
    folder: str | None = None  # as `Origin.folder` gives it; None for a path that no record can hold

    @property
    def shape(self) -> DataShape:
        """What it asks of a network."""
        _, *channels, height, width = self.train_images.shape
        return DataShape(self.name, channels[0] if channels else 1, (height, width), len(self.class_names))

    @classmethod
    def of_files(cls, name: str, files: Mapping[str, IdxFile], class_names: tuple[str, ...]) -> "Source":
        """Of the four files by role, such as "train-images"."""
        train, test = ((files[f"{part}-images"].values, files[f"{part}-labels"].values) for part in ("train", "test"))
        return cls(name, *train, *test, class_names, {file.name: file.sha256 for file in files.values()})

    def counted_from(self, first: int) -> "Source":
        """The same with labels from 0, which are from `first` on in its files."""
        train_labels, test_labels = (labels - first for labels in (self.train_labels, self.test_labels))
        return replace(self, train_labels=train_labels, test_labels=test_labels, labels_from=first)

    def transposed(self) -> "Source":
        """The same with rows and columns of all images exchanged."""
        train, test = (np.ascontiguousarray(x.swapaxes(-1, -2)) for x in (self.train_images, self.test_images))
        return replace(self, train_images=train, test_images=test)
