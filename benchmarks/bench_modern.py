"""The compiled step beside tuned PyTorch and JAX on three networks of today, in interleaved rounds on an idle machine.

    python benchmarks/bench_modern.py [--rounds 7] [--images 3200] [--settling 6400] [--models plain_bn] [--batches 16]

Each library trains in a process of its own (benchmarks/modern_ways.py). First every way of each trains `settling` images,
then one round tells each library's fastest way, and the rounds compare these. `--pairs` compares two runs at once instead:
two compiled runs on a core each with the faster of two PyTorch runs on a core each, or one after the other on both.
Writes modern.json, anew after each model and batch.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from modern_networks import LAYERS, STYLES
from peers.process import environment

from modelflow.results import provenance

HERE = Path(__file__).parent


class Library:
    """A process that trains one model by the ways of a library."""

    def __init__(self, name: str, model: str, batch: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, HERE / "modern_ways.py", name, model, str(batch)],
            env=environment_here(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ways: list[str] = json.loads(self._line())
        self.chosen = self.ways[0]

    def begin(self, images: int, way: str | None = None) -> None:
        assert self.process.stdin
        print(json.dumps([way or self.chosen, images]), file=self.process.stdin, flush=True)

    def ended(self) -> float:
        """The seconds of what was begun."""
        return float(self._line())

    def seconds(self, images: int, way: str | None = None) -> float:
        self.begin(images, way)
        return self.ended()

    def settle(self, settling: int, images: int) -> None:
        """Trains by each way, then chooses the fastest."""
        for way in self.ways:
            for _ in range(max(1, settling // images)):  # always as many images: JAX compiles for each number
                self.seconds(images, way)
        self.chosen = min(self.ways, key=lambda way: min(self.seconds(images, way) for _ in range(2)))

    def _line(self) -> str:
        assert self.process.stdout
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"{self.name}: its process ended")
        return line

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def environment_here() -> dict[str, str]:
    kept = environment(HERE)
    del kept["MODELFLOW_DATA_DIR"]  # the data is where the machine has it
    return kept


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def alone(model: str, batch: int, given: argparse.Namespace) -> dict[str, object]:
    """One run of each library, each round in another order."""
    libraries = [Library(name, model, batch) for name in given.libraries]
    try:
        for library in libraries:
            library.settle(given.settling, given.images)
        rounds: list[dict[str, float]] = []
        for i in range(given.rounds):
            order = libraries[i % len(libraries) :] + libraries[: i % len(libraries)]
            rounds.append({library.name: library.seconds(given.images) for library in order})
    finally:
        for library in libraries:
            library.close()
    row: dict[str, object] = {"model": model, "batch": batch, "images": given.images, "rounds": rounds}
    for library in libraries:
        micro = [1e6 * each[library.name] / given.images for each in rounds]
        said = f"{model:10s} batch {batch:3d} {library.name:9s} {spread(micro, 0)} us an image ({library.chosen})"
        row[library.name] = {"way": library.chosen, "us": statistics.median(micro)}
        if library.name != "modelflow":
            said += f": {spread([each[library.name] / each['modelflow'] for each in rounds])}x"
        print(said, flush=True)
    return row


def together(libraries: list[Library], images: int) -> float:
    """Wall seconds of both at once."""
    begin = time.perf_counter()
    for library in libraries:
        library.begin(images)
    for library in libraries:
        library.ended()
    return time.perf_counter() - begin


def pairs(model: str, batch: int, given: argparse.Namespace) -> dict[str, object]:
    """Two runs at once."""
    ours, theirs = ([Library(name, model, batch) for _ in range(2)] for name in ("modelflow", "torch"))
    try:
        for library in (*ours, *theirs):
            library.settle(given.settling, given.images)
        layouts = [way.partition(", ")[2] for way in theirs[0].ways if way.startswith("1 ")]
        rounds = []
        for _ in range(given.rounds):
            each = {"modelflow": together(ours, given.images)}
            for layout in layouts:
                for library in theirs:
                    library.chosen = f"1 thread, {layout}"
                each[f"torch, at once, {layout}"] = together(theirs, given.images)
                each[f"torch, in turn, {layout}"] = 2 * theirs[0].seconds(given.images, f"2 threads, {layout}")
            rounds.append(each)
    finally:
        for library in (*ours, *theirs):
            library.close()
    ratios = [min(time for way, time in each.items() if way != "modelflow") / each["modelflow"] for each in rounds]
    medians = {way: statistics.median(each[way] for each in rounds) for way in rounds[0]}
    fastest = min((way for way in medians if way != "modelflow"), key=medians.__getitem__)
    print(f"{model:10s} batch {batch:3d} two runs: {spread(ratios)}x of {fastest}", flush=True)
    return {"model": model, "batch": batch, "images": given.images, "two_runs": rounds, "fastest": fastest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--settling", type=int, default=6400)
    parser.add_argument("--models", nargs="+", choices=[*LAYERS, *STYLES], default=list(LAYERS))
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--libraries", nargs="+", default=["modelflow", "torch", "jax"])
    parser.add_argument("--pairs", action="store_true", help="two runs at once")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "modern.json")
    given = parser.parse_args()
    rows = []
    for model in given.models:
        for batch in given.batches:
            rows.append((pairs if given.pairs else alone)(model, batch, given))
            given.out.write_text(
                json.dumps(
                    {"processor": provenance.processor(), "versions": provenance.versions(), "rows": rows}, indent=1
                )
                + "\n"
            )


if __name__ == "__main__":
    main()
