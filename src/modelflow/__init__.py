"""ModelFlow: which of these small CNNs is really better, and why?

The public names are loaded when they are first asked for, so that `import modelflow` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelflow.data.datasets import load_dataset
    from modelflow.flow import ModelFlow
    from modelflow.models.build import GenericCNN
    from modelflow.models.card import CNN2, GerenicCNN
    from modelflow.shapes import trace
    from modelflow.spec import Spec, read_spec
    from modelflow.study import run_study
    from modelflow.training.architecture import Architecture

__all__ = [
    "CNN2",
    "Architecture",
    "GenericCNN",
    "GerenicCNN",
    "ModelFlow",
    "Spec",
    "load_dataset",
    "read_spec",
    "run_study",
    "trace",
]

_HOMES = {
    "Architecture": "training.architecture",
    "CNN2": "models.card",
    "GenericCNN": "models.build",
    "GerenicCNN": "models.card",
    "ModelFlow": "flow",
    "Spec": "spec",
    "load_dataset": "data.datasets",
    "read_spec": "spec",
    "run_study": "study",
    "trace": "shapes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'modelflow' has no attribute {name!r}")
    return getattr(import_module(f"modelflow.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
