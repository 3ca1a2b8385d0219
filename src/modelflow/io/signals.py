"""Ctrl-C and SIGTERM end a command: heard once, also where Python lets no exception out. No torch."""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DEAF_SECONDS = 0.01  # until an interruption that was lost is tried again
_heard = threading.Event()


def install_signal_handlers() -> None:
    """From now on Ctrl-C, unless who started us ignores it, and SIGTERM raise `KeyboardInterrupt`, once."""
    _heard.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt_once)
    signal.signal(signal.SIGTERM, interrupt_once)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, interrupt_once)
    sys.unraisablehook = _try_again


def interrupt_once(_number: int, _frame: object) -> None:
    """Raises `KeyboardInterrupt`; further signals, while it is cleaned up, are not heard."""
    _heard.set()
    for heard in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heard, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def interruptions_noted() -> Iterator[None]:
    """Within, `raise_if_heard` knows of a Ctrl-C also where Python's own handler is in place, as in a notebook.

    Other handlers stay, and so do those that another thread than the main one finds.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _heard.clear()


def _note(_number: int, _frame: object) -> None:
    _heard.set()
    raise KeyboardInterrupt


def raise_if_heard() -> None:
    """Raises `KeyboardInterrupt` again, of which compiled code may have made an error of its own, as matplotlib does.

    Or which was lost, as within `__del__`. To be called wherever an error of any kind is not the end.
    """
    if _heard.is_set():
        raise KeyboardInterrupt


def _try_again(lost: Any) -> None:
    """Called where an exception cannot leave, such as within `__del__`: an interruption comes again a little later."""
    try:
        if lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
            return
    except KeyboardInterrupt:  # while it was told of another one
        pass
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, DEAF_SECONDS)
    else:  # Windows has no timer whose signal ends a system call: this one waits for its end
        signal.signal(signal.SIGTERM, interrupt_once)
        threading.Timer(DEAF_SECONDS, _thread.interrupt_main, (signal.SIGTERM,)).start()
