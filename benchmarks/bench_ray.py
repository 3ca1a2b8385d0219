"""The Ray engine on this machine: tasks a second, what a run costs beside its training, two workers against one.

    python benchmarks/bench_ray.py [--rounds 5] [--runs 12]

A cluster of processes of its own (a head without a processor, workers with one each). The same study of short runs is
trained by the local engine with one process, on one worker and on two, in turn; the figures go into
benchmarks/results/ray.json. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ray_clusters import add_worker, cluster_of

from modelflow.io.files import write_atomic
from modelflow.results import provenance
from modelflow.results.layout import RUN
from modelflow.results.settings import StudySettings, read_study
from modelflow.studies.engines import local
from modelflow.studies.engines import ray as ray_engine
from modelflow.studies.plan import Plan, plans

MODEL = {"name": "generic_2", "epochs": 4, "batch_size": 16}
TASKS = 2000
RESULTS = Path(__file__).parent / "results" / "ray.json"


def study_of(runs: int) -> StudySettings:
    return read_study([MODEL["name"]], seeds=list(range(42, 42 + runs)), epochs=MODEL["epochs"])


def seconds_of(due: list[Plan], engine: Any, **options: Any) -> float:
    begin = time.monotonic()
    for plan, _ in engine(due, lambda _event: None, **options):
        assert (plan.folder / RUN).is_file()
    return time.monotonic() - begin


def tasks_a_second(address: str) -> float:
    """Of tasks that do nothing: what the cluster itself can hand out."""
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1)(lambda: None)
    ray.get([task.remote() for _ in range(20)])
    begin = time.monotonic()
    ray.get([task.remote() for _ in range(TASKS)])
    taken = time.monotonic() - begin
    ray.shutdown()
    return TASKS / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=12, help="a study")
    given = parser.parse_args()
    rows = []
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder)
            study = study_of(given.runs)
            seconds_of(plans(study_of(1), where / "warm local"), local.run_plans, jobs=1)
            row = {"local, one process": seconds_of(plans(study, where / "local"), local.run_plans, jobs=1)}
            with cluster_of(1, where) as cluster:
                row["tasks a second"] = tasks_a_second(cluster.address)
                for name, added in (("ray, one worker", 0), ("ray, two workers", 1)):
                    for _ in range(added):
                        add_worker(cluster, where)
                    due = plans(study_of(2), where / f"warm {name}")  # each worker imports and loads the data once
                    seconds_of(due, ray_engine.run_plans, address=cluster.address)
                    due = plans(study, where / name)
                    row[name] = seconds_of(due, ray_engine.run_plans, address=cluster.address)
            row["two workers as fast as one, times"] = row["ray, one worker"] / row["ray, two workers"]
            row["added a run, s"] = (row["ray, one worker"] - row["local, one process"]) / given.runs
            rows.append(row)
            print(f"round {number}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    found = {"runs": given.runs, "model": MODEL, "medians": medians, "rounds": rows}
    found |= {
        "processor": provenance.processor(),
        "versions": provenance.versions() | {"ray": version("ray")},
        "revision": provenance.git_revision(),
    }
    write_atomic(RESULTS, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
