"""Finished runs whose models are taken out: both notations, batch norm, an average of weights, several seeds."""

import pytest

from modelflow import run_study
from modelflow.export.loaded_run import load_run
from small import spec

NARROW = {"name": "narrow", "spec": spec(3)}


@pytest.fixture(scope="session")
def taken(tmp_path_factory):
    """A folder with a study of the digits, `plain`, and one whose weights were averaged, `averaged`."""
    where = tmp_path_factory.mktemp("taken")
    settings = {"dataset": "digits", "epochs": 2, "lr": 3e-3}
    run_study(settings | {"models": [NARROW], "seeds": 2}, where / "plain", jobs=1, verbose=False)
    run_study(settings | {"models": ["c8 gap fc"], "ema": 0.9}, where / "averaged", jobs=1, verbose=False)
    return where


@pytest.fixture
def narrow(taken):
    return load_run(taken / "plain" / "narrow")


@pytest.fixture
def normed(taken):
    return load_run(taken / "averaged" / "c8-gap-fc")
