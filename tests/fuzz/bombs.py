"""Small files that would become large or slow, at the size limits of their parsers.

python tests/fuzz/bombs.py          # reads them all, as JSON: seconds of processor time, what was wrong, peak memory
"""

# ruff: noqa: E501

import gzip
import io
import json
import pickle
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from child import State, limit_memory, peak_mib, signature
from targets import TARGETS, a_run

from modelflow.io.bounds import MAX_RECORD_BYTES
from modelflow.io.config import MAX_FILE_BYTES, MAX_YAML_BYTES


def object_of(keys: list[str], limit: int) -> bytes:
    text = "{" + ",".join(f'"{key}":0' for key in keys)
    return text[: text[:limit].rindex(",")].encode() + b',"z":1,"z":2}'


def filled(unit: str, limit: int, before: str = "", after: str = "") -> bytes:
    return (before + unit * ((limit - len(before) - len(after)) // len(unit)) + after).encode()


def computed(depth: int) -> bytes:
    """Comprehensions within comprehensions, each making its number five times as long."""
    text = "x0"
    for i in range(depth):
        text = f"[{text} for x{i} in [{'*'.join([f'x{i + 1}'] * 5)}]]"
    return f'{{"p": [{text} for x{depth} in [{"9" * 1000}]]}}'.encode()


def npz(shape: str, content: bytes, descr: str = "<f4") -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("logits.npy", "labels.npy"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + content)
    return buffer.getvalue()


def idx_gz(size: int, inside: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(bytes([0, 0, 8, 1, *size.to_bytes(4, "big")]) + bytes(inside)) + packer.flush()


def studies(models: int, layers: int) -> bytes:
    one = {"in_channels": 1, "num_classes": 2, "input_size": 2000, "amnt_cov_layers": layers}
    return json.dumps({"models": [{"name": f"m{i}", "spec": one} for i in range(models)]}).encode()


def checkpoint_of(pickled: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def arrays_npz(shape: str, content: bytes) -> bytes:
    """An archive of a data set whose training images say that they have this shape."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x_train.npy", "y_train.npy"):
            archive.writestr(name, b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + content)
    return buffer.getvalue()


def member_of_zip(size: int) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/a.bin", bytes(size))
    return buffer.getvalue()


def member_of_tar(size: int) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as archive:
        member = tarfile.TarInfo("folder/a.bin")
        member.size = size
        archive.addfile(member, io.BytesIO(bytes(size)))
    return buffer.getvalue()


def png(width: int, height: int, packed: bytes, kind: bytes = b"IHDR") -> bytes:
    """A grey picture that says it has this size, with such data."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunks = [(b"IHDR", head), *([(kind, packed)] if kind != b"IHDR" else []), (b"IDAT", packed), (b"IEND", b"")]
    made = (len(part).to_bytes(4, "big") + k + part + zlib.crc32(k + part).to_bytes(4, "big") for k, part in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a key twice among many": ("spec_json", lambda: object_of([f"k{i}" for i in range(10**5)], MAX_FILE_BYTES - 20)),
    "deep JSON": ("spec_json", lambda: filled("[", MAX_FILE_BYTES)),
    "deep objects": ("spec_json", lambda: filled('{"a":', MAX_FILE_BYTES)),
    "a long number": ("spec_json", lambda: filled("9", MAX_FILE_BYTES, '{"p":', "}")),
    "many comments": ("spec_json", lambda: filled("//\n", MAX_FILE_BYTES)),
    "many spaces": ("spec_json", lambda: filled(" ", MAX_FILE_BYTES, "{", "x")),
    "deep expression": ("spec_json", lambda: filled("-", MAX_YAML_BYTES - 100, '{"p":', "1}")),
    "long expression": ("spec_json", lambda: filled("9*", MAX_YAML_BYTES - 100, '{"p":', "1}")),
    "products of products": ("spec_json", lambda: computed(12)),
    "a long range": ("study_json", lambda: b'{"seeds": range(10**18),}'.replace(b"10**18", b"1" + b"0" * 18)),
    "a range of models": ("study_json", lambda: b'{"models": range(1000000000000),}'),
    "many layers in many models": ("study_json", lambda: studies(9000, 1000)),
    "a seed twice among many": ("study_json", lambda: json.dumps({"seeds": [*range(9999), 9998]}).encode()),
    "YAML of many keys": ("spec_yaml", lambda: filled("a: 1\n", MAX_YAML_BYTES)),
    "YAML, a key twice": ("spec_yaml", lambda: b"".join(b"k%d: 1\n" % i for i in range(6500)) + b"k6499: 1\n"),
    "deep YAML": ("spec_yaml", lambda: filled("[", MAX_YAML_BYTES)),
    "wide YAML": ("spec_yaml", lambda: filled("[],", MAX_YAML_BYTES, "[", "]")),
    "YAML of questions": ("spec_yaml", lambda: filled("? ", MAX_YAML_BYTES)),
    "YAML laughs": ("study_yaml", lambda: "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9 if i else 1}]\n" for i in range(9)).encode()),
    "YAML base 60": ("spec_yaml", lambda: filled(":59", MAX_YAML_BYTES, "p: 1")),
    "YAML long number": ("spec_yaml", lambda: filled("f", MAX_YAML_BYTES, "p: 0x")),
    "YAML long text": ("spec_yaml", lambda: filled("\\u0041", MAX_YAML_BYTES, '"', '"')),
    "many seeds": ("seeds", lambda: filled("1,", 1 << 17)),
    "a long seed": ("seeds", lambda: filled("9", 1 << 17)),
    "a deep record": ("run_json", lambda: filled('{"spec":', MAX_RECORD_BYTES)),
    "a deep list in a record": ("run_json", lambda: filled("[", MAX_RECORD_BYTES, '{"spec":{"a":')),
    "a long number in a record": ("run_json", lambda: filled("9", MAX_RECORD_BYTES, '{"seed":', "}")),
    "many keys in a record": ("run_json", lambda: object_of([f"k{i}" for i in range(10**5)], MAX_RECORD_BYTES - 99)),
    "a huge figure under another's name": ("run_json", lambda: a_run(parameters=10**99, seconds={"parameters": 1.0}, macs=10**300).model_dump_json().encode()),
    "no images": ("run_json", lambda: a_run().model_dump_json().replace('"images":10', '"images":0').encode()),
    "a huge array": ("predictions", lambda: npz("(99999999999, 10)", b"")),
    "a large array": ("predictions", lambda: npz("(200000000, 1)", bytes(100))),
    "nothing, many times": ("predictions", lambda: npz("(99999999999,)", b"", "|S0")),
    "a zip bomb": ("predictions", lambda: npz("(17500000,)", bytes(70_000_000))),
    "a compressed checkpoint": ("checkpoint", lambda: checkpoint_of(bytes(10**7), zipfile.ZIP_DEFLATED)),
    "a long pickle": ("checkpoint", lambda: checkpoint_of(b"\x80\x02" + b"N" * 8_000_000 + b".")),
    "a pickle of gigabytes": ("checkpoint", lambda: checkpoint_of(pickle.dumps(bytearray(1), 2).replace(b"K\x01", b"J\xff\xff\xff\x7f"))),
    "a deep pickle": ("checkpoint", lambda: checkpoint_of(b"\x80\x02" + b"N" + b"\x85" * 400_000 + b".")),
    "a tensor of gigabytes": ("checkpoint", lambda: checkpoint_of(b"\x80\x02ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.")),
    "a header of gigabytes": ("safetensors", lambda: (1 << 40).to_bytes(8, "little") + b"{}"),
    "a deep header": ("safetensors", lambda: (10**6).to_bytes(8, "little") + filled("[", 10**6)),
    "more values than bytes": ("idx", lambda: bytes([0, 0, 8, 3, *(700 << 20).to_bytes(4, "big"), *(0, 0, 0, 1) * 2, 1])),
    "a gzip bomb": ("idx_gz", lambda: idx_gz(8, 50_000_000)),
    "a gzip that promises much": ("idx_gz", lambda: idx_gz(700 << 20, 10)),
    "many gzips": ("idx_gz", lambda: gzip.compress(b"") * 10**5),
    "a long name in a gzip": ("idx_gz", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 10**7),
    "a zip bomb of images": ("npz", lambda: arrays_npz("(60000, 28, 28)", bytes(60000 * 28 * 28))),
    "a zip bomb behind a small header": ("npz", lambda: arrays_npz("(10, 2, 2)", bytes(10**8))),
    "images of terabytes": ("npz", lambda: arrays_npz("(99999999, 999, 999)", b"")),
    "images without a pixel, many times": ("npz", lambda: arrays_npz("(99999999999, 0, 0)", b"")),
    "a picture of gigapixels": ("photo_png", lambda: png(40_000, 40_000, zlib.compress(bytes(10**6)))),
    "a line of pixels": ("photo_png", lambda: png(60_000_000, 1, zlib.compress(bytes(60_000_001)))),
    "a picture with a text of 100 MB": ("photo_png", lambda: png(2, 2, b"a\0\0" + zlib.compress(bytes(10**8)), b"zTXt")),
    "a picture with a profile of 100 MB": ("photo_png", lambda: png(2, 2, b"a\0\0" + zlib.compress(bytes(10**8)), b"iCCP")),
    "a line without an end": ("csv", lambda: b"1," * 10**7),
    "a field without an end": ("csv", lambda: b"label,p0\n1," + b"9" * 10**7),
    "a quote without an end": ("csv", lambda: b'label,p0\n1,"' + b"9," * 500_000 + b"\n" * 10**6),
    "many columns": ("csv", lambda: b"label" + b",p1" * 300_000 + b"\n" + (b"1" + b",0" * 300_000 + b"\n") * 3),
    "a table of NaN": ("csv", lambda: b"label" + b"".join(b",p%d" % i for i in range(16)) + b"\n" + (b"1" + b",nan" * 16 + b"\n") * 10**5),
    "numbers with exponents": ("csv", lambda: (b"1" + b",1e999" * 16 + b"\n") * 10**5),
    "blank lines": ("csv", lambda: b"\n" * 10**7),
    "a gzip bomb of blanks": ("csv_gz", lambda: gzip.compress(bytes(3) + b" " * 10**8)),
    "ever new labels": ("csv_gz", lambda: gzip.compress(b"label,p0\n" + b"".join(b"%d,0\n" % i for i in range(10**6)))),
    "a gzip bomb of line ends": ("csv_gz", lambda: gzip.compress(b"label,p0\n" + b"\n" * 10**7)),
    "half a record": ("cifar", lambda: bytes(30_000_001)),
    "a name without an end": ("cifar_names", lambda: b"a" * 10**7),
    "a path without an end": ("images", lambda: b"a/" * 10**6),
    "a member that unpacks to 100 MB": ("archive_zip", lambda: member_of_zip(10**8)),
    "a member of a tar that unpacks to 100 MB": ("archive_tar", lambda: member_of_tar(10**8)),
    "a long condition": ("where", lambda: b"a" * (1 << 17) + b"=1"),
    "a pattern of stars": ("sort", lambda: b"*a" * 10_000),
    "a long name": ("model_name", lambda: b"a/" * 50_000 + b".json"),
}  # fmt: skip


def main() -> None:
    """Reads every bomb in this process, which is given 1 GiB for it."""
    contents = {bomb: made() for bomb, (_, made) in BOMBS.items()}
    for target in TARGETS.values():
        target.seeds()
    limit_memory()
    told = {}
    with tempfile.TemporaryDirectory() as place:
        for bomb, content in contents.items():
            state = State()
            wrong = signature(TARGETS[BOMBS[bomb][0]], content, Path(place), state)
            told[bomb] = {"seconds": state.slowest_ms / 1000, "wrong": wrong, "accepted": state.accepted}
    json.dump({"bombs": told, "peak_mib": peak_mib()}, sys.stdout)


if __name__ == "__main__":
    main()
