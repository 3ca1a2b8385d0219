"""What a process finds around it and must not stumble over: streams that are closed or full, no home, a matplotlib that
is set up for others. No torch.

A notebook's `!modelflow run`, a daemon, cron, `… | head`, a container's user, the folder of somebody else.
"""

import atexit
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from modelflow.errors import RunError

MIN_ADDRESS_SPACE = 2 * 2**30  # bytes: two tiny runs on the digits and their report take up to 1.6 GiB of addresses


def open_streams() -> None:
    """The streams as a command needs them, whatever it was started with.

    One that is closed becomes one that nobody reads: else the next file opened would take its number, and get what is
    printed. What cannot be written on the error stream is lost without an error. Names that the terminal cannot show
    are escaped.
    """
    for number in (0, 1, 2):
        if not is_open(number):
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
    sys.stdout, sys.stderr = _there(sys.stdout), _forgiving(_there(sys.stderr))


def is_open(number: int) -> bool:
    """Whether a descriptor is."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def obeys_cursor(stream: TextIO) -> bool:
    """Whether lines can be drawn anew where `stream` is shown: in a terminal, but not below a notebook's cell.

    A cell's `!modelflow` has a terminal of its own, of which the notebook obeys colours alone. Its kernel is known by
    what jupyter_client and ipykernel set for the processes that it starts.
    """
    of_a_cell = os.environ.get("TERM") == "xterm-color" and "CLICOLOR_FORCE" in os.environ
    return stream.isatty() and not of_a_cell and "JPY_PARENT_PID" not in os.environ


def close_output() -> str:
    """Writes what is left of the output; why that cannot be, and then it is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = io.StringIO()  # else Python tries again as it ends, and tells of that
        return error.strerror or str(error)
    return ""


def leave(code: int) -> NoReturn:
    """Ends the process; Ray's compiled parts, once their cluster is gone, would make its end a segmentation fault."""
    if "ray" in sys.modules:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _there(stream: TextIO | None) -> TextIO:
    """`stream`, or one that nobody reads in place of a closed one."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return open(os.devnull, "w", encoding="utf-8") if stream is None else stream


def _forgiving(stream: TextIO) -> TextIO:
    """`stream` as one that cannot fail; a Windows console stays what it is."""
    buffer = getattr(stream, "buffer", None)
    if type(getattr(buffer, "raw", buffer)) is not io.FileIO:
        return stream
    written = io.BufferedWriter(_Forgiving(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(written, stream.encoding, "backslashreplace", line_buffering=True)


class _Forgiving(io.FileIO):
    """A descriptor to write to; what cannot be written passes for written."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def require_memory() -> None:
    """Raises `RunError` where a limit (`ulimit -v`) leaves a process less than the libraries below us can start with.

    They do not fail then: OpenBLAS waits for ever, others abort without a word of ours.
    """
    if importlib.util.find_spec("resource") is None:
        return  # Windows knows no such limit
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < MIN_ADDRESS_SPACE:
        allowed, needed = (f"{size // 2**20:,} MiB" for size in (limit, MIN_ADDRESS_SPACE))
        raise RunError(
            f"not enough memory: ulimit -v allows {allowed} of address space, {needed} are needed. "
            "Run `ulimit -v unlimited`, or start a job with more memory."
        )


def keep_caches() -> None:
    """Where the user has no home to write to, compiled kernels and matplotlib's fonts are kept as long as we run.

    Data sets are not: who fetches one names a folder for it.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    there = next(place for place in (home, *home.parents) if place.exists())
    if home.is_absolute() and os.access(there, os.W_OK):
        return
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="modelflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("MODELFLOW_KERNELS", "MPLCONFIGDIR"):
        os.environ.setdefault(name, folder)


def draw_into_files() -> None:
    """For a process of our own: whatever backend and matplotlibrc it finds, pictures are drawn into memory.

    A `matplotlibrc` in the current folder, which may be somebody else's folder of results, goes before all others that
    matplotlib knows; so it is imported from elsewhere then.
    """
    os.environ["MPLBACKEND"] = "agg"
    if os.path.exists("matplotlibrc"):
        here = os.getcwd()
        os.chdir(Path(__file__).parent)
        try:
            importlib.import_module("matplotlib")
        finally:
            os.chdir(here)


@contextmanager
def without_widgets() -> Iterator[None]:
    """What imports tqdm within does not tell that a notebook has no ipywidgets: it has a terminal's bar then."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        yield


def drop_missing_backend() -> None:
    """Takes `MPLBACKEND` away where it names a module that is not there, as of the notebook whose cell started us.

    matplotlib cannot be imported with it; to be called before that.
    """
    package = os.environ.get("MPLBACKEND", "").partition("module://")[2].partition(".")[0]
    if package and importlib.util.find_spec(package) is None:
        del os.environ["MPLBACKEND"]


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
