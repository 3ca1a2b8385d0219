"""Known sets, whose files are used where they lie, else fetched, and checked by their SHA-256 in any case."""

import os
from typing import ClassVar

from modelflow.data import fetch
from modelflow.data.origins.origin import FileRow, Origin, rows_of
from modelflow.data.source import Framing, Source
from modelflow.networks.data_shape import DataShape

KNOWN_SETS = {known.name: known for known in (fetch.FASHION_MNIST, fetch.MNIST)}
FRAMINGS = {  # Xiao et al. (2017), figure 1, https://arxiv.org/abs/1708.07747; http://yann.lecun.com/exdb/mnist/
    "fashion-mnist": Framing(28, by_mass=False),
    "mnist": Framing(20, by_mass=True),
}


class Downloaded(Origin):
    """One of `KNOWN_SETS`, in the folder that was named, else in the cache or in Debian's package."""

    names: ClassVar[tuple[str, ...]] = tuple(KNOWN_SETS)
    fixed: ClassVar[bool] = True

    @classmethod
    def takes(cls, name: str) -> bool:
        return name in KNOWN_SETS

    @property
    def folder(self) -> str | None:
        named = fetch.named_folder(self.data_dir)
        return None if named is None else os.path.abspath(named)

    @property
    def framing(self) -> Framing:
        return FRAMINGS[self.name]

    @property
    def words(self) -> str:
        return "is downloaded and checked unless it is on the machine"

    def read(self, download: bool) -> Source:
        known = KNOWN_SETS[self.name]
        found = fetch.fetch(known, self.data_dir) if download else fetch.find_all(known, self.data_dir)
        return Source.of_files(self.name, found, known.class_names)

    def shape(self) -> DataShape:
        """As its files are known to be, unread."""
        known = KNOWN_SETS[self.name]
        _, height, width = next(file.sizes for file in known.files if file.role == "train-images")
        return DataShape(self.name, 1, (height, width), len(known.class_names))

    def checksums(self) -> dict[str, str]:
        return {file.name: file.sha256 for file in KNOWN_SETS[self.name].files}

    def verify(self) -> list[FileRow]:
        return rows_of(fetch.find_all(KNOWN_SETS[self.name], self.data_dir))

    def fetch(self) -> list[FileRow]:
        return rows_of(fetch.fetch(KNOWN_SETS[self.name], self.data_dir))
