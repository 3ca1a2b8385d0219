"""A folder of class folders, or with train, val and test above them: which files it holds, of which class. No torch.

find_pictures(Path("photos")).pictures[0]  ->  PictureFile("train", "cat", "train/cat/1.jpg", Path(…))

Classes are numbered in the order of their names' characters, on every system the same, as torchvision's `ImageFolder`
and Keras's `image_dataset_from_directory` number them. Both read folders within a class too, and so does this.
"""

import difflib
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modelflow.data.archives import is_archive
from modelflow.errors import DataError
from modelflow.io.bounds import MAX_CLASSES
from modelflow.text import counted, shown

ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif")
CALLED = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
PARTS = {name: part for part, names in CALLED.items() for name in names}
NO_CLASSES = (  # of operating systems and network disks, beside what begins with a dot
    *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler"),
    *("system volume information", "lost+found", "@eadir", "#recycle", "@recycle", "#snapshot"),
)
MAX_FILES = 500_000
MAX_SEEN = 1000  # files looked at to recognise a folder
SHOWN_LENGTH = 100
LAYOUT = "expected a folder for each class with its images in it, or these in train/, val/ and test/"


class PictureFile(NamedTuple):
    """A file of a class: `part` is "train", "val" or "test"; `name` its path in the data set, the same everywhere."""

    part: str
    class_name: str
    name: str
    path: Path


class Bad(NamedTuple):
    """What cannot be used, and the reason as the end of a sentence."""

    name: str
    reason: str


class Found(NamedTuple):
    """The files of a data set, sorted by part, class and name; what cannot be used; what a reader must know."""

    pictures: tuple[PictureFile, ...]
    bad: tuple[Bad, ...]
    notes: tuple[str, ...]
    has_parts: bool


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is of the system's making, and no class or image."""
    return name.startswith(".") or name.lower() in NO_CLASSES


def looks_like_classes(folder: Path) -> bool:
    """Whether a folder holds folders with picture files, told by their endings. May raise `OSError`."""
    seen = (_walk(inside, set()) for inside in _folders(folder)) if folder.is_dir() else ()
    files = (path for files in seen for path in files)
    return any(
        isinstance(path, Path) and _ends_as_picture(path) for _, path in zip(range(MAX_SEEN), files, strict=False)
    )


def find_pictures(folder: Path) -> Found:
    """The files of the classes of a folder, none of them opened.

    Raises `DataError` for a folder that is laid out otherwise, classes of testing that are not among those of
    training, and more than 500,000 files.
    """
    places = _places(folder)
    pictures: list[PictureFile] = []
    bad: list[Bad] = []
    notes = _unused(folder, places)
    seen: set[tuple[int, int]] = set()
    for part in ("train", "val", "test"):
        if part in places:
            of_part = dict(_class_folders(folder, places[part]))
            if not of_part and part != "train":
                notes.append(_without_labels(places[part]))
            for class_name, place in of_part.items():
                _add(pictures, bad, part, class_name, place, folder, seen)
    _check_classes(folder, pictures)
    return Found(tuple(pictures), tuple(bad), tuple(notes), places["train"] != folder)


def shortened(name: str) -> str:
    """A file's name for a message, the end of one that is long."""
    line = shown(name)
    return line if len(line) <= SHOWN_LENGTH else f"…{line[-SHOWN_LENGTH:]}"


def _places(folder: Path) -> Mapping[str, Path]:
    """The folder of each part; the folder itself for training where it has no parts."""
    inside = _folders(folder)
    parts: dict[str, Path] = {}
    for path in inside:
        part = PARTS.get(path.name.lower(), "")
        if part in parts:
            raise DataError(f"{folder}: {path.name} and {parts[part].name} are both {part} images. Keep one of them.")
        if part:
            parts[part] = path
    has_classes = {part for part, path in parts.items() if _folders(path)}
    if "train" in has_classes:
        return parts
    if parts and len(parts) == len(inside):
        missing = "train/ holds no class folders" if "train" in parts else "there is no train/"
        raise DataError(f"{folder}: {missing}, {LAYOUT}. Sort the training images into class folders.")
    return {"train": folder}


