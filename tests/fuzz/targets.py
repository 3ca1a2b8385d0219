"""What reads files, options and names from elsewhere: each parser with valid inputs to begin from and words it knows.

A target reads some bytes as its file would be read. It returns whether it took them, or raises `ModelFlowError`;
anything else is a find.
"""

import gzip
import hashlib
import io
import itertools
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.analysis import leaderboard
from modelflow.cli.options import seeds_of
from modelflow.data import folder as idx_folder
from modelflow.data.idx import MAX_BYTES
from modelflow.errors import DataError
from modelflow.evaluation.record import Metrics
from modelflow.kernels import cache as kernel_cache
from modelflow.networks import description as spec
from modelflow.networks import resolve as presets
from modelflow.networks import trace as shapes
from modelflow.results import layout, settings
from modelflow.results.records import DataRecord, Run

MAX_PATHS, MAX_PATH = 30, 1000
TINY = {
    "in_channels": 1,
    "num_classes": 2,
    "input_size": 4,
    "cov_kernel_sizes": [1],
    "cov_features": [1],
    "max_pool_sizes": [2],
    "amnt_fc_layers": 1,
}
STUDY = {
    "dataset": "digits",
    "models": ["generic_2", {"name": "tiny", "spec": TINY}],
    "epochs": 3,
    "seeds": [1, 2],
    "lr": 0.001,
}
SPEC_YAML = b"in_channels: 1\nnum_classes: 10\ncov_features: [4, 8]\nfc_sizes:\n- 20\np: 0.3\nfamily: cnn2\n"
STUDY_YAML = (
    b"dataset: digits\nmodels: [generic_2, {name: a, spec: {in_channels: 1, num_classes: 2}}]\nseeds: 3\nlr: 3e-4\n"
)
COMPUTED = b'// sizes\n{"in_channels": 1, "num_classes": 10, "cov_features": [int(4 * i / 2) for i in range(1, 4)],}'
NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"4294967296", b"9" * 30, b"9" * 5000, b"1048576", b"true", b"null")
JSON_WORDS = (b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u0000", b"\\ud800", b"//", *NUMBERS)
CODE_WORDS = (b"int(", b"range(", b" for i in ", b"*i", b"**", b"//2", b"%", b"lambda: 0", b"__import__", b"{}", b"-")
YAML_WORDS = (b"&a ", b"*a", b"<<: ", b"!!bool x", b"!!timestamp x", b"!!int ''", b"!!python/name:os.system", b"? ",
              b"- ", b"|\n", b">-\n", b"---\n", b"%YAML 9.9\n", b"2001-99-99", b"1:59:59", b"0x", b"0b", b"~", b"\t",
              b".inf", b"'", b"{", b"[", b"\xc2\x85", *NUMBERS)  # fmt: skip
NPY_WORDS = (b"\x93NUMPY", b"'descr': '|O'", b"'<f4'", b"(99999999999,)", b"'fortran_order': True", b"(0, 2)", b"'|V9'",
             b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\xff\xff\xff\xff")  # fmt: skip
PICKLE_WORDS = (b"cos\nsystem\n", b"cbuiltins\nbytearray\n", b"ctorch\nFloatStorage\n", b"R", b"b", b"(", b"t", b"\x81",
                b"Q", b"2", b"0", b"h\x00", b"q\x00", b"J\xff\xff\xff\x7f", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"}",
                b"cnumpy\ndtype\n", b"X\x02\x00\x00\x00f8", b"N", b"u", b"e", b"G\x7f\xf0" + bytes(6))  # fmt: skip
TENSOR_WORDS = (b'"dtype":"F32"', b'"shape":[', b'"data_offsets":[0,', b"__metadata__", *NUMBERS)


@dataclass(frozen=True)
class Target:
    """A parser: how it reads bytes (given a folder of its own), the kind of bytes, seeds, and words to put in."""

    read: Callable[[bytes, Path], bool]
    kind: str
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]


def _write(place: Path, name: str, content: bytes) -> Path:
    path = place / name
    path.write_bytes(content)
    return path


def _spec(name: str) -> Callable[[bytes, Path], bool]:
    def read(content: bytes, place: Path) -> bool:
        shapes.as_data(shapes.trace(spec.read_spec(_write(place, name, content))))
        return True

    return read


def _study(name: str) -> Callable[[bytes, Path], bool]:
    def read(content: bytes, place: Path) -> bool:
        settings.read_study(_write(place, name, content)).run_settings()
        return True

    return read


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _seeds_option(content: bytes, _place: Path) -> bool:
    settings.read_study(None, seeds=seeds_of(_text(content), None))
    return True


def _where(content: bytes, _place: Path) -> bool:
    leaderboard.filter_and_sort(_rows(), where=[_text(content)])
    return True


def _sort(content: bytes, _place: Path) -> bool:
    leaderboard.filter_and_sort(_rows(), by=_text(content), only=_text(content))
    return True


def _model(content: bytes, place: Path) -> bool:
    presets.resolve(_text(content), place)
    return True


@cache
def _rows() -> list[Any]:
    return leaderboard.table([(Path("a"), a_run()), (Path("b"), a_run(model_name="generic_2"))])


def _record(content: bytes, place: Path) -> bool:
    _write(place, "run.json", content)
    rows = leaderboard.rows_of([place])
    leaderboard.as_csv(rows)
    leaderboard.as_markdown(rows)
    return True


def _pages(content: bytes, place: Path) -> bool:
    """The answer and the cards of a folder whose one run has this record, beside sound predictions and losses."""
    from modelflow.analysis.archive import read_content
    from modelflow.report import answer, how
    from modelflow.report.model_card import run_card, study_card

    folder = place / "study" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, layout.RUN, content)
    _write(folder, layout.PREDICTIONS, _npz()[0])
    _write(folder, layout.HISTORY, b"epoch,loss,val_loss\n1,0.5,0.4\n")
    found = read_content(place / "study")
    for group in found.groups:
        for say in (answer.headline, answer.details, answer.conditions, answer.still_learning):
            say(group)
    how.how_made(found)
    study_card(found)
    for seed in found.seeds:
        run_card(seed)
    return True


