"""Arrays in NumPy's `.npz`: MedMNIST's six, Keras's four, or the pairs of files of KMNIST. Nothing is unpickled."""

import io
import os
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelflow.data.idx import MAX_BYTES, MAX_RATIO, OtherKindError, by_x
from modelflow.data.origins.origin import FileRow, Origin
from modelflow.data.parts import CALLED, source_of_parts
from modelflow.data.source import BEGIN_AT_1, Images, Labels, Parts, Source
from modelflow.data.unchanged import while_unchanged
from modelflow.errors import DataError
from modelflow.io.bounds import MAX_CLASSES
from modelflow.io.files import read_bounded, sha256
from modelflow.text import short, shown

PAIR = re.compile(r"(?P<prefix>(?!\.).*[-_])?(?P<part>train|test|val)[-_](?P<kind>imgs|images|labels)\.npz")
SCHEMES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))  # MedMNIST's, Keras's
NAMES = "class_names"
ALONE = "arr_0"  # of a file that holds one array
MAX_ROOM = 1 << 20  # bytes around the values: headers
END = struct.Struct("<4s4H2LH")  # of a zip archive: its last record
MAX_MEMBERS, MAX_DIRECTORY = 64, 1 << 16
MAX_REASON = 200  # characters of what zipfile or numpy say
SOUND = "Replace it with a sound copy, or write it anew by np.savez_compressed."
KEYS = "train_images, train_labels, test_images, test_labels, or x_train, y_train, x_test, y_test"
Array = NDArray[Any]


class Npz(Origin):
    """`npz:PATH`: one file with all arrays, or a folder with a file of images and one of labels for each part."""

    names: ClassVar[tuple[str, ...]] = ("npz:PATH",)
    words: ClassVar[str] = "is read from that path, which must hold the same files"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.is_dir():
            return any(PAIR.fullmatch(entry.name) for entry in path.iterdir())
        return path.suffix.lower() == ".npz"

    @property
    def folder(self) -> str | None:
        return os.path.abspath(self.path)

    def read(self, download: bool) -> Source:
        contents = self._contents()
        parts, names, notes = _of_pairs(contents) if self.path.is_dir() else _of_one(*next(iter(contents.items())))
        source = source_of_parts(self.name, parts, names, _sums(contents), notes, self.form)
        return replace(source, labels_from=int(BEGIN_AT_1 in notes))

    def checksums(self) -> dict[str, str]:
        place = os.path.abspath(self.path)
        return dict(while_unchanged(("npz", place), self._files(), lambda: _sums(self._contents())))

    def verify(self) -> list[FileRow]:
        sums = self.read(download=False).checksums
        return [FileRow(path.name, str(path.parent), sums[path.name], ok=True) for path in self._files()]

    def _files(self) -> list[Path]:
        return pair_files(self.path) if self.path.is_dir() else [self.path]

    def _contents(self) -> dict[Path, bytes]:
        """The bytes of its files, of at most `MAX_BYTES` in all."""
        contents: dict[Path, bytes] = {}
        for path in self._files():
            left = MAX_BYTES + MAX_ROOM - sum(map(len, contents.values()))
            try:
                contents[path] = read_bounded(path, left)
            except FileNotFoundError:
                raise DataError(f"{path}: no such file, expected an .npz file, or a folder of them.") from None
            except ValueError as reason:
                raise DataError(f"{path}: {reason}. Use a file of fewer or smaller images.") from None
        return contents


def _sums(contents: Mapping[Path, bytes]) -> dict[str, str]:
    return {path.name: sha256(content) for path, content in contents.items()}


def pair_files(folder: Path) -> list[Path]:
    """The files of a folder's pairs. Raises `DataError` for those of several data sets, and where there are none."""
    try:
        found = {path: match["prefix"] for path in sorted(folder.iterdir()) if (match := PAIR.fullmatch(path.name))}
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}), expected a folder of .npz files.") from None
    if len(set(found.values())) > 1:
        prefixes = ", ".join(sorted(shown(prefix or "no prefix") for prefix in set(found.values())))
        raise DataError(
            f"{folder}: holds several data sets ({prefixes}), expected one. Move each to a folder of its own."
        )
    if not found:
        raise DataError(
            f"{folder}: no files such as train-imgs.npz and train-labels.npz. Give an .npz file by its name."
        )
    return list(found)


