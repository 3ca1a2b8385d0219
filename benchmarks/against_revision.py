"""Throughput beside an earlier revision: whole trainings by `ModelFlow` from both sources, in turn, on one machine.

    python benchmarks/against_revision.py e960d16 --rounds 9 --models cnn2_3 generic_2 generic_1

Each source is imported by a process of its own; the other one waits meanwhile. A row says how long today's training took of
the earlier one's, in per cent; above 100 it became slower. Writes against_revision.json into the folder of results.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from peers.process import SLOWING
from promises.measure import summary

from modelflow.io.files import write_atomic
from modelflow.networks.resolve import CARD
from modelflow.results import provenance

HERE = Path(__file__).parent
ROOT = HERE.parent
PRESETS = ROOT / "src/modelflow/networks/presets"
BATCH = 16


class Source:
    """A process that imports the package from one folder, and trains so many epochs when asked."""

    def __init__(self, source: Path, epochs: int) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in SLOWING}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "promises" / "trainer.py"), str(epochs), str(BATCH)],
            env=kept | {"PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, model: str) -> float:
        """Of one training of this model."""
        assert self.process.stdin
        assert self.process.stdout
        print(PRESETS / f"{model}.json", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def unpacked(revision: str, folder: Path) -> Path:
    """The package as it was."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision, "src"], stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the earlier one")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", nargs="+", choices=CARD, default=["cnn2_3", "generic_2", "generic_1"])
    parser.add_argument("--epochs", type=int, default=10, help="of a training")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        places = {"then": unpacked(given.revision, Path(folder)), "now": ROOT / "src"}
        sources = {name: Source(place, given.epochs) for name, place in places.items()}
        for model in given.models:
            shares = []
            for number in range(given.rounds + 1):
                order = sorted(sources, reverse=bool(number % 2))
                taken = {name: sources[name].seconds(model) for name in order}
                if number:  # the first one compiles and warms up
                    shares.append(100 * taken["now"] / taken["then"])
            row = {"model": model, "batch": BATCH, "epochs": given.epochs, "percent of then": summary(shares)}
            rows.append(row)
            print(f"{time.strftime('%H:%M:%S')} {row}", flush=True)
        for source in sources.values():
            source.close()
    found = {"then": given.revision, "now": provenance.git_revision(), "rows": rows}
    found |= {"processor": provenance.processor(), "versions": provenance.versions()}
    write_atomic(given.out / "against_revision.json", json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
