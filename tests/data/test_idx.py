"""read_idx takes whole files only, says why it refuses the others, and never reads more than a header promises."""

import gzip
import hashlib
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes, random_images, write_idx

from modelflow.data.idx import MAX_BYTES, WHOLE_NUMBERS, read_idx


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
@pytest.mark.parametrize("sizes", [(5,), (2, 3, 4), (2, 3, 4, 5)])
def test_reads_what_was_written(tmp_path: Path, name: str, sizes: tuple[int, ...]) -> None:
    values = random_images(*sizes)
    file = read_idx(write_idx(tmp_path, name, values))
    assert file.values.dtype == np.uint8
    assert np.array_equal(file.values, values)
    assert file.sha256 == hashlib.sha256(idx_bytes(values)).hexdigest()
    assert file.name == "images-idx3-ubyte"


@pytest.mark.parametrize("kind", WHOLE_NUMBERS)
@pytest.mark.parametrize("sizes", [(5,), (4, 8)])
def test_whole_numbers_of_any_type_are_read_where_they_are_asked_for(tmp_path: Path, kind: str, sizes: tuple) -> None:
    limits = np.iinfo(kind)
    values = np.random.default_rng(0).integers(limits.min, limits.max, sizes, kind, endpoint=True)
    path = write_idx(tmp_path, "labels", values)
    file = read_idx(path, (1, 2), types=WHOLE_NUMBERS)
    assert np.array_equal(file.values, values)
    assert file.sha256 == hashlib.sha256(idx_bytes(values)).hexdigest()
    if kind != "uint8":
        with pytest.raises(ValueError, match=f"its values are {kind}, expected uint8"):
            read_idx(path, (1, 2))


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_a_limit_is_of_bytes_whatever_the_type(tmp_path: Path, zipped: bool) -> None:
    path = write_idx(tmp_path, "labels.gz" if zipped else "labels", np.zeros(100, np.int32))
    assert read_idx(path, (1,), limit=400, types=WHOLE_NUMBERS).sizes == (100,)
    with pytest.raises(ValueError, match="is too large: its header says 100 values, expected at most 99"):
        read_idx(path, (1,), limit=399, types=WHOLE_NUMBERS)
    cut = idx_bytes(np.zeros(100, np.int32))[:-1]
    path.write_bytes(gzip.compress(cut) if zipped else cut)
    with pytest.raises(ValueError, match="is cut"):
        read_idx(path, (1,), types=WHOLE_NUMBERS)


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    values = random_images(2, 3, 4)
    plain_named_gz, gz_named_plain = tmp_path / "a.gz", tmp_path / "b"
    plain_named_gz.write_bytes(idx_bytes(values))
    gz_named_plain.write_bytes(gzip.compress(idx_bytes(values)))
    assert np.array_equal(read_idx(plain_named_gz).values, read_idx(gz_named_plain).values)


def header(*sizes: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


BAD = {
    "empty": (b"", "is empty"),
    "html": (b"<html>", "begins with 3c 68 74 6d, expected 00 00 and 08"),
    "short magic": (b"\0\0", "wrong header"),
    "floats": (header(1, kind=0x0D) + b"1234", "its values are float32, expected uint8"),
    "unknown": (header(1, kind=0x0A) + b"1234", "type 0x0a, expected 0x08"),
    "no dimension": (header(), "0 dimensions, expected 1 or 3 or 4"),
    "two dimensions": (header(1, 1) + b"1", "2 dimensions, expected 1 or 3 or 4"),
    "cut header": (header(1, 1, 1)[:-2], "its header ends after 14 bytes, expected 16"),
    "zero size": (header(3, 0, 2), "holds nothing: its header says 3 x 0 x 2"),
    "cut": (header(2, 2, 2) + b"1234567", "is cut: it has 23 bytes, its header (2 x 2 x 2) says 24"),
    "overlong": (header(2, 2, 2) + b"123456789", "is too long: bytes follow the 24"),
    "huge": (header(65536, 65536, 65536), f"is too large: its header says 65536 x 65536 x 65536 values, "
             f"expected at most {MAX_BYTES}"),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", BAD)
def test_refuses_bad_files_with_the_reason(tmp_path: Path, case: str, zipped: bool) -> None:
    data, reason = BAD[case]
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if zipped else data)
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_idx(path)


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_refuses_a_file_cut_anywhere(tmp_path: Path, zipped: bool) -> None:
    data = idx_bytes(random_images(2, 3, 3))
    whole = gzip.compress(data) if zipped else data
    path = tmp_path / "file"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut|empty|wrong header|cannot be read"):
            read_idx(path)


def test_refuses_a_gzip_with_a_wrong_check_value(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(idx_bytes(random_images(2, 3, 3))))
    data[-6] ^= 1
    path = tmp_path / "file.gz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read"):
        read_idx(path)


def test_a_gzip_with_one_bit_altered_is_refused_or_read_the_same(tmp_path: Path) -> None:
    values = random_images(2, 3, 3)
    whole = gzip.compress(idx_bytes(values))
    path = tmp_path / "file.gz"
    read = 0
    for position in range(8 * len(whole)):
        altered = bytearray(whole)
        altered[position // 8] ^= 1 << position % 8
        path.write_bytes(altered)
        try:
            assert np.array_equal(read_idx(path).values, values)
            read += 1
        except ValueError:
            pass
    assert 0 < read < 8 * 10  # gzip's own header has a date and the like, ten bytes in all


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header(1, 2, 2) + bytes(100_000_000), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(ValueError, match="is too long"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_refuses_other_sizes_than_expected(tmp_path: Path) -> None:
    path = write_idx(tmp_path, "file", random_images(2, 3, 4))
    with pytest.raises(ValueError, match="it says 2 x 3 x 4, expected 2 x 4 x 3"):
        read_idx(path, sizes=(2, 4, 3))
    with pytest.raises(ValueError, match="3 dimensions, expected 1 "):
        read_idx(path, ndims=(1,))


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a file"):
        read_idx(tmp_path)
