"""Small files that would become large or slow, at the size limits of their parsers: under 2 s of processor time each.

And results folders that lead elsewhere: links, pipes and devices, names with `..`, records that promise too much.
"""

# ruff: noqa: E501

import gzip
import io
import json
import os
import pickle
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from child import MOST_SECONDS
from targets import TARGETS, TINY, a_run

from modelflow import results
from modelflow.cli import run_command
from modelflow.comparison import compare_folders
from modelflow.errors import ModelFlowError
from modelflow.leaderboard import leaderboard
from modelflow.settings import read_study
from modelflow.spec import MAX_FILE_BYTES, MAX_YAML_BYTES

GIB = 1 << 30


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
    "a deep record": ("run_json", lambda: filled('{"spec":', results.MAX_RECORD_BYTES)),
    "a deep list in a record": ("run_json", lambda: filled("[", results.MAX_RECORD_BYTES, '{"spec":{"a":')),
    "a long number in a record": ("run_json", lambda: filled("9", results.MAX_RECORD_BYTES, '{"seed":', "}")),
    "many keys in a record": ("run_json", lambda: object_of([f"k{i}" for i in range(10**5)], results.MAX_RECORD_BYTES - 99)),
    "a huge figure under another's name": ("run_json", lambda: a_run(parameters=10**99, seconds={"parameters": 1.0}, macs=10**300).model_dump_json().encode()),
    "no images": ("run_json", lambda: a_run().model_dump_json().replace('"images":10', '"images":0').encode()),
    "a huge array": ("predictions", lambda: npz("(99999999999, 10)", b"")),
    "a large array": ("predictions", lambda: npz("(200000000, 1)", bytes(100))),
    "nothing, many times": ("predictions", lambda: npz("(99999999999,)", b"", "|S0")),
    "a zip bomb": ("predictions", lambda: npz("(120000000,)", bytes(120_000_000))),
    "a compressed checkpoint": ("checkpoint", lambda: checkpoint_of(bytes(10**8), zipfile.ZIP_DEFLATED)),
    "a long pickle": ("checkpoint", lambda: checkpoint_of(b"\x80\x02" + b"N" * 8_000_000 + b".")),
    "a pickle of gigabytes": ("checkpoint", lambda: checkpoint_of(pickle.dumps(bytearray(1), 2).replace(b"K\x01", b"J\xff\xff\xff\x7f"))),
    "a deep pickle": ("checkpoint", lambda: checkpoint_of(b"\x80\x02" + b"N" + b"\x85" * 400_000 + b".")),
    "a tensor of gigabytes": ("checkpoint", lambda: checkpoint_of(b"\x80\x02ctorch\nFloatTensor\nJ\xff\xff\xff\x7f\x85R.")),
    "a header of gigabytes": ("safetensors", lambda: (1 << 40).to_bytes(8, "little") + b"{}"),
    "a deep header": ("safetensors", lambda: (10**6).to_bytes(8, "little") + filled("[", 10**6)),
    "more values than bytes": ("idx", lambda: bytes([0, 0, 8, 3, *(700 << 20).to_bytes(4, "big"), *(0, 0, 0, 1) * 2, 1])),
    "a gzip bomb": ("idx_gz", lambda: idx_gz(8, 300_000_000)),
    "a gzip that promises much": ("idx_gz", lambda: idx_gz(700 << 20, 10)),
    "many gzips": ("idx_gz", lambda: gzip.compress(b"") * 10**5),
    "a long name in a gzip": ("idx_gz", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 10**7),
    "a long condition": ("where", lambda: b"a" * (1 << 17) + b"=1"),
    "a pattern of stars": ("sort", lambda: b"*a" * 10_000),
    "a long name": ("model_name", lambda: b"a/" * 50_000 + b".json"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_soon(bomb: str, tmp_path: Path) -> None:
    name, made = BOMBS[bomb]
    content = made()
    TARGETS[name].seeds()
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ModelFlowError) as caught:
        TARGETS[name].read(content, tmp_path)
    seconds, most = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 3 * MOST_SECONDS  # being traced is slow
    assert most < GIB
    assert len(str(caught.value)) < 2000


