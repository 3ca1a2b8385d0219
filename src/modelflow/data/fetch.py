"""Where the files of a known data set come from: a folder on this machine, else its homes on the web, else Debian.

A file is used where it is found. A file that is fetched enters the store whole and checked, or not at all. A file
that is found and is bad stops everything: it is neither used nor passed over.
"""

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from modelflow.data.archives import unpack
from modelflow.data.idx import IdxFile, read_idx, read_plain
from modelflow.data.known_sets import Archive, KnownFile, KnownSet
from modelflow.errors import DataError
from modelflow.io.process import without_widgets

with without_widgets():
    import pooch

DATA_DIR_VARIABLE = "MODELFLOW_DATA_DIR"
CONNECT_AND_READ_SECONDS = (10, 30)
MIN_RATE = 1024  # bytes a second, over the seconds of a read: slower is given up, headers too
FILE_SECONDS = 1800
ARCHIVE_RATE = 1 << 16  # bytes a second at least, of a whole archive
ROOM = 4096  # bytes that a file may have beyond what it holds: its header, gzip's
DEBIAN_SECONDS = 600
APT_OPTIONS = ("-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A folder to look in, and how to fix a bad file there."""

    folder: Path
    fix: str


def find(known: KnownSet, data_dir: str | Path | None = None) -> dict[str, IdxFile]:
    """The files that are on this machine, by role, each checked; those that are nowhere are left out."""
    return {file.role: _checked(known, file, path, fix) for file, path, fix in _on_this_machine(known, data_dir)}


def paths(known: KnownSet, data_dir: str | Path | None = None) -> list[Path]:
    """Where the files are on this machine, unread; those that are nowhere are left out."""
    return [path for _, path, _ in _on_this_machine(known, data_dir)]


def _on_this_machine(known: KnownSet, data_dir: str | Path | None) -> Iterator[tuple[KnownFile, Path, str]]:
    """Each file that is there, where, and how to fix it."""
    places = _places(known, data_dir)
    for file in known.files:
        there = ((path, place.fix) for place in places if (path := _path_in(place.folder, file)))
        if (first := next(there, None)) is not None:
            yield file, *first


def find_all(known: KnownSet, data_dir: str | Path | None = None) -> dict[str, IdxFile]:
    """All files, without fetching any."""
    found = find(known, data_dir)
    if missing := _missing(known, found):
        raise DataError(_not_found(known, missing, _looked_in(known, data_dir), f"Run `{_command(known, data_dir)}`."))
    return found


def fetch(known: KnownSet, data_dir: str | Path | None = None) -> dict[str, IdxFile]:
    """All files, by role; those that are nowhere on this machine are brought into `data_dir`, else into the cache."""
    found = find(known, data_dir)
    if missing := _missing(known, found):
        store = named_folder(data_dir) or cache_folder(known)
        if store is None:
            fix = f"There is no home folder to store them in. Give a folder with --data-dir or {DATA_DIR_VARIABLE}."
            raise DataError(_not_found(known, missing, _looked_in(known, data_dir), fix))
        failures = _bring(known, missing, store)
        if still := [file for file in missing if not _path_in(store, file)]:
            fix = (
                "Check the network connection and try again. Or put the files into a folder and give "
                f"--data-dir FOLDER, or set {DATA_DIR_VARIABLE}=FOLDER."
            )
            raise DataError(_not_found(known, still, _looked_in(known, data_dir) + failures, fix))
        found |= find(known, data_dir)
    return found


def cache_folder(known: KnownSet) -> Path | None:
    """Where fetched files are kept; None for a user without a home."""
    try:
        return Path(pooch.os_cache("modelflow")) / known.name
    except RuntimeError:
        return None


def named_folder(data_dir: str | Path | None) -> Path | None:
    """The folder of data that was named, by an argument or the environment. Raises `DataError` for a file."""
    given = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    if not given:
        return None
    folder = Path(os.path.expanduser(given))
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DataError(f"{folder}: is a file, expected a folder. Give a folder as --data-dir or {DATA_DIR_VARIABLE}.")
    return folder


def _places(known: KnownSet, data_dir: str | Path | None) -> list[Place]:
    given, cache = named_folder(data_dir), cache_folder(known)
    reinstall = f"Reinstall the Debian package {known.debian_package}, or give a folder of sound files with --data-dir."
    delete = f"Delete it and run `{_command(known, data_dir)}`."
    return [
        *([Place(given, delete)] if given else []),
        *([Place(cache, delete)] if cache else []),
        *([Place(known.debian_folder, reinstall)] if known.debian_package else []),
    ]


def _command(known: KnownSet, data_dir: str | Path | None) -> str:
    return f"modelflow data fetch {known.name}" + (f" --data-dir {data_dir}" if data_dir else "")


def _path_in(folder: Path, file: KnownFile) -> Path | None:
    names = (file.stored,) if file.packed else (file.name, f"{file.name}.gz")
    return next((folder / name for name in names if os.path.exists(folder / name)), None)


def _missing(known: KnownSet, found: dict[str, IdxFile]) -> list[KnownFile]:
    return [file for file in known.files if file.role not in found]


def _checked(known: KnownSet, file: KnownFile, path: Path, fix: str, where: str | None = None) -> IdxFile:
    try:
        if file.packed:
            _check_packed(path, file)
        idx = read_idx(path, (len(file.sizes),), file.sizes) if file.has_header else read_plain(path, file.sizes)
        if file.role.endswith("labels"):
            _check_labels(idx, range(known.labels_from, known.labels_from + len(known.class_names)))
        if file.sha256 and idx.sha256 != file.sha256:
            raise ValueError(f"its bytes have changed: SHA-256 {idx.sha256}, expected {file.sha256}")
    except ValueError as reason:
        raise DataError(f"{where or path}: {reason}. {fix}") from None
    return idx


def _check_packed(path: Path, file: KnownFile) -> None:
    """Raises `ValueError` unless a .gz has the bytes that its published checksum is of."""
    if not os.path.isfile(path):
        raise ValueError("is not a file")
    if path.stat().st_size > file.size + ROOM:
        raise ValueError(f"is too large, expected at most {file.size + ROOM:,} bytes")
    _check_sum(path, file.packed)


def _check_sum(path: Path, expected: str) -> None:
    """Raises `ValueError` unless the file has this checksum, such as "md5:…"."""
    method, _, digest = expected.partition(":")
    if (found := pooch.file_hash(str(path), method)) != digest:
        raise ValueError(f"its bytes have changed: {method} {found}, expected {digest}")


def _check_labels(labels: IdxFile, known: range) -> None:
    outside = np.flatnonzero((labels.values < known.start) | (labels.values >= known.stop))
    if len(outside):
        raise ValueError(
            f"has labels out of range: label {labels.values[outside[0]]} at image {outside[0]}"
            f" ({len(outside)} such), expected {known.start} to {known.stop - 1}"
        )


def _looked_in(known: KnownSet, data_dir: str | Path | None) -> list[str]:
    return [f"{place.folder}: not there" for place in _places(known, data_dir)]


def _not_found(known: KnownSet, missing: list[KnownFile], tried: list[str], fix: str) -> str:
    names = ", ".join(file.name for file in missing)
    return "\n".join([f"{known.name}: could not get {names}. Tried:", *(f"  - {line}" for line in tried), fix])


def _bring(known: KnownSet, files: list[KnownFile], store: Path) -> list[str]:
    """Try one way after the other until all files are in the store; why each way failed."""
    failures = []
    with _scratch_folder(store) as scratch:
        for where, way in _ways(known):
            missing = [file for file in files if not _path_in(store, file)]
            if not missing:
                break
            try:
                for file, path in way(missing, scratch):
                    read = _checked(known, file, path, "It was not kept.", f"{where}/{path.name}")
                    _enter(file, read, scratch, store)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                failures.append(_line(where, error))
                log.info("%s", failures[-1])
    return failures


Way = Callable[[list[KnownFile], Path], Iterator[tuple[KnownFile, Path]]]


def _ways(known: KnownSet) -> Iterator[tuple[str, Way]]:
    for address in known.addresses:
        if known.archive is None:
            yield address, partial(_download, address)
        else:
            yield f"{address}/{known.archive.name}", partial(_download_archive, known.archive, address)
    if known.debian_package:
        yield f"Debian package {known.debian_package}", partial(_unpack_debian_package, known)


def _line(where: str, error: Exception) -> str:
    text = " ".join(str(error).split()).rpartition("(Caused by ")[2]
    return text if text.startswith(where) else f"{where}: {text}"


@contextlib.contextmanager
def _scratch_folder(store: Path) -> Iterator[Path]:
    """A folder inside the store, so that a finished file moves into place in one step; gone afterwards."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=store, prefix=".fetching-")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{store}: not writable ({error}), expected a folder for the data. Give another folder with --data-dir."
        ) from None
    with scratch as folder:
        yield Path(folder)


def _enter(file: KnownFile, read: IdxFile, scratch: Path, store: Path) -> None:
    content = read.path.read_bytes() if file.packed else read.raw.data
    ready = scratch / "ready"
    with ready.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(ready, store / file.stored)


def _download(address: str, files: list[KnownFile], scratch: Path) -> Iterator[tuple[KnownFile, Path]]:
    for file in files:
        path = scratch / f"{file.name}.gz"
        _receive(f"{address}/{path.name}", path, file.size + ROOM, FILE_SECONDS)
        yield file, path


def _download_archive(
    archive: Archive, address: str, files: list[KnownFile], scratch: Path
) -> Iterator[tuple[KnownFile, Path]]:
    """Of the whole archive, which is checked before anything in it is looked at, the files that are asked for."""
    path = scratch / archive.name
    _receive(f"{address}/{archive.name}", path, archive.size, max(FILE_SECONDS, archive.size / ARCHIVE_RATE))
    _check_sum(path, f"sha256:{archive.sha256}")
    members = {f"{archive.folder}/{file.stored}": file for file in files}
    wanted = {name: (scratch / file.stored, file.size + ROOM) for name, file in members.items()}
    for name in unpack(path, wanted):
        yield members[name], wanted[name][0]


def _receive(url: str, path: Path, limit: int, seconds: float) -> None:
    """Writes what lies at the address, of at most `limit` bytes, to the path."""
    log.info("fetching %s", url)
    with path.open("wb") as stream:
        _get(url, _Arriving(stream, limit), seconds)


class _Arriving:
    """A file that is being fetched, of at most `limit` bytes; whoever writes to it after `given_up` gets an error."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.count, self.given_up = 0, False
        self._stream, self._limit = stream, limit

    def write(self, part: bytes) -> None:
        self.count += len(part)
        if self.given_up or self.count > self._limit:
            raise ValueError(f"more than {self._limit:,} bytes, the limit of this file")
        self._stream.write(part)

    def flush(self) -> None:
        """Of pooch's, after each kilobyte: the file is flushed when it is closed."""


def _get(url: str, arriving: _Arriving, seconds: float) -> None:
    """Fetches a file within so many seconds, whatever the server does: a byte now and then, headers without end.

    Raises `TimeoutError` for one that comes too slowly, else as pooch does. What is given up may go on waiting in its
    thread, for the server alone.
    """
    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=CONNECT_AND_READ_SECONDS)
    outcome: Future[None] = Future()
    threading.Thread(target=_resolve, args=(outcome, partial(get, url, arriving, None)), daemon=True).start()
    began, window = time.monotonic(), CONNECT_AND_READ_SECONDS[1]
    try:
        while True:
            before = arriving.count
            if wait([outcome], timeout=window).done:
                return outcome.result()
            if arriving.count - before < MIN_RATE * window:
                raise TimeoutError(f"{url}: fewer than {MIN_RATE:,} bytes a second for {window} s")
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{url}: not complete after {seconds:,.0f} s")
    finally:
        arriving.given_up = True


