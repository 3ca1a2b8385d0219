"""A million run records: how long the leaderboard and the report take, and how much memory, as their number grows.

    python benchmarks/simulate_million.py [--counts 10000 100000 1000000] [--where FOLDER]

Writes records as a study leaves them (a thousand models, one run.json a run; predictions for the models that a report
shows), asks the real commands about them, each in a process of its own, and takes them away again. The figures go into
benchmarks/results/million.json. A million need 5 GB of disk and a million inodes twice over for some minutes.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from modelflow.analysis.selection import MAX_MODELS, MAX_RUNS
from modelflow.io.files import write_atomic
from modelflow.results import provenance
from modelflow.results.layout import HISTORY, PREDICTIONS, RUN, folders_asked, predictions_npz
from modelflow.results.records import Run

HERE = Path(__file__).parent
TEMPLATE = HERE / "results" / "card" / "generic_2" / RUN
MODELS, IMAGES, CLASSES, FIRST_SEED = 1000, 1000, 10, 42
COMMANDS = {"leaderboard": ("leaderboard", "--json"), "report": ("report",)}


def write_records(where: Path, count: int) -> None:
    """`count` runs of a thousand models, whose true accuracies lie between 0.7 and 0.9."""
    rng = np.random.default_rng(1)
    template = Run.model_validate_json(TEMPLATE.read_bytes()).model_copy(update={"files": {}})
    truths = rng.uniform(0.7, 0.9, MODELS)
    shown = set(np.argsort(-truths)[: 2 * MAX_MODELS].tolist())
    labels_N = rng.integers(0, CLASSES, IMAGES)
    seeds = count // MODELS
    for model, truth in enumerate(truths):
        name, numbers = f"model_{model:04d}", range(FIRST_SEED, FIRST_SEED + seeds)
        for seed, folder in zip(numbers, folders_asked(where, name, numbers), strict=True):
            folder.mkdir(parents=True)
            right_N = rng.random(IMAGES) < truth + rng.normal(0, 0.004)
            metrics = template.metrics.model_copy(update={"accuracy": float(right_N.mean()), "images": IMAGES})
            run = template.model_copy(update={"model_name": name, "seed": seed, "metrics": metrics})
            (folder / RUN).write_text(run.model_dump_json(indent=2) + "\n")
            if model in shown and seed < FIRST_SEED + MAX_RUNS // MAX_MODELS:
                _write_predictions(folder, labels_N, right_N, rng)


def _write_predictions(folder: Path, labels_N: Any, right_N: Any, rng: np.random.Generator) -> None:
    logits_NK = rng.normal(0, 1, (IMAGES, CLASSES))
    answers_N = np.where(right_N, labels_N, (labels_N + 1) % CLASSES)
    logits_NK[np.arange(IMAGES), answers_N] += 6
    (folder / PREDICTIONS).write_bytes(predictions_npz(logits_NK, labels_N))
    (folder / HISTORY).write_text("epoch,loss,val_loss,protocol\n1,0.9,0.8,card\n2,0.7,0.7,card\n")


def asked(where: Path, command: tuple[str, ...]) -> dict[str, float]:
    """Seconds and peak memory (MiB) of one command in a process of its own."""
    code = (
        "import resource, sys; from modelflow.cli import run_command; code = run_command(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, command[0], str(where), *command[1:]], capture_output=True, text=True, check=True
    )
    peak = int(done.stderr.split()[-1]) / 1024
    return {"seconds": round(time.monotonic() - begin, 1), "peak_mib": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--where", type=Path, default=Path(tempfile.gettempdir()), help="a disk with room")
    given = parser.parse_args()
    rows = []
    for count in given.counts:
        where = Path(tempfile.mkdtemp(prefix="million-", dir=given.where))
        try:
            begin = time.monotonic()
            write_records(where, count)
            row: dict[str, Any] = {"runs": count, "written_seconds": round(time.monotonic() - begin, 1)}
            for name, command in COMMANDS.items():
                row[name] = asked(where, command)
            row["report_mib"] = round((where / "report.html").stat().st_size / 2**20, 2)
            rows.append(row)
            print(row, flush=True)
        finally:
            shutil.rmtree(where)
    found = {"processor": provenance.processor(), "versions": provenance.versions(), "rows": rows}
    found["git_revision"] = provenance.git_revision()
    write_atomic(HERE / "results" / "million.json", json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
