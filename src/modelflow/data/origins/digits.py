"""The digits that come with the package."""

import hashlib
import io
from importlib import resources
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from modelflow.data.origins.origin import FileRow, Origin
from modelflow.data.source import Framing, Labels, Source
from modelflow.errors import DataError

SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"  # of the images' bytes, then the labels'
WHITE = 16
TEST_EVERY = 5


class Digits(Origin):
    """Handwritten digits of 43 people, 8 x 8; of each class every fifth is for testing: 1,442 to train, 355 to test.

    Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49, CC BY 4.0:
    the part for testing, which scikit-learn's `load_digits` also gives.
    """

    names: ClassVar[tuple[str, ...]] = ("digits",)
    fixed: ClassVar[bool] = True
    white: ClassVar[int] = WHITE

    @property
    def framing(self) -> Framing:
        return Framing(8, by_mass=False)  # measured: docs/decisions.md

    @property
    def words(self) -> str:
        return "comes with ModelFlow"

    def read(self, download: bool) -> Source:
        packed = resources.files("modelflow.data.origins").joinpath("digits.npz").read_bytes()
        with np.load(io.BytesIO(packed)) as kept:
            images, labels = kept["images"], kept["labels"]
        sha256 = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        if sha256 != SHA256:
            raise DataError(f"the digits have SHA-256 {sha256}, expected {SHA256}. Reinstall modelflow.")
        test = every_nth_of_each_class(labels, TEST_EVERY)
        parts = images[~test], labels[~test], images[test], labels[test]
        return Source(self.name, *parts, tuple("0123456789"), {"digits": sha256}, self.white)

    def checksums(self) -> dict[str, str]:
        return {"digits": SHA256}

    def verify(self) -> list[FileRow]:
        self.read(download=False)
        return [FileRow("digits", "modelflow", SHA256, ok=True)]


def every_nth_of_each_class(labels_N: Labels, n: int) -> NDArray[np.bool_]:
    """Which labels are the n-th, the 2n-th, … of their class."""
    chosen_N = np.zeros(len(labels_N), np.bool_)
    for label in np.unique(labels_N):
        chosen_N[np.flatnonzero(labels_N == label)[n - 1 :: n]] = True
    return chosen_N
