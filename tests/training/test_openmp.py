"""Processes forked from one in which torch has computed on several threads: they end, to the same bytes."""

import os
import subprocess
import sys

import pytest
import torch  # noqa: F401  # which loads what is looked for

from modelflow.training.openmp import library

PATIENCE = 100
BEGIN = f"""
import multiprocessing, signal
import torch

def compute():
    x = torch.randn(1500, 1500)
    x @ x
    torch.nn.Conv2d(8, 32, 3)(torch.randn(16, 8, 64, 64)).sum().backward()

def in_a_fork(call, daemon=True):
    def limited():
        signal.alarm({PATIENCE})
        call()
    process = multiprocessing.get_context("fork").Process(target=limited, daemon=daemon)
    process.start()
    process.join()
    return process.exitcode

def study(where):
    from modelflow import run_study
    spec = dict(in_channels=1, num_classes=10, input_size=8, cov_features=[2], fc_sizes=[5])
    run_study(dict(dataset="digits", epochs=1, models=[dict(name="narrow", spec=spec)]), where)

def flow(where):
    from modelflow import ModelFlow
    torch.manual_seed(42)
    loader = [(torch.randn(64, 3, 24, 24), torch.arange(64) % 10) for _ in range(4)]
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.Flatten(), torch.nn.Linear(32 * 22 * 22, 10))
    ModelFlow(model, loader, loader, "own", results_dir=where, verbose=False).run(epochs=1)

torch.set_num_threads(2)
"""
WITHOUT_AN_END = "from modelflow.training import openmp\nopenmp.END_POOL = 'unknown_to_an_older_one'\n"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not library(), reason="no fork, or another OpenMP")


def lines_of(code, where):
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


AGAIN = """
def all_of_it(where):
    study(where)
    flow(where)
    print(torch.get_num_threads(), flush=True)

all_of_it("parent")
compute()
print(in_a_fork(lambda: all_of_it("child")))
compute()
print(torch.get_num_threads())
"""


def test_what_was_trained_before_is_trained_in_a_forked_daemon_on_as_many_threads_to_the_same_bytes(tmp_path):
    assert lines_of(BEGIN + AGAIN, tmp_path) == ["2", "2", "0", "2"]
    for run in ("narrow", "own"):
        parent, child = ((tmp_path / where / run / "model.safetensors") for where in ("parent", "child"))
        assert parent.read_bytes() == child.read_bytes()


SYSTEMS = """
torch.__file__ = "/elsewhere/torch/__init__.py"
import modelflow
compute()
print(in_a_fork(lambda: (compute(), print(torch.get_num_threads(), flush=True))))
"""


@pytest.mark.skipif(
    not library() or not library()._name.endswith("libgomp.so.1"), reason="it has a name of its own here"
)
def test_openmp_need_not_lie_beside_torch(tmp_path):
    assert lines_of(BEGIN + SYSTEMS, tmp_path) == ["2", "0"]


OLDER = """
compute()
print(in_a_fork(lambda: (flow("child"), print(torch.get_num_threads(), flush=True))))
compute()
print(torch.get_num_threads())
"""


def test_where_openmp_cannot_end_its_threads_torch_has_one_in_the_forked_process(tmp_path):
    assert lines_of(BEGIN + WITHOUT_AN_END + OLDER, tmp_path) == ["1", "0", "2"]


LATE = """
compute()

def late():
    import modelflow
    compute()
    print(torch.get_num_threads(), in_a_fork(compute), flush=True)

print(in_a_fork(late, daemon=False))
"""


def test_a_process_forked_before_modelflow_was_imported_does_with_one_thread_and_so_do_its_own(tmp_path):
    assert lines_of(BEGIN + LATE, tmp_path) == ["1 0", "0"]


def test_a_process_started_anew_by_one_that_has_loaded_torch_keeps_its_threads(tmp_path):
    code = "import torch; torch.set_num_threads(2); import modelflow; print(torch.get_num_threads())"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    assert lines_of(f"import torch\n{start}", tmp_path) == ["2"]