def _of_pairs(contents: Mapping[Path, bytes]) -> tuple[Parts, list[str], list[str]]:
    """Parts, class names and notes of the files of a folder."""
    arrays: dict[str, dict[str, tuple[Path, Array]]] = {}
    left = MAX_BYTES
    for path, content in contents.items():
        match = PAIR.fullmatch(path.name)
        assert match
        kind = "labels" if match["kind"] == "labels" else "images"
        array = read_arrays(path, content, {ALONE}, left).get(ALONE)
        if array is None:
            raise DataError(
                f"{path}: holds no {ALONE}, expected one array. Write it by np.savez_compressed(file, array)."
            )
        if kind in arrays.setdefault(match["part"], {}):
            raise DataError(f"{path}: is a second file of {match['part']} images, expected one. Remove one of them.")
        arrays[match["part"]][kind] = path, array
        left -= array.nbytes
    parts, notes = {}, []
    for part, pair in arrays.items():
        if missing := {"images", "labels"} - pair.keys():
            there = next(path for path, _ in pair.values())
            if part == "train" or "labels" not in missing:
                raise DataError(f"{there}: no file of {part} {missing.pop()} beside it, expected one. Put it there.")
            notes.append(_unlabelled(there.name))
            continue
        parts[part] = _images(*pair["images"], ""), _labels(*pair["labels"], "")
    return _named(parts, None, notes)


def _of_one(path: Path, content: bytes) -> tuple[Parts, list[str], list[str]]:
    """Parts, class names and notes of one file with all arrays."""
    keys = {pattern.format(part) for scheme in SCHEMES for pattern in scheme for part in CALLED}
    arrays = read_arrays(path, content, keys | {NAMES}, MAX_BYTES)
    scheme = next((one for one in SCHEMES if one[0].format("train") in arrays), None)
    if scheme is None:
        raise DataError(
            f"{path}: holds {_listed(_keys(content))}, expected {KEYS}. Write the arrays under these names."
        )
    parts, notes = {}, []
    for part in CALLED:
        x, y = (pattern.format(part) for pattern in scheme)
        if x in arrays and y in arrays:
            parts[part] = _images(path, arrays[x], f"{x}: "), _labels(path, arrays[y], f"{y}: ")
        elif x in arrays and part != "train":
            notes.append(_unlabelled(x))
        elif x in arrays or y in arrays:
            raise DataError(f"{path}: holds no {y if x in arrays else x}, expected one label per image. Add it.")
    names = arrays.get(NAMES)
    named, numbers, notes = _named(parts, names, notes)
    return named, numbers if names is None else _class_names(path, names, len(numbers)), notes


def _named(parts: Parts, names: Array | None, notes: list[str]) -> tuple[Parts, list[str], list[str]]:
    """Labels from 0, and what they are called in the file, unless there are `names` for all of them.

    Labels that begin at 1 are taken for such that are counted from there, unless a name is left for 0.
    """
    numbers = _numbers(parts)
    least = min((int(labels.min()) for _, labels in parts.values() if len(labels)), default=0)
    if least != 1 or (names is not None and len(names) >= len(numbers)):
        return parts, numbers, notes
    return {part: (images, labels - 1) for part, (images, labels) in parts.items()}, numbers[1:], [*notes, BEGIN_AT_1]


def _unlabelled(what: str) -> str:
    return f"{what} has no labels and is left out."


def _numbers(parts: Parts) -> list[str]:
    return [str(k) for k in range(max((int(labels.max()) for _, labels in parts.values()), default=0) + 1)]


def _class_names(path: Path, names: Array, classes: int) -> list[str]:
    texts = names.ndim == 1 and names.dtype.kind == "U" and classes <= len(names) <= MAX_CLASSES and _in_utf_8(names)
    if not texts or len({*names.tolist(), ""}) <= len(names):
        raise DataError(
            f"{path}: {NAMES}: expected a text of its own for each of the {classes} classes. Change it, or remove it."
        )
    return [str(name) for name in names]


def _in_utf_8(texts: Array) -> bool:
    """Whether each character of texts is one that UTF-8 has; a file may hold any number in its place."""
    codes = np.ascontiguousarray(texts).view(np.uint32)
    return bool(((codes <= sys.maxunicode) & ((codes < 0xD800) | (codes > 0xDFFF))).all())


def _images(path: Path, array: Array, where: str) -> Images:
    """N x H x W, or N x C x H x W, of images N x H x W or N x H x W x C."""
    problem = ""
    if array.dtype != np.uint8:
        problem = (
            f"its values are {array.dtype.name}, expected uint8. Scale them to 0 to 255 and write np.uint8(values)"
        )
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        problem = "its channels come first, expected N x height x width x channels. Write images.transpose(0, 2, 3, 1)"
    elif array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        problem = (
            f"holds {by_x(array.shape)}, expected N x height x width, or N x height x width x channels (1 or 3). "
            "Write the images in that shape"
        )
    elif 0 in array.shape:
        problem = f"holds {by_x(array.shape)}, expected images. Add some"
    if problem:
        raise DataError(f"{path}: {where}{problem}.")
    if array.ndim == 4:
        array = array[..., 0] if array.shape[3] == 1 else np.moveaxis(array, 3, 1)
    return np.ascontiguousarray(array)


