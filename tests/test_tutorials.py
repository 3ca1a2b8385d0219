"""The tutorials, each run from its first cell to its last in a kernel of its own; the commands in their words."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from modelflow.cli import run_command
from modelflow.results.layout import run_folders

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
SECONDS = 300  # of a cell, on a busy machine


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_as_it_stands(path, tmp_path, monkeypatch):
    commands = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    run = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in run.cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in outputs)
    assert "Error" not in said
    shown = [output["data"] for output in outputs if "data" in output]
    assert shown
    assert all("text/html" in data or "image/png" in data or not data["text/plain"].startswith("<") for data in shown)


def fenced(path, language):
    """What stands between fences of the language in the words of a tutorial."""
    words = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    return [block for text in words for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)]


def zipped(folder, name):
    """What a student hands in."""
    shutil.make_archive(Path(name).stem, "zip", ".", folder)


def test_the_commands_for_a_class_run(tmp_path, monkeypatch):
    (path,) = (path for path in TUTORIALS if fenced(path, "sh"))
    monkeypatch.chdir(tmp_path)
    for block in fenced(path, "yaml"):
        Path(re.match(r"# (\S+)", block)[1]).write_text(block)
    for line in "".join(fenced(path, "sh")).splitlines():
        for name in re.findall(r"\S+\.zip", line):
            zipped("base", name)
        assert run_command(shlex.split(line)[1:]) == 0
    assert [str(folder.relative_to("class")) for folder in run_folders(Path("class"))] == [
        f"{student}-{model}{seed}"
        for student in ("anna", "ben")
        for model in ("c8-m2-fc", "c8-m2-gap-fc")
        for seed in ("", "/seeds/43", "/seeds/44", "/seeds/45", "/seeds/46")
    ]