def _predictions(content: bytes, place: Path) -> bool:
    (place / "run.json").unlink(missing_ok=True)
    _write(place, "predictions.npz", content)
    layout.read_predictions(place)
    return True


def _idx(name: str, role: str) -> Callable[[bytes, Path], bool]:
    def read(content: bytes, place: Path) -> bool:
        return idx_folder._read(_write(place, name, content), role, MAX_BYTES).values.size > 0

    return read


def _source(prefix: str, name: str) -> Callable[[bytes, Path], bool]:
    """A data set in one file, or of a folder that has this file and what `BESIDE` says."""

    def read(content: bytes, place: Path) -> bool:
        from modelflow.data.sources import read_source

        path = _write(place, name, content)
        for other, there in BESIDE.get(prefix, {}).items():
            _write(place, other, there)
        source = read_source(f"{prefix}:{place if prefix in BESIDE else path}")
        return len(source.train_images) > 0

    return read


BESIDE = {"cifar": {"train.bin": b"".join(bytes([0, k]) + bytes(3072) for k in range(3))}}


def _npz_images() -> list[bytes]:
    images = (np.arange(48, dtype=np.uint8) * 5).reshape(12, 2, 2)
    y_N = np.arange(12) % 2
    made = []
    for arrays in (
        {"x_train": images, "y_train": y_N, "x_test": images, "y_test": y_N},
        {"train_images": images[..., None], "train_labels": y_N[:, None], "class_names": np.array(["a", "b"])},
    ):
        for save in (np.savez, np.savez_compressed):
            buffer = io.BytesIO()
            save(buffer, **arrays)
            made.append(buffer.getvalue())
    return made


def _tables() -> list[bytes]:
    rows = [f"{i % 2},{i},255,0,{i + 90}" for i in range(12)]
    named = ["label,pixel1,pixel2,pixel3,pixel4", *rows]
    texts = [row.replace("0,", "cat,", 1) if row[0] == "0" else f'"dog"{row[1:]}' for row in rows]
    return ["\n".join(rows).encode(), "\r\n".join(named).encode(), "\n".join(texts).encode()]


