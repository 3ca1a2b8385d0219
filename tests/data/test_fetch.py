"""fetch searches in the promised order, lets only whole files into the store, and never uses or skips a bad one."""

import contextlib
import dataclasses
import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_files import Bytes, idx_bytes, write_folder
from local_server import Server

from modelflow.data import fetch
from modelflow.data.known_sets import FASHION_MNIST, KNOWN_SETS, KnownSet
from modelflow.errors import DataError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


def serve(server: Server, address: str, pages: dict[str, bytes]) -> None:
    server.pages |= {f"/{address}/{name}": body for name, body in pages.items()}


def places_of(known: KnownSet, data_dir: Path | None = None) -> set[Path]:
    return {file.path.parent for file in fetch.fetch(known, data_dir).values()}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def altered(data: bytes, position: int, value: int | None = None) -> bytes:
    changed = bytearray(data)
    changed[position] = changed[position] ^ 1 if value is None else value
    return bytes(changed)


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "one byte": (IMAGES, lambda data: altered(data, 20), "its bytes have changed: SHA-256 .*, expected"),
    "cut": (IMAGES, lambda data: data[:-1], "is cut: it has 135 bytes, .* says 136"),
    "overlong": (IMAGES, lambda data: data + b"x", "is too long"),
    "magic": (IMAGES, lambda data: altered(data, 2), "its values are int8, expected uint8"),
    "sizes": (IMAGES, lambda data: altered(data, 7), "has a wrong header: it says 7 x 5 x 4, expected 6 x 5 x 4"),
    "label": (LABELS, lambda data: altered(data, 9, 3), "labels out of range: label 3 at image 1 .*expected 0 to 2"),
    "label byte": (LABELS, lambda data: altered(data, 9, 2), "its bytes have changed"),
}


@pytest.mark.parametrize("end", ["", ".gz"], ids=["plain", "gz"])
def test_data_dir_is_used_in_place(
    known: KnownSet, tmp_path: Path, arrays: dict[str, Bytes], server: Server, cache: Path, end: str
) -> None:
    files = fetch.fetch(known, write_folder(tmp_path, arrays, end=end))
    assert all(np.array_equal(files[role].values, arrays[role]) for role in arrays)
    assert {file.path.parent for file in files.values()} == {tmp_path}
    assert not server.asked
    assert not cache.exists()


