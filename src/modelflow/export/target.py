"""What every export has: it writes a model into a folder, and runs what it has written.

An export is one file of the folder `targets` with one class derived from `Target`; it is found by the file's name.
"""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from modelflow.export.loaded_run import LoadedRun
from modelflow.io.array import Array
from modelflow.networks.layers.kind import Shape, shape_text


class Target(ABC):
    """A form that a model can be taken out in: bytes in, probabilities out, the normalisation inside."""

    name: ClassVar[str]  # that of its file, as `--to` takes it
    captions: ClassVar[dict[str, str]] = {}  # of the files that it writes
    use: ClassVar[str]  # how to run what it writes, as Markdown
    needs_spec: ClassVar[bool] = False  # whether it takes no module that only code says

    def images_of(self, shape: Shape) -> str:
        """The order of the bytes of images C x H x W of this shape, in words."""
        return f"N x {shape_text(shape)} (N x C x H x W)"

    @abstractmethod
    def write(self, run: LoadedRun, folder: Path) -> None:
        """The model of a run as files of a folder. Raises `UsageError` where a package for it is missing."""

    @abstractmethod
    def logits(self, folder: Path, images_NCHW: Array) -> Array:
        """Logits N x K of images in bytes as in the data set's files, by what was written into the folder."""

    def remarks(self, run: LoadedRun, folder: Path) -> list[str]:
        """What else was written and how it compares, one sentence or more each; called after `logits` was checked."""
        del run, folder
        return []


def as_NCHW(images: Array) -> Array:  # noqa: N802  # the shape that it gives
    """Images N x H x W as N x 1 x H x W; others as they are."""
    return images[:, None] if images.ndim == 3 else images


@contextmanager
def quiet() -> Iterator[None]:
    """Within, no warnings of an exporter's own insides: what it writes is run and compared."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
