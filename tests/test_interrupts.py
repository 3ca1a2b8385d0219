"""Ctrl-C and SIGTERM are heard, once, wherever they come."""

import os
import signal
import subprocess
import sys

import pytest

from modelflow.interrupts import interrupt_once


def test_a_second_interruption_is_not_heard():
    before = signal.signal(signal.SIGINT, interrupt_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


DEAF = """
import os, signal, sys, time
from modelflow.interrupts import hear_interruptions

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        time.sleep(1)

signal.signal(signal.SIGINT, signal.default_int_handler)
hear_interruptions()
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
    code = "from modelflow.interrupts import hear_interruptions; hear_interruptions()\n"
    code += "class Bad:\n    def __del__(self): raise ValueError('lost')\nbad = Bad()\ndel bad"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert "ValueError: lost" in done.stderr