def _cifar_names(content: bytes, place: Path) -> bool:
    _write(place, "test.bin", _cifar_records()[0])
    return _source("cifar", "fine_label_names.txt")(content, place)


def _cifar_records() -> list[bytes]:
    return [bytes([0, 2]) + bytes([7]) * 3072]


def _plan(content: bytes, place: Path) -> bool:
    (place / layout.TRAINING).mkdir(exist_ok=True)
    _write(place / layout.TRAINING, layout.PLAN, content)
    layout.read_plan(place)
    return True


def _history(content: bytes, place: Path) -> bool:
    """What the report makes of it, which leaves out what it cannot read."""
    from modelflow.analysis.archive import read_history

    _write(place, layout.HISTORY, content)
    return bool(read_history(place)[0])


def _class_names(content: bytes, place: Path) -> bool:
    from modelflow.analysis.archive import read_class_names

    _write(place, layout.CONFUSION_CSV, content)
    return read_class_names(place, 2) != ("0", "1")


def _picture(content: bytes, place: Path) -> bool:
    from modelflow.report.images import stored_picture

    return stored_picture(_write(place, layout.OUTPUTS, content), place) is not None


def _png() -> list[bytes]:
    from PIL import Image, PngImagePlugin

    buffer, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("a", "b", zip=True)
    Image.new("P", (3, 2)).save(buffer, "png", pnginfo=text)
    return [buffer.getvalue()]


def _photo(name: str) -> Callable[[bytes, Path], bool]:
    """A file of a class folder, as it is read with the others."""
    from modelflow.data.class_folders import Bad, PictureFile
    from modelflow.data.picture_set import checksums, read_pictures

    def read(content: bytes, place: Path) -> bool:
        file = PictureFile("train", "a", name, _write(place, name, content))
        sums = checksums([file], {})
        assert not isinstance(sums[file.path], Bad)
        return read_pictures([file], sums, None, None).images.size > 0

    return read


def _photos(*kinds: str) -> Callable[[], list[bytes]]:
    """A small file of each kind in each mode that it has, those that can be animated."""

    def made() -> list[bytes]:
        from PIL import Image

        exif, files = Image.Exif(), []
        exif[0x0112] = 6
        image = Image.fromarray(np.arange(15, dtype=np.uint8).reshape(3, 5) * 17)
        for kind, mode in itertools.product(kinds, ("1", "L", "RGB", "P", "CMYK", "LA", "RGBA", "I;16")):
            animated = {"save_all": True, "append_images": [image]} if kind in ("GIF", "WEBP") else {}
            with suppress(OSError, TypeError, ValueError):  # a mode that this kind of file does not have
                clear = {"transparency": 3} if mode in ("1", "L", "P") else {}
                image.convert(mode).save(buffer := io.BytesIO(), kind, exif=exif, **clear, **animated)
                files.append(buffer.getvalue())
        return files

    return made


def _class_folders(content: bytes, place: Path) -> bool:
    """A folder with a small picture at each path that a line names; other lines are left out."""
    from modelflow.data.sources import read_source

    folder = place / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for i, line in enumerate(content.split(b"\n")[:MAX_PATHS]):
        path = folder / _text(line)
        with suppress(OSError, ValueError):  # a name that no file can have, or one below a file
            if len(line) <= MAX_PATH and folder in Path(os.path.normpath(path)).parents:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_small_pictures()[i])
    return len(read_source(f"images:{folder}").train_images) > 0


@cache
def _small_pictures() -> list[bytes]:
    from PIL import Image

    made = []
    for i in range(MAX_PATHS):
        Image.new("L", (2, 2), 7 * i).save(buffer := io.BytesIO(), "PNG")
        made.append(buffer.getvalue())
    return made


def _paths() -> list[bytes]:
    in_classes = [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(4)]
    in_parts = [f"{part}/{path}" for part in ("train", "test") for path in in_classes]
    return ["\n".join(paths).encode() for paths in (in_classes, in_parts)]


