"""What needs a process of its own: `python child.py FUNCTION [ARGUMENT ...]` prints the figures as JSON.

Nothing but the standard library is imported before a figure is taken.
"""

import json
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SHORT = 3200  # images trained on where training is not what is measured


def loading() -> dict[str, float]:
    """Seconds to import torch and the data sets' module, and to load Fashion-MNIST into loaders."""
    start = time.perf_counter()
    from modelflow.data.datasets import load_dataset

    imported = time.perf_counter()
    load_dataset("fashion-mnist").loaders()
    return {"import": imported - start, "load": time.perf_counter() - imported}


def compiling(model: str) -> dict[str, float]:
    """Seconds to import the kernels, and to get a preset's: compiled, or from the cache."""
    from modelflow.networks.resolve import preset
    from modelflow.networks.trace import trace

    traced = trace(preset(model))
    start = time.perf_counter()
    from modelflow.kernels.network import compiled
    from modelflow.kernels.rules.adam import Adam

    imported = time.perf_counter()
    compiled(traced, Adam())
    return {"import": imported - start, "compiled": time.perf_counter() - imported}


def peak(*command: str) -> dict[str, float]:
    """The peak resident memory of a command in MiB. A small process has to start it, or its own memory counts."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}


def artifacts(model: str, folder: str, searched: str) -> dict[str, dict[str, float]]:
    """Seconds of what follows a run's last step, the first time and once more; "searched" makes a range test first."""
    from modelflow.data.datasets import load_dataset

    flow = _flow(model, Path(folder), load_dataset("fashion-mnist"))
    found = {}
    if searched == "searched":
        found["range_test"] = {"fresh": _seconds(_search, flow), "warm": _seconds(_search, flow)}
    _train_shortly(flow)
    return found | {"fresh": _after_training(flow), "warm": _after_training(flow)}


def _flow(model: str, folder: Path, data: Any) -> Any:
    """As `studies.run.make_flow` makes it."""
    import torch

    from modelflow.networks.build import GenericCNN
    from modelflow.networks.resolve import preset
    from modelflow.studies.flow import ModelFlow

    torch.set_num_threads(1)
    loaders = data.loaders()
    return ModelFlow(GenericCNN(preset(model), 42), *loaders, model, results_dir=folder, verbose=False)


def _search(flow: Any) -> None:
    from modelflow.errors import RunError
    from modelflow.studies.run import SEARCH_FROM

    with suppress(RunError):
        flow.find_best_lr(set_lr=False, start_lr=SEARCH_FROM)


def _train_shortly(flow: Any) -> None:
    from modelflow.data.batches import Batches

    x, y = (tensor[:SHORT] for tensor in flow.arch.train_loader.dataset.tensors)
    flow.arch.set_loaders(Batches(x, y, flow.arch.train_loader.batch_size, shuffle=True), flow.arch.val_loader)
    flow.train(1)


def _after_training(flow: Any) -> dict[str, float]:
    """What `ModelFlow.run` does after `train`."""
    from modelflow.evaluation.inspection.filters import conv_layers

    names = conv_layers(flow.model)
    taken = {
        "checkpoint": _seconds(flow.save_checkpoint),
        "insides": _seconds(flow.show_insides, names, names),
        "evaluation": _seconds(flow.evaluate),
    }
    return taken | {"total": sum(taken.values())}


def _seconds(action: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start


def memory(model: str, folder: str) -> list[dict[str, Any]]:
    """MiB after each stage of a run of one epoch, and the peak within it."""
    stages = [_stage("start")]
    import torch  # noqa: F401

    stages.append(_stage("import torch"))
    import modelflow.studies.flow  # noqa: F401
    from modelflow.data.datasets import load_dataset

    stages.append(_stage("import modelflow.studies.flow"))
    data = load_dataset("fashion-mnist")
    stages.append(_stage("load_dataset"))
    flow = _flow(model, Path(folder), data)
    stages.append(_stage("model and optimizer"))
    _search(flow)
    stages.append(_stage("range test and its picture"))
    flow.train(1)
    stages.append(_stage("one epoch and checkpoint"))
    _after_training(flow)
    stages.append(_stage("pictures and tables"))
    return stages


def _stage(name: str) -> dict[str, Any]:
    """Linux only: what is resident, how much of it is the process's own, and the peak since the last stage."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {
        key: int(value.split()[0]) / 1024 for key, _, value in (line.partition(":") for line in lines) if _is(key)
    }
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    return {"stage": name, "resident": values["VmRSS"], "anonymous": values["RssAnon"], "peak": values["VmHWM"]}


def _is(key: str) -> bool:
    return key in ("VmRSS", "RssAnon", "VmHWM")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
