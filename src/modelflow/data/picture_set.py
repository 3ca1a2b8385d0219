"""All pictures of a data set read at once: checksums, a common form, copies, in parallel. No torch.

sums = checksums(files, known={})                      # by path: a SHA-256, or why the file cannot be read
read_pictures(files, sums, image_size=None, channels=None).images.shape  ->  (1000, 3, 48, 64)
"""

import hashlib
import io
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelflow.data.class_folders import Bad, PictureFile, shortened
from modelflow.data.idx import MAX_BYTES, by_x
from modelflow.data.pictures import Size, common_size, read_picture, size_of_picture, to_form
from modelflow.data.source import Form
from modelflow.errors import DataError
from modelflow.io.files import read_bounded, sha256
from modelflow.io.lines import bar
from modelflow.io.process import cores
from modelflow.text import shown

MAX_FILE_BYTES = 1 << 27
LARGE = 1 << 24  # pixels: of pictures with more one is decoded at a time
SETTLED = 5  # seconds: FAT keeps times to two of them
SECONDS_UNTIL_SEEN = 2
A_BLOCK = 4096  # files that wait for a thread
MAX_THREADS = 8  # each may hold a large picture
KEPT_FIRST = {"test": 0, "val": 1, "train": 2}  # of copies: test images stay those that others have
Pixels = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")
_of_large = Lock()


class KnownFile(NamedTuple):
    """What tells a file, unread, from a changed one, and its SHA-256."""

    signature: tuple[int, ...]
    sha256: str


Sums = Mapping[Path, KnownFile | Bad]


class PictureSet(NamedTuple):
    """Images N x H x W or N x 3 x H x W of the files `index_N`; what cannot be used; what a reader must know."""

    images: Pixels
    index_N: NDArray[np.int64]
    bad: tuple[Bad, ...]
    notes: tuple[str, ...]

    @property
    def form(self) -> Form:
        """Size and channels, as the images have them."""
        height, width = self.images.shape[-2:]
        return Form((height, width), 3 if self.images.ndim == 4 else 1)


def checksums(files: Sequence[PictureFile], known: Mapping[Path, KnownFile]) -> dict[Path, KnownFile | Bad]:
    """By the path of each file its SHA-256, or why it cannot be read; files that are `known` are not read again.

    A file that changes again within the grain of its times looks the same, as git's index has it ("racy git"): the
    signature of a file is empty, and it is read anew each time, until its times are some seconds old.
    """
    now = {file.path: _signature(file.path) for file in files}
    sums: dict[Path, KnownFile | Bad] = {
        path: known[path] for path, times in now.items() if times and path in known and known[path].signature == times
    }
    changed = [file for file in files if file.path not in sums]
    found = _each(lambda file: _checksum(file, now[file.path]), changed, "checking files")
    sums.update({file.path: one for file, one in zip(changed, found, strict=True)})
    return sums


def _signature(path: Path) -> tuple[int, ...]:
    try:
        kept = path.stat()
    except OSError:
        return ()
    settled = max(kept.st_mtime, kept.st_ctime) < time.time() - SETTLED
    return (kept.st_dev, kept.st_ino, kept.st_size, kept.st_mtime_ns, kept.st_ctime_ns) if settled else ()


def _checksum(file: PictureFile, signature: tuple[int, ...]) -> KnownFile | Bad:
    try:
        return KnownFile(signature, sha256(read_bounded(file.path, MAX_FILE_BYTES)))
    except OSError as error:
        return Bad(file.name, f"cannot be read: {error.strerror}")
    except ValueError as reason:
        return Bad(file.name, f"cannot be read: {reason}")