def _archive(content: bytes, place: Path) -> bool:
    """Two members by their names; nothing else may be written."""
    from modelflow.data.archives import unpack

    own = place / "archives"
    folder = own / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"folder/{name}": (folder / name, 100) for name in ("a.bin", "b.bin")}
    try:
        taken = list(unpack(_write(own, "archive", content), wanted))
    except ValueError as error:
        raise DataError(str(error)) from None
    finally:
        assert {path.name for path in own.rglob("*")} <= {"unpacked", "archive", "a.bin", "b.bin"}
    return len(taken) > 0


def _zips() -> list[bytes]:
    made = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(buffer := io.BytesIO(), "w", method) as archive:
            for name in ("folder/a.bin", "folder/b.bin", "folder/c.bin"):
                archive.writestr(name, name * 3)
        made.append(buffer.getvalue())
    return made


def _tars() -> list[bytes]:
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz", format=form) as archive:
            for name in ("folder/a.bin", "folder/b.bin", "folder/" + "c" * 90):
                member = tarfile.TarInfo(name)
                member.size = len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
        made.append(buffer.getvalue())
    return made


def _short_form(content: bytes, _place: Path) -> bool:
    """A network in one line, traced, and written again."""
    found = spec.parse_spec({"layers": _text(content), "input": [1, 8, 8], "classes": 3})
    shapes.trace(found)
    assert spec.parse_spec({"layers": found.short_form, "input": [1, 8, 8], "classes": 3}) == found
    return True


def _handed_in(content: bytes, place: Path) -> bool:
    """A zip of somebody's results, merged into a folder of its own; nothing may be written beside that."""
    from modelflow.studies.merge import merge

    own = place / "merging"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    source = _write(own, "anna.zip", content)
    try:
        merge([source], own / "class").to_markdown()
    finally:
        assert {path.name for path in own.iterdir()} <= {"anna.zip", "class"}
    return True


def _results_zips() -> list[bytes]:
    study = json.dumps({**STUDY, "models": [{"name": "tiny", "spec": TINY}], "metric": "macro_f1", "margin": 1.0})
    files = {"tiny/run.json": a_run(files={}).model_dump_json(), "tiny/predictions.npz": _npz()[0], "study.json": study}
    made = []
    for above, method in (("", zipfile.ZIP_STORED), ("home/results/", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(buffer := io.BytesIO(), "w", method) as archive:
            for name, part in files.items():
                archive.writestr(above + name, part)
        made.append(buffer.getvalue())
    return made


def _logits(content: bytes, place: Path) -> bool:
    """Predictions made elsewhere, compared with others."""
    from modelflow.analysis.predictions import compare_files

    other = _write(place, "other.npz", _logit_files()[0])
    return len(compare_files([_write(place, "mine.npz", content), other]).verdicts) > 0


@cache
def _logit_files() -> list[bytes]:
    from modelflow.analysis.predictions import compare_files

    labels_N = np.arange(6) % 3
    made = []
    for given in ({"logits": np.eye(3, dtype=np.float32)[labels_N]}, {"predictions": np.stack([labels_N, labels_N])}):
        np.savez(buffer := io.BytesIO(), labels=labels_N, **given)
        made.append(buffer.getvalue())
    with tempfile.TemporaryDirectory() as folder:  # what the first comparison imports is not its time
        compare_files([_write(Path(folder), f"{i}.npz", content) for i, content in enumerate(made)])
    return made


def _cached(content: bytes, place: Path) -> bool:
    return kernel_cache._read(_write(place, "cached.o", content)) is not None


@cache
def _parts() -> tuple[Any, Any]:
    """A tiny model and its optimizer, after one step."""
    import torch

    from modelflow.networks.build import GenericCNN

    torch.set_num_threads(1)
    model = GenericCNN(spec.parse_spec(TINY))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 1, 4, 4)).sum().backward()
    optimizer.step()
    return model, optimizer


def _checkpoint(content: bytes, _place: Path) -> bool:
    from modelflow.training.checkpoint import load_into, parse_checkpoint

    load_into(*_parts(), parse_checkpoint(content, "model_checkpoint.pth"), "model_checkpoint.pth")
    return True


