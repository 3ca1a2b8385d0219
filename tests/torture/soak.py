"""Many studies one after the other in one process: memory, open files and threads must not grow."""

import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from modelflow.settings import StudySettings
from modelflow.study import run_study

SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [10]}
WARM_UP = 20  # studies, until caches are filled
MOST_MIB = 24.0  # of growth after that: allocators keep some


def soaked(count: int, tell: Callable[[int], None] = lambda _done: None) -> dict[str, float]:
    """Memory (MiB), open files and threads after warming up and after `count` further studies.

    Raises `AssertionError` when they have grown.
    """
    study = StudySettings(models=[{"name": "tiny", "spec": SPEC}], dataset="digits", epochs=1)
    before: dict[str, float] = {}
    for done in range(WARM_UP + count):
        if done == WARM_UP:
            before = _held()
        with tempfile.TemporaryDirectory() as folder:
            run_study(study, folder, jobs=1)
            shutil.rmtree(Path(folder) / "tiny")
        tell(done)
    after = _held()
    assert after["open_files"] <= before["open_files"], f"open files: {before} -> {after}"
    assert after["threads"] <= before["threads"], f"threads: {before} -> {after}"
    assert after["mib"] - before["mib"] < MOST_MIB, f"memory: {before} -> {after}"
    return {f"{name}_{when}": held[name] for name in before for when, held in (("before", before), ("after", after))}


def _held() -> dict[str, float]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"mib": round(mib, 1), "open_files": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()}
