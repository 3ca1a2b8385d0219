"""Sets by name whose files are kept as .gz or come in an archive, from a server of this machine, in small.

Each small set has the form of a real one: KMNIST's .gz files, EMNIST's letters in a .zip, CIFAR-10's records in a
.tar.gz. The checksums of the real ones are looked at in test_fetch.py; nothing here needs a network.
"""

import dataclasses
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes, random_images
from local_server import Server

from modelflow.cli import run_command
from modelflow.data import fetch
from modelflow.data.archives import unpack
from modelflow.data.datasets import load_dataset
from modelflow.data.known_sets import CIFAR_10, EMNIST_LETTERS, KMNIST, KNOWN_SETS, KnownSet
from modelflow.data.sources import checksums_of, origin_of, read_source, shape_of, verify
from modelflow.errors import DataError
from modelflow.results.settings import read_study
from modelflow.studies.resolved import resolved
from modelflow.studies.run import check_data, open_run, train_run

RECORDS = {f"data_batch_{i}.bin": 20 for i in range(1, 6)} | {"test_batch.bin": 20}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def in_small(known: KnownSet, classes: int, first: int) -> tuple[KnownSet, dict[str, bytes]]:
    """A set of the same form with 4 x 5 images, two of each class in training and one in test, and its .gz files."""
    files, contents = [], {}
    for i, file in enumerate(known.files):
        count = classes * (2 if file.role.startswith("train") else 1)
        labels = (np.arange(count) % classes + first).astype(np.uint8)
        values = labels if file.role.endswith("labels") else random_images(count, 4, 5, seed=i)
        content = gzip.compress(idx_bytes(values), mtime=0)
        method = file.packed.partition(":")[0]
        digest = f"{method}:{hashlib.new(method, content).hexdigest()}"
        files.append(dataclasses.replace(file, sizes=values.shape, packed=digest))
        contents[file.stored] = content
    return dataclasses.replace(known, files=tuple(files)), contents


def of_cifar() -> tuple[KnownSet, dict[str, bytes]]:
    """Files of 20 records."""
    files, contents = [], {}
    for i, file in enumerate(CIFAR_10.files):
        rows = random_images(RECORDS[file.name], 3073, seed=i)
        rows[:, 0] = np.arange(len(rows)) % 10
        contents[file.name] = rows.tobytes()
        files.append(dataclasses.replace(file, sizes=rows.shape, sha256=sha256(contents[file.name])))
    return dataclasses.replace(CIFAR_10, files=tuple(files)), contents


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archived(known: KnownSet, contents: dict[str, bytes], **others: bytes) -> tuple[KnownSet, bytes]:
    """The set with the checksum of an archive of `contents`, and that archive; `others` lie in it too."""
    assert known.archive is not None
    members = {f"{known.archive.folder}/{name}": content for name, content in contents.items()} | others
    packed = (zipped if known.archive.name.endswith(".zip") else tarred)(members)
    small = dataclasses.replace(known.archive, size=len(packed), sha256=sha256(packed))
    return dataclasses.replace(known, archive=small), packed


@pytest.fixture(autouse=True)
def nothing_at_hand(cache: Path) -> None:
    """None of the sets lies on this machine."""
    assert not cache.exists()