def _state(content: bytes, _place: Path) -> bool:
    from modelflow.training.averaging import saved_average
    from modelflow.training.checkpoint import load_into, parse_checkpoint
    from modelflow.training.states import checked_state

    (model, optimizer), state = _parts(), checked_state(parse_checkpoint(content, "state.pth"), "state.pth")
    saved_average(model, state, "state.pth")
    load_into(model, optimizer, state, "state.pth")
    return True


def _states() -> list[bytes]:
    import torch

    from modelflow.training.seeding import random_state

    model, optimizer = _parts()
    call = {"first_epoch": 1, "asked": {"seed": 1}, "engine": "", "notes": [], "started": "2025-01-01", "seconds": {}}
    state = {"epoch": 0, "loss": [], "val_loss": [], "midway": None, "call": call}
    state |= {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    average = {"ema": {"decay": 0.9, "updates": 3, "training_state_dict": model.state_dict()}}
    midway = {"midway": {"steps": 3, "total": 1.5, "images": 48, "random": random_state()}}
    made = []
    for more in ({}, midway, midway | average):
        buffer = io.BytesIO()
        torch.save(state | more, buffer)
        made.append(buffer.getvalue())
    return made


def _weights(content: bytes, _place: Path) -> bool:
    from modelflow.training.checkpoint import parse_weights

    model, _ = _parts()
    model.load_state_dict(parse_weights(content, model, "model.safetensors"))
    return True


def a_run(**changes: Any) -> Run:
    """A finished run's record."""
    metrics = Metrics(accuracy=0.8, macro_f1=0.8, loss=0.5, images=10, brier=0.3, calibration_error=0.1)
    fields: dict[str, Any] = {
        "model_name": "tiny",
        "model_class": "GenericCNN",
        "spec": TINY,
        "settings": {
            "dataset": "digits",
            "recipe": "card",
            "batch_size": 16,
            "optimizer": "adam",
            "schedule": "constant",
        },
        "protocol": "card",
        "seed": 42,
        "epochs": 1,
        "lr": 3e-4,
        "parameters": 12,
        "macs": 24,
        "data": DataRecord(name="digits", training_images=60, validation_images=10, checksums={"digits": "0"}),
        "versions": {"python": "3"},
        "processor": "any",
        "device": "cpu",
        "threads": 1,
        "git_revision": None,
        "started": "2025-01-01T00:00:00+00:00",
        "seconds": {"training": 30.0},
        "metrics": metrics,
        "validation": metrics,
        "dead_units": {"conv_layers.0": (0, 1)},
        "warnings": (),
        "files": {"predictions.npz": "0"},
    }
    return Run(**fields | changes)


def _checkpoints() -> list[bytes]:
    import torch

    model, optimizer = _parts()
    made = []
    for losses, as_zip in (([0.5], True), ([np.float64(0.5)], True), ([0.5], False)):
        state = {"epoch": 1, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
        buffer = io.BytesIO()
        torch.save(state | {"loss": losses, "val_loss": losses}, buffer, _use_new_zipfile_serialization=as_zip)
        made.append(buffer.getvalue())
    return made


def _safetensors() -> list[bytes]:
    from safetensors.torch import save

    return [save(dict(_parts()[0].state_dict()))]


def _npz() -> list[bytes]:
    logits_NK, y_N = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), np.array([0, 1], np.int32)
    return [layout.predictions_npz(logits_NK, y_N), layout.predictions_npz(np.asfortranarray(logits_NK), y_N)]


def _idx_files() -> list[bytes]:
    return [
        bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, *range(8)]),
        bytes([0, 0, 8, 4, *(0, 0, 0, 1) * 4, 7]),
    ]


def _label_files() -> list[bytes]:
    return [
        bytes([0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 2]),
        bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 7, 0]),
        bytes([0, 0, 0x0C, 2, 0, 0, 0, 1, 0, 0, 0, 8, *(0, 0, 0, 5) * 4, 0, 0, 0, 35, *bytes(12)]),
    ]


