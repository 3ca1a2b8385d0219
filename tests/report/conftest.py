"""A small real study, trained once, and ways to change copies of it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from modelflow import run_study
from modelflow.report.content import read_content
from modelflow.settings import StudySettings, validated


def spec(channels):
    return {"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [channels], "fc_sizes": [20]}


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Path:
    """Two models with three seeds each on the digits, by the protocol card."""
    models = [{"name": "narrow", "spec": spec(2)}, {"name": "wide", "spec": spec(8)}]
    fields = {"dataset": "digits", "protocol": "card", "models": models, "epochs": 2, "seeds": [42, 43, 44], "lr": 3e-3}
    where = tmp_path_factory.mktemp("report") / "results"
    run_study(validated(StudySettings, fields, "test"), where, jobs=2)
    return where


@pytest.fixture(scope="session")
def content(results):
    return read_content(results)


@pytest.fixture
def copied(results, tmp_path):
    """A copy of the study that a test may change."""
    return Path(shutil.copytree(results, tmp_path / "results"))


def change(folder, **changes):
    """Other fields in a run's run.json; a dict is merged into the one that is there."""
    path = folder / "run.json"
    fields = json.loads(path.read_text())
    for name, value in changes.items():
        fields[name] = fields[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(fields))


sys.modules["changes"] = sys.modules[__name__]