def read_pictures(
    files: Sequence[PictureFile], sums: Sums, image_size: Size | None, channels: int | None
) -> PictureSet:
    """The pictures in files whose `sums` are known, brought to `image_size` and `channels`, else to a common form.

    The common size is the smallest up to 64 x 64 that holds them all; grey is one channel, colours are three. Files
    that are no sound pictures, or copies of others, are left out and named. Raises `DataError` for files that change
    meanwhile, where nothing is left, and for more bytes than a data set may have.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of pictures that are refused, or taken all the same
        size, notes = (image_size, ()) if image_size else _common(files, sums)
        try:
            pixels, bad = _pixels(files, sums, size, channels)
            copies = _copies(files, pixels)
        except OSError as error:
            raise DataError(f"a file changed while it was read ({error}). Give the command again.") from None
    kept = [i for i in pixels if i not in copies]
    if not kept:
        raise DataError(_nothing(bad))
    bad.update(copies)
    images = _stacked([pixels[i] for i in kept], channels)
    return PictureSet(images, np.array(kept, np.int64), tuple(bad[i] for i in sorted(bad)), notes)


def _common(files: Sequence[PictureFile], sums: Sums) -> tuple[Size, tuple[str, ...]]:
    """The size that all can be brought to, and what to say of it."""
    readable = [file for file in files if isinstance(sums[file.path], KnownFile)]
    sizes = {size for size in _each(_size, readable, "reading sizes") if size}
    if not sizes:
        return (1, 1), ()
    size = common_size(sizes)
    if sizes == {size}:
        return size, ()
    are = f"are {by_x(next(iter(sizes)))}" if len(sizes) == 1 else "have different sizes"
    return size, (
        f"The images {are}. Each is fitted into {by_x(size)} pixels, the smallest size up to 64 x 64 that holds all. "
        "The aspect is kept and the rest is black. To choose a size: --image-size.",
    )


def _size(file: PictureFile) -> Size | None:
    try:
        with file.path.open("rb") as stream:
            return size_of_picture(stream)
    except (OSError, ValueError):  # which is told where the whole file is read
        return None


def _pixels(
    files: Sequence[PictureFile], sums: Sums, size: Size, channels: int | None
) -> tuple[dict[int, Pixels], dict[int, Bad]]:
    """By the index of its file each sound picture, H x W where it is grey, else H x W x 3; and what is not sound."""
    pixels: dict[int, Pixels] = {}
    bad: dict[int, Bad] = {}
    total = 0
    for i, found in enumerate(_each(partial(_picture, sums, size, channels), files, "reading images")):
        if isinstance(found, Bad):
            bad[i] = found
            continue
        pixels[i] = found
        total += found.nbytes
        if total > MAX_BYTES:
            raise DataError(
                f"the images take more than {MAX_BYTES:,} bytes at {by_x(size)}, the limit. Use fewer images, or "
                "smaller ones by --image-size."
            )
    return pixels, bad


def _picture(sums: Sums, size: Size, channels: int | None, file: PictureFile) -> Pixels | Bad:
    known = sums[file.path]
    if isinstance(known, Bad):
        return known
    try:
        content = _content(file, known)
        with _turn(content):
            pixels = to_form(read_picture(io.BytesIO(content)), size, channels or 3)
    except ValueError as reason:
        return Bad(file.name, str(reason))
    return pixels[..., 0].copy() if channels is None and _is_grey(pixels) else pixels


def _turn(content: bytes) -> AbstractContextManager[Any]:
    """Within, a large picture is the only large one."""
    height, width = size_of_picture(io.BytesIO(content))
    return _of_large if height * width > LARGE else nullcontext()


def _content(file: PictureFile, known: KnownFile) -> bytes:
    """The bytes of a file. Raises `OSError` for one that is no longer what it was."""
    content = read_bounded(file.path, MAX_FILE_BYTES)
    if sha256(content) != known.sha256:
        raise FileNotFoundError(f"{file.path} changed")
    return content


def _is_grey(pixels_HWC: Pixels) -> bool:
    return bool((pixels_HWC == pixels_HWC[..., :1]).all())


def _copies(files: Sequence[PictureFile], pixels: Mapping[int, Pixels]) -> dict[int, Bad]:
    """By its index each file whose decoded pixels are those of another: all but one, or all where classes differ.

    Only pictures that look the same in their form are decoded and compared whole.
    """
    found: dict[int, Bad] = {}
    for alike in _groups(pixels, lambda i: pixels[i].tobytes()):
        for group in _groups(alike, lambda i: _whole(files[i])):
            found |= _left_out(sorted(group, key=lambda i: (KEPT_FIRST[files[i].part], i)), files)
    return found


def _left_out(group: Sequence[int], files: Sequence[PictureFile]) -> dict[int, Bad]:
    """Which of several copies are left out, by their indices."""
    if len({files[i].class_name for i in group}) == 1:
        first = shortened(files[group[0]].name)
        return {i: Bad(files[i].name, f"is a copy of {first}") for i in group[1:]}
    others = {i: next(files[j] for j in group if files[j].class_name != files[i].class_name) for i in group}
    return {
        i: Bad(files[i].name, f"is a copy of {shortened(other.name)}, which is of another class")
        for i, other in others.items()
    }


def _groups(indices: Iterable[int], key: Callable[[int], bytes]) -> list[list[int]]:
    """Those of several with one key."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for i in indices:
        groups[hashlib.sha256(key(i)).digest()].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _whole(file: PictureFile) -> bytes:
    """A picture in its own size, as RGB."""
    with file.path.open("rb") as stream:
        picture = read_picture(stream).convert("RGB")
    return repr(picture.size).encode() + picture.tobytes()


def _stacked(pixels: list[Pixels], channels: int | None) -> Pixels:
    """N x H x W, or N x 3 x H x W where any has colours and `channels` does not say 1."""
    if channels != 3 and all(one.ndim == 2 for one in pixels):
        return np.stack(pixels)
    total = 3 * len(pixels) * pixels[0].shape[0] * pixels[0].shape[1]
    if total > MAX_BYTES:
        raise DataError(
            f"the images take {total:,} bytes, expected at most {MAX_BYTES:,}. Use fewer images, smaller ones by "
            "--image-size, or grey ones by --channels 1."
        )
    images = np.empty((len(pixels), 3, *pixels[0].shape[:2]), np.uint8)
    for image, one in zip(images, pixels, strict=True):
        image[:] = one if one.ndim == 2 else np.moveaxis(one, -1, 0)
    return images


def _nothing(bad: Mapping[int, Bad]) -> str:
    first = next(iter(bad.values()), Bad("", ""))
    return f"no sound image in it: {shortened(first.name)} {shown(first.reason)}. Put sound images there."


def _each(do: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
    """What `do` gives for each, in their order, by several threads; a bar where it takes longer and is seen."""
    read = bar(len(items), "file", what, SECONDS_UNTIL_SEEN)
    pool = ThreadPoolExecutor(min(MAX_THREADS, cores()))
    try:
        for start in range(0, len(items), A_BLOCK):
            for found in pool.map(do, items[start : start + A_BLOCK]):
                read.update()
                yield found
    finally:
        pool.shutdown(cancel_futures=True)
        read.close()
