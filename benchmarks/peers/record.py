"""The JSON file of a part: where and when it was measured, what the machine gave before and after, and its rows."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelflow.kernels.machine import host
from modelflow.results import provenance
from peers.process import HERE, environment


class Record:
    """Written anew at each `add`, so that what was measured is kept whatever happens after."""

    def __init__(self, part: str, out: Path, data: Path, **settings: Any) -> None:
        self.path, self.folder = out / f"{part}.json", data
        self.content: dict[str, Any] = {
            "part": part,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "processor": f"{provenance.processor()} ({host().cpu})",
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "revision": provenance.git_revision(),
            "settings": settings,
            "before": conditions(data),
            "after": None,
            "rows": [],
        }
        self.say(f"{part}: {_text(self.content['before'])}")

    def add(self, row: dict[str, Any]) -> None:
        self.content["rows"].append(row)
        self._write()

    def end(self, **added: Any) -> dict[str, Any]:
        """Closes the part: what the machine gives now, and whatever is to be added."""
        self.content |= {"after": conditions(self.folder), **added}
        self._write()
        self.say(f"{self.content['part']} ended: {_text(self.content['after'])} -> {self.path}")
        return self.content

    def say(self, text: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.content, indent=1) + "\n")


def conditions(data: Path) -> dict[str, float]:
    """The load average, and then sgemm on one and on two threads and copying, measured now."""
    load = os.getloadavg()[0]
    return {
        "load": load,
        "sgemm_1_gflops": _measured("sgemm", "1", data),
        "sgemm_2_gflops": _measured("sgemm", "2", data),
        "copy_gb_s": _measured("copy", "1", data),
    }


def _measured(what: str, threads: str, data: Path) -> float:
    command = [sys.executable, "-m", "peers.calibrate", what]
    env = environment(data, OPENBLAS_NUM_THREADS=threads)
    return float(subprocess.run(command, cwd=HERE, env=env, check=True, capture_output=True, text=True).stdout)


def _text(measured: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in measured.items())
