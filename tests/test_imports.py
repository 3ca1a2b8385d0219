"""The layers stay layers: which module may import which, read from the source, and what stays unimported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "modelflow"

# from the ground up; a module imports only from lines above its own (or its own package)
LAYERS = [
    ["errors", "files", "interrupts", "seeding", "modes", "provenance", "statistics", "forecast"],
    ["spec", "locks"],
    ["shapes"],
    ["presets", "diagram", "figures", "records", "verdicts"],
    ["settings", "results"],
    ["models", "data", "evaluation", "inspection", "kernels", "leaderboard", "plans"],
    ["comparison"],
    ["report"],
    ["training"],
    ["flow"],
    ["runs"],
    ["engines"],
    ["study"],
    ["terminal"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
NO_TORCH = [
    "statistics",
    "verdicts",
    "spec",
    "shapes",
    "presets",
    "settings",
    "records",
    "results",
    "plans",
    "leaderboard",
    "comparison",
    "report.model_card",
    "data.sources",
    "diagram",
    "report.page",
    "terminal",
    "cli",
]


def imported(source: str) -> set[str]:
    """The parts of modelflow that a module's source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "modelflow":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modelflow."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("modelflow.")}
    return found


def against_the_arrows(part: str, source: str) -> set[str]:
    """What a module of `part` imports from its own level or above it."""
    return {name for name in imported(source) - {part} if LEVEL[name] >= LEVEL[part]}


def modules() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert against_the_arrows(part, path.read_text()) == set()


@pytest.mark.parametrize(
    ("part", "source", "found"),
    [
        ("models", "from modelflow.data.datasets import load_dataset", {"data"}),
        ("spec", "import modelflow.shapes", {"shapes"}),
        ("study", "def f():\n    from modelflow import cli", {"cli"}),
    ],
)
def test_an_import_against_the_arrows_is_noticed(part, source, found):
    assert against_the_arrows(part, source) == found


def test_init_files_are_empty_but_for_the_top_one():
    assert [path for path in SOURCE.rglob("__init__.py") if path.read_text() and path.parent != SOURCE] == []


@pytest.mark.parametrize("name", NO_TORCH)
def test_torch_stays_unimported(name):
    code = f"import sys, modelflow.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_those_promised():
    import modelflow

    for name in modelflow.__all__:
        assert getattr(modelflow, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = modelflow.Nothing
