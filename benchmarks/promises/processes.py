"""What is measured of whole processes: start, loading, pictures and tables, memory, compiling."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promises.measure import Row, Scope, in_child, interleaved, summary, tell, timed

from modelflow.data.datasets import load_dataset

MODELFLOW = Path(sys.executable).with_name("modelflow")
LARGE = ("cnn2_5", "generic_2", "generic_3")


def startup(scope: Scope) -> Iterator[Row]:
    """Commands that train nothing, as whole processes, beside a Python that does nothing."""
    study, results = scope.folder / "study.json", scope.folder / "startup"
    study.write_text(json.dumps({"models": list(scope.models), "epochs": 1}))
    tell("  a study of one epoch, whose leaderboard is shown")
    _quietly(MODELFLOW, "run", study, "--protocol", "card", "--results", results)()
    commands: dict[str, tuple[Any, ...]] = {
        "modelflow --help": (MODELFLOW, "--help"),
        "modelflow models": (MODELFLOW, "models"),
        "modelflow trace generic_2": (MODELFLOW, "trace", "generic_2"),
        "modelflow trace generic_2 --json": (MODELFLOW, "trace", "generic_2", "--json"),
        "modelflow leaderboard RESULTS": (MODELFLOW, "leaderboard", results),
    }
    contenders = {name: timed(_quietly(*command)) for name, command in commands.items()}
    nothing = timed(_quietly(sys.executable, "-c", "pass"))
    taken = interleaved(max(scope.rounds, 7), contenders | {"python -c pass": nothing})
    python = taken.pop("python -c pass")
    for name, seconds in taken.items():
        yield {"command": name, "seconds": summary(seconds), "python_c_pass_seconds": summary(python)}


def _quietly(*command: Any) -> Callable[[], Any]:
    return lambda: subprocess.run([*map(str, command)], check=True, capture_output=True)


def load(scope: Scope) -> Iterator[Row]:
    """Fashion-MNIST from the cached files to normalised tensors in loaders."""
    taken = interleaved(scope.rounds, {"load": timed(lambda: load_dataset("fashion-mnist").loaders())})["load"]
    yield {"where": "torch imported before", "seconds": summary(taken)}
    parts: list[dict[str, float]] = []
    whole = interleaved(scope.rounds, {"process": timed(lambda: parts.append(in_child("loading")))})["process"]
    yield {
        "where": "fresh process",
        "seconds": summary([part["load"] for part in parts[1:]]),
        "import_seconds": summary([part["import"] for part in parts[1:]]),
        "whole_process_seconds": summary(whole),
    }


def artifacts(scope: Scope) -> Iterator[Row]:
    """All that a run does after its last step: in a fresh process, as `modelflow train` does it, and once more."""
    for model in scope.models:
        tell(f"  {model}")
        plain = [in_child("artifacts", model, scope.folder, "plain") for _ in range(scope.few)]
        searched = [in_child("artifacts", model, scope.folder, "searched") for _ in range(scope.few)]
        warm = [found["warm"] for found in plain + searched]
        yield {
            "model": model,
            "fresh_seconds": summary([found["fresh"]["total"] for found in plain]),
            "after_a_range_test_seconds": summary([found["fresh"]["total"] for found in searched]),
            "warm_seconds": summary([part["total"] for part in warm]),
            "of_it_insides": summary([part["insides"] for part in warm]),
            "of_it_evaluation": summary([part["evaluation"] for part in warm]),
            "of_it_checkpoint": summary([part["checkpoint"] for part in warm]),
            "range_test_fresh_seconds": summary([found["range_test"]["fresh"] for found in searched]),
            "range_test_warm_seconds": summary([found["range_test"]["warm"] for found in searched]),
        }


def memory(scope: Scope) -> Iterator[Row]:
    """The peak of `modelflow train MODEL --epochs 1` as the system counts it, then what each stage of it leaves."""
    for model in (model for model in LARGE if model in scope.models):
        tell(f"  {model}")
        command = (MODELFLOW, "train", model, "--epochs", 1, "--restart", "--results", scope.folder / "memory")
        compiling, cached, runs = [], [], []
        for _ in range(scope.few):
            with _empty_cache(scope) as environment:
                compiling.append(in_child("peak", *command, environment=environment)["peak"])
                cached.append(in_child("peak", *command, environment=environment)["peak"])
                runs.append(in_child("memory", model, scope.folder, environment=environment))
        yield {"model": model, "stage": "whole process, compiling first", "peak_mib": summary(compiling)}
        yield {"model": model, "stage": "whole process, kernels from the cache", "peak_mib": summary(cached)}
        for stages in zip(*runs, strict=True):
            values = {f"{name}_mib": summary([stage[name] for stage in stages]) for name in ("resident", "anonymous")}
            highest = {"highest_within_mib": summary([stage["peak"] for stage in stages])}
            yield {"model": model, "stage": stages[0]["stage"]} | values | highest


@contextmanager
def _empty_cache(scope: Scope) -> Iterator[dict[str, str]]:
    """The environment of processes that find no compiled kernels, and leave theirs for one another."""
    with tempfile.TemporaryDirectory(dir=scope.folder) as cache:
        yield os.environ | {"MODELFLOW_KERNELS": cache}


def compiling(scope: Scope) -> Iterator[Row]:
    """Getting a preset's kernels with an empty cache, and in another process with the cache that this leaves."""
    for model in scope.models:
        first, again = [], []
        for _ in range(scope.few):
            with _empty_cache(scope) as environment:
                first.append(in_child("compiling", model, environment=environment))
                again.append(in_child("compiling", model, environment=environment))
        yield {
            "model": model,
            "first_seconds": summary([found["compiled"] for found in first]),
            "from_the_cache_seconds": summary([found["compiled"] for found in again]),
            "import_seconds": summary([found["import"] for found in again]),
        }
