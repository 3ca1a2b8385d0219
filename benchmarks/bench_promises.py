"""What ModelFlow promises of itself, measured on Fashion-MNIST: medians with their ranges, beside reach and aim.

    python benchmarks/bench_promises.py [--rounds 7] [--parts overhead memory ...] [--output benchmarks/results]

Writes promises.json and promises.md into the output folder as each part ends; parts measured before and not now stay.
`--models` and `--images` measure less, for a short try. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from promises import processes, training
from promises.measure import EPOCH, Row, Scope, tell

from modelflow.io.files import write_atomic
from modelflow.io.process import cores
from modelflow.kernels.machine import host
from modelflow.networks.resolve import CARD
from modelflow.results import provenance


@dataclass(frozen=True)
class Promise:
    """What is promised: each of `judged`, columns of the rows, at most `reach`, better `aim`; or at least."""

    text: str
    measure: Callable[[Scope], Iterator[Row]]
    judged: tuple[str, ...] = ()
    reach: float | None = None
    aim: float | None = None
    at_least: bool = False


PROMISES = {
    "overhead": Promise(
        "training adds to its bare step (progress, states, evaluation of the images held out), %: "
        "a run alone, by two threads; runs side by side, by one each",
        training.overhead,
        ("added_percent",),
        3,
        1,
    ),
    "steady": Promise(
        "a run's tenth epoch against its second, times as long", training.steady, ("tenth_of_second",), 1.05, 1.02
    ),
    "side_by_side": Promise(
        "two runs on two cores, times as fast as one after the other",
        training.side_by_side,
        ("speedup",),
        1.9,
        1.97,
        True,
    ),
    "startup": Promise("a command that trains nothing, s", processes.startup, ("seconds",), 0.3, 0.15),
    "load": Promise("Fashion-MNIST, cached, to loaders, s", processes.load, ("seconds",), 0.5, 0.2),
    "artifacts": Promise(
        "pictures and tables of a run after its last step, s",
        processes.artifacts,
        ("fresh_seconds", "after_a_range_test_seconds", "warm_seconds"),
        3,
        1,
    ),
    "memory": Promise("peak resident memory of a training process, MiB", processes.memory, ("peak_mib",), 1024, 512),
    "linearity": Promise("costs grow in proportion", training.linearity),
    "compile": Promise("compiling once, s", processes.compiling, ("first_seconds",), 15, 15),
    "evaluation_share": Promise(
        "evaluating 10,000 images, of an epoch of 60,000",
        training.evaluation_share,
        ("after_each_epoch_share", "at_the_end_share"),
        0.2,
        0.2,
    ),
}


def main() -> int:
    """Measures the parts asked for, writing each as it ends; 1 when a part failed, which is told of and left out."""
    asked = _arguments()
    asked.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # as a run of a study
    failed = False
    for part in asked.parts:
        tell(f"{part}: {PROMISES[part].text}")
        try:
            with tempfile.TemporaryDirectory(dir=asked.output) as folder:
                scope = Scope(asked.rounds, tuple(asked.models), asked.images, Path(folder).resolve())
                _write(asked.output, part, _measured(part, scope))
        except Exception:  # hours of other parts must not be lost
            tell(f"{part} FAILED\n{traceback.format_exc()}")
            failed = True
    tell(f"Results: {asked.output / 'promises.md'}")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--parts", nargs="+", choices=list(PROMISES), default=list(PROMISES), metavar="PART")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--models", nargs="+", choices=list(CARD), default=list(CARD), metavar="MODEL")
    parser.add_argument("--images", type=int, default=EPOCH, help="train on at most so many")
    return parser.parse_args()


def _measured(part: str, scope: Scope) -> dict[str, Any]:
    before, began = os.getloadavg()[0], time.perf_counter()
    rows = []
    for row in PROMISES[part].measure(scope):
        judged = _verdict(row, PROMISES[part])
        rows.append(row | ({"verdict": judged} if judged else {}))
        tell("  " + ", ".join(f"{name} {_text(value)}" for name, value in rows[-1].items()))
    return {
        "promised": PROMISES[part].text,
        "rows": rows,
        "rounds": scope.rounds,
        "models": scope.models,
        "images": scope.images,
        "versions": provenance.versions(),
        "git_revision": provenance.git_revision(),
        "processor": f"{provenance.processor()} ({host().cpu})",
        "cores": cores(),
        "load_average": [before, os.getloadavg()[0]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - began),
    }


def _verdict(row: Row, promise: Promise) -> str:
    """The worst that any judged column of the row comes to."""
    values = [row[name]["median"] for name in promise.judged if name in row]
    if not values or promise.reach is None or promise.aim is None:
        return ""
    sign = -1 if promise.at_least else 1
    worst = max(sign * value for value in values)
    if worst <= sign * promise.aim:
        return "aim"
    return "reach" if worst <= sign * promise.reach else "missed"


def _write(folder: Path, part: str, measured: dict[str, Any]) -> None:
    path = folder / "promises.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    found[part] = measured
    write_atomic(path, json.dumps(found, indent=1) + "\n")
    found = {name: {"promised": PROMISES[name].text} | found[name] for name in PROMISES if name in found}
    text = [_overview(found), *(_section(name, measured) for name, measured in found.items())]
    write_atomic(folder / "promises.md", "\n".join(text) + "\n")


def _overview(found: dict[str, dict[str, Any]]) -> str:
    """A line for each part: how many rows come up to the aim, within reach, or miss it."""
    lines = ["# What is promised, and what was measured\n"]
    lines += ["| part | promised | reach | aim | rows: aim | reach | missed |", "| --- " * 7 + "|"]
    for part, promise in PROMISES.items():
        if part in found and promise.judged:
            verdicts = [row.get("verdict") for row in found[part]["rows"]]
            counts = " | ".join(str(verdicts.count(verdict)) for verdict in ("aim", "reach", "missed"))
            lines.append(f"| {part} | {found[part]['promised']} | {promise.reach:g} | {promise.aim:g} | {counts} |")
    return "\n".join(lines)


def _section(part: str, measured: dict[str, Any]) -> str:
    promise, rows = PROMISES[part], measured["rows"]
    asked = f" (reach {promise.reach:g}, aim {promise.aim:g})" if promise.reach and promise.aim else ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    lines += [[_text(row[name]) if name in row else "" for name in names] for row in rows]
    loads = " to ".join(f"{load:.1f}" for load in measured["load_average"])
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    return "\n".join(
        [
            f"\n## {part}: {measured['promised']}{asked}\n",
            *(f"| {' | '.join(line)} |" for line in lines),
            f"\nMedian [lowest, highest] of n. {measured['date']}, {measured['seconds']} s, load {loads}, "
            f"{measured['processor']}, {measured['cores']} cores, at most {measured['images']:,} images; {versions}, "
            f"revision {measured['git_revision']}.",
        ]
    )


def _text(value: Any) -> str:
    if isinstance(value, dict) and "median" in value:
        return f"{_number(value['median'])} [{_number(value['low'])}, {_number(value['high'])}] of {value['n']}"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(each)}" for name, each in value.items())
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
