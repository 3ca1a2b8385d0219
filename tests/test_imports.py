"""The house keeps its order: which file may import which, read from the captioned tree, and what stays unimported."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "modelflow"
TREE = ROOT / "docs" / "architecture.md"
NO_TORCH = [
    "analysis.intervals",
    "analysis.verdicts",
    "networks.description",
    "networks.trace",
    "io.arguments",
    "networks.resolve",
    "results.settings",
    "results.records",
    "text",
    "training.openmp",
    "analysis.identity",
    "results.layout",
    "studies.plan",
    "analysis.leaderboard",
    "analysis.comparison",
    "report.model_card",
    "data.sources",
    "networks.diagram",
    "report.page",
    "report.comparison",
    "report.leaderboard",
    "networks.drawn",
    "evaluation.inspection.trace",
    "studies.loaded_results",
    "export.export",
    "export.loaded_run",
    "cli.terminal",
    "cli",
]


def module_of(path: Path) -> str:
    """The dotted name of a file; a package is called after its folder."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def in_order() -> list[str]:
    """Modules and packages as they stand in the tree; those above may be imported by those below."""
    block = re.search(r"^src/modelflow/.*?^(?=\w)", TREE.read_text("utf-8"), re.S | re.M)
    assert block
    parents, names = ["modelflow"], list[str]()
    for line in block[0].splitlines()[1:]:
        name = line.split()[0].rstrip("/")
        parents[(len(line) - len(line.lstrip())) // 2 :] = [name.removesuffix(".py")]
        names.append(".".join(parents).removesuffix(".__init__"))
    return names


PLACE = {name: place for place, name in enumerate(in_order())}


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Each import from modelflow, wherever it stands: a module, and a name in it ("" where it is the module's own)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "modelflow":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield (name, "") if name in PLACE else (str(node.module), alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("modelflow."))


def against_the_order(module: str, source: str) -> list[str]:
    """What a module imports from its own line of the tree or below it; a package may give names of its own files."""
    own = f"{module}." if (SOURCE.parent / module.replace(".", "/")).is_dir() else "/"
    return [name for name, _ in imported(source) if PLACE[name] >= PLACE[module] and not name.startswith(own)]


MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_imports_point_one_way(path):
    if path != SOURCE / "__init__.py":  # the public names, which are imported when somebody asks for them
        assert against_the_order(module_of(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("networks.build", "from modelflow.data.datasets import load_dataset", ["data.datasets"]),
        ("networks.description", "import modelflow.networks.trace", ["networks.trace"]),
        ("studies.study", "def f():\n    from modelflow import cli", ["cli"]),
        ("kernels.dropout", "from modelflow.kernels.step import Program", ["kernels.step"]),
    ],
)
def test_an_import_against_the_order_is_noticed(module, source, found):
    assert against_the_order(f"modelflow.{module}", source) == [f"modelflow.{name}" for name in found]


def at_the_top(node: ast.AST) -> Iterator[ast.AST]:
    """What a module consists of, but for what is within its functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            yield from at_the_top(child)


@cache
def defined(module: str) -> set[str]:
    """The names at the top of a module, and its submodules."""
    path = SOURCE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = {name.rpartition(".")[2] for name in PLACE if name.rpartition(".")[0] == module}
    for node in at_the_top(ast.parse(file.read_text("utf-8"))) if file.exists() else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def unknown(source: str) -> list[str]:
    """What a source imports, reads or sets of a module of the package, and that is not there."""
    names = list(imported(source))
    found = [f"{module}.{name}" for module, name in names if module not in PLACE or not is_known(module, name)]
    nodes = list(ast.walk(ast.parse(source)))
    called = modules_by_name(nodes)
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
            module = called[node.value.id]
            found += [] if is_known(module, node.attr) else [f"{module}.{node.attr}"]
    return found


def modules_by_name(nodes: list[ast.AST]) -> dict[str, str]:
    """The modules of the package under the names that a source gives them and nothing else."""
    called = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            inside = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            called |= {alias.asname or alias.name: f"{inside}{alias.name}" for alias in node.names}
    others = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    others |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {name: module for name, module in called.items() if module in PLACE and name not in others}


def is_known(module: str, name: str) -> bool:
    return not name or name in defined(module) or name.startswith("__")


def dotted_unknown(text: str) -> list[str]:
    """Of a text such as "modelflow.studies.flow.SECONDS": what is no module and no name in one."""
    parts = text.split(".")
    while ".".join(parts) not in PLACE:
        parts.pop()
    module, rest = ".".join(parts), text.split(".")[len(parts) :]
    return [] if not rest or is_known(module, rest[0]) else [text]


def texts(source: str) -> Iterator[str]:
    yield from (
        n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


def unknown_in_text(text: str) -> list[str]:
    if re.fullmatch(r"modelflow(\.\w+)+", text):
        return dotted_unknown(text)
    if "import modelflow" not in text and "from modelflow" not in text:
        return []
    try:
        return unknown(text)
    except SyntaxError:  # a program with places to fill in, or prose
        lines = [line.strip() for line in re.split(r"[\n;]", text)]
        return [name for line in lines if re.match(r"(import|from) modelflow\S* ?", line) for name in of_line(line)]


def of_line(line: str) -> list[str]:
    try:
        return unknown(line)
    except SyntaxError:
        return []


OF_BEFORE = [SOURCE / "compat" / "moved.py", ROOT / "tests" / "compat" / "test_moved.py"]  # names that have moved


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_what_is_named_of_the_package_is_there(folder):
    """In imports, in programs that are given to a child, in names of what a test replaces."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        source = path.read_text("utf-8")
        if path not in [Path(__file__), *OF_BEFORE] and "modelflow" in source:
            found = [*unknown(source), *(name for text in texts(source) for name in unknown_in_text(text))]
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in found]
    assert wrong == []


@pytest.mark.parametrize(
    "source",
    [
        "from modelflow.networks.description import Nothing",
        "from modelflow.nowhere import Spec",
        "from modelflow.io.files import temporary",
        "import modelflow.studies.flow as f; f.SECONDS = 1",
        "from modelflow.studies import flow\nflow.SECONDS = 1",
    ],
)
def test_a_name_that_is_not_there_is_noticed(source):
    assert unknown(source)
    assert unknown_in_text(source)


def test_init_files_are_empty_but_where_a_package_gives_names_or_prepares_matplotlib():
    written = {path.parent for path in SOURCE.rglob("__init__.py") if path.read_text()}
    assert written == {SOURCE, *(SOURCE / room for room in ("figures", "results", "cli"))}


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
