"""Ctrl-C and SIGTERM are heard, once, wherever they come."""

import os
import signal
import subprocess
import sys

import pytest

from modelflow.io import signals
from modelflow.io.signals import interrupt_once


def test_a_second_interruption_is_not_heard():
    before = signal.signal(signal.SIGINT, interrupt_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
        signals._heard.clear()


DEAF = """
import os, signal, sys, time
from modelflow.io.signals import install_signal_handlers

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(1)

signal.signal(signal.SIGINT, signal.default_int_handler)
install_signal_handlers()
deaf = Deaf()
try:
    del deaf
    time.sleep(30)
except KeyboardInterrupt:
    sys.exit("heard")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_where_no_exception_can_leave_is_heard_a_little_later(name):
    done = subprocess.run(
        [sys.executable, "-c", DEAF.format(name=name)], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (1, "heard\n")


def test_other_exceptions_that_cannot_leave_are_still_told_of():
    code = "from modelflow.io.signals import install_signal_handlers; install_signal_handlers()\n"
    code += "class Bad:\n    def __del__(self): raise ValueError('lost')\nbad = Bad()\ndel bad"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert "ValueError: lost" in done.stderr


SWALLOWED = """
import itertools, os, signal, sys
from matplotlib.backends.backend_agg import FigureCanvasAgg
import modelflow.cli as cli

draw, pictures = FigureCanvasAgg.draw, itertools.count(1)
def interrupted_within(*arguments, **options):
    if next(pictures) != 2:  # the range test's is the first, the second one of those that a run can do without
        return draw(*arguments, **options)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise ValueError("Invalid affine transformation matrix") from error  # as matplotlib's compiled parts do

FigureCanvasAgg.draw = interrupted_within
sys.argv = "modelflow train {spec} --dataset digits --lr 1e-3 --epochs 1 --results {results}".split()
cli.main()
"""


def test_an_interruption_that_a_library_makes_an_error_of_its_own_ends_the_command(tmp_path):
    spec = tmp_path / "tiny.json"
    spec.write_text('{"in_channels": 1, "num_classes": 10, "input_size": 8, "cov_features": [4], "fc_sizes": [10]}')
    code = SWALLOWED.format(spec=spec, results=tmp_path / "r")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "interrupted" in done.stderr
    assert "was not made" not in done.stderr
    assert not (tmp_path / "r" / "tiny" / "run.json").exists()


IN_PYTHON = """
import os, signal, sys
from matplotlib.backends.backend_agg import FigureCanvasAgg
from modelflow import run_study

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def interrupted_within(*arguments, **options):
    FigureCanvasAgg.draw = draw
    {how}
    return draw(*arguments, **options)

draw, FigureCanvasAgg.draw = FigureCanvasAgg.draw, interrupted_within
signal.signal(signal.SIGINT, signal.default_int_handler)
spec = dict(in_channels=1, num_classes=10, input_size=8, cov_features=[4], fc_sizes=[10])
models = [dict(name=name, spec=spec) for name in ("first", "second")]
try:
    run_study(dict(models=models, dataset="digits", epochs=1), sys.argv[1], jobs=1)
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    sys.exit(3)
"""


@pytest.mark.parametrize(
    "how",
    [
        "deaf = Deaf(); del deaf",
        "try: os.kill(os.getpid(), signal.SIGINT)\n    except KeyboardInterrupt: raise ValueError('not a matrix')",
    ],
    ids=["within __del__", "an error of its own"],
)
def test_an_interruption_that_is_lost_ends_a_study_in_python_too(how, tmp_path):
    code = IN_PYTHON.format(how=how)
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
    assert "of 2 runs are finished and kept" in done.stderr
    assert not (tmp_path / "second" / "run.json").exists()