def _object_files() -> list[bytes]:
    code = b"\x7fELF some code"
    return [kernel_cache.FORMAT + hashlib.sha256(code).digest() + code]


TARGETS = {
    "spec_json": Target(
        _spec("net.json"), "json", lambda: [json.dumps(TINY).encode(), COMPUTED], JSON_WORDS + CODE_WORDS
    ),
    "spec_yaml": Target(_spec("net.yaml"), "json", lambda: [SPEC_YAML, json.dumps(TINY).encode()], YAML_WORDS),
    "study_yaml": Target(_study("study.yaml"), "json", lambda: [STUDY_YAML, json.dumps(STUDY).encode()], YAML_WORDS),
    "study_json": Target(_study("study.json"), "json", lambda: [json.dumps(STUDY).encode()], JSON_WORDS + CODE_WORDS),
    "seeds": Target(_seeds_option, "bytes", lambda: [b"3", b"1,2,3"], (b",", b" ", b"_", b"\xd9\xa3", *NUMBERS)),
    "run_json": Target(
        _record, "json", lambda: [a_run().model_dump_json().encode()], (b'"\\u001b[31m"', b'"../x"', *JSON_WORDS)
    ),
    "pages": Target(
        _pages, "json", lambda: [a_run(files={}).model_dump_json().encode()], (b'"\\u202e"', b'"<img>"', *JSON_WORDS)
    ),
    "predictions": Target(_predictions, "zip", _npz, NPY_WORDS),
    "checkpoint": Target(_checkpoint, "zip", _checkpoints, PICKLE_WORDS),
    "state": Target(_state, "zip", _states, PICKLE_WORDS),
    "safetensors": Target(_weights, "safetensors", _safetensors, TENSOR_WORDS),
    "plan": Target(_plan, "json", lambda: [json.dumps({"spec": TINY, "seed": 1}).encode()], JSON_WORDS),
    "history": Target(
        _history,
        "bytes",
        lambda: [b"epoch,loss,val_loss\n1,0.5,0.4\n2,0.3,\n"],
        (b",", b'"', b"\r", b"\0", b"inf", *NUMBERS),
    ),
    "class_names": Target(
        _class_names,
        "bytes",
        lambda: [b"true class,a,b\na,1,2\nb,0,3\n"],
        (b",", b'"', b"<script>", b"\x1b[31m", b"\0"),
    ),
    "picture": Target(
        _picture, "png", _png, (b"IDAT", b"PLTE", b"zTXt", b"iCCP", b"tRNS", b"eXIf", b"acTL", b"\xff" * 4)
    ),
    "photo_png": Target(
        _photo("a.png"),
        "png",
        _photos("PNG"),
        (b"IDAT", b"PLTE", b"zTXt", b"iCCP", b"tRNS", b"eXIf", b"acTL", b"\xff" * 4),
    ),
    "photo": Target(
        _photo("a"),
        "bytes",
        _photos("JPEG", "GIF", "BMP", "WEBP"),
        (
            b"\xff\xd8",
            b"\xff\xc0",
            b"\xff\xda",
            b"GIF89a",
            b"BM",
            b"RIFF",
            b"WEBP",
            b"VP8X",
            b"ANIM",
            b"Exif\0\0",
            b"\xff" * 4,
        ),
    ),
    "idx": Target(_idx("train-images-idx3-ubyte", "train-images"), "bytes", _idx_files, (b"\x1f\x8b", b"\xff" * 4)),
    "idx_gz": Target(
        _idx("train-images-idx3-ubyte.gz", "train-images"),
        "gzip",
        lambda: [gzip.compress(content) for content in _idx_files()],
        (b"\x1f\x8b\x08", b"\xff" * 4, b"\0" * 40),
    ),
    "idx_labels": Target(
        _idx("train-labels-idx1-ubyte", "train-labels"), "bytes", _label_files, (b"\x09", b"\x0d", b"\xff" * 4)
    ),
    "npz": Target(_source("npz", "data.npz"), "zip", _npz_images, (b"x_train.npy", b"PK\6\7", *NPY_WORDS)),
    "csv": Target(
        _source("csv", "train.csv"),
        "table",
        _tables,
        (
            b",",
            b";",
            b"\t",
            b'"',
            b"\r",
            b"\n",
            b"\0",
            b"label",
            b".0",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"256",
            b"nan",
            b"2e2",
            b"sep=;",
            b"pixel3",
            *NUMBERS,
        ),
    ),
    "csv_gz": Target(
        _source("csv", "train.csv.gz"),
        "gzip",
        lambda: [gzip.compress(content) for content in _tables()],
        (b"\x1f\x8b\x08", b"\xff" * 4, b"\0" * 40),
    ),
    "cifar": Target(_source("cifar", "test.bin"), "records", _cifar_records, (b"\0", b"\xff", bytes(3074))),
    "cifar_names": Target(
        _cifar_names,
        "bytes",
        lambda: ["\n".join(f"name {k}" for k in range(100)).encode()],
        (b"\n", b"\r\n", b"\x1b[31m", b"\xe2\x80\xae", b"\xff", b"\0"),
    ),
    "images": Target(
        _class_folders,
        "bytes",
        _paths,
        (
            *(
                b"/",
                b"\n",
                b"train/",
                b"val/",
                b"test/",
                b"Training/",
                b".DS_Store",
                b"__MACOSX/",
                b"@eaDir/",
                b"Icon\r",
            ),
            *(
                b"Thumbs.db",
                b"..",
                b"\xff",
                b"\xc3\xa9",
                b"e\xcc\x81",
                b"\xf0\x9f\x90\xb1",
                b"CAT/",
                b"\x1b[31m",
                b"a" * 300,
            ),
        ),
    ),
    "archive_zip": Target(
        _archive,
        "zip",
        _zips,
        (b"folder/a.bin", b"../../x", b"/tmp/x", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\7", b"\xff" * 4),
    ),
    "archive_tar": Target(
        _archive,
        "gzip",
        _tars,
        (
            b"folder/a.bin",
            b"../../x",
            b"/tmp/x",
            b"ustar",
            b"0",
            b"1",
            b"2",
            b"x",
            b"g",
            b"L",
            b"S",
            b"7777777",
            b"\x80",
        ),
    ),
    "short_form": Target(
        _short_form,
        "bytes",
        lambda: [
            *(b"c16 s24/2 s24r gap fc", b"+valid-bn c4k5 m2 fc20drop0.3 fc", b"2*(c4 c4-act)r+conv m2 fc"),
            *(b"c8 3*c8k3x5g2+gelu a2/2p1 e4 gmp fc", b"d2 s6e1+bias drop0.5+spatial c gap"),
        ],
        (b"(", b")", b")r", b"3*", b"+bn", b"-act", b"x", b"/0", b"drop", b".", b"fc", b"gap", b"\xc3\x97", *NUMBERS),
    ),
    "handed_in": Target(
        _handed_in,
        "zip",
        _results_zips,
        (b"tiny/run.json", b"study.json", b"studies.json", b"seeds/43/", b"../../x", b"PK\1\2", b"PK\5\6", *JSON_WORDS),
    ),
    "logits": Target(_logits, "zip", _logit_files, (b"logits.npy", b"predictions.npy", b"labels.npy", *NPY_WORDS)),
    "kernel_cache": Target(_cached, "bytes", _object_files, (kernel_cache.FORMAT, bytes(32))),
    "where": Target(
        _where,
        "bytes",
        lambda: [b"parameters < 10000", b"accuracy >= 0.5", b"model = 1"],
        (b"<=", b"__class__", b"e", b"\x1b[31m", b"\xd9\xa3", *NUMBERS),
    ),
    "sort": Target(
        _sort, "bytes", lambda: [b"accuracy", b"brier"], (b"*", b"[", b"]", b"[!a-", b"?", b"__class__", b"\x1b[31m")
    ),
    "model_name": Target(
        _model,
        "bytes",
        lambda: [b"generic_2", b"my_net.json", b"../x/net.yaml"],
        (b"/", b"..", b"\0", b".json", b".old-1", b"\xff", b"\x1b[31m", b"~", b"study.json", b"a" * 200),
    ),
}
