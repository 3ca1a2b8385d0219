"""A folder of the user's with a folder of pictures for each class."""

import hashlib
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from modelflow.data.class_folders import Bad, Found, PictureFile, find_pictures, looks_like_classes, shortened
from modelflow.data.origins.origin import FileRow, Images, Origin, Parts, Source
from modelflow.data.parts import source_of_parts
from modelflow.errors import DataError
from modelflow.text import shown

if TYPE_CHECKING:
    from modelflow.data.picture_set import PictureSet, Sums

MAX_LISTED, MAX_CHARACTERS = 20, 1500  # of what cannot be used, in a message
ALL = "images"  # what the checksum of a folder without parts is called


class ImageFolder(Origin):
    """`images:FOLDER`: FOLDER/cat/1.jpg, or FOLDER/train/cat/1.jpg with val and test beside; PNG, JPEG, BMP, WebP, GIF.

    `data.pictures` says how a picture is brought to the form that was asked for, else to a common one. What cannot be
    used is an error, or with `skip_bad` left out and told.
    """

    names: ClassVar[tuple[str, ...]] = ("images:FOLDER",)
    takes_form: ClassVar[frozenset[str]] = frozenset({"image_size", "channels", "skip_bad"})

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return looks_like_classes(path)

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    @property
    def words(self) -> str:
        return "is read from that folder of class folders, which must hold the same files"

    def read(self, download: bool) -> Source:
        found, sums = self._found()
        read = self._pictures(found, sums)
        bad = sorted({*found.bad, *read.bad})
        if bad and not self.form.skip_bad:
            raise DataError(_refusal(self.name, bad))
        files = [found.pictures[i] for i in read.index_N]
        class_names = list(dict.fromkeys(file.class_name for file in files if file.part == "train"))
        _check_classes(self.name, files, class_names)
        notes = [*found.notes, *read.notes, *([_left_out(bad)] if bad else [])]
        form = read.form._replace(skip_bad=bool(bad))
        parts = _parts(files, read.images, class_names)
        return source_of_parts(self.name, parts, class_names, _of_parts(found, sums), notes, form)

    def checksums(self) -> dict[str, str]:
        """One SHA-256 a part, of a line for each of its files: the file's SHA-256, two blanks, its path in the part."""
        return _of_parts(*self._found())

    def verify(self) -> list[FileRow]:
        """A row a part, after all pictures were decoded."""
        place = Path(os.path.abspath(self.path))
        sums = self.read(download=False).checksums
        paths = {place if part == ALL else place / part: sha for part, sha in sums.items()}
        return [FileRow(path.name, str(path.parent), sha, ok=True) for path, sha in paths.items()]

    def _found(self) -> "tuple[Found, Sums]":
        """Its files and their checksums."""
        from modelflow.data.kept_pictures import keep_checksums, known_checksums
        from modelflow.data.picture_set import checksums

        found = find_pictures(self.path)
        known = known_checksums(self.path)
        sums = checksums(found.pictures, known)
        if sums != known:
            keep_checksums(self.path, sums)
        return found, sums

    def _pictures(self, found: Found, sums: "Sums") -> "PictureSet":
        """Its pictures, read once as long as they stay what they are."""
        from modelflow.data.kept_pictures import keep_pictures, kept_pictures, key_of
        from modelflow.data.picture_set import read_pictures

        key = key_of(found.pictures, sums)
        kept = kept_pictures(self.path, key, self.form)
        if kept is not None:
            return kept
        try:
            read = read_pictures(found.pictures, sums, self.form.image_size, self.form.channels)
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from None
        keep_pictures(self.path, key, self.form, read)
        return read


def _parts(files: Sequence[PictureFile], images: Images, class_names: Sequence[str]) -> Parts:
    """Images and labels by part."""
    label_of = {name: label for label, name in enumerate(class_names)}
    labels_N = np.array([label_of[file.class_name] for file in files])
    part_N = np.array([file.part for file in files])
    return {part: (images[part_N == part], labels_N[part_N == part]) for part in dict.fromkeys(part_N.tolist())}


def _of_parts(found: Found, sums: "Sums") -> dict[str, str]:
    """The checksum of each part, of its files in the order of their paths."""
    lines: dict[str, list[tuple[str, str]]] = {}
    for file in found.pictures:
        known = sums[file.path]
        name = file.name.partition("/")[2] if found.has_parts else file.name
        word = known.reason if isinstance(known, Bad) else known.sha256
        lines.setdefault(file.part if found.has_parts else ALL, []).append((name, f"{word}  {name}\n"))
    return {part: _sum("".join(line for _, line in sorted(of))) for part, of in lines.items()}


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _check_classes(name: str, files: Sequence[PictureFile], class_names: Sequence[str]) -> None:
    """Raises `DataError` for a class whose training images were all left out."""
    for file in files:
        if file.class_name not in class_names:
            raise DataError(
                f"{name}: class {shown(file.class_name)} of {file.part}/ has no sound training image. Add some, or "
                "remove the class."
            )


def _refusal(name: str, bad: Sequence[Bad]) -> str:
    count = f"{len(bad):,} files or folders" if len(bad) > 1 else "one file or folder"
    listed = "\n".join(f"  - {one}" for one in _listed(bad))
    return f"{name}: {count} cannot be used:\n{listed}\nReplace or remove them, or leave them out with --skip-bad."


def _left_out(bad: Sequence[Bad]) -> str:
    return f"--skip-bad leaves out {len(bad):,}: {'; '.join(_listed(bad))}."


def _listed(bad: Sequence[Bad]) -> list[str]:
    """A line each, and one that counts those for which a message has no room."""
    lines = [_line(one) for one in bad[:MAX_LISTED]]
    fitting = sum(end <= MAX_CHARACTERS for end in accumulate(map(len, lines)))
    return [*lines[:fitting], *([f"and {len(bad) - fitting:,} more"] if fitting < len(bad) else [])]


def _line(bad: Bad) -> str:
    return f"{shortened(bad.name)} {shown(bad.reason)}"