@pytest.fixture
def handed_over(tmp_path: Path) -> Path:
    """A results folder with two runs of one model."""
    for folder in (tmp_path / "results" / "tiny", tmp_path / "results" / "tiny" / "seeds" / "43"):
        results.write_run(folder, a_run())
        (folder / "predictions.npz").write_bytes(TARGETS["predictions"].seeds()[0])
        results.write_run(folder, a_run(files=results.checksums(folder)))
    return tmp_path / "results"


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(ModelFlowError) as caught:
        read()
    return str(caught.value)


@pytest.mark.parametrize("place", ["tiny", "tiny/seeds", "tiny/seeds/43"])
def test_a_folder_that_is_a_link_is_neither_read_nor_written(handed_over: Path, place: str) -> None:
    elsewhere = handed_over.parent / "elsewhere"
    (handed_over / place).rename(elsewhere)
    (handed_over / place).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    study = handed_over.parent / "study.json"
    study.write_text(json.dumps({"models": [{"name": "tiny", "spec": TINY}], "seeds": [42, 43], "dataset": "digits"}))
    told = f"{handed_over / place}: is a symbolic link"
    assert told in refusal(lambda: leaderboard(handed_over))
    assert told in refusal(lambda: compare_folders([handed_over]))
    for command in (
        ["evaluate", str(handed_over / "tiny/seeds/43")],
        ["run", str(study), "--results", str(handed_over)],
    ):
        assert run_command(command) == 2
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("name", ["run.json", "predictions.npz"])
@pytest.mark.parametrize("kind", ["link", "device", "pipe"])
def test_files_that_lead_elsewhere_are_not_read(handed_over: Path, name: str, kind: str) -> None:
    path = handed_over / "tiny" / name
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        (handed_over / "kept").write_bytes(content)
        path.symlink_to("/dev/zero" if kind == "device" else handed_over / "kept")
    assert str(path.parent) in refusal(lambda: compare_folders([handed_over / "tiny", handed_over / "tiny/seeds/43"]))


def test_predictions_of_another_run_are_noticed(handed_over: Path) -> None:
    other = results.predictions_npz(np.ones((2, 2)), np.array([0, 1]))
    (handed_over / "tiny" / "predictions.npz").write_bytes(other)
    assert "its SHA-256 is not the one in run.json" in refusal(lambda: results.read_predictions(handed_over / "tiny"))


def test_seeds_with_other_images_are_not_mixed(handed_over: Path) -> None:
    folder = handed_over / "tiny" / "seeds" / "43"
    (folder / "predictions.npz").write_bytes(results.predictions_npz(np.ones((3, 2)), np.array([0, 1, 1])))
    results.write_run(folder, a_run(files={}))
    results.write_run(handed_over / "other", a_run(model_name="other"))
    assert "were tested on other images" in refusal(
        lambda: compare_folders([handed_over / "tiny", handed_over / "other"])
    )


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..", "study.json", "Leaderboard.csv", "a.old-1", "report.html"])
def test_a_model_is_not_called_what_would_write_elsewhere(tmp_path: Path, name: str) -> None:
    study = tmp_path / "study.json"
    study.write_text(json.dumps({"models": [{"name": name, "spec": TINY}]}))
    assert "model name" in refusal(lambda: read_study(study))


def test_the_picture_of_a_layer_stays_in_its_folder() -> None:
    assert results.filters_png("../../x") == "filters_.._.._x.png"
    assert results.filters_png("conv_layers.0") == "filters_conv_layers.0.png"


def test_a_network_is_not_made_for_a_checkpoint_that_cannot_be_of_it(handed_over: Path) -> None:
    large = TINY | {"amnt_fc_layers": 3, "fc_sizes": [13_000, 13_000]}
    (handed_over / "tiny" / results.CHECKPOINT).write_bytes(b"small")
    results.write_run(handed_over / "tiny", a_run(spec=large, settings={"dataset": "digits"}))
    from modelflow.study import open_run

    assert "too small for the spec in run.json" in refusal(lambda: open_run(handed_over / "tiny"))
