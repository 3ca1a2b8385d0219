"""Fuzzes every parser of what comes from elsewhere, then changes single bytes of a stored run.

make fuzz                                  make fuzz COUNT=2000 TARGETS='idx where'    # the others' figures stay

100,000 inputs each; with TARGETS the stored run is left alone. What is found goes, minimised, into tests/corpus/TARGET,
which the tests replay; the figures go into benchmarks/results/fuzz.json and fuzz.md. Exit code 1 for any find.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from changed_bytes import check
from child import CORPUS
from targets import TARGETS

CHANGES = 20_000
MAX_PROCESSES = 20  # after so many that an input ended, the fault is plain
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # each input is a file for a moment
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
SECONDS_BETWEEN_LINES = 1.0
COLUMNS = ("inputs", "accepted", "refused", "slowest_ms", "peak_mib", "finds", "seconds")


def main() -> int:
    """Exit code 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--count", type=int, default=100_000, help="inputs a target (default 100000)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = False
    for name in given.targets or TARGETS:
        row = fuzzed(name, given.count, given.seed)
        print(f"\r{name}: {_in_words(row)}")
        _write(targets={name: row})
        found |= bool(row["finds"])
    if not given.targets:
        changes = check(CHANGES, IN_MEMORY)
        print(f"single bytes changed in a stored run: {changes}")
        _write(changed_bytes=changes)
        found |= bool(changes["unnoticed"])
    return int(found)


def fuzzed(name: str, count: int, seed: int) -> dict[str, Any]:
    """The figures of one target. A process that an input ends is followed by another, with another seed."""
    start, states = time.monotonic(), []
    finds: dict[str, str] = {}
    while (done := sum(state["inputs"] for state in states)) < count and len(states) < MAX_PROCESSES:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            code = _child(name, count - done, seed + len(states), Path(folder), done, count)
            state = _state(Path(folder))
            ended = [path.name for path in Path(folder).glob("engine-*")] if code else []
            if code and not ended:
                raise RuntimeError(f"{name}: the process ended with {code}; see its output above")
            finds |= state["finds"] | {f"engine: {file.split('-')[1]} {len(states)}": file for file in ended}
            _keep(name, Path(folder), [*state["finds"].values(), *ended])
        states.append(state | {"inputs": state["inputs"] + len(ended)})
    total = {key: sum(state[key] for state in states) for key in ("inputs", "accepted", "refused")}
    most = {key: round(max(state[key] for state in states), 1) for key in ("slowest_ms", "peak_mib")}
    return total | most | {"finds": finds, "seconds": round(time.monotonic() - start, 1)}


def _child(name: str, count: int, seed: int, folder: Path, done: int, of: int) -> int:
    command = [sys.executable, str(Path(__file__).with_name("child.py")), name, str(count), str(seed), str(folder)]
    start = time.monotonic()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LINES)
            made = _state(folder)["inputs"]
            left = (time.monotonic() - start) / max(1, made) * (count - made)
            print(f"\r{name}: {done + made:,} of {of:,}, {left:.0f} s left   ", end="", flush=True)
    if process.returncode:
        print((folder / "log").read_text("utf-8", "replace")[-2000:])
    return process.returncode


def _state(folder: Path) -> dict[str, Any]:
    empty = {"inputs": 0, "accepted": 0, "refused": 0, "slowest_ms": 0.0, "peak_mib": 0.0, "finds": {}}
    try:
        return empty | json.loads((folder / "state.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # not there yet, or being written
        return empty


def _keep(name: str, folder: Path, files: list[str]) -> None:
    for file in files:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / file, CORPUS / name / file)


def _in_words(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {row[name]:,}" if name != "finds" else f"finds {len(row[name])}" for name in COLUMNS)


def _write(targets: dict[str, Any] | None = None, changed_bytes: dict[str, Any] | None = None) -> None:
    """Takes these figures into fuzz.json and fuzz.md, where the others stay."""
    before = RESULTS / "fuzz.json"
    stored = json.loads(before.read_text()) if before.exists() else {"targets": {}, "changed_bytes": {}}
    rows, changes = stored["targets"] | (targets or {}), changed_bytes or stored["changed_bytes"]
    rows = {name: rows[name] for name in TARGETS if name in rows}
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    content = {"machine": machine, "python": platform.python_version(), "targets": rows, "changed_bytes": changes}
    (RESULTS / "fuzz.json").write_text(json.dumps(content, indent=2) + "\n")
    lines = ["| target | inputs | accepted | refused | slowest, ms | peak, MiB | finds | seconds |"]
    lines += ["| --- |" + " ---: |" * len(COLUMNS)]
    for name, row in rows.items():
        cells = [f"{len(row[key]) if key == 'finds' else row[key]:,}" for key in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if changes:
        told = ", ".join(f"{count:,} of {file}" for file, count in changes["files"].items())
        lines += ["", f"Single bytes changed: {changes['changes']:,} ({told}); unnoticed: {changes['unnoticed']}."]
    (RESULTS / "fuzz.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