@pytest.fixture
def kmnist(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[KnownSet, dict[str, bytes]]:
    """Served below /second alone."""
    known, contents = in_small(KMNIST, classes=10, first=0)
    known = dataclasses.replace(known, addresses=(f"{server.address}/first", f"{server.address}/second"))
    server.pages |= {f"/second/{name}": content for name, content in contents.items()}
    monkeypatch.setitem(KNOWN_SETS, "kmnist", known)
    return known, contents


@pytest.fixture
def letters(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[KnownSet, dict[str, bytes]]:
    known, contents = in_small(EMNIST_LETTERS, classes=26, first=1)
    known, packed = archived(known, contents, **{"gzip/emnist-digits-train-images-idx3-ubyte.gz": b"another set"})
    known = dataclasses.replace(known, addresses=(f"{server.address}/nist",))
    server.pages["/nist/gzip.zip"] = packed
    monkeypatch.setitem(KNOWN_SETS, "emnist-letters", known)
    return known, contents


@pytest.fixture
def cifar(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[KnownSet, dict[str, bytes]]:
    known, contents = of_cifar()
    known, packed = archived(known, contents, **{"cifar-10-batches-bin/readme.html": b"<html>"})
    known = dataclasses.replace(known, addresses=(f"{server.address}/gone", f"{server.address}/kriz"))
    server.pages["/kriz/cifar-10-binary.tar.gz"] = packed
    monkeypatch.setitem(KNOWN_SETS, "cifar-10", known)
    return known, contents


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_gz_files_are_kept_as_they_were_published(kmnist, cache, server):
    _, contents = kmnist
    made = read_source("kmnist")
    assert names_in(cache) == sorted(contents)
    assert all((cache / name).read_bytes() == content for name, content in contents.items())
    assert made.class_names == KMNIST.class_names
    values = np.frombuffer(gzip.decompress(contents["train-images-idx3-ubyte.gz"])[16:], np.uint8)
    assert np.array_equal(made.train_images.ravel(), values)
    plain = {name.removesuffix(".gz"): sha256(gzip.decompress(content)) for name, content in contents.items()}
    assert made.checksums == checksums_of("kmnist") == plain
    asked = len(server.asked)
    assert [row.sha256 for row in verify("kmnist")] == list(plain.values())
    assert len(server.asked) == asked


@pytest.mark.usefixtures("kmnist")
def test_checksums_of_files_that_are_nowhere_yet_are_of_those_that_are_fetched(tmp_path):
    folder = tmp_path / "data"
    assert checksums_of("kmnist", data_dir=folder) == read_source("kmnist", folder).checksums
    assert len(names_in(folder)) == 4


@pytest.mark.parametrize("where", ["server", "cache"])
def test_another_gz_of_the_very_same_images_is_refused(kmnist, cache, server, where):
    """What it unpacks to cannot be checked: only the checksum of the .gz was published."""
    _, contents = kmnist
    name = "train-images-idx3-ubyte.gz"
    other = gzip.compress(gzip.decompress(contents[name]), 1)
    if where == "server":
        server.pages[f"/second/{name}"] = other
    else:
        cache.mkdir()
        (cache / name).write_bytes(other)
    with pytest.raises(DataError, match=r"its bytes have changed: sha256 .*, expected"):
        read_source("kmnist")
    assert where == "cache" or name not in names_in(cache)


@pytest.mark.usefixtures("kmnist")
def test_a_large_file_in_place_of_a_gz_is_not_even_hashed(cache):
    cache.mkdir()
    with open(cache / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(DataError, match=r"is too large, expected at most 4,116 bytes"):
        read_source("kmnist")


def test_letters_come_out_of_the_zip_upright_and_counted_from_0(letters, cache, server):
    _, contents = letters
    made = read_source("emnist-letters")
    assert names_in(cache) == sorted(contents)
    assert server.asked == ["/nist/gzip.zip"]
    lying = np.frombuffer(gzip.decompress(contents["emnist-letters-train-images-idx3-ubyte.gz"])[16:], np.uint8)
    assert np.array_equal(made.train_images, lying.reshape(52, 4, 5).transpose(0, 2, 1))
    assert (made.class_names[0], made.class_names[-1], made.labels_from) == ("a", "z", 1)
    assert sorted(set(made.test_labels.tolist())) == list(range(26))
    unpacked = cache.parent / "unpacked"
    unpacked.mkdir()
    for name, content in contents.items():
        (unpacked / name).write_bytes(content)
    by_hand = read_source(f"idx:{unpacked}", form=origin_of(f"idx:{unpacked}").form._replace(transpose=True))
    assert np.array_equal(by_hand.train_images, made.train_images)
    assert np.array_equal(by_hand.train_labels, made.train_labels)
    assert by_hand.checksums == made.checksums


def test_cifar_10_comes_out_of_its_tar_as_its_folder_reads(cifar, cache, server):
    _, contents = cifar
    made = read_source("cifar-10")
    assert names_in(cache) == sorted(contents)
    assert server.asked == ["/gone/cifar-10-binary.tar.gz", "/kriz/cifar-10-binary.tar.gz"]
    by_hand = read_source(f"cifar:{cache}")
    assert made.class_names == CIFAR_10.class_names
    assert made.checksums == by_hand.checksums == checksums_of("cifar-10")
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(made, part), getattr(by_hand, part)), part


@pytest.mark.usefixtures("cifar")
def test_images_keep_their_order_whichever_file_was_missing(cache):
    whole = read_source("cifar-10")
    (cache / "data_batch_1.bin").unlink()
    again = read_source("cifar-10")
    assert np.array_equal(again.train_images, whole.train_images)
    assert load_dataset("cifar-10").image_size == (32, 32)


@pytest.mark.usefixtures("letters")
def test_only_what_is_missing_is_taken_out_of_an_archive(cache, server):
    read_source("emnist-letters")
    kept = cache / "emnist-letters-test-images-idx3-ubyte.gz"
    before = kept.stat()
    (cache / "emnist-letters-test-labels-idx1-ubyte.gz").unlink()
    read_source("emnist-letters")
    assert kept.stat() == before
    assert server.asked == ["/nist/gzip.zip"] * 2
    read_source("emnist-letters")
    assert len(server.asked) == 2


def test_shapes_are_known_without_a_file():
    shapes = {name: shape_of(name) for name in ("kmnist", "emnist-letters", "cifar-10")}
    assert [(shape.in_channels, shape.image_size, shape.num_classes) for shape in shapes.values()] == [
        (1, (28, 28), 10),
        (1, (28, 28), 26),
        (3, (32, 32), 10),
    ]


@pytest.mark.parametrize("kind", ["letters", "cifar"])
@pytest.mark.parametrize("damage", ["a byte", "cut", "longer", "html"])
def test_an_archive_that_is_not_the_published_one_is_not_opened(request, server, cache, monkeypatch, kind, damage):
    known, _ = request.getfixturevalue(kind)
    opened = []
    monkeypatch.setattr(fetch, "unpack", lambda *given: opened.append(given))
    path = next(path for path in server.pages)
    whole = server.pages[path]
    changed = {"a byte": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:-1], "longer": whole + b"x"}
    server.pages[path] = changed.get(damage, b"<html>log in first</html>")
    reason = "more than .* bytes, the limit" if damage == "longer" else "its bytes have changed: sha256 .*, expected"
    with pytest.raises(DataError, match=reason):
        read_source(known.name)
    assert opened == []
    assert names_in(cache) == []


@pytest.mark.parametrize("kind", ["letters", "cifar"])
def test_an_archive_without_a_file_says_so(request, server, cache, monkeypatch, kind):
    known, contents = request.getfixturevalue(kind)
    lost = list(contents)[2]
    known, packed = archived(known, {name: content for name, content in contents.items() if name != lost})
    path = next(path for path in server.pages)
    server.pages[path] = packed
    monkeypatch.setitem(KNOWN_SETS, known.name, known)
    with pytest.raises(DataError, match=f"{known.archive.name} has no file {known.archive.folder}/{lost}"):
        read_source(known.name)
    assert lost not in names_in(cache)


HOSTILE = {
    "a path upwards": "../../evil.bin",
    "a path from the root": "/tmp/evil-of-a-test.bin",
    "another folder": "elsewhere/a.bin",
}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_members_with_other_names_are_not_written_anywhere(tmp_path, pack, name):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "archive").write_bytes(pack({name: b"evil", "folder/a.bin": b"good"}))
    assert list(unpack(inside / "archive", {"folder/a.bin": (inside / "a.bin", 4)})) == ["folder/a.bin"]
    assert (inside / "a.bin").read_bytes() == b"good"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.bin", "archive"]
    assert not Path("/tmp/evil-of-a-test.bin").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_unpacks_to_more_than_it_may_is_given_up(tmp_path, pack):
    (tmp_path / "archive").write_bytes(pack({"folder/a.bin": bytes(50_000_000)}))
    with pytest.raises(ValueError, match=r"folder/a\.bin has more than 1,000 bytes"):
        list(unpack(tmp_path / "archive", {"folder/a.bin": (tmp_path / "a.bin", 1000)}))
    assert (tmp_path / "a.bin").stat().st_size <= 1 << 20


def test_a_link_in_a_tar_is_no_file(tmp_path):
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        member = tarfile.TarInfo("folder/a.bin")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match=r"archive has no file folder/a\.bin"):
        list(unpack(tmp_path / "archive", {"folder/a.bin": (tmp_path / "a.bin", 1000)}))
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_damaged_archive_is_told_in_words(tmp_path, pack, at):
    whole = pack({"folder/a.bin": random_images(5000).tobytes()})
    (tmp_path / "archive").write_bytes(whole[: int(at * len(whole))])
    with pytest.raises(ValueError, match=r"archive cannot be unpacked"):
        list(unpack(tmp_path / "archive", {"folder/a.bin": (tmp_path / "a.bin", 10_000)}))


def test_the_list_says_how_much_is_downloaded(capsys):
    assert run_command(["data", "list"]) == 0
    listed = capsys.readouterr().out
    for words in ("kmnist", "cifar-10", "is downloaded (170 MB) and checked", "is downloaded (562 MB) and checked"):
        assert words in listed


def test_a_run_by_name_is_trained_recorded_and_opened_again(letters, tmp_path):
    known, _ = letters
    fields = {"models": ["c2k3+valid m2 gap fc"], "dataset": known.name, "epochs": 1, "batch_size": 5}
    study = resolved(read_study(fields), tmp_path / "r", tmp_path / "data", None)
    check_data(study.planned)
    (plan,) = study.planned
    run = train_run(plan)
    assert run.data.name == known.name
    assert run.data.checksums == plan.checksums == checksums_of(known.name, data_dir=tmp_path / "data")
    assert run.data.labels_from == known.labels_from
    assert open_run(plan.folder, tmp_path / "data").evaluate() == run.metrics


def test_torch_stays_unimported():
    code = "import sys, modelflow.data.known_sets, modelflow.data.archives; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
