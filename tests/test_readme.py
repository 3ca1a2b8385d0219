"""The README tells the truth: its tree is the disk's, its Python runs, its commands exist, its examples work."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelflow import cli, settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)
    return [text for name, text in fenced if name == language]


def tree_of_the_readme():
    """Paths of the block that begins with src/modelflow/, by the indentation of its lines."""
    lines = next(block for block in blocks("") if block.startswith("src/modelflow/")).splitlines()
    parents, paths = [], set()
    for line in lines:
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name.rstrip("/")]
        paths.add("/".join(parents))
    return paths


def tree_of_the_disk():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    modules = {path for path in tracked if path.startswith("src/") and not path.endswith(("__init__.py", ".json"))}
    folders = {str(Path(path).parent) for path in modules} | {"src/modelflow/models/presets"}
    others = {path.split("/")[0] for path in tracked if "/" in path and not path.startswith((".", "src/"))}
    return modules | folders | others | {"src/modelflow/__init__.py"}


def test_the_tree_is_the_disks():
    assert tree_of_the_readme() == tree_of_the_disk()


def test_every_file_of_the_tree_has_a_caption():
    block = next(block for block in blocks("") if block.startswith("src/modelflow/"))
    assert [line for line in block.splitlines() if len(line.split()) < 3] == []


def test_its_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert len(targets) >= 5
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_python_example_runs(tmp_path):
    code = blocks("python")[0]
    assert len(code.strip().splitlines()) <= 10
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1].split()[0]) > 0.7
    assert (tmp_path / "results" / "my_model" / "run.json").is_file()


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("modelflow")]
)
def test_the_commands_exist_with_their_options(line):
    words = shlex.split(line, comments=True)[1:]
    command = cli.cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("modelflow", words, resilient_parsing=False) as context:
        assert context.params


def test_the_example_study_is_valid():
    study = settings.read_study(ROOT / "examples" / "my_study.yaml")
    assert list(study.specs()) == ["generic_2", "my_net", "wide"]


def test_help_lists_every_command():
    listed = CliRunner().invoke(cli.cli, ["--help"]).output
    assert all(f"  {name} " in listed for name in cli.cli.commands)


def test_the_table_of_the_card_is_made_from_the_records_kept():
    made = runpy.run_path(str(ROOT / "benchmarks" / "card_repeated.py"))
    assert made["written_into"](README) == README
    assert len(made["table"]().splitlines()) == 9
