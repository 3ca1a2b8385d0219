"""ModelFlow: which of these small CNNs is really better, and how sure are you?

The public names are loaded when they are first asked for, so that `import modelflow` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import modelflow.training.openmp  # noqa: F401  # before anybody forks
from modelflow.compat import moved

if TYPE_CHECKING:
    from modelflow.compat.architecture import Architecture
    from modelflow.compat.card import CNN2, GerenicCNN
    from modelflow.data.datasets import load_dataset
    from modelflow.evaluation.inspection.trace import trace
    from modelflow.export.loaded_run import load_run
    from modelflow.networks.build import GenericCNN
    from modelflow.networks.description import Spec, read_spec
    from modelflow.report.comparison import compare, compare_predictions
    from modelflow.studies.flow import ModelFlow
    from modelflow.studies.loaded_results import load_results
    from modelflow.studies.merge import merge
    from modelflow.studies.models import run_models
    from modelflow.studies.study import run_study, train

moved.install()

__all__ = [
    "CNN2",
    "Architecture",
    "GenericCNN",
    "GerenicCNN",
    "ModelFlow",
    "Spec",
    "compare",
    "compare_predictions",
    "load_dataset",
    "load_results",
    "load_run",
    "merge",
    "read_spec",
    "run_models",
    "run_study",
    "trace",
    "train",
]

_HOMES = {
    "Architecture": "modelflow.compat.architecture",
    "CNN2": "modelflow.compat.card",
    "GenericCNN": "modelflow.networks.build",
    "GerenicCNN": "modelflow.compat.card",
    "ModelFlow": "modelflow.studies.flow",
    "Spec": "modelflow.networks.description",
    "compare": "modelflow.report.comparison",
    "compare_predictions": "modelflow.report.comparison",
    "load_dataset": "modelflow.data.datasets",
    "load_results": "modelflow.studies.loaded_results",
    "load_run": "modelflow.export.loaded_run",
    "merge": "modelflow.studies.merge",
    "read_spec": "modelflow.networks.description",
    "run_models": "modelflow.studies.models",
    "run_study": "modelflow.studies.study",
    "trace": "modelflow.evaluation.inspection.trace",
    "train": "modelflow.studies.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'modelflow' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
