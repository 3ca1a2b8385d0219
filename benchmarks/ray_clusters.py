"""Real Ray clusters on this machine: a head and workers, each a process tree of its own, on 127.0.0.1 alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # 127.0.0.1 alone


@contextmanager
def cluster_of(workers: int, scratch: Path) -> Iterator[Any]:
    """A head that trains nothing and workers with a processor each, whose runs make their folders in `scratch`."""
    os.environ.update(QUIET)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "node_ip_address": HOST, "include_dashboard": False, "object_store_memory": 200 << 20}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    try:
        for _ in range(workers):
            add_worker(cluster, scratch)
        yield cluster
    finally:
        cluster.shutdown()


def add_worker(cluster: Any, scratch: Path, **variables: str) -> Any:
    """One more, with one processor and variables of its own."""
    variables |= {"TMPDIR": str(scratch)}
    return cluster.add_node(num_cpus=1, node_ip_address=HOST, object_store_memory=200 << 20, env_vars=variables)


def without_modelflow(folder: Path) -> dict[str, str]:
    """What a worker's environment must say for it to have no ModelFlow."""
    package = folder / "modelflow" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text('raise ModuleNotFoundError("No module named modelflow", name="modelflow")\n')
    return _first_on_the_path(folder)


def another_version(folder: Path, package: str = "modelflow", version: str = "9.9") -> dict[str, str]:
    """What a worker's environment must say for it to have another version of a package."""
    metadata = folder / f"{package}-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return _first_on_the_path(folder)


def _first_on_the_path(folder: Path) -> dict[str, str]:
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
