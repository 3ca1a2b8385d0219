"""The revision that a result comes from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REVISION = "from modelflow.results.provenance import git_revision; print(git_revision())"


@pytest.fixture
def checkout(tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def revision(checkout: Path) -> str:
    command = [sys.executable, "-c", REVISION]
    path = {"PYTHONPATH": str(checkout / "src")}
    return subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("changed", ["__init__.py", "report/templates/report.css", "data/new.py"])
def test_a_changed_file_anywhere_in_the_package_is_told_by_a_plus(checkout, changed):
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert revision(checkout) == head.stdout.strip()
    with (checkout / "src" / "modelflow" / changed).open("a") as file:
        file.write("\n")
    assert revision(checkout) == f"{head.stdout.strip()}+"
