"""A small real study, trained once, and copies of it to change."""

import shutil
from pathlib import Path

import pytest
from studies import MODELS, SEEDS

from modelflow import run_study
from modelflow.report.content import read_content
from modelflow.settings import StudySettings, validated


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """Two models with two seeds each on the digits, by the protocol card."""
    fields = {"dataset": "digits", "protocol": "card", "models": MODELS, "epochs": 2, "seeds": SEEDS, "lr": 3e-3}
    where = tmp_path_factory.mktemp("report") / "results"
    run_study(validated(StudySettings, fields, "test"), where, jobs=1)
    return where


@pytest.fixture(scope="session")
def content(results):
    return read_content(results)


@pytest.fixture
def copied(results, tmp_path) -> Path:
    """A copy of the study that a test may change."""
    return Path(shutil.copytree(results, tmp_path / "results"))
