"""Known sets, whose files are used where they lie, else fetched, and checked by their checksums in any case."""

import math
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from modelflow.data import fetch
from modelflow.data.idx import IdxFile
from modelflow.data.known_sets import KNOWN_SETS, RECORD, KnownSet
from modelflow.data.origins.origin import FileRow, Origin, rows_of, sums_of
from modelflow.data.source import Framing, Images, Labels, Source
from modelflow.data.unchanged import while_unchanged
from modelflow.networks.data_shape import DataShape

MEGABYTE = 10**6
FRAMINGS = {  # Xiao et al. (2017), figure 1, https://arxiv.org/abs/1708.07747; http://yann.lecun.com/exdb/mnist/
    "fashion-mnist": Framing(28, by_mass=False),
    "mnist": Framing(20, by_mass=True),
    "emnist-letters": Framing(
        24, by_mass=False
    ),  # 2 pixels around: Cohen et al. (2017), https://arxiv.org/abs/1702.05373
    "kmnist": Framing(28, by_mass=False),  # cut from pages by their boxes; its authors publish no more of it
}


class Downloaded(Origin):
    """One of `KNOWN_SETS`, in the folder that was named, else in the cache or in Debian's package."""

    names: ClassVar[tuple[str, ...]] = tuple(KNOWN_SETS)
    fixed: ClassVar[bool] = True

    @classmethod
    def takes(cls, name: str) -> bool:
        return name in KNOWN_SETS

    @property
    def known(self) -> KnownSet:
        """What is known of it."""
        return KNOWN_SETS[self.name]

    @property
    def folder(self) -> str | None:
        named = fetch.named_folder(self.data_dir)
        return None if named is None else os.path.abspath(named)

    @property
    def framing(self) -> Framing | None:
        return FRAMINGS.get(self.name)

    @property
    def words(self) -> str:
        archive = self.known.archive
        size = "" if archive is None else f" ({archive.size / MEGABYTE:.0f} MB)"
        return f"is downloaded{size} and checked unless it is on the machine"

    def read(self, download: bool) -> Source:
        find = fetch.fetch if download else fetch.find_all
        return source_of(self.known, find(self.known, self.data_dir))

    def shape(self) -> DataShape:
        """As its files are known to be, unread."""
        channels, height, width = self.known.image_shape
        return DataShape(self.name, channels, (height, width), len(self.known.class_names))

    def checksums(self) -> dict[str, str]:
        """Of files whose .gz alone was published, by reading them, fetched where they are nowhere."""
        if all(file.sha256 for file in self.known.files):
            return {file.name: file.sha256 for file in self.known.files}
        files = fetch.paths(self.known, self.data_dir)
        if len(files) < len(self.known.files):
            return self._sums()
        return dict(while_unchanged((self.name, *files), files, self._sums))

    def _sums(self) -> dict[str, str]:
        return sums_of(fetch.fetch(self.known, self.data_dir))

    def verify(self) -> list[FileRow]:
        return rows_of(fetch.find_all(self.known, self.data_dir))

    def fetch(self) -> list[FileRow]:
        return rows_of(fetch.fetch(self.known, self.data_dir))


def source_of(known: KnownSet, files: Mapping[str, IdxFile]) -> Source:
    """The data set of its files by role, images upright and labels from 0."""
    if known.image_shape == RECORD:
        train, test = (_records(known, files, part) for part in ("train", "test"))
        return Source(known.name, *train, *test, known.class_names, sums_of(files))
    source = Source.of_files(known.name, files, known.class_names)
    source = source.counted_from(known.labels_from) if known.labels_from else source
    return source.transposed() if known.transposed else source


def _records(known: KnownSet, files: Mapping[str, IdxFile], part: str) -> tuple[Images, Labels]:
    """Images and labels of a part, in the order of the known files."""
    rows = np.concatenate([files[file.role].values for file in known.files if file.role.startswith(part)])
    return rows[:, -math.prod(RECORD) :].reshape(-1, *RECORD), rows[:, 0].astype(np.int64)
