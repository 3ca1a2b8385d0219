"""Kills, faults, small disks and a long soak: `make torture`, in a length one can choose.

make torture                                   make torture KILLS=50 FAULTS=20 STUDIES=10
python tests/torture/run.py --parts kills soak                                # the others' figures stay

The figures go into benchmarks/results/torture.json. Exit code 1, and the folder or the fault named, when a promise of
docs/reliability.md does not hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import faults
import kills
import short_run
import small_disk
import soak

from modelflow.io.files import write_atomic
from modelflow.results import provenance

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "torture.json"
PARTS = ("kills", "faults", "small-disks", "soak")
DISKS = range(40, 400, 40)  # KiB: from too small for the lock to large enough for all but the last files


def main() -> int:
    """Exit code 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="SIGKILLs, beside other signals (default 500)")
    parser.add_argument("--faults", type=int, help="failing system calls, drawn from all (default: each of them)")
    parser.add_argument("--studies", type=int, default=300, help="one after the other in one process (default 300)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is drawn (default: the time)")
    parser.add_argument("--parts", nargs="+", metavar="PART", default=PARTS, choices=PARTS, help=", ".join(PARTS))
    given = parser.parse_args()
    short_run.prepare()
    parts: dict[str, Callable[[], Any]] = {
        "kills": lambda: kills.killed(given.kills, given.seed, _told("kills", given.kills)),
        "faults": lambda: faults.failed(given.faults, given.seed, lambda done, of: _told("faults", of)(done)),
        "small-disks": _small_disks,
        "soak": lambda: soak.soaked(given.studies, _told("studies", given.studies + soak.WARM_UP)),
    }
    broken = False
    for name in given.parts:
        begin = time.monotonic()
        try:
            found = dict(parts[name]())
        except (AssertionError, TimeoutError) as error:
            broken, found = True, {"does not hold": str(error)}
        found |= {"seconds": round(time.monotonic() - begin), "seed": given.seed}
        print(f"\r{name}: {found}")
        _keep(name, found | {"processor": provenance.processor(), "versions": provenance.versions()})
    return int(broken)


def _keep(name: str, found: dict[str, Any]) -> None:
    """In torture.json, where the other parts' figures stay."""
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found["git_revision"] = provenance.git_revision()
    write_atomic(RESULTS, json.dumps(stored | {name: found}, indent=2) + "\n")


@cache
def _told(what: str, of: int) -> Callable[[int], None]:
    begin = time.monotonic()

    def tell(done: int) -> None:
        left = (time.monotonic() - begin) / max(1, done) * (of - done)
        print(f"\r{what}: {done} of {of}, {left:.0f} s left   ", end="", flush=True)

    return tell


def _small_disks() -> dict[str, Any]:
    if not small_disk.available():
        return {"not tried": "only root may mount a small disk"}
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        run = short_run.ShortRun.warmed("compiled step", Path(scratch))
        expected = run.finish(Path(scratch) / "alone")
        small_disk.read_only(run, expected)
        full = sum("space" in small_disk.filled(run, expected, kib) for kib in DISKS)
    return {"disks": len(DISKS), "of these too small": full, "read-only": 1}


if __name__ == "__main__":
    sys.exit(main())
