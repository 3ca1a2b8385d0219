"""Object files on disk: compiled once for a network, an update rule, this source, the compiler and the processor."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from modelflow.io.files import read_bounded
from modelflow.kernels.machine import Machine, compile_text, version
from modelflow.kernels.rules.rule import Rule

FORMAT = b"modelflow kernels 1\n"
MAX_BYTES = 1 << 26


def folder() -> Path | None:
    """Where they lie: $MODELFLOW_KERNELS, or modelflow/kernels in the user's cache folder; None for a user without."""
    if given := os.environ.get("MODELFLOW_KERNELS"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelflow" / "kernels"
    except RuntimeError:  # no home
        return None


def object_file(
    network: str,
    write: Callable[[], str],
    rule: Rule | None,
    machine: Machine,
    level: int,
    say: Callable[[str], None] | None,
) -> bytes:
    """The compiled functions of a network and a rule, whose code `write` gives, optimized to a `level` of LLVM's.

    `network` tells it from every other. A file that is damaged or cannot be written is compiled anew.
    """
    place = folder()
    path = None if place is None else place / f"{key(network, rule, machine)}.o"
    found = None if path is None else _read(path)
    if found is not None:
        return found
    if say is not None:
        say(f"compiling its {'training step' if rule else 'evaluation'}, once on this machine")
    compiled = compile_text(write(), machine, level)
    if path is not None:
        _write(path, compiled)
    return compiled


def key(network: str, rule: Rule | None, machine: Machine) -> str:
    """A name that differs for anything the compiled code depends on; how the network is written is not part of it."""
    text = repr((network, rule, machine, version(), _source()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _source() -> str:
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(here.rglob("*.py")):
        digest.update(f"{file.relative_to(here).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        content = read_bounded(path, MAX_BYTES)
    except (OSError, ValueError):
        return None
    head, digest, compiled = (
        content[: len(FORMAT)],
        content[len(FORMAT) : len(FORMAT) + 32],
        content[len(FORMAT) + 32 :],
    )
    return compiled if head == FORMAT and hashlib.sha256(compiled).digest() == digest else None


def _write(path: Path, compiled: bytes) -> None:
    """Written beside and moved, so that no half of it is ever read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(FORMAT + hashlib.sha256(compiled).digest() + compiled)
        os.replace(file.name, path)
    except OSError:
        return
