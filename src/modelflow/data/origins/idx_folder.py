"""A folder of the user's in MNIST's IDX format."""

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from modelflow.data.folder import NAME, find_files, read_folder
from modelflow.data.origins.origin import FileRow, Origin, rows_of, sums_of
from modelflow.data.source import BEGIN_AT_1, Source
from modelflow.data.unchanged import while_unchanged


class IdxFolder(Origin):
    """`idx:FOLDER`: four files, as `data.folder` reads them; classes are called by their labels."""

    names: ClassVar[tuple[str, ...]] = ("idx:FOLDER",)
    takes_form: ClassVar[frozenset[str]] = frozenset({"transpose"})

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and any(NAME.fullmatch(entry.name) for entry in path.iterdir())

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    @property
    def words(self) -> str:
        return "is read from that folder, which must hold the same files"

    def read(self, download: bool) -> Source:
        files = read_folder(self.path)
        labels_N = files["train-labels"].values
        first, most = int(labels_N.min()), int(labels_N.max())
        first = first if first == 1 else 0  # as EMNIST's letters have it
        source = Source.of_files(self.name, files, tuple(map(str, range(first, most + 1))))
        if first:
            source = replace(source.counted_from(1), notes=(BEGIN_AT_1,))
        return source.transposed() if self.form.transpose else source

    def checksums(self) -> dict[str, str]:
        """As of any origin; the files are read again only when they may have changed."""
        folder = Path(os.path.abspath(self.path))
        files = list(find_files(folder).values())
        return dict(while_unchanged(folder, files, lambda: sums_of(read_folder(folder))))

    def verify(self) -> list[FileRow]:
        return rows_of(read_folder(self.path))
