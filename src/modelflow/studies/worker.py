"""A process that trains a study's runs one after the other, as `local.py` hands them to it.

It reads messages on its standard input and answers on its standard output, both pickled: a plan is trained, to events
and its outcome; a number is how many cores a run may use from now on. When its input ends, so does it, whatever it is
at: the study has ended, or was killed.
"""

import os
import pickle
import threading
import time
from importlib import import_module
from queue import SimpleQueue
from typing import BinaryIO

from tqdm import tqdm

from modelflow.io.process import draw_into_files
from modelflow.studies.plan import Event, Outcome, Plan
from modelflow.studies.run import outcome_of

READY = ""  # what it says first; why it cannot train, if it cannot
SECONDS_BETWEEN_LOOKS = 0.5


def main() -> None:
    """Trains what it is handed until its input ends."""
    study = _Study(os.fdopen(_own(0, os.open(os.devnull, os.O_RDONLY)), "rb"), os.fdopen(_own(1, 2), "wb"))
    for watch in (study.listen, _end_with_the_parent):
        threading.Thread(target=watch, daemon=True).start()
    draw_into_files()
    tqdm.set_lock(threading.RLock())  # its own, between processes, would be left behind when a worker is ended
    try:
        study.answer(why_not := _made_ready())
        while why_not == READY:
            study.answer(outcome_of(study.plans.get(), study.answer, lambda: study.threads))
    finally:
        os._exit(1)


class _Study:
    """What the study's process asks for, and where it is answered."""

    def __init__(self, asked: BinaryIO, answers: BinaryIO) -> None:
        self.asked, self.answers = asked, answers
        self.plans: SimpleQueue[Plan] = SimpleQueue()
        self.threads = 1
        self._one_at_a_time = threading.Lock()

    def listen(self) -> None:
        """Takes messages until nobody is left to send any."""
        try:
            while True:
                message = pickle.load(self.asked)
                if isinstance(message, int):
                    self.threads = message
                else:
                    self.plans.put(message)
        finally:
            os._exit(0)

    def answer(self, message: Event | Outcome | str) -> None:
        """Sends an event, an outcome, or whether it can train."""
        try:
            with self._one_at_a_time:
                self.answers.write(pickle.dumps(message))
                self.answers.flush()
        except OSError:
            os._exit(0)


def _end_with_the_parent() -> None:
    """Where others of its children still hold our input open, a study that was killed is noticed by this."""
    if os.name == "nt":
        return  # a process keeps the number of its dead parent there
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(0)


def _own(stream: int, instead: int) -> int:
    """A standard stream for messages alone; whoever reads or writes it from now on has the one `instead`."""
    own = os.dup(stream)
    os.dup2(instead, stream)
    return own


def _made_ready() -> str:
    """Imports what trains, which takes most of the memory; why it cannot be done, or `READY`."""
    try:
        import_module("modelflow.studies.flow")
    except (ImportError, MemoryError, OSError) as error:
        return str(error) or type(error).__name__
    return READY
