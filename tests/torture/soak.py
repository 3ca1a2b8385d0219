"""Many studies one after the other in one process: memory, open files and threads must not grow."""

import ctypes
import gc
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from scipy import stats

from modelflow.results.settings import StudySettings
from modelflow.studies.study import run_study

SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [10]}
WARM_UP = 20  # studies, until caches are filled
MAX_MIB = 0.2  # of growth a study


def soaked(count: int, tell: Callable[[int], None] = lambda _done: None) -> dict[str, float]:
    """Memory (MiB), open files and threads after warming up and after `count` further studies; MiB a study between.

    Raises `AssertionError` when they have grown: of memory when even the lower end of its slope's 95 % interval is more
    than MAX_MIB. Theil's slope (1950), the median over all pairs of studies, is not moved by one leap of an allocator.
    """
    study = StudySettings(models=[{"name": "tiny", "spec": SPEC}], dataset="digits", epochs=1)
    held = []
    for done in range(WARM_UP + count):
        with tempfile.TemporaryDirectory() as folder:
            run_study(study, folder, jobs=1)
            shutil.rmtree(Path(folder) / "tiny")
        tell(done)
        held.append(_held())
    before, after = held[WARM_UP - 1], held[-1]
    assert after["open_files"] <= before["open_files"], f"open files: {before} -> {after}"
    assert after["threads"] <= before["threads"], f"threads: {before} -> {after}"
    slope = stats.theilslopes([one["mib"] for one in held[WARM_UP - 1 :]])
    assert slope.low_slope < MAX_MIB, f"memory grows by {slope.slope:.2f} MiB a study: {before} -> {after}"
    found = {f"{name}_{when}": one[name] for name in before for when, one in (("before", before), ("after", after))}
    return found | {"mib_a_study": round(float(slope.slope), 3)}


def _held() -> dict[str, float]:
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # else what earlier work left free is given back amid the count, and hides what is held
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"mib": round(mib, 1), "open_files": len(os.listdir("/proc/self/fd")), "threads": threading.active_count()}
