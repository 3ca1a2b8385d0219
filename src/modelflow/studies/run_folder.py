"""The folder of a run: what was written there, and when what lay there before gives way."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from modelflow.io.arguments import make_writable
from modelflow.io.files import write_atomic
from modelflow.results import layout
from modelflow.results.contents import remove_outdated
from modelflow.results.records import Run
from modelflow.training.states import remove_states

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunFolder:
    """Files in `path`; `is_ours` says whether all that lies there is of the training at hand, also of before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_ours = False
        self._written: set[str] = set()

    def check_writable(self) -> None:
        """Raises `UsageError` where no results can be written."""
        make_writable(self.path if os.path.lexists(self.path) else self.path.parent, "results_dir")

    def write(self, name: str, content: str | bytes) -> None:
        """A file of that name, whole or not at all."""
        self._written.add(name)
        write_atomic(self.path / name, content)

    def write_png(self, name: str, figure: "Figure") -> None:
        """A figure of matplotlib's as a file of that name."""
        from modelflow.figures.style import png

        self.write(name, png(figure))

    def write_run(self, run: Run) -> None:
        """run.json, which says that the run is finished; what was kept of its training under way goes."""
        self._written.add(layout.RUN)
        layout.write_run(self.path, run)
        layout.remove_training(self.path)

    def has_written(self, name: str) -> bool:
        """Whether a file of that name was written here."""
        return name in self._written

    def begin_training(self, resumes: bool) -> None:
        """Takes away what says that a finished run lies there, run.json too, or one half-way that does not resume.

        A search of a learning rate before this training stays, not one before another training.
        """
        if not resumes:
            remove_states(self.path / layout.TRAINING)
        of_a_search = set(layout.OF_A_SEARCH)
        remove_outdated(self.path, of_a_search if self.is_ours else of_a_search & self._written)
        self.is_ours = True

    def begin_evaluation(self, trained_here: bool) -> None:
        """Takes away what another run has left; nothing where a run that was `trained_here` is evaluated again."""
        if not self.is_ours and not trained_here:
            remove_outdated(self.path, self._written)
        self.is_ours = True
