"""Single bytes of a stored run changed, one at a time: is every change noticed?

The run is a real one: the digits, one epoch. A change is a file, a place in it and another byte there, all distinct.
"""

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelflow.errors import DataError
from modelflow.results import layout
from modelflow.studies.plan import plans
from modelflow.studies.run import _load, make_flow

SPEC = {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [2], "fc_sizes": [5]}


def trained(where: Path) -> Any:
    """The `ModelFlow` of a run of the digits; its folder is its `results_dir`."""
    from modelflow.results.settings import read_study

    study = read_study(None, models=[{"name": "tiny", "spec": SPEC}], dataset="digits", epochs=1)
    flow = make_flow(plans(study, where)[0])
    flow.run(epochs=1)
    return flow


def check(count: int, folder_in: str | None = None) -> dict[str, Any]:
    """How many of `count` changes were made in each file, and which went unnoticed."""
    with tempfile.TemporaryDirectory(dir=folder_in) as where:
        flow = trained(Path(where))
        folder = flow.results_dir
        readers = {
            layout.PREDICTIONS: lambda: layout.read_predictions(folder),
            layout.WEIGHTS: lambda: _load(flow.arch, folder, layout.read_run(folder)),
            layout.CHECKPOINT: lambda: _load(flow.arch, folder, layout.read_run(folder)),
        }
        for read in readers.values():
            read()  # as they are they are taken
        changes = list(_changes({name: (folder / name).read_bytes() for name in readers}, count))
        missed = [change for change in changes if not noticed(folder / change[0], *change[1:], readers)]
    return {
        "changes": len(set(changes)),
        "files": dict(Counter(name for name, _, _ in changes)),
        "unnoticed": [f"{name} {at} {byte}" for name, at, byte in missed],
    }


def _changes(contents: dict[str, bytes], count: int) -> Iterator[tuple[str, int, int]]:
    """As many of each file as of the others: each place in turn, with another byte each time round."""
    draw = random.Random(1)
    for i, (name, content) in enumerate(contents.items()):
        of_file = count // len(contents) + (i < count % len(contents))
        order = draw.sample(range(len(content)), len(content))
        for n in range(min(of_file, 255 * len(content))):
            at, change = order[n % len(content)], 1 + (n // len(content) * 37 + n) % 255
            yield name, at, content[at] ^ change


def noticed(path: Path, at: int, byte: int, readers: dict[str, Callable[[], Any]]) -> bool:
    """Whether the file with this byte in place of its own is refused; it is put back as it was."""
    content = path.read_bytes()
    try:
        path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        readers[path.name]()
    except DataError:
        return True
    finally:
        path.write_bytes(content)
    return False