def test_places_in_order(
    known: KnownSet, tmp_path: Path, arrays: dict[str, Bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argument, variable = tmp_path / "argument", tmp_path / "variable"
    for folder in (known.debian_folder, cache, variable, argument):
        folder.mkdir()
        write_folder(folder, arrays, end=".gz")
        if folder == variable:
            monkeypatch.setenv(fetch.DATA_DIR_VARIABLE, str(variable))
        assert places_of(known, argument if folder == argument else None) == {folder}


def test_download_enters_the_cache_uncompressed(
    known: KnownSet, server: Server, pages: dict[str, bytes], arrays: dict[str, Bytes], cache: Path
) -> None:
    serve(server, "first", pages)
    assert places_of(known) == {cache}
    assert names_in(cache) == sorted(file.name for file in known.files)
    assert (cache / IMAGES).read_bytes() == idx_bytes(arrays["train-images"])
    asked = len(server.asked)
    assert places_of(known) == {cache}
    assert len(server.asked) == asked == 4


def test_download_enters_the_data_dir_when_one_is_given(
    known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path, tmp_path: Path
) -> None:
    serve(server, "first", pages)
    folder = tmp_path / "new" / "folder"
    assert places_of(known, folder) == {folder}
    assert not cache.exists()


def test_the_second_address_serves_when_the_first_fails(
    known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path
) -> None:
    serve(server, "second", pages)
    assert places_of(known) == {cache}
    assert server.asked[0] == f"/first/{IMAGES}.gz"
    assert [path for path in server.asked if path.startswith("/second")] == [f"/second/{name}" for name in pages]


def test_no_server_at_the_first_address(known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path) -> None:
    serve(server, "second", pages)
    deaf = dataclasses.replace(known, addresses=("http://127.0.0.1:9", known.addresses[1]))
    assert places_of(deaf) == {cache}


def test_only_missing_files_are_fetched(
    known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path, arrays: dict[str, Bytes]
) -> None:
    cache.mkdir()
    write_folder(cache, {"train-images": arrays["train-images"]})
    before = (cache / IMAGES).stat()
    serve(server, "first", pages)
    fetch.fetch(known)
    assert f"/first/{IMAGES}.gz" not in server.asked
    after = (cache / IMAGES).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("case", DAMAGE)
def test_a_bad_download_never_lands(known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path, case: str):
    name, damage, reason = DAMAGE[case]
    bad = gzip.compress(damage(gzip.decompress(pages[f"{name}.gz"])))
    serve(server, "first", {**pages, f"{name}.gz": bad})
    with pytest.raises(DataError, match=reason) as caught:
        fetch.fetch(known)
    assert f"{known.addresses[0]}/{name}.gz: " in str(caught.value)
    assert name not in names_in(cache)
    assert not [other for other in names_in(cache) if other.startswith(".")]


def test_after_a_bad_download_the_next_address_is_asked(
    known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path, arrays: dict[str, Bytes]
) -> None:
    serve(server, "first", dict.fromkeys(pages, b"<html>log in first</html>"))
    serve(server, "second", pages)
    assert places_of(known) == {cache}
    assert (cache / LABELS).read_bytes() == idx_bytes(arrays["train-labels"])


def test_an_interrupted_fetch_leaves_nothing_half_written(
    known: KnownSet, server: Server, pages: dict[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    serve(server, "first", pages)
    with monkeypatch.context() as patch:
        patch.setattr(fetch.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch(known)
    assert names_in(cache) == []
    assert places_of(known) == {cache}


@pytest.mark.parametrize("place", ["data_dir", "cache", "debian"])
@pytest.mark.parametrize("end", ["", ".gz"], ids=["plain", "gz"])
@pytest.mark.parametrize("case", DAMAGE)
def test_a_bad_file_is_neither_used_nor_skipped(
    known: KnownSet, tmp_path: Path, arrays: dict[str, Bytes], server: Server, cache: Path,
    pages: dict[str, bytes], case: str, end: str, place: str,
) -> None:  # fmt: skip
    serve(server, "first", pages)
    folder = {"data_dir": tmp_path / "own", "cache": cache, "debian": known.debian_folder}[place]
    folder.mkdir()
    write_folder(folder, arrays, end=end)
    name, damage, reason = DAMAGE[case]
    path = folder / f"{name}{end}"
    bad = damage(idx_bytes(arrays["train-images" if name == IMAGES else "train-labels"]))
    path.write_bytes(gzip.compress(bad) if end else bad)
    content = path.read_bytes()
    fix = {
        "data_dir": f"Delete it and run `modelflow data fetch small --data-dir {folder}`.",
        "cache": "Delete it and run `modelflow data fetch small`.",
        "debian": "Reinstall the Debian package no-such-package, or give a folder of sound files with --data-dir.",
    }[place]
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{reason}.*{re.escape(fix)}$"):
        fetch.fetch(known, folder if place == "data_dir" else None)
    assert path.read_bytes() == content
    assert not server.asked


def test_nothing_worked(known: KnownSet, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch.fetch(known, tmp_path / "own")
    message = str(caught.value)
    assert f"could not get {IMAGES}, {LABELS}, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte. Tried:" in message
    for folder in (tmp_path / "own", cache, known.debian_folder):
        assert f"  - {folder}: not there" in message
    for address in known.addresses:
        assert f"  - {address}: 404" in message
    assert "  - Debian package no-such-package: needs apt-get and dpkg-deb" in message
    assert "--data-dir FOLDER, or set MODELFLOW_DATA_DIR=FOLDER" in message


def test_find_all_fetches_nothing(known: KnownSet, server: Server, pages: dict[str, bytes]) -> None:
    serve(server, "first", pages)
    with pytest.raises(DataError, match=r"not there\nRun `modelflow data fetch small`\.$"):
        fetch.find_all(known)
    assert not server.asked


def test_data_dir_is_a_file(known: KnownSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: is a file, expected a folder"):
        fetch.fetch(known, tmp_path / "file")


def test_store_cannot_be_made(known: KnownSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"not writable .*, expected a folder for the data"):
        fetch.fetch(known, tmp_path / "file" / "below")


def fake_package(known: KnownSet, arrays: dict[str, Bytes], calls: list[tuple[str, ...]], has_lists: bool):
    """What apt-get and dpkg-deb do, without either: the package holds the gzipped files."""

    def run(*command: str, cwd: Path) -> None:
        calls.append(command)
        if "download" in command:
            if not has_lists and not any("Dir::State::lists" in part for part in command):
                raise ValueError("apt-get failed: E: Unable to locate package")
            (cwd / "package.deb").touch()
        if command[0] == "dpkg-deb":
            folder = Path(command[-1]) / known.debian_folder.relative_to("/")
            folder.mkdir(parents=True)
            write_folder(folder, arrays, end=".gz")

    return run


@pytest.mark.parametrize("has_lists", [True, False])
def test_the_debian_package_is_the_last_resort(
    known: KnownSet, arrays: dict[str, Bytes], cache: Path, monkeypatch: pytest.MonkeyPatch, has_lists: bool
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(fetch.shutil, "which", lambda command: command)
    monkeypatch.setattr(fetch, "_run", fake_package(known, arrays, calls, has_lists))
    assert places_of(known) == {cache}
    assert names_in(cache) == sorted(file.name for file in known.files)
    assert any("update" in command for command in calls) is not has_lists


def test_the_real_debian_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs apt-get and dpkg-deb")
    monkeypatch.setenv(fetch.DATA_DIR_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setattr(fetch, "cache_folder", lambda _: tmp_path / "cache")
    only_labels = dataclasses.replace(FASHION_MNIST, files=FASHION_MNIST.files[1::2], addresses=())
    try:
        files = fetch.fetch(only_labels)
    except DataError as error:
        if "apt-get failed" in str(error):
            pytest.skip("needs Debian's packages within reach")
        raise
    assert [file.values.size for file in files.values()] == [60000, 10000]


def test_addresses_are_encrypted() -> None:
    assert len(FASHION_MNIST.addresses) == 3
    assert all(address.startswith("https://") for address in FASHION_MNIST.addresses)


def test_torch_stays_unimported() -> None:
    code = "import sys, modelflow.data.fetch, modelflow.data.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


class Slow:
    """A server that sends `first`, then `part` every 0.1 s, for ever."""

    def __init__(self, first: bytes, part: bytes) -> None:
        self.first, self.part = first, part
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self.socket, self.socket.accept()[0] as connection:
            connection.sendall(self.first)
            while True:
                connection.sendall(self.part)
                time.sleep(0.1)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "part", "told"),
    [
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b"x", "fewer than 1,024 bytes a second for 1 s"),
        (HEAD, b"X-Header: y\r\n", "fewer than 1,024 bytes a second for 1 s"),
        (HEAD + b"Content-Length: 1000000000\r\n\r\n", bytes(2**16), "more than 4,.* bytes, the limit"),
        (HEAD + b"\r\n", bytes(400), "not complete after 3 s"),
    ],
    ids=["a byte now and then", "headers without end", "a file without end", "just fast enough for ever"],
)
def test_a_server_that_never_ends_is_given_up(
    known: KnownSet, cache: Path, monkeypatch: pytest.MonkeyPatch, first: bytes, part: bytes, told: str
) -> None:
    monkeypatch.setattr(fetch, "CONNECT_AND_READ_SECONDS", (1, 1))
    monkeypatch.setattr(fetch, "FILE_SECONDS", 3)
    if "not complete" in told:
        monkeypatch.setattr(fetch, "ROOM", 10**9)
    deaf = dataclasses.replace(known, addresses=(Slow(first, part).address,))
    began = time.monotonic()
    with pytest.raises(DataError, match=told):
        fetch.fetch(deaf)
    assert time.monotonic() - began < 60
    assert names_in(cache) == []


def test_a_set_without_a_debian_package_comes_from_its_addresses_alone(known, server, pages, cache):
    bare = dataclasses.replace(known, debian_package="", debian_folder=Path())
    with pytest.raises(DataError) as caught:
        fetch.fetch(bare)
    assert "Debian" not in str(caught.value)
    server.pages |= {f"/second/{name}": body for name, body in pages.items()}
    assert [file.path.parent for file in fetch.fetch(bare).values()] == [cache] * 4


def test_the_files_of_known_sets_are_told_apart():
    files = [file for one in KNOWN_SETS.values() for file in one.files]
    assert all(bool(file.sha256) != bool(file.packed) for file in files)
    sums = [file.sha256 or file.packed for file in files]
    sums += [one.archive.sha256 for one in KNOWN_SETS.values() if one.archive]
    assert len(set(sums)) == 4 + 4 + 4 + 4 + 6 + 2
    assert all(re.fullmatch("(sha256:)?[0-9a-f]{64}|md5:[0-9a-f]{32}", one) for one in sums)
