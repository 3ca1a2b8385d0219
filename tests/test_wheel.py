"""What `pip install` gives: a wheel that names all that it needs, and does the main job with nothing else beside it."""

import ast
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PARTS = ("src", "pyproject.toml", "README.md", "LICENSE")
STUDY = """
dataset: digits
epochs: 1
models:
  - {name: narrow, spec: {in_channels: 1, num_classes: 10, input_size: 8, cov_features: [4], fc_sizes: [20]}}
  - {name: wide, spec: {in_channels: 1, num_classes: 10, input_size: 8, cov_features: [8], fc_sizes: [20]}}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left beside the sources."""
    where = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        source, target = ROOT / part, where / "source" / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "-w", where, where / "source"]
    subprocess.run(list(map(str, command)), check=True, timeout=120)
    return next(where.glob("*.whl"))


def installed_for(requires: Iterable[str]) -> dict[str, metadata.Distribution]:
    """The distributions here that pip would bring along for these requirements, by name."""
    found: dict[str, metadata.Distribution] = {}
    due, seen = [(text, frozenset()) for text in requires], set()
    while due:
        text, extras = due.pop()
        wanted = Requirement(text)
        asked = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if asked and (key := (canonicalize_name(wanted.name), frozenset(wanted.extras))) not in seen:
            seen.add(key)
            found[key[0]] = metadata.distribution(wanted.name)
            due += [(one, key[1]) for one in found[key[0]].requires or ()]
    return found


def link_into(folder: Path, distribution: metadata.Distribution) -> None:
    """What a distribution has in its site-packages, for an environment that has it elsewhere."""
    tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    for top in tops:
        if not (folder / top).exists():
            (folder / top).symlink_to(distribution.locate_file(top))


def environment(where: Path, wheel: Path, without: str = "") -> Path:
    """The command of an environment that holds the wheel, and the packages that its metadata ask for."""
    venv.create(where, with_pip=False)
    python = where / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    own = next(where.rglob("site-packages"))
    requires = next(iter(metadata.distributions(name="modelflow", path=[str(own)]))).requires or []
    for distribution in installed_for(text for text in requires if Requirement(text).name != without).values():
        link_into(own, distribution)
    return python.with_name("modelflow" + python.suffix)


@pytest.fixture(scope="module")
def modelflow(wheel, tmp_path_factory):
    return environment(tmp_path_factory.mktemp("environment"), wheel)


def study_by(modelflow: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The main job, done by an environment's own command."""
    (folder / "study.yaml").write_text(STUDY, "utf-8")
    command = [str(modelflow), "run", "study.yaml", "--jobs", "1", "--results", "results"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, timeout=300, check=False)


def test_it_holds_all_that_is_no_python_and_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "modelflow").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - set(names) == set()
    assert {"modelflow/py.typed", "modelflow/report/templates/report.html.j2"} < wanted
    assert sum(name.startswith("modelflow/networks/presets/") and name.endswith(".json") for name in names) == 7
    for line in ("License-Expression: Apache-2.0", "License-File: LICENSE", "Author: The ModelFlow authors"):
        assert line in metadata.splitlines()
    assert "Project-URL: Issues, " in metadata


def test_installed_alone_it_trains_a_study_to_its_report(modelflow, tmp_path):
    done = study_by(modelflow, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "wide" in done.stdout
    report = (tmp_path / "results" / "report.html").read_text("utf-8")
    assert "narrow" in report
    assert "</html>" in report
    assert (tmp_path / "results" / "narrow" / "model.safetensors").is_file()
    python = [str(modelflow.with_name("python" + modelflow.suffix)), "-P", "-c"]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = subprocess.run(
        [*python, "import modelflow; print(modelflow.__file__)"], env=own, capture_output=True, text=True, check=True
    )
    assert str(modelflow.parents[1]) in where.stdout
    missing = subprocess.run([*python, "import pytest"], env=own, capture_output=True, text=True, check=False)
    assert "No module named 'pytest'" in missing.stderr


def test_a_dependency_that_its_metadata_do_not_name_is_missed(wheel, tmp_path):
    modelflow = environment(tmp_path / "environment", wheel, without="rich")
    done = study_by(modelflow, tmp_path)
    assert done.returncode != 0
    assert "No module named 'rich'" in done.stderr


def third_party(path: Path) -> set[str]:
    """The packages of others that a module imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"modelflow"}


def test_whatever_is_imported_stands_among_the_dependencies(modelflow):
    """Also what the main job does not come to."""
    own = next(modelflow.parents[1].rglob("site-packages"))
    wanted = map(Requirement, next(iter(metadata.distributions(name="modelflow", path=[str(own)]))).requires or [])
    asked = [{"extra": extra} for extra in ("", "export", "notebook")]
    named = {one.name for one in wanted if one.marker is None or any(map(one.marker.evaluate, asked))}
    named = set(map(canonicalize_name, named))
    providers = metadata.packages_distributions()
    imported = {name for path in (ROOT / "src").rglob("*.py") for name in third_party(path)}
    assert {"torch", "yaml", "vl_convert"} < imported
    assert {name for name in imported if named.isdisjoint(map(canonicalize_name, providers.get(name, ())))} == set()
