"""What a program says beside its results: lines, and a bar for what takes long. A closed stream ends nothing.

with bar(len(files), "file", "reading") as progress:
    progress.update()
    line("one of them is damaged", errors=True)       # above the bar
"""

import sys
from contextlib import suppress
from functools import cache
from typing import Any

from modelflow.io.process import without_widgets


def line(text: str, errors: bool = False) -> None:
    """A line on the output, or on the error stream."""
    stream = sys.stderr if errors else sys.stdout
    if stream is not None:
        with suppress(OSError):
            _tqdm().write(text, file=stream)


def bar(total: int | None, unit: str, what: str = "", seconds: float = 0, shown: bool = True) -> Any:
    """A bar that goes away at the end, after so many seconds, where somebody can see it: a terminal or a notebook."""
    seen = shown and sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    return _tqdm()(total=total, desc=what or None, unit=unit, leave=False, delay=seconds, disable=not seen)


@cache
def _tqdm() -> Any:
    with without_widgets():
        from tqdm.auto import tqdm

        return tqdm
