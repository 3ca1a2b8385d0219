"""The way of a study from the command to its first run: the files that it is handed to, one after the other.

python benchmarks/way_of_a_study.py          # 1  cli/training.py: _train    2  studies/resolved.py: resolved    …

It is taken while `modelflow run` trains two small models on the digits. A stop is a file of which a function is called
with the study, its plans or one of them; its own methods do not count. So each is a place that a reader of it visits.
"""

import sys
import tempfile
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import modelflow
from modelflow.cli.app import cli

ROOT = Path(modelflow.__file__).parent
OF_A_STUDY = {"StudySettings", "ResolvedStudy", "Plan"}
STUDY = "models: [generic_2, 'c8 gap fc']\nseeds: [1, 2]\nepochs: 1\ndataset: digits\n"


class Arrived(BaseException):
    """The first run begins."""


class Call(NamedTuple):
    """A function that is handed the study, `depth` calls below the command."""

    file: str
    function: str
    depth: int


def is_of_a_study(value: object) -> bool:
    """Whether it is the study, a plan, or plans."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return type(first).__name__ in OF_A_STUDY and type(first).__module__.startswith("modelflow.")


def depth_of(frame: FrameType | None) -> int:
    """How many of the package's functions are under way."""
    depth = 0
    while frame is not None:
        depth += frame.f_code.co_filename.startswith(str(ROOT))
        frame = frame.f_back
    return depth


def calls_of(arguments: list[str]) -> list[Call]:
    """What a command calls with the study until its first run begins."""
    calls: list[Call] = []

    def hear(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(ROOT)) or code.co_name.startswith("<"):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(is_of_a_study(frame.f_locals.get(name)) for name in names if name != "self"):
            calls.append(Call(str(Path(code.co_filename).relative_to(ROOT)), code.co_name, depth_of(frame)))
        if code.co_name == "train_run":
            raise Arrived

    sys.setprofile(hear)
    try:
        cli.main(arguments, standalone_mode=False)
    except Arrived:
        return calls
    finally:
        sys.setprofile(None)
    raise RuntimeError("no run began")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.yaml")
        path.write_text(STUDY)
        calls = calls_of(["run", str(path), "--results", f"{folder}/results", "--jobs", "1"])
    stops = [list(stop) for _, stop in groupby(calls, lambda call: call.file)]
    for number, stop in enumerate(stops, start=1):
        print(f"{number:3d}  {stop[0].file}: {', '.join(dict.fromkeys(call.function for call in stop))}")
    upwards = sum(after[0].depth < before[-1].depth for before, after in pairwise(stops))
    print(f"{len(stops)} stops in {len({call.file for call in calls})} files, {upwards} returns upwards")


if __name__ == "__main__":
    main()
