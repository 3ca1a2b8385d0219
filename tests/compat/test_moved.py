"""Modules by the names that they had before."""

import importlib
import pickle
import subprocess
import sys

import pytest

from modelflow.compat.moved import MOVED
from modelflow.networks.build import GenericCNN


@pytest.mark.parametrize("name", [name for name, homes in MOVED.items() if homes])
def test_a_module_that_has_moved_is_found_with_a_warning(name):
    code = f"import warnings; warnings.simplefilter('error', DeprecationWarning); import modelflow.{name}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"modelflow.{name} has moved to modelflow.{MOVED[name][0]}" in done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("spec", ("Spec", "read_fields", "did_you_mean", "short")),
        ("plans", ("plans", "missing", "other_files")),
        ("flow", ("ModelFlow", "SECONDS_BETWEEN_STATES")),
        ("models.build", ("GenericCNN",)),
        ("records", ("Run", "Metrics")),
    ],
)
def test_it_has_the_names_that_it_had(module, names):
    found = importlib.import_module(f"modelflow.{module}")
    assert [name for name in names if not hasattr(found, name)] == []
    assert not hasattr(found, "nothing_of_that_name")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_pickled_before_is_read():
    now = pickle.dumps(GenericCNN("cnn2_3"), protocol=0)
    before = now.replace(b"modelflow.networks.build", b"modelflow.models.build")
    assert before != now
    assert isinstance(pickle.loads(before), GenericCNN)


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"modelflow\.nothing"):
        importlib.import_module("modelflow.nothing")
