"""Modules by the names that they had before: they import with a warning, and have the names that they had. No torch.

from modelflow.spec import Spec     # DeprecationWarning: modelflow.spec has moved to modelflow.networks.description
"""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {  # where the names of a module are now; none: a package that only held others
    "arguments": ("io.arguments",),
    "batch": ("data.convert",),
    "bounds": ("io.bounds",),
    "comparison": ("analysis.comparison",),
    "denormals": ("training.denormals",),
    "diagram": ("networks.diagram",),
    "engines": (),
    "engines.local": ("studies.engines.local",),
    "engines.order": ("studies.order",),
    "engines.ray": ("studies.engines.ray",),
    "engines.worker": ("studies.worker",),
    "evaluation.predict": ("training.predict",),
    "files": ("io.files",),
    "flow": ("studies.flow", "studies.parts", "studies.record", "studies.autosave"),
    "forecast": ("studies.forecast",),
    "identity": ("analysis.identity", "results.records"),
    "inspection": (),
    "inspection.activations": ("evaluation.inspection.activations",),
    "inspection.filters": ("evaluation.inspection.filters",),
    "inspection.hooks": ("evaluation.inspection.hooks",),
    "interrupts": ("io.signals",),
    "kernels.plan": ("kernels.layout",),
    "leaderboard": ("analysis.leaderboard",),
    "locks": ("io.locks",),
    "models": (),
    "models.build": ("networks.build",),
    "models.card": ("compat.card",),
    "modes": ("training.modes",),
    "openmp": ("training.openmp",),
    "plans": ("studies.plan", "results.asked", "results.joining", "results.run_settings", "results.records"),
    "presets": ("networks.resolve",),
    "provenance": ("results.provenance",),
    "records": ("results.records", "evaluation.record"),
    "report.content": ("analysis.archive",),
    "report.selection": ("analysis.selection",),
    "runs": ("studies.run",),
    "safe": ("text",),
    "seeding": ("training.seeding", "networks.seeds"),
    "settings": ("results.settings",),
    "shapes": ("networks.trace",),
    "spec": ("networks.description", "io.config", "io.validation", "io.arguments", "text"),
    "statistics": ("analysis.intervals",),
    "study": ("studies.study", "studies.pages", "studies.resolved", "studies.engine", "results.joining"),
    "surroundings": ("io.process",),
    "terminal": ("cli.terminal",),
    "training.architecture": ("compat.architecture", "training.trainer"),
    "training.saved": ("training.states",),
    "verdicts": ("analysis.verdicts",),
}


class _Moved(MetaPathFinder, Loader):
    """Finds the modules that were, after everything else was looked for."""

    def find_spec(self, fullname: str, *_where: object) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "modelflow" or name not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=not MOVED[name])

    def exec_module(self, module: ModuleType) -> None:
        homes = MOVED[module.__name__.partition(".")[2]]
        if not homes:
            return

        def moved(name: str) -> Any:
            for home in homes:
                found = import_module(f"modelflow.{home}")
                if hasattr(found, name):
                    return getattr(found, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = moved  # type: ignore[method-assign]
        text = f"{module.__name__} has moved to modelflow.{homes[0]}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)


def install() -> None:
    """Once, as the last of what Python asks for a module."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