def _resolve(outcome: "Future[None]", do: Callable[[], None]) -> None:
    try:
        do()
        outcome.set_result(None)
    except BaseException as error:
        outcome.set_exception(error)


def _unpack_debian_package(known: KnownSet, files: list[KnownFile], scratch: Path) -> Iterator[tuple[KnownFile, Path]]:
    """Fetch and unpack the package, without installing it and without root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise ValueError("needs apt-get and dpkg-deb, which are not installed")
    log.info("fetching the Debian package %s", known.debian_package)
    _download_debian_package(known.debian_package, scratch)
    package, root = next(scratch.glob("*.deb")), scratch / "root"
    _run("dpkg-deb", "--extract", str(package), str(root), cwd=scratch)
    for file in files:
        path = _path_in(root / known.debian_folder.relative_to("/"), file)
        if path is None:
            raise ValueError(f"{package.name} has no {file.name}")
        yield file, path


def _download_debian_package(package: str, scratch: Path) -> None:
    """With the machine's package lists, or, where they are empty or stale, with lists of our own."""
    try:
        _run("apt-get", *APT_OPTIONS, "download", package, cwd=scratch)
    except (ValueError, subprocess.SubprocessError):
        lists, cache = scratch / "lists", scratch / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        own = ("-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}")
        _run("apt-get", *APT_OPTIONS, *own, "update", cwd=scratch)
        _run("apt-get", *APT_OPTIONS, *own, "download", package, cwd=scratch)


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, timeout=DEBIAN_SECONDS
    )
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ValueError(f"{command[0]} failed: {last}")
