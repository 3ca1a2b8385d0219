"""What may go wrong of a run: pictures that an odd model does not allow, and all that follows a training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelflow.errors import RunError
from modelflow.io.signals import raise_if_heard
from modelflow.results import layout
from modelflow.studies.run_folder import RunFolder
from modelflow.text import ended

MAX_REASON = 200  # characters


@contextmanager
def attempt(what: str, note: Callable[[str], None]) -> Iterator[None]:
    """Notes that `what` was not made where that fails, but for want of memory or of a writable file.

    The figures of a run are as right without it.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise_if_heard()
        note(f"{what} was not made: {type(error).__name__}: {' '.join(str(error).split())[:MAX_REASON]}")


@contextmanager
def after_training(folder: RunFolder) -> Iterator[None]:
    """What fails within raises `RunError`, which says where the weights are, and what makes the rest of the run."""
    checkpoint = folder.path / layout.CHECKPOINT
    again = f"ModelFlow(…, load_checkpoint_path={str(checkpoint)!r}).run(skip_train=True)"
    kept = f"The weights are kept: {folder.path / layout.WEIGHTS} and {checkpoint}. For the rest: {again}."
    try:
        yield
    except MemoryError:
        raise
    except OSError as error:
        if error.filename is not None or not folder.has_written(layout.WEIGHTS):
            raise  # a file of ours that could not be written
        raise RunError(f"{ended(error)} {kept}") from error
    except Exception as error:
        raise_if_heard()
        raise RunError(f"{ended(error)} {kept}") from error
