"""Ctrl-C and SIGTERM end a command: heard once, also where Python lets no exception out. No torch."""

import signal
import sys
from typing import Any

DEAF_SECONDS = 0.01  # until an interruption that was lost is tried again


def hear_interruptions() -> None:
    """From now on Ctrl-C, unless who started us ignores it, and SIGTERM raise `KeyboardInterrupt`, once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt_once)
    signal.signal(signal.SIGTERM, interrupt_once)
    signal.signal(signal.SIGALRM, interrupt_once)
    sys.unraisablehook = _try_again


def interrupt_once(_number: int, _frame: Any) -> None:
    """Raises `KeyboardInterrupt`; further signals, while it is cleaned up, are not heard."""
    for heard in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heard, signal.SIG_IGN)
    raise KeyboardInterrupt


def _try_again(lost: Any) -> None:
    """Called where an exception cannot leave, such as within `__del__`: an interruption comes again a little later."""
    try:
        if lost.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(lost)
            return
    except KeyboardInterrupt:  # while it was told of another one
        pass
    signal.setitimer(signal.ITIMER_REAL, DEAF_SECONDS)
