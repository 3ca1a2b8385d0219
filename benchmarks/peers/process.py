"""Contenders as the driver sees them: worker processes, the fastest of which counts, and the order of a round."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # set on some machines; they slow a current numpy
VARIANTS: dict[str, tuple[dict[str, str], ...]] = {
    "modelflow": ({},),
    "torch_tuned": ({},),
    "torch_plain": ({},),
    "lightning": ({},),
    "skorch": ({},),
    "fastai": ({},),
    "keras": ({"PEER_THREADS": "1"}, {"PEER_THREADS": "2"}),
    "jax": ({},),
}
CONTENDERS = tuple(VARIANTS)


def environment(folder: Path, **added: str) -> dict[str, str]:
    """Of every process that is measured."""
    kept = {name: value for name, value in os.environ.items() if name not in SLOWING}
    fixed = {"MODELFLOW_DATA_DIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    return kept | fixed | added


class Worker:
    """A process of one contender; `ask` waits for its answer."""

    def __init__(self, name: str, folder: Path, log: Path, variant: dict[str, str]) -> None:
        self.name = name
        self.started = time.perf_counter()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "peers.worker", name, str(folder)],
                cwd=HERE,
                env=environment(folder, **variant),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"ask": what, **given}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: the worker ended while asked to {what}; see its log")
        reply = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"{self.name}: {what}: {reply['error']}")
        return reply["answer"]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """All processes of a contender; after `tune` only the fastest is asked."""

    def __init__(self, name: str, folder: Path, log: Path) -> None:
        self.name = name
        self.workers = [Worker(name, folder, log, variant) for variant in VARIANTS[name]]
        self.chosen = self.workers[0]

    def tune(self, images: int, settling: int = 0, **prepared: Any) -> dict[str, Any]:
        """Prepares every process, lets each settle and find its best ways, and chooses the fastest process."""
        outcomes, start = [], time.perf_counter()
        for worker in self.workers:
            worker.ask("prepare", **prepared)
            outcomes.append(worker.ask("tune", images=images, settling=settling))
        fastest = [min(outcome["seconds"].values()) for outcome in outcomes]
        best = fastest.index(min(fastest))
        self.chosen = self.workers[best]
        seconds = {way: took for outcome in outcomes for way, took in outcome["seconds"].items()}
        chosen = {"ways": outcomes[best]["ways"], "variant": VARIANTS[self.name][best]}
        return chosen | {"seconds": seconds, "took": time.perf_counter() - start}

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        return self.chosen.ask(what, **given)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def rotated(names: tuple[str, ...], by: int) -> tuple[str, ...]:
    """The order of a round: each round begins one further on."""
    by %= len(names)
    return names[by:] + names[:by]
