"""What every file of a results folder is, which an evaluation makes, which are of an earlier run. No torch."""

import re
from collections.abc import Container
from functools import cache
from pathlib import Path

import modelflow.results.artifacts as folder
from modelflow.io.found import classes_in
from modelflow.results import layout
from modelflow.results.artifacts.artifact import Artifact

CAPTIONS = {  # of what is no artifact of an evaluation
    layout.STUDY: "settings of the study",
    layout.STUDIES: "the same, grouped by settings and seeds",
    layout.LEADERBOARD_CSV: "the models, best first, unrounded",
    layout.LEADERBOARD_MD: "the same as a table",
    layout.PARETO: "accuracy against parameters",
    layout.SAMPLES: "images of each class",
    layout.RUN: "settings, versions, data and metrics of the run",
    layout.SPEC: "the architecture",
    layout.WEIGHTS: "the weights",
    layout.CHECKPOINT: "weights and optimizer, to train further",
    layout.ARCHITECTURE: "picture of the layers",
    layout.OUTPUTS: "layer outputs of some images",
    layout.LR_FINDER_CSV: "learning rate range test",
    layout.LR_FINDER_PNG: "the same as a picture",
}
OF_A_RUN = (  # beside its artifacts, its checkpoint and the filters
    *(layout.RUN, layout.SPEC, layout.WEIGHTS, layout.MODEL_CARD, layout.ARCHITECTURE, layout.OUTPUTS),
    *layout.OF_A_SEARCH,
)


FILTERS = re.compile(r"filters_[A-Za-z0-9_.+-]{1,120}\.png")


@cache
def artifacts() -> tuple[Artifact, ...]:
    """All artifacts of an evaluation, found in the files of the folder `artifacts`; tables before pictures."""
    found = [artifact() for artifact in classes_in(folder, Artifact)]
    return tuple(sorted(found, key=lambda artifact: (is_picture(artifact), artifact.name)))


def is_picture(artifact: Artifact) -> bool:
    """Whether it is one, of which an evaluation is as right without."""
    return artifact.name.endswith((".png", ".svg"))


def caption_of(name: str) -> str:
    """What a file of a results folder is; empty for one that is not known."""
    return CAPTIONS.get(name) or next((one.caption for one in artifacts() if one.name == name), "")


def is_of_a_run(name: str) -> bool:
    """Whether a file of a finished run may be called so."""
    return name in OF_A_RUN or name == layout.CHECKPOINT or bool(FILTERS.fullmatch(name)) or _is_artifact(name)


def _is_artifact(name: str) -> bool:
    return any(artifact.name == name for artifact in artifacts())


def remove_outdated(run_folder: Path, kept: Container[str] = ()) -> None:
    """Takes away what an earlier run has left in its folder, but for its checkpoint and what is to be `kept`."""
    known = [*OF_A_RUN, *(artifact.name for artifact in artifacts())]
    for path in (*(run_folder / name for name in known), *run_folder.glob("filters_*.png")):
        if path.name not in kept:
            path.unlink(missing_ok=True)
