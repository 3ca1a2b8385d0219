"""Reports of the studies of tests."""

import shutil
from pathlib import Path

import pytest

from modelflow.studies.pages import write_pages
from report_studies import HOSTILE, change, rename_classes, run_folders_of


def write_report(folder):
    write_pages(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def hostile_report(results, tmp_path_factory) -> Path:
    """The report of the study with hostile class names, a dead run, and a warning with markup."""
    copy = Path(shutil.copytree(results, tmp_path_factory.mktemp("hostile") / "results"))
    for folder in [*run_folders_of(copy, "wide"), *run_folders_of(copy, "narrow")]:
        rename_classes(folder, HOSTILE)
    change(copy / "narrow", warnings=[f"96 % of the images are called {HOSTILE[0]!r}"], notes=[HOSTILE[4]])
    return write_report(copy)


@pytest.fixture(scope="module")
def report(results) -> Path:
    return write_report(results)
