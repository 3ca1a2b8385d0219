"""Read one IDX file, the format of MNIST and its relatives, plain or gzipped, and trust nothing in it.

A file opens with two zero bytes, the type of its values (0x08: unsigned bytes), the number of dimensions, and each
size as a big-endian 32-bit integer; the values follow, big-endian too, the last dimension fastest.
"""

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelflow.io.files import read_bounded

MAX_BYTES = 3 * 2**28  # of one file's values, and of a data set's four files together
MAX_RATIO = 1100  # how many bytes one of gzip can become: somewhat more than 1032
CHUNK_BYTES = 2**20
TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
BYTES = ("uint8",)
WHOLE_NUMBERS = ("uint8", "int8", "int16", "int32")
GZIP_MAGIC = b"\x1f\x8b"


class OtherKindError(ValueError):
    """A file that is sound as it seems, of another kind than was asked for; `fix` says how to make it of this one."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


@dataclass(frozen=True, eq=False)
class IdxFile:
    """A whole file in memory: its bytes, uncompressed, its sizes by its header or as they are known, its values."""

    path: Path
    raw: NDArray[np.uint8]
    sizes: tuple[int, ...]
    sha256: str
    values: NDArray[Any]

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".gz")


class _Unpacked:
    """What a gzip file holds, a piece at a time; read like the file itself."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._stream = zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        """As many bytes, fewer at the end. Raises `EOFError` for a stream that ends early, `ValueError` for more."""
        pieces = bytearray()
        while len(pieces) < size and (piece := self._piece(size - len(pieces))):
            pieces += piece
        return bytes(pieces)

    def readinto(self, room: memoryview) -> int:
        """The next bytes put into `room`: how many, 0 at the end. Raises as `read` does."""
        piece = self._piece(len(room))
        room[: len(piece)] = piece
        return len(piece)

    def _piece(self, size: int) -> bytes:
        while size and not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._packed.read(CHUNK_BYTES)
            if piece := self._stream.decompress(packed, size):
                return piece
            if not packed:
                raise EOFError
        if size and (self._stream.unused_data or self._packed.read(1)):
            raise ValueError("is too long: bytes follow its gzip stream. Unpack it with gunzip")
        return b""


def read_idx(
    path: Path,
    ndims: tuple[int, ...] = (1, 3, 4),
    sizes: tuple[int, ...] | None = None,
    limit: int = MAX_BYTES,
    types: tuple[str, ...] = BYTES,
) -> IdxFile:
    """Read the file, which must have one of these numbers of dimensions, of these types and, where given, these sizes.

    It holds at most `limit` bytes of values; nothing of that size is set aside before the file is seen to be long
    enough. Raises ValueError with the reason alone: the caller knows what the file is called and how to fix it; and
    `OtherKindError` for values of another type.
    """
    try:
        with _open(path) as (stream, most):
            head, dtype, stated = _read_header(stream)
            _check_type(dtype, types)
            _check_sizes(stated, ndims, sizes, limit // dtype.itemsize)
            length = len(head) + dtype.itemsize * math.prod(stated)
            _check_length(length, most, stated)
            raw = _read_values(stream, head, length, stated)
    except MemoryError:
        raise ValueError("does not fit into this machine's memory, expected a smaller file") from None
    except EOFError:
        raise ValueError("is cut: its gzip stream ends early, expected a whole file") from None
    except (OSError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot be read ({reason}), expected an IDX file, plain or gzipped") from None
    values = raw[len(head) :].view(dtype).reshape(stated)
    return IdxFile(path, raw, stated, hashlib.sha256(raw.data).hexdigest(), values)


def read_plain(path: Path, sizes: tuple[int, ...]) -> IdxFile:
    """Read a file of unsigned bytes without a header, exactly as many as these sizes say.

    Raises ValueError with the reason alone, as `read_idx` does.
    """
    expected = f"expected {math.prod(sizes):,} ({by_x(sizes)})"
    try:
        content = read_bounded(path, math.prod(sizes))
    except FileNotFoundError:
        raise ValueError("does not exist") from None
    if len(content) != math.prod(sizes):
        raise ValueError(f"has {len(content):,} bytes, {expected}")
    raw = np.frombuffer(content, np.uint8)
    return IdxFile(path, raw, sizes, hashlib.sha256(content).hexdigest(), raw.reshape(sizes))


def by_x(sizes: tuple[int, ...]) -> str:
    """(60000, 28, 28) -> "60000 x 28 x 28"."""
    return " x ".join(map(str, sizes))


@contextmanager
def _open(path: Path) -> Iterator[tuple[BinaryIO | _Unpacked, int]]:
    """The file as it is unpacked, and how many bytes that can be at most."""
    if not path.is_file():
        raise ValueError("is not a file" if path.exists() else "does not exist")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        zipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        yield (_Unpacked(file), MAX_RATIO * size) if zipped else (file, size)


def _read_header(stream: BinaryIO | _Unpacked) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if not magic:
        raise ValueError("is empty, expected an IDX header")
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"has a wrong header: it begins with {magic.hex(' ')}, expected 00 00 and 08")
    if magic[2] not in TYPES:
        raise ValueError(f"has a wrong header: its values are of type 0x{magic[2]:02x}, expected 0x08, unsigned bytes")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"is cut: its header ends after {4 + len(sizes)} bytes, expected {4 + 4 * magic[3]}")
    return magic + sizes, np.dtype(TYPES[magic[2]]).newbyteorder(">"), struct.unpack(f">{magic[3]}I", sizes)


def _check_type(dtype: np.dtype[Any], types: tuple[str, ...]) -> None:
    if dtype.name not in types:
        fix = "Scale them to 0 to 255 and write np.uint8(values)." if types == BYTES else "Write np.int32(values)."
        raise OtherKindError(f"its values are {dtype.name}, expected {' or '.join(types)}", fix)


def _check_sizes(stated: tuple[int, ...], ndims: tuple[int, ...], expected: tuple[int, ...] | None, most: int) -> None:
    if len(stated) not in ndims:
        raise OtherKindError(
            f"has {len(stated)} dimensions, expected {' or '.join(map(str, ndims))} (labels have 1, images 3, images"
            " with channels 4)",
            "Write its values in that shape, or use another file.",
        )
    if 0 in stated:
        raise ValueError(f"holds nothing: its header says {by_x(stated)}, expected sizes of at least 1")
    if expected is not None and stated != expected:
        raise ValueError(f"has a wrong header: it says {by_x(stated)}, expected {by_x(expected)}")
    if math.prod(stated) > most:
        raise ValueError(f"is too large: its header says {by_x(stated)} values, expected at most {most}")


def _check_length(needed: int, most: int, sizes: tuple[int, ...]) -> None:
    if needed > most:
        raise ValueError(f"is cut: it has {most} bytes, its header ({by_x(sizes)}) says {needed}")


def _read_values(stream: BinaryIO | _Unpacked, head: bytes, length: int, sizes: tuple[int, ...]) -> NDArray[np.uint8]:
    """The whole file, and never more than one byte beyond what the header promises: a small gzip can unpack to TBs."""
    raw = np.empty(length, np.uint8)
    raw[: len(head)] = np.frombuffer(head, np.uint8)
    room, done = raw.data, len(head)
    while got := stream.readinto(room[done : done + CHUNK_BYTES]):  # type: ignore[union-attr]
        done += got
    _check_length(len(raw), done, sizes)
    if stream.read(1):
        raise ValueError(f"is too long: bytes follow the {len(raw)} that its header ({by_x(sizes)}) says")
    return raw
