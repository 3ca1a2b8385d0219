"""What was read of folders of pictures, kept in the user's cache: their files' checksums, and the images in a form.

A folder has one file of checksums, and one of images for each form that was asked for. What is damaged or of other
files is read anew; what cannot be written is not kept. No torch.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL

from modelflow.data.class_folders import MAX_FILES, Bad, PictureFile
from modelflow.data.picture_set import KnownFile, PictureSet, Sums
from modelflow.data.source import Form
from modelflow.io.files import read_bounded, write_atomic
from modelflow.io.process import without_widgets

with without_widgets():
    import pooch

VERSION = 1  # of the rules by which pictures are read and brought to their form
MAX_SUMS_BYTES = 1024 * MAX_FILES


def known_checksums(folder: Path) -> dict[Path, KnownFile]:
    """By its path each file of a folder whose checksum is known."""
    place = _place(folder, "sums.json")
    try:
        stored = json.loads(read_bounded(place, MAX_SUMS_BYTES)) if place else {}
        return {folder / name: KnownFile(tuple(map(int, times)), str(sha)) for name, (*times, sha) in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep_checksums(folder: Path, sums: Sums) -> None:
    """Keeps those of files whose times tell them from changed ones."""
    place = _place(folder, "sums.json")
    settled = {
        os.fspath(path.relative_to(folder)): [*known.signature, known.sha256]
        for path, known in sums.items()
        if isinstance(known, KnownFile) and known.signature
    }
    if place is None or not settled:
        return
    try:
        write_atomic(place, json.dumps(settled))
    except OSError:
        return


def key_of(files: Sequence[PictureFile], sums: Sums) -> str:
    """What differs for anything that the images depend on beside their form: files, classes, the rules, Pillow."""
    parts = [(file.part, file.class_name, file.name, _word(sums[file.path])) for file in files]
    text = json.dumps([VERSION, PIL.__version__, parts])
    return hashlib.sha256(text.encode()).hexdigest()


def kept_pictures(folder: Path, key: str, form: Form) -> PictureSet | None:
    """The images that were kept under this key in this form; None where there are none, or their file is damaged.

    Those that came out in a form without it being asked for are images in that form.
    """
    place = _place(folder, _images_file(form))
    if place is None:
        return None
    if (kept := _read(place, key)) is not None:
        return kept
    others = (_read(other, key) for other in sorted(place.parent.glob("*.npz")) if None not in form[:2])
    return next((kept._replace(notes=()) for kept in others if kept is not None and kept.form[:2] == form[:2]), None)


def _read(place: Path, key: str) -> PictureSet | None:
    try:
        with np.load(place, allow_pickle=False) as kept:  # which checks the CRC-32 of each array
            if str(kept["key"]) != key:
                return None
            bad, notes = json.loads(str(kept["said"]))
            return PictureSet(kept["images"], kept["index_N"], tuple(Bad(*one) for one in bad), tuple(notes))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def keep_pictures(folder: Path, key: str, form: Form, read: PictureSet) -> None:
    """Keeps the images in place of those that were kept before in this form; written beside and moved."""
    place = _place(folder, _images_file(form))
    if place is None:
        return
    said = np.array(json.dumps([read.bad, read.notes]))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
            np.savez(file, images=read.images, index_N=read.index_N, key=np.array(key), said=said)
        os.replace(file.name, place)
    except OSError:
        return


def _word(known: KnownFile | Bad) -> str:
    return known.reason if isinstance(known, Bad) else known.sha256


def _images_file(form: Form) -> str:
    size = "x".join(map(str, form.image_size or ("common",)))
    return f"{size}-{form.channels or 'any'}.npz"


def _place(folder: Path, name: str) -> Path | None:
    """A file of what is kept of a folder; None for a user without a home."""
    try:
        cache = Path(pooch.os_cache("modelflow"))
    except RuntimeError:
        return None
    return cache / "images" / hashlib.sha256(os.fsencode(os.path.abspath(folder))).hexdigest()[:32] / name