def _class_folders(folder: Path, place: Path) -> list[tuple[str, Path]]:
    """Name and folder of each class, in their order. Raises `DataError` for names that are one on other systems."""
    found = sorted((unicodedata.normalize("NFC", path.name), path) for path in _folders(place))
    alike: dict[str, str] = {}
    for name, _ in found:
        _check_name(place, name)
        other = alike.setdefault(name.casefold(), name)
        if other is not name:
            raise DataError(
                f"{place}: the classes {shown(other)} and {shown(name)} differ in case or accents only. On other "
                "systems they are one folder. Rename one, or put their images together."
            )
    if place == folder and len(found) < 2:
        _refuse_one(folder, [name for name, _ in found])
    if len(found) > MAX_CLASSES:
        raise DataError(f"{place}: {len(found):,} class folders, expected at most {MAX_CLASSES:,}. Use fewer classes.")
    return found


def _check_name(place: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: the class folder {shown(name)} has a name that is not UTF-8. Rename it.") from None


def _refuse_one(folder: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{folder}: no folders in it, {LAYOUT}. Sort the images into class folders.")
    only = folder / names[0]
    deeper = f" Is the data set {only}?" if len(_folders(only)) > 1 else ""
    raise DataError(f"{folder}: one class folder only, {shown(names[0])}, {LAYOUT}.{deeper} Add a class.")


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry) for entry in os.scandir(folder) if not is_hidden(entry.name) and os.path.isdir(entry))
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder. Give the path of a folder of class folders.") from None
    except OSError as error:
        if is_archive(folder):
            raise DataError(f"{folder}: is an archive, {LAYOUT}. Unpack it first.") from None
        raise DataError(f"{folder}: cannot be read ({error.strerror}), {LAYOUT}.") from None


def _add(
    pictures: list[PictureFile],
    bad: list[Bad],
    part: str,
    class_name: str,
    place: Path,
    folder: Path,
    seen: set[tuple[int, int]],
) -> None:
    """The files of one class, and what is wrong with it."""
    before = len(pictures)
    for path in _walk(place, seen):
        if isinstance(path, Bad):
            bad.append(Bad(_within(folder, Path(path.name)), path.reason))
            continue
        pictures.append(PictureFile(part, class_name, _within(folder, path), path))
        if len(pictures) + len(bad) > MAX_FILES:
            raise DataError(f"{folder}: more than {MAX_FILES:,} files, the limit. Use fewer images.")
    if len(pictures) == before:
        bad.append(Bad(f"{_within(folder, place)}/", "holds no image"))
    pictures[before:] = sorted(pictures[before:], key=lambda picture: picture.name)


def _within(folder: Path, path: Path) -> str:
    return unicodedata.normalize("NFC", path.relative_to(folder).as_posix())


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Bad]:
    """The files below a folder, links followed; no folder is read twice, which ends loops of links."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            kept = place.stat()
            if (kept.st_dev, kept.st_ino) in seen:
                yield Bad(str(place), "leads to a folder that is read already")
                continue
            seen.add((kept.st_dev, kept.st_ino))
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            yield Bad(str(place), f"cannot be read ({error.strerror})")
            continue
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if os.path.isdir(entry):
                waiting.append(Path(entry))
            else:
                yield Path(entry)


def _ends_as_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _unused(folder: Path, places: Mapping[str, Path]) -> list[str]:
    """What lies beside the class folders and is not read."""
    notes = []
    if folder not in places.values():
        others = [path.name for path in _folders(folder) if path not in places.values()]
        if others:
            notes.append(f"{folder}: {', '.join(map(shown, others[:5]))} beside train/ is not read.")
    for place in {folder, *places.values()}:
        loose = sum(_ends_as_picture(Path(entry)) for entry in os.scandir(place) if not is_hidden(entry.name))
        if loose and (place == folder or _folders(place)):
            verb = "is" if loose == 1 else "are"
            notes.append(f"{place}: {counted(loose, 'image')} in no class folder {verb} not read.")
    return notes


def _without_labels(place: Path) -> str:
    return f"{place} holds no class folders: its images have no labels and are not used."


def _check_classes(folder: Path, pictures: list[PictureFile]) -> None:
    known = sorted({picture.class_name for picture in pictures if picture.part == "train"})
    for part, name in sorted({(picture.part, picture.class_name) for picture in pictures}):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {shown(near[0])}?" if near else ""
            raise DataError(
                f"{folder}: class {shown(name)} of {part}/ has no training image, expected a class of train/.{hint} "
                "Rename or remove it, or add training images."
            )