def _labels(path: Path, array: Array, where: str) -> Labels:
    """One label an image (int64) of whole numbers N or N x 1."""
    problem = ""
    if array.dtype.kind == "U":
        problem = (
            "its labels are texts, expected whole numbers. Write class_names, labels = np.unique(labels, "
            "return_inverse=True)"
        )
    elif array.ndim == 2 and array.shape[1] > 1:
        problem = f"holds labels {by_x(array.shape)}, expected one per image. {_single(array)}"
    elif array.dtype.kind not in "ui":
        problem = f"its labels are {array.dtype.name}, expected whole numbers. Write labels.astype(int)"
    elif array.ndim not in (1, 2) or not array.size:
        problem = f"holds labels {by_x(array.shape)}, expected one per image. Write them as N or N x 1"
    elif array.max() >= MAX_CLASSES or array.min() < 0:
        strange = array.max() if array.max() >= MAX_CLASSES else array.min()
        problem = f"label {strange}, expected 0 to {MAX_CLASSES - 1}. Number the classes from 0"
    if problem:
        raise DataError(f"{path}: {where}{problem}.")
    return array.reshape(-1).astype(np.int64)


def _single(labels: Array) -> str:
    """How to make several numbers per image one label."""
    one_hot = bool(((labels != 0).sum(1) == 1).all())
    return "Write labels.argmax(1)" if one_hot else "Several classes per image cannot be trained: choose one of them"


def read_arrays(path: Path, content: bytes, keys: set[str], limit: int) -> dict[str, Array]:
    """The arrays of an archive that are called so, of at most `limit` bytes in all, each checked unread.

    Raises `DataError` for what is no such archive, or holds other values than numbers and texts.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's of headers that Python 2 wrote
            return _arrays(content, keys, limit)
    except OtherKindError as reason:
        raise DataError(f"{path}: {reason}. {reason.fix}") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into this machine's memory. Use fewer or smaller images.") from None
    except Exception as reason:  # whatever zipfile, zlib and numpy make of a file that is none
        raise DataError(
            f"{path}: {shown(str(reason) or 'ends early')[:MAX_REASON]}, expected an .npz file. {SOUND}"
        ) from None


def _arrays(content: bytes, keys: Iterable[str], limit: int) -> dict[str, Array]:
    _check_directory(content)
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS or len({member.filename for member in members}) < len(members):
            raise ValueError(f"holds more than {MAX_MEMBERS} arrays, or two of one name")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in keys:
                arrays[name] = _array(archive, member, name, limit)
                limit -= arrays[name].nbytes
    return arrays


def _check_directory(content: bytes) -> None:
    """Raises `ValueError` unless a short zip directory stands at the end."""
    place = content.rfind(b"PK\5\6", max(0, len(content) - MAX_DIRECTORY - END.size))
    if place < 0 or len(content) - place < END.size:
        raise ValueError("is no zip archive, or is cut")
    *_, members, size, _, _ = END.unpack_from(content, place)
    if members > MAX_MEMBERS or size > MAX_DIRECTORY or content[place - 20 : place - 16] == b"PK\6\7":
        raise ValueError(f"holds more than {MAX_MEMBERS} arrays")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, limit: int) -> Array:
    """The array of a member. Room is made once all that is said of its size agrees."""
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is encrypted, or packed in another way than np.savez does")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{name} has a header of version {version}")
        shape, fortran, dtype = readers[version](stream)
        if dtype.hasobject or dtype.kind not in "uifbU" or dtype.itemsize == 0:
            found = "Python objects" if dtype.hasobject else short(str(dtype))
            raise OtherKindError(
                f"{name}: its values are {found}, expected numbers",
                "Write images as np.uint8(values), labels as np.int64(values), logits as np.float32(values).",
            )
        needed = _check_sizes(member, stream.tell(), shape, dtype, name, limit)
        raw = np.empty(needed, np.uint8)
        done, room = 0, raw.data
        for piece in iter(partial(stream.read, 1 << 20), b""):  # to the end, where zipfile checks the CRC
            room[done : done + len(piece)] = piece
            done += len(piece)
        if done != needed:
            raise ValueError(f"{name} is cut")
    array: Array = raw.view(dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _check_sizes(
    member: zipfile.ZipInfo, head: int, shape: tuple[int, ...], dtype: np.dtype[Any], name: str, limit: int
) -> int:
    """How many bytes the values take. Raises `ValueError` unless header and directory agree, and are plausible."""
    needed = dtype.itemsize
    for size in shape:
        if size < 0:
            raise ValueError(f"{name}: its header says {by_x(shape)}")
        needed *= int(size)
    if needed > limit:
        fix = "Use fewer or smaller images."
        raise OtherKindError(f"{name}: {needed:,} bytes, expected at most {MAX_BYTES:,} in all", fix)
    if head + needed != member.file_size or member.file_size > MAX_RATIO * member.compress_size + MAX_RATIO:
        raise ValueError(f"{name}: its header ({by_x(shape)} {dtype.name}) does not fit its {member.file_size:,} bytes")
    return needed


def _keys(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _listed(names: list[str]) -> str:
    return ", ".join(shown(name)[:40] for name in names[:10]) or "nothing"
