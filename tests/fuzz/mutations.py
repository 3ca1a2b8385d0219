"""Inputs made from others: bytes flipped, cut, doubled and spliced, words put in, and changes below a layer of packing.

What is packed (zip, gzip, JSON, a safetensors header) is unpacked, changed inside and packed again with right checksums
and lengths, since a parser would else refuse nearly everything at its first look.
"""

import copy
import gzip
import io
import json
import random
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from targets import Target

MAX_BYTES = 1 << 12  # what is larger is left to the bombs: many small inputs find more
MAX_PACKED_BYTES = 1 << 16
RECORD = 3074  # of CIFAR-100
HOSTILE: tuple[Any, ...] = (None, True, -1, 0, 0.5, 1e308, 2**32, 2**63, 10**400, float("nan"), float("inf"), "",
           "x" * 300, "\x1b[31m", "../../x", "3", "best", "generic_2", [], {}, [1] * 1001, {"a": 1},
           [[[[[[]]]]]])  # fmt: skip


def mutated(content: bytes, target: Target, seeds: list[bytes], draw: random.Random) -> bytes:
    """One more input made from `content`."""
    try:
        changed = PACKED[target.kind](content, target, draw) if draw.random() < 0.6 else None
    except Exception:  # what other changes made is not to be unpacked any more
        changed = None
    if changed is None:
        changed = content
        for _ in range(draw.choice((1, 1, 2, 4))):
            changed = _bytes_changed(changed, target.words, seeds, draw)
    return changed[: most_bytes(target)]


def most_bytes(target: Target) -> int:
    """How large an input may become."""
    return MAX_PACKED_BYTES if target.kind in ("zip", "records") else MAX_BYTES


def _bytes_changed(content: bytes, words: tuple[bytes, ...], seeds: list[bytes], draw: random.Random) -> bytes:
    start = draw.randint(0, len(content))
    stop = min(len(content), start + draw.choice((1, 1, 2, 4, 16, 64)))
    match draw.randrange(8):
        case 0 if start < len(content):
            return content[:start] + bytes([content[start] ^ 1 << draw.randrange(8)]) + content[start + 1 :]
        case 1 if start < len(content):
            return content[:start] + bytes([draw.randrange(256)]) + content[start + 1 :]
        case 2:
            return content[:start] + content[stop:]
        case 3:
            return content[:start] + content[start:stop] * draw.choice((2, 3, 100)) + content[stop:]
        case 4:
            return content[:start]
        case 5:
            other = draw.choice(seeds)
            return content[:start] + other[draw.randint(0, len(other)) :]
        case 6:
            return content[:start] + draw.choice(words) + content[stop:]
    return content[:start] + draw.choice(words) + content[start:]


def _json_changed(content: bytes, _target: Target, draw: random.Random) -> bytes:
    tree = json.loads(content)
    for _ in range(draw.choice((1, 1, 1, 2))):
        tree = _changed_at(tree, draw.choice(list(_places(tree))), draw)
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of nested data."""
    yield ()
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from ((key, *rest) for rest in _places(part))


def _changed_at(tree: Any, place: tuple[Any, ...], draw: random.Random) -> Any:
    if not place:
        return draw.choice(HOSTILE)
    key, *rest = place
    made = copy.copy(tree)
    change = draw.random() if not rest else 1
    if change < 0.15:
        del made[key]
    elif change < 0.25 and isinstance(made, dict):
        made[draw.choice(("x", "", *made))] = made.pop(key)
    elif change < 0.25:
        made[key:key] = made[: key + 1] * draw.choice((1, 30))
    else:
        made[key] = _changed_at(made[key], tuple(rest), draw)
    return made


def _zip_changed(content: bytes, target: Target, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        parts = [(info, archive.read(info)) for info in infos]
    chosen = draw.choice([info for info in infos if info.filename.endswith((".pkl", ".npy"))] or infos)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, part in parts:
            if info is chosen:
                part = _bytes_changed(part, target.words, [part], draw)
            with archive.open(_like(info), "w", force_zip64=info.filename.endswith(".npy")) as member:
                member.write(part)
    return buffer.getvalue()


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(info.filename)
    made.compress_type = info.compress_type
    return made


def _gzip_changed(content: bytes, target: Target, draw: random.Random) -> bytes:
    inside = zlib.decompress(content, wbits=31)
    return gzip.compress(_bytes_changed(inside, target.words, [inside], draw), 1, mtime=0)


def _safetensors_changed(content: bytes, target: Target, draw: random.Random) -> bytes:
    size = int.from_bytes(content[:8], "little")
    head, rest = content[8 : 8 + size], content[8 + size :]
    if draw.random() < 0.5:
        head = _json_changed(head, target, draw)
    else:
        head = _bytes_changed(head, target.words, [head], draw)
    return len(head).to_bytes(8, "little") + head + rest


def _table_changed(content: bytes, target: Target, draw: random.Random) -> bytes:
    """A cell, a line, a column or the delimiter of a table changed."""
    lines = [line.split(b",") for line in content.split(b"\n")]
    i = draw.randrange(len(lines))
    j = draw.randrange(len(lines[i]))
    match draw.randrange(6):
        case 0:
            lines[i][j] = draw.choice(target.words)
        case 1:
            lines[i][j] = _bytes_changed(lines[i][j], target.words, [lines[i][j]], draw)
        case 2:
            lines[i:i] = [lines[i][:]] * draw.choice((1, 30))
        case 3:
            for line in lines:
                line[j:j] = line[j : j + 1] * draw.choice((1, 1, 30))
        case 4:
            for line in lines:
                del line[j : j + draw.choice((1, 3))]
        case _:
            draw.shuffle(lines)
    return b"\n".join(draw.choice((b",", b",", b";", b"\t")).join(line) for line in lines)


def _records_changed(content: bytes, _target: Target, draw: random.Random) -> bytes:
    """A record of CIFAR's gone or doubled, or its labels changed."""
    records = [content[start : start + RECORD] for start in range(0, len(content), RECORD)]
    i = draw.randrange(len(records))
    labels = bytes(draw.choice((0, 1, 2, 3, 19, 99, 100, 255)) for _ in range(2))
    records[i : i + 1] = draw.choice(([], records[i : i + 1] * 2, [labels + records[i][2:]]))
    return b"".join(records)


def _nothing(_content: bytes, _target: Target, _draw: random.Random) -> None:
    return None


def _png_changed(content: bytes, target: Target, draw: random.Random) -> bytes:
    """One of its chunks changed, with the right length and checksum."""
    chunks, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    i = draw.randrange(len(chunks))
    kind, part = chunks[i]
    if kind in (b"IDAT", b"zTXt") and draw.random() < 0.5:
        part = zlib.compress(draw.choice((bytes(100), bytes(10**5), b"\x05" * 30)))
    elif draw.random() < 0.2:
        kind = draw.choice(target.words[:7])
    else:
        part = _bytes_changed(part, target.words, [part], draw)
    chunks[i : i + draw.randrange(2)] = [(kind, part)]
    packed = (len(p).to_bytes(4, "big") + k + p + zlib.crc32(k + p).to_bytes(4, "big") for k, p in chunks)
    return content[:8] + b"".join(packed)


PACKED = {
    "png": _png_changed,
    "json": _json_changed,
    "zip": _zip_changed,
    "gzip": _gzip_changed,
    "safetensors": _safetensors_changed,
    "table": _table_changed,
    "records": _records_changed,
    "bytes": _nothing,
}
