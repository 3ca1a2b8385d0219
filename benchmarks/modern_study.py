"""A study's verdicts and its time by the compiled step and by autograd.

    python benchmarks/modern_study.py [examples/modern.yaml] [--seeds 5] [--out results]

Each by `modelflow run`, one after the other, as many runs side by side as the command sets. Prints both times and both
lists of verdicts. Finished runs below --out are kept, so a second call continues; its times are then not whole.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from modelflow import compare

HERE = Path(__file__).parent
ENGINES = {"compiled": os.environ, "autograd": os.environ | {"PYTHONPATH": str(HERE / "autograd_only")}}


def study(file: Path, folder: Path, seeds: int, environment: "os._Environ[str] | dict[str, str]") -> float:
    """Seconds of the whole study."""
    command = [sys.executable, "-m", "modelflow", "run", str(file), "--results", str(folder), "--seeds", str(seeds)]
    begin = time.perf_counter()
    subprocess.run(command, env=environment, check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=HERE.parent / "examples" / "modern.yaml")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("modern_study"))
    given = parser.parse_args()
    found = {}
    for engine, environment in ENGINES.items():
        seconds = study(given.file, given.out / engine, given.seeds, environment)
        comparison = compare(given.out / engine)
        accuracies = {entry.name: entry.accuracy for entry in comparison.entries}
        verdicts = {f"{one.first}, {one.second}": one.words for one in comparison.verdicts}
        found[engine] = {"seconds": round(seconds), "accuracy": accuracies, "verdicts": verdicts}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
